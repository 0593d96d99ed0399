//! Removing rows, flush and compaction on request.

use serde_json::json;

use crate::support::{OTHER, Server, TRACE_HEX};

const DELETE: &str = "/api/v1/admin/delete";

#[tokio::test(flavor = "multi_thread")]
async fn matching_rows_go_and_all_others_stay() {
    let server = Server::filled().await;
    let body = json!({"attributes": [{"key": "user.id", "value": "u1"}]});
    assert_eq!(
        server.post_as("default", DELETE, body.clone()).await.ok()["rows"],
        1
    );
    assert_eq!(server.post_as("default", DELETE, body).await.ok()["rows"], 0);
    let left = server.sql("SELECT count(*) FROM logs").await.ok();
    assert_eq!(left["rows"], json!([[2]]));
    assert_eq!(
        server.sql("SELECT count(*) FROM spans").await.ok()["rows"],
        json!([[4]])
    );

    // By type too: the number 3 is not the text "3".
    let text = json!({"attributes": [{"key": "retries", "value": "3"}]});
    assert_eq!(server.post_as("default", DELETE, text).await.ok()["rows"], 0);
    let number = json!({"attributes": [{"key": "retries", "value": 3}], "service": "cart"});
    assert_eq!(server.post_as("default", DELETE, number).await.ok()["rows"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_goes_whole_and_alone() {
    let server = Server::filled().await;
    assert!(
        server.post_as(OTHER, DELETE, json!({"all": true})).await.ok()["rows"]
            .as_u64()
            .unwrap()
            >= 2
    );
    assert_eq!(
        server
            .get_as(OTHER, &format!("/api/v1/traces/{TRACE_HEX}"))
            .await
            .refused(404),
        "not_found"
    );
    assert_eq!(
        server.sql("SELECT count(*) FROM records").await.ok()["rows"],
        json!([[7]])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_names_nothing_is_refused() {
    let server = Server::filled().await;
    for body in [
        json!({}),
        json!({"all": false}),
        json!({"all": true, "service": "cart"}),
        json!({"from": "whenever"}),
        json!({"attributes": [{"key": "a", "value": null}]}),
        json!({"attributes": [{"set": "body", "key": "a", "value": "b"}]}),
        json!({"sevice": "cart"}),
        json!([]),
    ] {
        assert_eq!(
            server.post_as("default", DELETE, body.clone()).await.refused(400),
            "bad_request",
            "{body}"
        );
    }
    assert_eq!(
        server.sql("SELECT count(*) FROM records").await.ok()["rows"],
        json!([[7]])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_and_compaction_on_request() {
    let server = Server::filled().await;
    let flushed = server
        .post_as("default", "/api/v1/admin/flush", json!({}))
        .await
        .ok();
    assert_eq!(flushed["rows"], 5);
    assert_eq!(
        server.get("/api/v1/status").await.ok()["store"]["unflushed_bytes"],
        0
    );
    server
        .post_as("default", "/api/v1/admin/compact", json!({}))
        .await
        .ok();
    assert_eq!(
        server.sql("SELECT count(*) FROM records").await.ok()["rows"],
        json!([[7]])
    );
    let from_elsewhere = server
        .http
        .post(server.url("/api/v1/admin/flush"))
        .header("sec-fetch-site", "cross-site");
    assert_eq!(
        crate::support::reply(from_elsewhere).await.refused(403),
        "cross_site"
    );
}
