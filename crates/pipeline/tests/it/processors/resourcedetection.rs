//! Resource detection: what files, variables and metadata say goes onto resources, and what does not answer does no harm.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cupola_export::{Component, Sink};
use cupola_pipeline::processors::resourcedetection::{
    ResourceDetection, ResourceDetectionConfig, Surroundings,
};
use cupola_telemetry::{Batch, Signal, TenantId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use plain_server::serve;
use prost::Message;
use serde_json::{Value, json};

use super::{check_canonical, generated};
use crate::ottl::log_batch;
use crate::support::Capture;

/// A server that knows some paths and needs a header.
mod plain_server {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    pub(super) async fn serve(header: &'static str, paths: BTreeMap<&'static str, String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let paths = Arc::new(paths);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let paths = paths.clone();
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        let mut bytes = [0; 512];
                        let Ok(read @ 1..) = stream.read(&mut bytes).await else {
                            return;
                        };
                        request.extend_from_slice(&bytes[..read]);
                    }
                    let request = String::from_utf8_lossy(&request).to_lowercase();
                    let path = request.split(' ').nth(1).unwrap_or_default();
                    let found = paths.iter().find(|(known, _)| known.to_lowercase() == path);
                    let answer = match found {
                        Some((_, body)) if request.contains(header) => {
                            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                        }
                        _ => "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_owned(),
                    };
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        address
    }
}

fn surroundings(root: &Path, variables: &[(&str, &str)]) -> Surroundings {
    Surroundings {
        variables: variables
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        root: root.to_owned(),
    }
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

async fn start(config: Value, surroundings: Surroundings) -> ResourceDetection {
    let config: ResourceDetectionConfig = serde_json::from_value(config).unwrap();
    ResourceDetection::start(&config, Arc::new(Capture::default()), surroundings)
        .await
        .unwrap()
}

/// Attributes of the first resource of a batch.
fn attributes(batch: &Batch) -> BTreeMap<String, String> {
    check_canonical(batch);
    let resource = batch.logs().resources().next().unwrap().resource();
    let show = |value: cupola_telemetry::view::AnyValue<'_>| match value.as_str() {
        Some(text) => text.to_owned(),
        None => crate::ottl::show(value),
    };
    resource
        .attributes
        .map(|pair| (pair.key.to_owned(), show(pair.value)))
        .collect()
}

#[tokio::test]
async fn files_and_variables_say_where_this_is() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let id = "0123456789abcdef".repeat(4);
    write(root, "proc/sys/kernel/hostname", "machine-1\n");
    write(root, "etc/machine-id", "abc\n");
    write(
        root,
        "proc/self/cgroup",
        &format!("0::/system.slice/docker-{id}.scope\n"),
    );
    write(
        root,
        "var/run/secrets/kubernetes.io/serviceaccount/namespace",
        "shop",
    );
    let variables = [
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment=prod, team=a%20b,broken,host.name=from-env",
        ),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
        ("HOSTNAME", "cart-1"),
        ("NODE_NAME", "node-7"),
    ];
    let config = json!({
        "detectors": ["env", "system", "process", "container", "k8s"],
        "system": { "hostname_sources": ["os"], "resource_attributes": { "host.id": { "enabled": true }, "os.type": { "enabled": false } } },
    });
    let detection = start(config, surroundings(root, &variables)).await;
    let found = attributes(&detection.process(log_batch()));
    let expected = [
        ("deployment.environment", "prod"),
        ("team", "a b"),
        // The first detector that knows it counts, and it replaces what was there.
        ("host.name", "from-env"),
        ("host.id", "abc"),
        ("container.id", id.as_str()),
        ("k8s.namespace.name", "shop"),
        ("k8s.pod.name", "cart-1"),
        ("k8s.node.name", "node-7"),
        ("service.name", "cart"),
    ];
    for (key, value) in expected {
        assert_eq!(found.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(found["process.pid"], std::process::id().to_string());
    assert!(!found.contains_key("os.type") && !found.contains_key("host.arch"));
}

#[tokio::test]
async fn every_resource_is_as_a_reference_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [("OTEL_RESOURCE_ATTRIBUTES", "host.name=h,new=n")];
    for replaces in [true, false] {
        let detection = start(
            json!({ "override": replaces }),
            surroundings(directory.path(), &variables),
        )
        .await;
        for seed in 0..8 {
            let batch = generated(Signal::Logs, seed, 80);
            let after = detection.process(batch.clone());
            check_canonical(&after);
            let mut expected = ExportLogsServiceRequest::decode(batch.payload().clone()).unwrap();
            for resource in &mut expected.resource_logs {
                let attributes = &mut resource.resource.get_or_insert_default().attributes;
                for (key, value) in [("host.name", "h"), ("new", "n")] {
                    let value = Some(AnyValue {
                        value: Some(Any::StringValue(value.to_owned())),
                    });
                    match attributes.iter_mut().find(|pair| pair.key == key) {
                        Some(pair) if replaces => pair.value = value,
                        Some(_) => {}
                        None => attributes.push(KeyValue {
                            key: key.to_owned(),
                            value,
                            ..KeyValue::default()
                        }),
                    }
                }
            }
            assert!(ExportLogsServiceRequest::decode(after.payload().clone()).unwrap() == expected);
            // What is there already is not written again.
            assert_eq!(
                detection.process(after.clone()).payload().as_ptr(),
                after.payload().as_ptr()
            );
        }
    }
}

#[tokio::test]
async fn clouds_are_asked_for_their_metadata() {
    let document = json!({
        "region": "eu-west-1", "accountId": "42", "availabilityZone": "eu-west-1b", "instanceId": "i-1", "imageId": "ami-1", "instanceType": "m5.large",
    });
    let ec2 = serve(
        "x-aws-ec2-metadata-token",
        BTreeMap::from([
            ("/latest/api/token", "secret".to_owned()),
            ("/latest/dynamic/instance-identity/document", document.to_string()),
            ("/latest/meta-data/hostname", "ip-10-0-0-1".to_owned()),
        ]),
    )
    .await;
    let document = json!({
        "instance": { "id": 123_456_789_012_345_678u64, "name": "vm-1", "zone": "projects/1/zones/europe-west3-a", "machineType": "projects/1/machineTypes/e2-small" },
        "project": { "projectId": "shop" },
    });
    let gcp = serve(
        "metadata-flavor: google",
        BTreeMap::from([("/computeMetadata/v1/?recursive=true", document.to_string())]),
    )
    .await;
    let document = json!({ "location": "westeurope", "subscriptionId": "sub", "vmId": "vm-id", "name": "vm", "vmSize": "D2", "resourceGroupName": "rg" });
    let azure = serve(
        "metadata: true",
        BTreeMap::from([(
            "/metadata/instance/compute?api-version=2020-09-01&format=json",
            document.to_string(),
        )]),
    )
    .await;
    let directory = tempfile::tempdir().unwrap();
    for (cloud, address, expected) in [
        (
            "ec2",
            ec2,
            [
                ("cloud.provider", "aws"),
                ("cloud.region", "eu-west-1"),
                ("host.id", "i-1"),
                ("host.name", "ip-10-0-0-1"),
            ],
        ),
        (
            "gcp",
            gcp,
            [
                ("cloud.provider", "gcp"),
                ("cloud.region", "europe-west3"),
                ("host.id", "123456789012345678"),
                ("host.type", "e2-small"),
            ],
        ),
        (
            "azure",
            azure,
            [
                ("cloud.provider", "azure"),
                ("cloud.region", "westeurope"),
                ("host.id", "vm-id"),
                ("azure.vm.size", "D2"),
            ],
        ),
    ] {
        let config = json!({ "detectors": [cloud], cloud: { "metadata_url": address } });
        let detection = start(config, surroundings(directory.path(), &[])).await;
        let found = attributes(&detection.process(log_batch()));
        for (key, value) in expected {
            assert_eq!(found.get(key).map(String::as_str), Some(value), "{cloud}: {key}");
        }
    }
}

#[tokio::test]
async fn what_does_not_answer_does_no_harm() {
    // Accepts and says nothing; refuses; says nonsense.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let nonsense = serve(
        "",
        BTreeMap::from([("/computeMetadata/v1/?recursive=true", "no json".to_owned())]),
    )
    .await;
    let directory = tempfile::tempdir().unwrap();
    let config = json!({
        "detectors": ["ec2", "gcp", "azure", "docker", "container", "k8s", "system"], "timeout": "300ms",
        "ec2": { "metadata_url": silent }, "gcp": { "metadata_url": nonsense }, "azure": { "metadata_url": "http://127.0.0.1:1" },
        "docker": { "socket": directory.path().join("docker.sock") },
    });
    let detection = start(config, surroundings(directory.path(), &[])).await;
    let batch = log_batch();
    assert_eq!(
        detection.process(batch.clone()).payload().as_ptr(),
        batch.payload().as_ptr()
    );
    let mut samples = Vec::new();
    detection.collect(&mut samples);
    assert_eq!(
        samples.iter().map(|sample| sample.value).collect::<Vec<_>>(),
        [0.0, 7.0]
    );
    for wrong in [
        json!({ "detectors": [] }),
        json!({ "ec2": { "metadata_url": "https://x" } }),
        json!({ "timeout": "0s" }),
    ] {
        assert!(
            serde_json::from_value::<ResourceDetectionConfig>(wrong)
                .unwrap()
                .validate()
                .is_err()
        );
    }
    assert!(serde_json::from_value::<ResourceDetectionConfig>(json!({ "detectors": ["heroku"] })).is_err());
}

#[tokio::test]
async fn a_refresh_sees_what_has_changed_and_keeps_what_cannot_be_seen() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "proc/sys/kernel/hostname", "before");
    let config = json!({ "detectors": ["system"], "refresh_interval": "20ms" });
    let detection = start(config, surroundings(directory.path(), &[])).await;
    assert_eq!(attributes(&detection.process(log_batch()))["host.name"], "before");
    write(directory.path(), "proc/sys/kernel/hostname", "after");
    let seen = async {
        while attributes(&detection.process(log_batch()))["host.name"] != "after" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap();
    std::fs::remove_file(directory.path().join("proc/sys/kernel/hostname")).unwrap();
    let failed = async {
        loop {
            let mut samples = Vec::new();
            detection.collect(&mut samples);
            if samples[1].value > 0.0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), failed)
        .await
        .unwrap();
    assert_eq!(attributes(&detection.process(log_batch()))["host.name"], "after");
    detection
        .send(Batch::from_canonical(
            Signal::Logs,
            TenantId::default_tenant(),
            log_batch().payload().clone(),
            1,
        ))
        .await
        .unwrap();
    detection.shutdown().await;
}

#[tokio::test]
async fn node_and_cluster_are_who_the_api_server_says() {
    let object = |uid: &str| json!({ "metadata": { "uid": uid } }).to_string();
    let node = ("/api/v1/nodes/node-7", object("uid-node"));
    let cluster = ("/api/v1/namespaces/kube-system", object("uid-cluster"));
    let expected = [
        ("k8s.node.name", "node-7"),
        ("k8s.node.uid", "uid-node"),
        ("k8s.cluster.uid", "uid-cluster"),
    ];
    // The name that the Collector gives it now, and its older one; what may not be read is left out, but for the node.
    for (name, variable, paths, known, failures) in [
        ("k8s_api", "MY_NODE", vec![node.clone(), cluster.clone()], 3, 0.0),
        ("k8snode", "K8S_NODE_NAME", vec![node.clone()], 2, 0.0),
        ("k8s_api", "MY_NODE", vec![cluster], 0, 1.0),
        ("k8s_api", "ANOTHER", vec![node], 0, 1.0),
    ] {
        let server = serve("authorization: bearer hunter2", paths.into_iter().collect()).await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("kubeconfig");
        let text = format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
             clusters: [{{name: a, cluster: {{server: '{server}'}}}}]\nusers: [{{name: a, user: {{token: hunter2}}}}]\n"
        );
        std::fs::write(&file, text).unwrap();
        let variables = [("KUBECONFIG", file.to_str().unwrap()), (variable, "node-7")];
        let mut config = json!({ "detectors": [name] });
        config[name] = json!({ "auth_type": "kubeConfig" });
        if variable != "K8S_NODE_NAME" {
            config[name]["node_from_env_var"] = json!("MY_NODE");
        }
        let detection = start(config, surroundings(directory.path(), &variables)).await;
        let found = attributes(&detection.process(log_batch()));
        for (number, (key, value)) in expected.into_iter().enumerate() {
            let wanted = (number < known).then_some(value);
            assert_eq!(found.get(key).map(String::as_str), wanted, "{name} {key}");
        }
        let mut samples = Vec::new();
        detection.collect(&mut samples);
        let failed = samples.iter().find(|sample| sample.name.ends_with("failures"));
        assert_eq!(failed.unwrap().value, failures, "{name}");
    }
}
