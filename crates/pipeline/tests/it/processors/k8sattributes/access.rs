//! Who the API server is, and who asks it: over TLS, as a cluster tells its pods and as a kubeconfig file does.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cupola_config::Secret;
use cupola_export::Component;
use cupola_export::tls::{HTTP1, ServerTls, ServerTlsSettings};
use cupola_peers::certificates::Authority;
use cupola_pipeline::processors::k8sattributes::{K8sAttributes, StartError, Surroundings};

use super::api_server::ApiServer;
use super::{PODS, batch, config, shop};
use crate::support::Capture;

/// A server whose certificate is made out for `name`; it asks for one of `clients` if they are given.
async fn server(authority: &Authority, name: &str, clients: Option<&Path>) -> ApiServer {
    let certificate = authority.issue(&[name]);
    let settings = ServerTlsSettings {
        cert_pem: Some(certificate.chain),
        key_pem: Some(Secret::new(certificate.key)),
        client_ca_file: clients.map(Path::to_owned),
        ..ServerTlsSettings::default()
    };
    let server = ApiServer::start_tls(ServerTls::new(&settings, HTTP1).unwrap()).await;
    server.put(PODS, shop());
    server
}

fn around(root: &Path, variables: &[(&str, &str)]) -> Surroundings {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Surroundings {
        variables: variables.iter().map(owned).collect(),
        root: root.to_owned(),
    }
}

/// Whether the pods become known.
async fn finds(settings: &str, around: &Surroundings) -> Result<(), StartError> {
    let sink: Arc<Capture> = Arc::default();
    let processor = K8sAttributes::start(&config(settings), sink, around.clone()).await?;
    let told = processor.process(batch(&[("k8s.pod.ip", "10.1.2.3")]));
    assert_eq!(super::attributes_of(&told)["k8s.pod.uid"], "uid-shop");
    processor.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_pod_trusts_the_authority_of_its_cluster_and_no_other() {
    let authority = Authority::new("cluster");
    let server = server(&authority, "127.0.0.1", None).await;
    let folder = tempfile::tempdir().unwrap();
    let account = folder.path().join("var/run/secrets/kubernetes.io/serviceaccount");
    std::fs::create_dir_all(&account).unwrap();
    std::fs::write(account.join("token"), "hunter2").unwrap();
    let port = server.address.port().to_string();
    let around = around(
        folder.path(),
        &[
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
            ("KUBERNETES_SERVICE_PORT", &port),
        ],
    );
    let short = "{wait_for_metadata: true, wait_for_metadata_timeout: 300ms}";
    let without = finds(short, &around).await.unwrap_err().to_string();
    assert!(without.contains("ca.crt"), "{without}");
    std::fs::write(account.join("ca.crt"), Authority::new("another").pem()).unwrap();
    let distrusted = finds(short, &around).await;
    assert!(
        matches!(distrusted, Err(StartError::NotKnown(_))),
        "{distrusted:?}"
    );
    assert!(server.requests().is_empty());
    std::fs::write(account.join("ca.crt"), authority.pem()).unwrap();
    finds("{wait_for_metadata: true}", &around).await.unwrap();
    assert!(
        server.requests()[0]
            .to_lowercase()
            .contains("authorization: bearer hunter2")
    );
    // Any certificate will do, and no token is shown.
    finds("{wait_for_metadata: true, auth_type: none}", &around)
        .await
        .unwrap();
    assert!(
        !server
            .requests()
            .last()
            .unwrap()
            .to_lowercase()
            .contains("authorization")
    );
}

#[tokio::test]
async fn a_kubeconfig_file_says_whom_to_trust_under_which_name_and_what_to_show() {
    let authority = Authority::new("cluster");
    let folder = tempfile::tempdir().unwrap();
    let authority_file = folder.path().join("ca.pem");
    std::fs::write(&authority_file, authority.pem()).unwrap();
    let server = server(&authority, "api.test", Some(&authority_file)).await;
    let client = authority.issue(&["client.test"]);
    client.write(folder.path(), "client");
    let data = |pem: &str| STANDARD.encode(pem);
    let file = folder.path().join("config");
    let around = around(folder.path(), &[("KUBECONFIG", file.to_str().unwrap())]);
    let write = |cluster: &str, user: &str| {
        let mut text =
            "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n".to_owned();
        let address = server.address;
        writeln!(
            text,
            "clusters: [{{name: a, cluster: {{server: 'https://{address}', {cluster}}}}}]"
        )
        .unwrap();
        writeln!(text, "users: [{{name: a, user: {{{user}}}}}]").unwrap();
        std::fs::write(&file, text).unwrap();
    };
    let settings = "{auth_type: kubeConfig, wait_for_metadata: true, wait_for_metadata_timeout: 300ms}";
    let long = "{auth_type: kubeConfig, wait_for_metadata: true}";
    let files = "client-certificate: client.pem, client-key: client.key";

    write("certificate-authority: ca.pem, tls-server-name: api.test", files);
    finds(long, &around).await.unwrap();
    let inline = format!(
        "client-certificate-data: {}, client-key-data: {}, client-certificate: gone.pem, client-key: gone.key",
        data(&client.chain),
        data(&client.key)
    );
    let trust = format!(
        "certificate-authority-data: {}, certificate-authority: gone.pem, tls-server-name: api.test",
        data(authority.pem())
    );
    write(&trust, &inline);
    finds(long, &around).await.unwrap();

    let asked = server.requests().len();
    write("certificate-authority: ca.pem", files);
    assert!(matches!(
        finds(settings, &around).await,
        Err(StartError::NotKnown(_))
    ));
    write("certificate-authority: ca.pem, tls-server-name: api.test", "");
    assert!(matches!(
        finds(settings, &around).await,
        Err(StartError::NotKnown(_))
    ));
    assert_eq!(server.requests().len(), asked);

    write("insecure-skip-tls-verify: true", files);
    finds(long, &around).await.unwrap();
    write("certificate-authority: ca.pem", "client-certificate: client.pem");
    let half = finds(settings, &around).await.unwrap_err().to_string();
    assert!(half.contains("key"), "{half}");
}
