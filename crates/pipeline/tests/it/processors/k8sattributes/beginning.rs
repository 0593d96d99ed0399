//! How the cluster becomes known: in which order, page by page, and with an API server that does not answer well.

use std::time::{Duration, Instant};

use cupola_export::{Component, Sink};
use futures::FutureExt as _;
use serde_json::json;

use super::api_server::{ApiServer, Refused};
use super::{PODS, batch, pod, shop, start};

const STARTED: &str = "2026-03-01T10:00:00Z";

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

#[tokio::test]
async fn a_list_that_breaks_off_adds_what_it_told_and_removes_nothing() {
    let server = ApiServer::start().await;
    for number in 1..=3 {
        let (name, address) = (format!("uid-{number}"), format!("10.0.0.{number}"));
        server.put(PODS, pod(&name, &name, &address, STARTED));
    }
    server.refuse(Refused::NextPages);
    let running = start(&server, "{pod_delete_grace_period: 0s}").await;
    let name = "k8s.pod.name";
    let last = [("k8s.pod.ip", "10.0.0.3")];
    running
        .until(&[("k8s.pod.ip", "10.0.0.1")], name, Some("uid-1"))
        .await;
    assert!(!running.process(&last).await.contains_key(name));
    server.refuse(Refused::Nothing);
    running.until(&last, name, Some("uid-3")).await;

    // Of the next list again only the first page comes.
    server.refuse(Refused::NextPages);
    server.delete(PODS, "uid-1");
    server.put(PODS, pod("uid-0", "uid-0", "10.0.0.9", STARTED));
    server.compact();
    running
        .until(&[("k8s.pod.ip", "10.0.0.9")], name, Some("uid-0"))
        .await;
    assert_eq!(running.process(&last).await[name], "uid-3");
    running.processor.shutdown().await;
}

#[tokio::test]
async fn a_watch_that_ends_at_once_is_not_begun_again_at_once() {
    let server = ApiServer::start().await;
    server.hang_up_at_once();
    let running = start(&server, "{wait_for_metadata: true}").await;
    let watches = || {
        server
            .requests()
            .iter()
            .filter(|head| head.contains("watch=1"))
            .count()
    };
    let begun = Instant::now();
    let waiting = async {
        while watches() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .unwrap();
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
    running.processor.shutdown().await;
}

#[tokio::test]
async fn large_batches_are_worked_on_beside_the_threads_that_serve_connections() {
    let server = ApiServer::start().await;
    server.put(PODS, shop());
    let running = start(&server, "{wait_for_metadata: true}").await;
    let small = batch(&[("k8s.pod.ip", "10.1.2.3")]);
    let sent = Sink::send(&running.processor, small).now_or_never();
    assert!(sent.is_some_and(|sent| sent.is_ok()));
    let long = "x".repeat(8 << 20);
    let mut sending = Box::pin(Sink::send(
        &running.processor,
        batch(&[("k8s.pod.ip", "10.1.2.3"), ("long", &long)]),
    ));
    assert!((&mut sending).now_or_never().is_none());
    sending.await.unwrap();
    for batch in running.sink.drain() {
        assert_eq!(super::attributes_of(&batch)["k8s.pod.uid"], "uid-shop");
    }
    running.processor.shutdown().await;
}
