//! What each detector finds: in variables, files, and the metadata of clouds.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::metadata::{Metadata, docker};
use super::{DetectError, Detector, Found, K8sApiConfig, Known, ResourceDetectionConfig, Surroundings};
use crate::processors::k8sattributes::{self, Lookup};

/// Longest file that is read.
const FILE_BYTES_MAX: usize = 1 << 20;

const SERVICE_ACCOUNT_NAMESPACE: &str = "var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Variables that manifests commonly fill from the downward API, by the attribute.
const K8S_VARIABLES: &[(&str, &[&str])] = &[
    ("k8s.pod.name", &["K8S_POD_NAME", "POD_NAME", "KUBE_POD_NAME"]),
    ("k8s.pod.uid", &["K8S_POD_UID", "POD_UID"]),
    (
        "k8s.namespace.name",
        &[
            "K8S_NAMESPACE_NAME",
            "K8S_NAMESPACE",
            "POD_NAMESPACE",
            "KUBE_NAMESPACE",
        ],
    ),
    ("k8s.node.name", &["K8S_NODE_NAME", "NODE_NAME", "KUBE_NODE_NAME"]),
    ("k8s.container.name", &["K8S_CONTAINER_NAME", "CONTAINER_NAME"]),
    ("k8s.deployment.name", &["K8S_DEPLOYMENT_NAME"]),
    ("k8s.cluster.name", &["K8S_CLUSTER_NAME", "CLUSTER_NAME"]),
];

pub(super) async fn detect(
    detector: Detector,
    config: &ResourceDetectionConfig,
    surroundings: &Surroundings,
) -> Result<Vec<Found>, DetectError> {
    match detector {
        Detector::Env => Ok(env(surroundings)),
        Detector::System => system(surroundings).await,
        Detector::Process => Ok(process()),
        Detector::Container => container(surroundings).await,
        Detector::Docker => {
            let info = docker(&config.docker.socket).await?;
            Ok(texts(&[
                ("host.name", text(&info, "Name")),
                ("os.type", text(&info, "OSType")),
            ]))
        }
        Detector::K8s => k8s(surroundings).await,
        Detector::K8sApi => k8s_api(&config.k8s_api, surroundings).await,
        Detector::Ec2 => ec2(&Metadata::new(&config.ec2, "http://169.254.169.254")?).await,
        Detector::Gcp => gcp(&Metadata::new(&config.gcp, "http://169.254.169.254")?).await,
        Detector::Azure => azure(&Metadata::new(&config.azure, "http://169.254.169.254")?).await,
    }
}

fn found(key: &str, value: impl Into<String>, usual: bool) -> Found {
    Found {
        key: key.to_owned(),
        value: Known::Text(value.into()),
        usual,
    }
}

/// Those that are known.
fn texts(pairs: &[(&str, Option<String>)]) -> Vec<Found> {
    let known = pairs
        .iter()
        .filter_map(|(key, value)| Some((key, value.clone()?)));
    known
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| found(key, value, true))
        .collect()
}

/// A text or a number of a document.
fn text(json: &Json, key: &str) -> Option<String> {
    match json.get(key)? {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

async fn read(root: &Path, path: &str) -> Result<String, DetectError> {
    let path = root.join(path);
    let failed = |path: PathBuf| move |source| DetectError::Read { path, source };
    let bytes = tokio::fs::read(&path).await.map_err(failed(path.clone()))?;
    let bytes = bytes.get(..FILE_BYTES_MAX).unwrap_or(&bytes);
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// `key=value` pairs with percent escapes: <https://opentelemetry.io/docs/specs/otel/resource/sdk/>.
fn env(surroundings: &Surroundings) -> Vec<Found> {
    let Some(pairs) = surroundings.variables.get("OTEL_RESOURCE_ATTRIBUTES") else {
        return Vec::new();
    };
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let key = key.trim();
        (!key.is_empty()).then(|| found(key, unescape(value.trim().trim_matches('"')), true))
    };
    pairs.split(',').filter_map(pair).collect()
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let digits = bytes
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits
            .filter(|_| *byte == b'%')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

async fn system(surroundings: &Surroundings) -> Result<Vec<Found>, DetectError> {
    let root = &surroundings.root;
    let name = match read(root, "proc/sys/kernel/hostname").await {
        Ok(name) => name,
        Err(_) => read(root, "etc/hostname").await?,
    };
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        arch => arch,
    };
    let mut all = vec![
        found("host.name", name.trim(), true),
        found("os.type", os, true),
        found("host.arch", arch, false),
    ];
    if let Ok(id) = read(root, "etc/machine-id").await {
        all.push(found("host.id", id.trim(), false));
    }
    Ok(all)
}

fn process() -> Vec<Found> {
    let mut all = vec![Found {
        key: "process.pid".to_owned(),
        value: Known::Int(i64::from(std::process::id())),
        usual: true,
    }];
    if let Ok(path) = std::env::current_exe() {
        if let Some(name) = path.file_name() {
            all.push(found("process.executable.name", name.to_string_lossy(), true));
        }
        all.push(found("process.executable.path", path.to_string_lossy(), true));
    }
    all
}

async fn container(surroundings: &Surroundings) -> Result<Vec<Found>, DetectError> {
    for path in ["proc/self/cgroup", "proc/self/mountinfo"] {
        let Ok(lines) = read(&surroundings.root, path).await else {
            continue;
        };
        if let Some(id) = container_id(&lines) {
            return Ok(vec![found("container.id", id, true)]);
        }
    }
    Err(DetectError::Nothing(
        "this process is in no container whose id can be seen",
    ))
}

/// 64 hex digits that stand by themselves; in the table of mounts, only of container runtimes.
fn container_id(lines: &str) -> Option<String> {
    let is_id = |part: &&str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    // Mounts name layers and volumes too: those of the files that a runtime makes for a container are its own.
    let of_container =
        |line: &&str| !line.contains(" - ") || line.contains("/hostname") || line.contains("/resolv.conf");
    let parts = lines.lines().filter(of_container);
    let mut parts = parts.flat_map(|line| line.split(['/', '-', '.', ':', ' ', '_']));
    parts.find(is_id).map(str::to_ascii_lowercase)
}

async fn k8s(surroundings: &Surroundings) -> Result<Vec<Found>, DetectError> {
    let variable = |name: &&str| {
        surroundings
            .variables
            .get(*name)
            .filter(|value| !value.is_empty())
            .cloned()
    };
    let mut all = Vec::new();
    for (key, names) in K8S_VARIABLES {
        if let Some(value) = names.iter().find_map(variable) {
            all.push(found(key, value, true));
        }
    }
    let has = |all: &[Found], key: &str| all.iter().any(|found| found.key == key);
    let inside = variable(&"KUBERNETES_SERVICE_HOST").is_some();
    if !has(&all, "k8s.namespace.name")
        && let Ok(namespace) = read(&surroundings.root, SERVICE_ACCOUNT_NAMESPACE).await
    {
        all.push(found("k8s.namespace.name", namespace.trim(), true));
    }
    // The host of a pod is named after the pod.
    if inside
        && !has(&all, "k8s.pod.name")
        && let Some(name) = variable(&"HOSTNAME")
    {
        all.push(found("k8s.pod.name", name, true));
    }
    match all.is_empty() {
        true => Err(DetectError::Nothing("nothing here says that this is Kubernetes")),
        false => Ok(all),
    }
}

async fn k8s_api(config: &K8sApiConfig, surroundings: &Surroundings) -> Result<Vec<Found>, DetectError> {
    let variable = match config.node_from_env_var.as_str() {
        "" => "K8S_NODE_NAME",
        name => name,
    };
    let node = surroundings.variables.get(variable);
    let node = node.filter(|name| !name.is_empty()).ok_or_else(|| {
        DetectError::Kubernetes(format!(
            "the variable `{variable}` does not say which node this is"
        ))
    })?;
    let wants = |key: &str| config.resource_attributes.get(key).is_none_or(|one| one.enabled);
    let around = k8sattributes::Surroundings {
        variables: surroundings.variables.clone(),
        root: surroundings.root.clone(),
    };
    let lookup = Lookup::new(config.auth_type, &config.context, &around).map_err(DetectError::Kubernetes)?;
    let mut all = vec![found("k8s.node.name", node, true)];
    if wants("k8s.node.uid") {
        let uid = lookup.uid("nodes", node).await.map_err(DetectError::Kubernetes)?;
        let forbidden = || DetectError::Kubernetes(format!("it does not let us `get` the node `{node}`"));
        all.push(found("k8s.node.uid", uid.ok_or_else(forbidden)?, true));
    }
    if wants("k8s.cluster.uid") {
        let uid = lookup.uid("namespaces", "kube-system").await;
        match uid.map_err(DetectError::Kubernetes)? {
            Some(uid) => all.push(found("k8s.cluster.uid", uid, true)),
            // As in the Collector, where older settings do not know of it.
            None => tracing::warn!("no k8s.cluster.uid: we may not `get` the namespace `kube-system`"),
        }
    }
    Ok(all)
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>
async fn ec2(metadata: &Metadata) -> Result<Vec<Found>, DetectError> {
    let lifetime = ("X-aws-ec2-metadata-token-ttl-seconds", "60");
    let token = metadata.text("PUT", "/latest/api/token", &[lifetime]).await?;
    let token = ("X-aws-ec2-metadata-token", token.trim());
    let document = "/latest/dynamic/instance-identity/document";
    let document = metadata.json(document, &[token]).await?;
    let name = metadata
        .text("GET", "/latest/meta-data/hostname", &[token])
        .await
        .ok();
    let mut all = texts(&[
        ("cloud.provider", Some("aws".to_owned())),
        ("cloud.platform", Some("aws_ec2".to_owned())),
    ]);
    all.extend(texts(&[
        ("cloud.region", text(&document, "region")),
        ("cloud.account.id", text(&document, "accountId")),
        ("cloud.availability_zone", text(&document, "availabilityZone")),
        ("host.id", text(&document, "instanceId")),
        ("host.image.id", text(&document, "imageId")),
        ("host.type", text(&document, "instanceType")),
        ("host.name", name.map(|name| name.trim().to_owned())),
    ]));
    Ok(all)
}

/// <https://cloud.google.com/compute/docs/metadata/querying-metadata>
async fn gcp(metadata: &Metadata) -> Result<Vec<Found>, DetectError> {
    let path = "/computeMetadata/v1/?recursive=true";
    let document = metadata.json(path, &[("Metadata-Flavor", "Google")]).await?;
    let (instance, project) = (&document["instance"], &document["project"]);
    // As in `projects/123/zones/us-central1-a`.
    let last = |key| text(instance, key).and_then(|path| path.rsplit('/').next().map(str::to_owned));
    let zone = last("zone");
    let region = zone
        .as_ref()
        .and_then(|zone| zone.rsplit_once('-'))
        .map(|(region, _)| region.to_owned());
    Ok(texts(&[
        ("cloud.provider", Some("gcp".to_owned())),
        ("cloud.platform", Some("gcp_compute_engine".to_owned())),
        ("cloud.account.id", text(project, "projectId")),
        ("cloud.region", region),
        ("cloud.availability_zone", zone),
        ("host.id", text(instance, "id")),
        ("host.name", text(instance, "name")),
        ("host.type", last("machineType")),
    ]))
}

/// <https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service>
async fn azure(metadata: &Metadata) -> Result<Vec<Found>, DetectError> {
    let path = "/metadata/instance/compute?api-version=2020-09-01&format=json";
    let compute = metadata.json(path, &[("Metadata", "true")]).await?;
    Ok(texts(&[
        ("cloud.provider", Some("azure".to_owned())),
        ("cloud.platform", Some("azure_vm".to_owned())),
        ("cloud.region", text(&compute, "location")),
        ("cloud.account.id", text(&compute, "subscriptionId")),
        ("host.id", text(&compute, "vmId")),
        ("host.name", text(&compute, "name")),
        ("azure.vm.name", text(&compute, "name")),
        ("azure.vm.size", text(&compute, "vmSize")),
        ("azure.vm.scaleset.name", text(&compute, "vmScaleSetName")),
        ("azure.resourcegroup.name", text(&compute, "resourceGroupName")),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_containers_are_found_in_both_tables() {
        let id = "a".repeat(64);
        for line in [
            format!("12:pids:/docker/{id}"),
            format!("0::/system.slice/docker-{id}.scope"),
            format!("1:name=systemd:/kubepods/besteffort/pod1-2/cri-containerd-{id}.scope"),
            format!(
                "700 690 0:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/sda rw"
            ),
        ] {
            assert_eq!(container_id(&line).as_deref(), Some(id.as_str()), "{line}");
        }
        let layer = format!("1 2 0:1 / / rw - overlay overlay lowerdir=/var/lib/docker/overlay2/{id}/diff");
        assert_eq!(container_id(&layer), None);
        assert_eq!(container_id("0::/"), None);
    }

    #[test]
    fn escapes_of_attributes_are_undone() {
        assert_eq!(unescape("a%20b%2Cc"), "a b,c");
        assert_eq!(unescape("100%"), "100%");
        assert_eq!(unescape("%zz%e4"), "%zz%e4");
    }
}
