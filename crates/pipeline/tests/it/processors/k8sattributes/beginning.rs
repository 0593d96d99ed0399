//! How the cluster becomes known: in which order, page by page, and with an API server that does not answer well.

use std::time::Duration;

use cupola_export::Component;
use serde_json::json;

use super::api_server::{ApiServer, Refused};
use super::{PODS, shop, start};

#[tokio::test]
async fn a_pod_is_found_by_what_its_owners_tell() {
    let server = ApiServer::start().await;
    server.put(PODS, shop());
    let owner = json!([{ "kind": "Deployment", "name": "shop", "uid": "uid-d", "controller": true }]);
    let set = json!({ "metadata": { "name": "shop-5d4f8c7b9", "uid": "uid-rs", "ownerReferences": owner } });
    server.put("/apis/apps/v1/replicasets", set);
    server.delay(Duration::from_millis(200));
    let running = start(
        &server,
        "{wait_for_metadata: true, extract: {metadata: [k8s.pod.name, k8s.deployment.uid]}, \
          pod_association: [{sources: [{from: resource_attribute, name: k8s.deployment.uid}]}]}",
    )
    .await;
    let found = running.process(&[("k8s.deployment.uid", "uid-d")]).await;
    assert_eq!(
        found.get("k8s.pod.name").map(String::as_str),
        Some("shop-5d4f8c7b9-x2x4z")
    );
    running.processor.shutdown().await;
}

#[tokio::test]
async fn pods_do_not_wait_for_ever_for_what_may_not_be_listed() {
    let server = ApiServer::start().await;
    server.put(PODS, shop());
    server.refuse(Refused::Path("/api/v1/nodes"));
    // Within the ten seconds that a start may take unless set.
    let settings = "{wait_for_metadata: true, extract: {metadata: [k8s.pod.name, k8s.node.uid]}}";
    let running = start(&server, settings).await;
    let found = running.process(&[("k8s.pod.ip", "10.1.2.3")]).await;
    assert_eq!(found["k8s.pod.name"], "shop-5d4f8c7b9-x2x4z");
    running.processor.shutdown().await;
}
