//! The processor that says which pod a resource is of, before an API server that speaks the protocol of the real one.

mod access;
mod against_collector;
mod api_server;
mod beginning;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api_server::{ApiServer, Refused};
use cupola_export::{Component, Sink};
use cupola_pipeline::processors::k8sattributes::{K8sAttributes, K8sAttributesConfig, Surroundings};
use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::view::AnyValue;
use cupola_telemetry::{Batch, Client, TenantId};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Capture;

const PODS: &str = "/api/v1/pods";

/// A pod of a deployment, with two containers of which one began again.
fn shop() -> Value {
    json!({
        "metadata": {
            "name": "shop-5d4f8c7b9-x2x4z", "namespace": "trade", "uid": "uid-shop",
            "creationTimestamp": "2026-03-01T10:00:00Z",
            "labels": { "pod-template-hash": "5d4f8c7b9", "app.kubernetes.io/name": "shop", "team.test/owner": "blue" },
            "annotations": { "resource.opentelemetry.io/service.version": "7", "note": "x" },
            "ownerReferences": [{ "kind": "ReplicaSet", "name": "shop-5d4f8c7b9", "uid": "uid-rs", "controller": true }],
        },
        "spec": {
            "nodeName": "node-1", "hostname": "shop-host",
            "containers": [
                { "name": "app", "image": "registry.test:5000/trade/shop:1.2.3" }, { "name": "side", "image": "envoy" },
            ],
        },
        "status": {
            "podIP": "10.1.2.3", "startTime": "2026-03-01T10:00:01Z",
            "containerStatuses": [
                { "name": "app", "containerID": "containerd://aaa", "restartCount": 2,
                  "imageID": "trade/shop@sha256:4a1c4b21597c1b4415bdbecb28a3296c6b5e23ca4f9feeb599860a1dac6a0108" },
                { "name": "side", "containerID": "containerd://bbb", "restartCount": 0, "imageID": "" },
            ],
        },
    })
}

fn pod(name: &str, uid: &str, ip: &str, started: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "trade", "uid": uid, "labels": null },
        "spec": { "containers": null },
        "status": { "podIP": ip, "startTime": started },
    })
}

struct Running {
    processor: K8sAttributes,
    sink: Arc<Capture>,
    folder: TempDir,
}

type Attributes = BTreeMap<String, String>;

fn surroundings(server: &ApiServer) -> (TempDir, Surroundings) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    std::fs::write(folder.path().join("token"), "hunter2\n").unwrap();
    let text = format!(
        "current-context: test\ncontexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n\
         clusters: [{{name: test, cluster: {{server: 'http://{}'}}}}]\nusers: [{{name: test, user: {{tokenFile: token}}}}]\n",
        server.address
    );
    std::fs::write(&file, text).unwrap();
    let variables = [
        ("KUBECONFIG".to_owned(), file.to_str().unwrap().to_owned()),
        ("NODE".to_owned(), "node-1".to_owned()),
    ];
    let around = Surroundings {
        variables: variables.into(),
        root: folder.path().to_owned(),
    };
    (folder, around)
}

fn config(settings: &str) -> K8sAttributesConfig {
    cupola_config::yaml::from_str(settings).unwrap()
}

async fn start(server: &ApiServer, settings: &str) -> Running {
    let mut config = config(settings);
    config.auth_type = cupola_pipeline::processors::k8sattributes::AuthType::KubeConfig;
    let (folder, around) = surroundings(server);
    let sink: Arc<Capture> = Arc::default();
    let processor = K8sAttributes::start(&config, sink.clone(), around).await.unwrap();
    Running {
        processor,
        sink,
        folder,
    }
}

/// One log record of a resource with these attributes.
fn batch(attributes: &[(&str, &str)]) -> Batch {
    let mut logs = LogsEncoder::new();
    let mut resource = logs.resource_logs();
    {
        let mut of = resource.resource();
        for (key, value) in attributes {
            of.attribute(key, *value);
        }
    }
    resource.scope_logs().record().body("hello");
    drop(resource);
    logs.finish(TenantId::default_tenant())
}

/// Of its first resource.
fn attributes_of(batch: &Batch) -> Attributes {
    let resource = batch.logs().resources().next().unwrap();
    let text = |value: AnyValue<'_>| match value {
        AnyValue::String(text) => text.to_owned(),
        AnyValue::Array(array) => array.map(|one| format!("{one:?}")).collect::<Vec<_>>().join(","),
        other => format!("{other:?}"),
    };
    let attributes = resource.resource().attributes;
    attributes
        .map(|pair| (pair.key.to_owned(), text(pair.value)))
        .collect()
}

impl Running {
    async fn process(&self, attributes: &[(&str, &str)]) -> BTreeMap<String, String> {
        self.processor.send(batch(attributes)).await.unwrap();
        let batches = self.sink.drain();
        assert_eq!((batches.len(), batches[0].items()), (1, 1));
        attributes_of(&batches[0])
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Waits until the attribute of such a resource has this value.
    async fn until(
        &self,
        attributes: &[(&str, &str)],
        key: &str,
        wanted: Option<&str>,
    ) -> BTreeMap<String, String> {
        let waiting = async {
            loop {
                let found = self.process(attributes).await;
                if found.get(key).map(String::as_str) == wanted {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        waited.unwrap_or_else(|_| panic!("{key} does not become {wanted:?}"))
    }

    fn count(&self, name: &str) -> f64 {
        let mut samples = Vec::new();
        self.processor.collect(&mut samples);
        samples.iter().find(|sample| sample.name == name).unwrap().value
    }
}

fn expected(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn a_resource_gets_what_is_known_of_its_pod_by_default() {
    let server = ApiServer::start().await;
    server.put(PODS, shop());
    for number in 0..5 {
        server.put(
            PODS,
            pod(
                "other",
                &format!("uid-{number}"),
                &format!("10.9.0.{number}"),
                "2026-03-01T10:00:00Z",
            ),
        );
    }
    let running = start(&server, "{wait_for_metadata: true}").await;
    let found = running
        .process(&[
            ("k8s.pod.ip", "10.1.2.3"),
            ("k8s.node.name", "mine"),
            ("k8s.pod.uid", ""),
        ])
        .await;
    assert_eq!(
        found,
        expected(&[
            ("k8s.deployment.name", "shop"),
            ("k8s.namespace.name", "trade"),
            ("k8s.node.name", "mine"),
            ("k8s.pod.ip", "10.1.2.3"),
            ("k8s.pod.name", "shop-5d4f8c7b9-x2x4z"),
            ("k8s.pod.start_time", "2026-03-01T10:00:00Z"),
            ("k8s.pod.uid", "uid-shop"),
        ])
    );
    // Every page of the list is there, and by every way of saying the address.
    for attributes in [("ip", "10.9.0.4"), ("host.name", "10.9.0.4")] {
        assert_eq!(running.process(&[attributes]).await["k8s.pod.uid"], "uid-4");
    }
    let unknown = [("host.name", "laptop")];
    assert_eq!(running.process(&unknown).await, expected(&unknown));
    assert_eq!(running.count("otelcol_k8s_watcher_pod_cache_size"), 6.0);
    assert_eq!(running.count("otelcol_k8s_pod_association"), 3.0);
    assert!(
        server
            .requests()
            .iter()
            .all(|head| head.to_lowercase().contains("authorization: bearer hunter2"))
    );
    running.processor.shutdown().await;
}

#[tokio::test]
async fn everything_can_be_told() {
    let server = ApiServer::start().await;
    server.put(PODS, shop());
    let meta = |name: &str, uid: &str, more: Value| {
        let mut object = json!({ "metadata": { "name": name, "uid": uid } });
        object["metadata"]
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        object
    };
    server.put(
        "/api/v1/namespaces",
        meta("trade", "uid-ns", json!({ "labels": { "tier": "gold" } })),
    );
    server.put(
        "/api/v1/namespaces",
        meta("kube-system", "uid-cluster", json!({})),
    );
    server.put(
        "/api/v1/nodes",
        meta("node-1", "uid-node", json!({ "annotations": { "zone": "a" } })),
    );
    let owner = json!({ "ownerReferences": [{ "kind": "Deployment", "name": "the-shop", "uid": "uid-d", "controller": true }] });
    server.put(
        "/apis/apps/v1/replicasets",
        meta("shop-5d4f8c7b9", "uid-rs", owner),
    );
    server.put(
        "/apis/apps/v1/deployments",
        meta("the-shop", "uid-d", json!({ "labels": { "chart": "9" } })),
    );
    // Pods are not known before what else is told of them is.
    server.delay(Duration::from_millis(200));
    let running = start(
        &server,
        "wait_for_metadata: true\n\
         extract:\n  otel_annotations: true\n  metadata: [k8s.pod.name, k8s.pod.hostname, k8s.deployment.name, k8s.deployment.uid, \
         k8s.replicaset.name, k8s.node.uid, k8s.cluster.uid, k8s.container.name, container.id, container.image.name, \
         container.image.tags, container.image.repo_digests, service.name, service.namespace, service.version, service.instance.id]\n  \
         labels: [{key_regex: 'team\\.test/(.*)', tag_name: 'team.$1'}, {key: tier, from: namespace}, {key: chart, from: deployment}]\n  \
         annotations: [{key: zone, from: node, tag_name: zone}, {key_regex: 'no.*'}]\n\
         pod_association: [{sources: [{from: resource_attribute, name: container.id}, {from: resource_attribute, name: k8s.namespace.name}]}]\n",
    )
    .await;
    let attributes = [("container.id", "aaa"), ("k8s.namespace.name", "trade")];
    let found = running.process(&attributes).await;
    let digest = found["container.image.repo_digests"].clone();
    assert!(digest.contains("docker.io/trade/shop@sha256:4a1c"), "{digest}");
    assert_eq!(
        found,
        expected(&[
            ("container.id", "aaa"),
            ("container.image.name", "registry.test:5000/trade/shop"),
            ("container.image.repo_digests", &digest),
            ("container.image.tags", "String(\"1.2.3\")"),
            ("k8s.cluster.uid", "uid-cluster"),
            ("k8s.container.name", "app"),
            ("k8s.deployment.label.chart", "9"),
            ("k8s.deployment.name", "the-shop"),
            ("k8s.deployment.uid", "uid-d"),
            ("k8s.namespace.label.tier", "gold"),
            ("k8s.namespace.name", "trade"),
            ("k8s.node.uid", "uid-node"),
            ("k8s.pod.annotation.note", "x"),
            ("k8s.pod.hostname", "shop-host"),
            ("k8s.pod.name", "shop-5d4f8c7b9-x2x4z"),
            ("k8s.replicaset.name", "shop-5d4f8c7b9"),
            ("service.instance.id", "trade.shop-5d4f8c7b9-x2x4z.app"),
            ("service.name", "shop"),
            ("service.namespace", "trade"),
            ("service.version", "7"),
            ("team.owner", "blue"),
            ("zone", "a"),
        ])
    );
    let elsewhere = [("container.id", "aaa"), ("k8s.namespace.name", "another")];
    assert!(!running.process(&elsewhere).await.contains_key("k8s.pod.name"));
    running.processor.shutdown().await;
}

#[tokio::test]
async fn changes_are_followed_through_broken_watches_and_lost_versions() {
    let server = ApiServer::start().await;
    server.put(PODS, pod("one", "uid-1", "10.0.0.1", "2026-03-01T10:00:00Z"));
    let running = start(&server, "{wait_for_metadata: true, pod_delete_grace_period: 0s}").await;
    let name = "k8s.pod.name";
    server.put(PODS, pod("two", "uid-2", "10.0.0.2", "2026-03-01T10:00:00Z"));
    running
        .until(&[("k8s.pod.ip", "10.0.0.2")], name, Some("two"))
        .await;
    // Its address goes to another, before and after the news that it is gone.
    server.put(PODS, pod("three", "uid-3", "10.0.0.2", "2026-03-01T11:00:00Z"));
    running
        .until(&[("k8s.pod.ip", "10.0.0.2")], name, Some("three"))
        .await;
    server.put(PODS, pod("two-late", "uid-2", "10.0.0.2", "2026-03-01T10:00:00Z"));
    running
        .until(
            &[("k8s.pod.uid", "uid-2"), ("k8s.pod.ip", "10.0.0.9")],
            name,
            None,
        )
        .await;
    server.delete(PODS, "uid-2");
    server.put(PODS, pod("marker", "uid-m", "10.0.0.7", "2026-03-01T10:00:00Z"));
    running
        .until(&[("k8s.pod.ip", "10.0.0.7")], name, Some("marker"))
        .await;
    assert_eq!(
        running.process(&[("k8s.pod.ip", "10.0.0.2")]).await[name],
        "three"
    );

    server.hang_up();
    server.put(PODS, pod("four", "uid-4", "10.0.0.4", "2026-03-01T10:00:00Z"));
    running
        .until(&[("k8s.pod.ip", "10.0.0.4")], name, Some("four"))
        .await;
    assert_eq!(
        running.count("cupola_processor_k8sattributes_api_failures_total"),
        0.0
    );

    // Deleted while nobody watched, and the version is gone: only a new list tells.
    server.refuse(Refused::Everything);
    server.compact();
    server.delete(PODS, "uid-4");
    server.put(PODS, pod("five", "uid-5", "10.0.0.5", "2026-03-01T10:00:00Z"));
    server.compact();
    let failures = async {
        while running.count("cupola_processor_k8sattributes_api_failures_total") < 1.0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), failures)
        .await
        .unwrap();
    assert_eq!(
        running.process(&[("k8s.pod.ip", "10.0.0.4")]).await[name],
        "four",
        "what is known stays"
    );
    server.refuse(Refused::Nothing);
    running
        .until(&[("k8s.pod.ip", "10.0.0.5")], name, Some("five"))
        .await;
    running.until(&[("k8s.pod.ip", "10.0.0.4")], name, None).await;
    running.processor.shutdown().await;
}

#[tokio::test]
async fn pods_stay_known_for_a_while_after_they_are_deleted() {
    let server = ApiServer::start().await;
    server.put(PODS, pod("one", "uid-1", "10.0.0.1", "2026-03-01T10:00:00Z"));
    let running = start(&server, "{wait_for_metadata: true, pod_delete_grace_period: 1h}").await;
    server.delete(PODS, "uid-1");
    server.put(PODS, pod("two", "uid-2", "10.0.0.2", "2026-03-01T10:00:00Z"));
    running
        .until(&[("k8s.pod.ip", "10.0.0.2")], "k8s.pod.name", Some("two"))
        .await;
    assert_eq!(running.count("otelcol_k8s_watcher_pod_deleted"), 1.0);
    assert_eq!(
        running.process(&[("k8s.pod.ip", "10.0.0.1")]).await["k8s.pod.name"],
        "one"
    );
    running.processor.shutdown().await;
}

#[tokio::test]
async fn pods_are_chosen_by_the_api_server_and_by_name() {
    let server = ApiServer::start().await;
    let mut ignored = pod("one", "uid-1", "10.0.0.1", "2026-03-01T10:00:00Z");
    ignored["metadata"]["annotations"] = json!({ "opentelemetry.io/k8s-processor/ignore": " True" });
    server.put("/api/v1/namespaces/trade/pods", ignored);
    server.put(
        "/api/v1/namespaces/trade/pods",
        pod("my-proxy-1", "uid-2", "10.0.0.2", "2026-03-01T10:00:00Z"),
    );
    let mut host = pod("three", "uid-3", "10.0.0.3", "2026-03-01T10:00:00Z");
    host["spec"]["hostNetwork"] = json!(true);
    server.put("/api/v1/namespaces/trade/pods", host);
    let running = start(
        &server,
        "{wait_for_metadata: true, exclude: {pods: [{name: proxy}]}, filter: {namespace: trade, node_from_env_var: NODE, \
          labels: [{key: app, value: shop}, {key: canary, op: does-not-exist}, {key: a, value: b, op: not-equals}], \
          fields: [{key: status.phase, value: 'a,b', op: not-equals}]}}",
    )
    .await;
    for ip in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        assert!(
            !running
                .process(&[("k8s.pod.ip", ip)])
                .await
                .contains_key("k8s.pod.name"),
            "{ip}"
        );
    }
    let head = server.requests()[0].clone();
    let url = url::Url::parse(&format!("http://api{}", head.split(' ').nth(1).unwrap())).unwrap();
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!(query["labelSelector"], "app=shop,!canary,a!=b");
    assert_eq!(query["fieldSelector"], "status.phase!=a\\,b,spec.nodeName=node-1");
    running.processor.shutdown().await;
}

#[tokio::test]
async fn data_is_not_held_up_by_an_api_server_that_refuses() {
    let server = ApiServer::start().await;
    server.refuse(Refused::Everything);
    server.put(PODS, shop());
    let running = start(&server, "{}").await;
    let attributes = [("k8s.pod.ip", "10.1.2.3")];
    assert_eq!(running.process(&attributes).await, expected(&attributes));
    server.refuse(Refused::Nothing);
    running.until(&attributes, "k8s.pod.uid", Some("uid-shop")).await;
    running.processor.shutdown().await;

    server.refuse(Refused::Everything);
    let (_folder, around) = surroundings(&server);
    let waiting = config("{auth_type: kubeConfig, wait_for_metadata: true, wait_for_metadata_timeout: 50ms}");
    let started = K8sAttributes::start(&waiting, Arc::new(Capture::default()), around.clone()).await;
    assert!(
        started
            .err()
            .unwrap()
            .to_string()
            .contains("wait_for_metadata_timeout")
    );
    let outside = K8sAttributes::start(&config("{}"), Arc::new(Capture::default()), around).await;
    let error = outside.err().unwrap().to_string();
    assert!(error.contains("KUBERNETES_SERVICE_HOST"), "{error}");
}

#[tokio::test]
async fn a_pod_is_known_by_the_address_that_its_data_comes_from() {
    let server = ApiServer::start().await;
    server.put(PODS, shop());
    let usual = "{wait_for_metadata: true, pod_association: [{sources: [{from: resource_attribute, name: k8s.pod.uid}]}, \
                 {sources: [{from: connection}]}]}";
    for settings in [usual, "{wait_for_metadata: true}"] {
        let running = start(&server, settings).await;
        let from = |address: &str| {
            let client = Client::at(address.parse().unwrap());
            running
                .processor
                .process(batch(&[("a", "b")]).with_client(Some(Arc::new(client))))
        };
        let found = attributes_of(&from("10.1.2.3"));
        assert_eq!(
            found.get("k8s.pod.name").map(String::as_str),
            Some("shop-5d4f8c7b9-x2x4z"),
            "{settings}"
        );
        // As sockets of IPv6 have it.
        assert_eq!(attributes_of(&from("::ffff:10.1.2.3")), found);
        assert_eq!(attributes_of(&from("10.1.2.4")).get("k8s.pod.name"), None);
        assert_eq!(
            attributes_of(&running.processor.process(batch(&[("a", "b")]))),
            expected(&[("a", "b")])
        );
        // What the resource says goes before.
        let client = Client::at("10.1.2.3".parse().unwrap());
        let other = batch(&[("k8s.pod.uid", "uid-other"), ("k8s.pod.ip", "10.1.2.9")]);
        let other = running
            .processor
            .process(other.with_client(Some(Arc::new(client))));
        assert_eq!(attributes_of(&other).get("k8s.pod.name"), None, "{settings}");
    }
}

#[tokio::test]
async fn passing_through_asks_nobody() {
    let server = ApiServer::start().await;
    let running = start(&server, "{passthrough: true}").await;
    let found = running.process(&[("ip", "10.0.0.1")]).await;
    assert_eq!(found, expected(&[("ip", "10.0.0.1"), ("k8s.pod.ip", "10.0.0.1")]));
    assert!(server.requests().is_empty());
    // Nothing to add: the same bytes.
    let as_it_is = batch(&[("k8s.pod.ip", "10.0.0.1")]);
    assert_eq!(
        running.processor.process(as_it_is.clone()).payload(),
        as_it_is.payload()
    );
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_and_those_that_hardly_do_are_remarked_on() {
    for (settings, key, said) in [
        (
            "{pod_association: [{sources: [{from: resource_attribute}]}]}",
            "pod_association[0].sources",
            "needs `name`",
        ),
        (
            "{pod_association: [{sources: [{from: resource_attribute, name: a}]}, {sources: [{from: resource_attribute, name: a}]}]}",
            "pod_association[1].sources",
            "another association",
        ),
        (
            "{extract: {labels: [{key: a, key_regex: b}]}}",
            "extract.labels[0]",
            "either",
        ),
        (
            "{extract: {annotations: [{key_regex: '('}]}}",
            "extract.annotations[0].key_regex",
            "unclosed",
        ),
        ("{exclude: {pods: [{name: '['}]}}", "exclude.pods", "unclosed"),
    ] {
        let message = config(settings).validate().unwrap_err().to_string();
        assert!(
            message.contains(key) && message.contains(said),
            "{settings}: {message}"
        );
    }
    assert!(
        cupola_config::yaml::from_str::<K8sAttributesConfig>("{extract: {metadata: [k8s.pod.nme]}}").is_err()
    );
    let old = config("{extract: {metadata: [container.image.tag]}}");
    old.validate().unwrap();
    assert_eq!(old.remarks().len(), 1);
    assert_eq!(old.remarks()[0].0, "extract.metadata");
}
