//! How the API server is reached: from within a cluster, or by a kubeconfig file. Owns what is secret about it, and shows
//! none of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cupola_config::Secret;
use cupola_export::tls::{TlsError, TlsSettings};
use serde::Deserialize;
use url::Url;

use super::config::AuthType;

/// Where each pod finds its token and the certificate of the API server.
const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";

/// What this may look at.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Of the environment.
    pub variables: BTreeMap<String, String>,
    /// Where `/var` is.
    pub root: PathBuf,
}

/// Everything that a connection needs.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) server: Url,
    pub(super) tls: TlsSettings,
    pub(super) credentials: Credentials,
}

#[derive(Debug)]
pub(super) enum Credentials {
    None,
    Token(Secret),
    /// Tokens of pods are changed while they run.
    TokenFile(PathBuf),
    Password(String, Secret),
}

impl Access {
    /// `context` is of a kubeconfig file, where its current one is not meant.
    pub(super) fn new(auth: AuthType, context: &str, around: &Surroundings) -> Result<Access, String> {
        match auth {
            AuthType::KubeConfig => from_file(&kubeconfig(around)?, context),
            AuthType::None => {
                let mut access = within_cluster(around, Credentials::None)?;
                access.tls.insecure_skip_verify = true;
                Ok(access)
            }
            AuthType::ServiceAccount => {
                let account = around.root.join(ACCOUNT);
                let token = Credentials::TokenFile(account.join("token"));
                let mut access = within_cluster(around, token)?;
                access.tls.ca_file = Some(account.join("ca.crt"));
                Ok(access)
            }
        }
    }
}

/// What is wrong with certificates, without the keys that a configuration has for them: nobody wrote those.
pub(super) fn problem(error: &TlsError) -> String {
    let what = match error.key {
        "ca_file" | "ca_pem" => "the certificate of its authority",
        "cert_file" | "cert_pem" => "the certificate of the client",
        "key_file" | "key_pem" => "the key of the client",
        "server_name_override" => "`tls-server-name`",
        other => other,
    };
    format!("{what}: {}", error.problem)
}

/// As the cluster tells each pod.
fn within_cluster(around: &Surroundings, credentials: Credentials) -> Result<Access, String> {
    let variable = |name: &str| around.variables.get(name).filter(|value| !value.is_empty());
    let (Some(host), Some(port)) = (
        variable("KUBERNETES_SERVICE_HOST"),
        variable("KUBERNETES_SERVICE_PORT"),
    ) else {
        return Err(
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod of a cluster; \
             set `auth_type: kubeConfig` to use a kubeconfig file"
                .to_owned(),
        );
    };
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.clone(),
    };
    Ok(Access {
        server: server(&format!("https://{host}:{port}"))?,
        tls: TlsSettings::default(),
        credentials,
    })
}

fn server(address: &str) -> Result<Url, String> {
    let url =
        Url::parse(address).map_err(|error| format!("`{address}` is no address of a server: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(format!("`{address}` does not begin with https://")),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// A kubeconfig file, as far as it is read. It can have much more.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct KubeConfig {
    current_context: String,
    contexts: Vec<Named<Context>>,
    clusters: Vec<Named<ClusterEntry>>,
    users: Vec<Named<User>>,
}

#[derive(Debug, Deserialize)]
struct Named<T> {
    name: String,
    #[serde(alias = "context", alias = "cluster", alias = "user")]
    value: T,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct ClusterEntry {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: bool,
    /// The name that the certificate has to be made out for, where it is not that of the server.
    tls_server_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    token: Option<Secret>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<Secret>,
    client_key: Option<PathBuf>,
    client_key_data: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    exec: Option<serde_json::Value>,
    #[serde(rename = "auth-provider")]
    auth_provider: Option<serde_json::Value>,
}

fn kubeconfig(around: &Surroundings) -> Result<PathBuf, String> {
    if let Some(files) = around
        .variables
        .get("KUBECONFIG")
        .filter(|files| !files.is_empty())
    {
        let first = std::env::split_paths(files).find(|file| file.is_file());
        return first.ok_or_else(|| format!("KUBECONFIG names no file that is there: {files}"));
    }
    match around.variables.get("HOME") {
        Some(home) => Ok(Path::new(home).join(".kube/config")),
        None => Err("neither KUBECONFIG nor HOME is set".to_owned()),
    }
}

fn from_file(path: &Path, context: &str) -> Result<Access, String> {
    let wrong = |problem: String| format!("{}: {problem}", path.display());
    let text = String::from_utf8(read(path)?).map_err(|_| wrong("it is not text".to_owned()))?;
    let config: KubeConfig =
        cupola_config::yaml::from_str(&text).map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    let wanted = match context.is_empty() {
        true => &config.current_context,
        false => context,
    };
    let context = named(&config.contexts, "context", wanted).map_err(wrong)?;
    let cluster = named(&config.clusters, "cluster", &context.cluster).map_err(wrong)?;
    let nobody = User::default();
    let user = match context.user.is_empty() {
        true => &nobody,
        false => named(&config.users, "user", &context.user).map_err(wrong)?,
    };
    if user.exec.is_some() || user.auth_provider.is_some() {
        let problem =
            "programs that make credentials (`exec`, `auth-provider`) are not run here; use a token";
        return Err(wrong(problem.to_owned()));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    // What is written down itself goes before a file.
    let pem = |data: Option<&str>| {
        let given = data.filter(|data| !data.is_empty());
        given.map(decode).transpose().map_err(wrong)
    };
    let file = |file: &Option<PathBuf>, pem: &Option<String>| match pem {
        Some(_) => None,
        None => file.as_ref().map(|file| folder.join(file)),
    };
    let ca_pem = pem(cluster.certificate_authority_data.as_deref())?;
    let cert_pem = pem(user.client_certificate_data.as_ref().map(Secret::expose))?;
    let key_pem = pem(user.client_key_data.as_ref().map(Secret::expose))?;
    let tls = TlsSettings {
        insecure_skip_verify: cluster.insecure_skip_tls_verify,
        server_name_override: cluster.tls_server_name.clone(),
        ca_file: file(&cluster.certificate_authority, &ca_pem),
        cert_file: file(&user.client_certificate, &cert_pem),
        key_file: file(&user.client_key, &key_pem),
        ca_pem,
        cert_pem,
        key_pem: key_pem.map(Secret::new),
        ..TlsSettings::default()
    };
    let credentials = match (&user.token, &user.token_file, &user.username, &user.password) {
        (Some(token), ..) => Credentials::Token(token.clone()),
        (_, Some(file), ..) => Credentials::TokenFile(folder.join(file)),
        (_, _, Some(name), Some(password)) => Credentials::Password(name.clone(), password.clone()),
        _ => Credentials::None,
    };
    Ok(Access {
        server: server(&cluster.server).map_err(wrong)?,
        tls,
        credentials,
    })
}

/// PEM in base64.
fn decode(data: &str) -> Result<String, String> {
    let decoded = STANDARD.decode(data.trim());
    let text = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| "a certificate or key is not base64 of PEM".to_owned())
}

fn named<'a, T>(all: &'a [Named<T>], what: &str, name: &str) -> Result<&'a T, String> {
    let found = all.iter().find(|one| one.name == name);
    found
        .map(|one| &one.value)
        .ok_or_else(|| format!("there is no {what} `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_file_is_read_by_its_context() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let text = "apiVersion: v1\nkind: Config\npreferences: {}\ncurrent-context: a\ncontexts:\n\
            - {name: a, context: {cluster: one, user: me, namespace: x}}\n\
            - {name: b, context: {cluster: one, user: other}}\n- {name: c, context: {cluster: none}}\n\
            clusters: [{name: one, cluster: {server: 'https://api.test:6443', certificate-authority-data: Q0E=}}]\n\
            users:\n- {name: me, user: {token: hunter2, client-key-data: aHVudGVyMg==}}\n- {name: other, user: {exec: {command: aws}}}\n";
        std::fs::write(&path, text).unwrap();
        let access = from_file(&path, "").unwrap();
        assert_eq!(
            (access.server.as_str(), access.tls.ca_pem.as_deref()),
            ("https://api.test:6443/", Some("CA"))
        );
        assert!(matches!(&access.credentials, Credentials::Token(token) if token.expose() == "hunter2"));
        assert!(!format!("{access:?}").contains("hunter2"));
        assert!(from_file(&path, "b").unwrap_err().contains("exec"));
        assert!(from_file(&path, "c").unwrap_err().contains("no cluster `none`"));
        assert!(from_file(&path, "d").unwrap_err().contains("no context `d`"));
    }
}
