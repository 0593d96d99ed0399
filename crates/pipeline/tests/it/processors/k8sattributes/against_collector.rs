//! The Collector's own processor before the same API server: attribute for attribute.

use std::sync::Arc;

use cupola_peers::collector::K8sAttributes as Collectors;
use cupola_peers::peer_or_skip;
use cupola_telemetry::{Batch, Signal, TenantId};
use serde_json::json;

use super::{ApiServer, Attributes, PODS, attributes_of, batch, pod, shop, start};

/// Objects of every kind that the settings below read.
fn fill(server: &ApiServer) {
    server.put(PODS, shop());
    server.put(
        PODS,
        pod("jaeger-agent-1", "uid-j", "10.1.2.4", "2026-03-01T10:00:00Z"),
    );
    let mut nightly = pod(
        "nightly-29538720-abcde",
        "uid-n",
        "10.1.2.5",
        "2026-03-01T10:00:00Z",
    );
    nightly["metadata"]["creationTimestamp"] = json!("2026-02-28T00:00:00Z");
    nightly["metadata"]["ownerReferences"] =
        json!([{ "kind": "Job", "name": "nightly-29538720", "uid": "uid-job" }]);
    nightly["spec"]["containers"] = json!([{ "name": "only", "image": "busybox@sha256:4a1c4b21597c1b4415bdbecb28a3296c6b5e23ca4f9feeb599860a1dac6a0108" }]);
    server.put(PODS, nightly);
    let mut data = pod("data-0", "uid-data", "10.1.2.6", "2026-03-01T10:00:00Z");
    data["metadata"]["ownerReferences"] =
        json!([{ "kind": "StatefulSet", "name": "data", "uid": "uid-set" }]);
    data["metadata"]["labels"] =
        json!({ "app.kubernetes.io/instance": "data-blue", "app.kubernetes.io/version": "4" });
    server.put(PODS, data);
    let labelled = |name: &str, uid: &str| json!({ "metadata": { "name": name, "uid": uid, "labels": { "a/b": "1" }, "annotations": { "note": "2" } } });
    server.put("/api/v1/namespaces", labelled("trade", "uid-ns"));
    server.put("/api/v1/namespaces", labelled("kube-system", "uid-cluster"));
    server.put("/api/v1/nodes", labelled("node-1", "uid-node"));
    let mut set = labelled("shop-5d4f8c7b9", "uid-rs");
    set["metadata"]["ownerReferences"] =
        json!([{ "kind": "Deployment", "name": "shop", "uid": "uid-d", "controller": true }]);
    server.put("/apis/apps/v1/replicasets", set);
    server.put("/apis/apps/v1/deployments", labelled("shop", "uid-d"));
    server.put("/apis/apps/v1/statefulsets", labelled("data", "uid-set"));
}

fn resources() -> Vec<Vec<(&'static str, &'static str)>> {
    vec![
        vec![("k8s.pod.ip", "10.1.2.3")],
        vec![
            ("k8s.pod.ip", "10.1.2.3"),
            ("k8s.container.name", "side"),
            ("k8s.node.name", ""),
        ],
        vec![
            ("k8s.pod.uid", "uid-shop"),
            ("container.id", "aaa"),
            ("service.name", "mine"),
        ],
        vec![
            ("k8s.pod.uid", "uid-shop"),
            ("k8s.container.name", "app"),
            ("k8s.container.restart_count", "1"),
        ],
        vec![("k8s.pod.ip", "10.1.2.4")],
        vec![("k8s.pod.ip", "10.1.2.5")],
        vec![("k8s.pod.uid", "uid-data")],
        vec![("k8s.namespace.name", "trade"), ("k8s.node.name", "node-1")],
        vec![("k8s.deployment.uid", "uid-d")],
        vec![("host.name", "10.1.2.6")],
        vec![("ip", "10.1.2.6"), ("k8s.pod.name", "x")],
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_get_what_the_collector_gives_them() {
    let collectors = Arc::new(peer_or_skip!(Collectors::install()));
    let server = ApiServer::start().await;
    fill(&server);
    let all = json!([
        "k8s.namespace.name",
        "k8s.pod.name",
        "k8s.pod.uid",
        "k8s.pod.hostname",
        "k8s.pod.start_time",
        "k8s.pod.ip",
        "k8s.deployment.name",
        "k8s.deployment.uid",
        "k8s.replicaset.name",
        "k8s.replicaset.uid",
        "k8s.statefulset.name",
        "k8s.statefulset.uid",
        "k8s.job.name",
        "k8s.job.uid",
        "k8s.cronjob.name",
        "k8s.node.name",
        "k8s.node.uid",
        "k8s.container.name",
        "container.id",
        "container.image.name",
        "container.image.tags",
        "container.image.repo_digests",
        "k8s.cluster.uid",
        "service.namespace",
        "service.name",
        "service.version",
        "service.instance.id",
    ]);
    let by = |name: &str| json!({ "sources": [{ "from": "resource_attribute", "name": name }] });
    for settings in [
        json!({}),
        json!({ "extract": { "metadata": all } }),
        json!({
            "extract": {
                "metadata": ["k8s.pod.name", "k8s.deployment.uid", "k8s.node.name"], "otel_annotations": true,
                "labels": [
                    { "key_regex": "(.*)/(.*)", "tag_name": "$1.$2" }, { "key_regex": "app.*", "tag_name": "not.used" },
                    { "key": "a/b", "from": "namespace" }, { "key_regex": "a.*", "from": "node" },
                    { "key": "a/b", "from": "deployment" }, { "key": "a/b", "from": "statefulset" },
                    { "key": "a/b", "from": "replicaset", "tag_name": "set" },
                ],
                "annotations": [{ "key": "note" }, { "key": "note", "from": "namespace" }, { "key": "note", "from": "deployment" }],
            },
            "pod_association": [by("k8s.pod.uid"), by("host.name"), by("k8s.pod.ip"), by("container.id")],
        }),
    ] {
        let mut settings = settings;
        settings["auth_type"] = json!("kubeConfig");
        settings["wait_for_metadata"] = json!(true);
        let running = start(&server, &settings.to_string()).await;
        // All kinds are known by the time that the Collector has asked for them too.
        for resource in resources() {
            let sent = batch(&resource);
            let (collectors, text) = (collectors.clone(), settings.to_string());
            let (file, payload) = (running.kubeconfig(), sent.payload().to_vec());
            let made = tokio::task::spawn_blocking(move || collectors.run(&text, &file, &payload));
            let made = made.await.unwrap().unwrap();
            let made = Batch::decode_protobuf(Signal::Logs, TenantId::default_tenant(), made.into()).unwrap();
            let theirs: Attributes = attributes_of(&made);
            assert_eq!(
                running.process(&resource).await,
                theirs,
                "{settings} {resource:?}"
            );
        }
    }
}
