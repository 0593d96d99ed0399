//! No answer of any endpoint holds anything of another tenant.

use serde_json::json;

use crate::support::{OTHER, SECRET, Server, TRACE_HEX};

fn paths() -> Vec<String> {
    let mut paths: Vec<String> = [
        "/api/v1/traces",
        "/api/v1/traces?service=sesame",
        "/api/v1/logs",
        "/api/v1/logs?words=sesame",
        "/api/v1/logs?service=sesame",
        "/api/v1/attributes",
        "/api/v1/attributes?signal=spans",
        "/api/v1/attributes?key=sesame",
        "/api/v1/attributes?signal=spans&set=resource_attributes&key=service.name",
        "/api/v1/services",
        "/api/v1/service-map",
        "/api/v1/queries",
        "/api/v1/status",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.push(format!("/api/v1/traces/{TRACE_HEX}"));
    paths.push(format!("/api/v1/logs?trace_id={TRACE_HEX}"));
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_answers_for_its_tenant_alone() {
    let server = Server::filled().await;
    for path in paths() {
        let mine = server.get(&path).await;
        assert_eq!(mine.status, 200, "{path}: {}", mine.text);
        // A key that was asked for is repeated.
        let echoed = mine.text.replace("\"key\":\"sesame\"", "");
        assert!(!echoed.contains(SECRET), "{path}: {}", mine.text);
        assert_eq!(server.get_as("default", &path).await.status, 200);
        let theirs = server.get_as(OTHER, &path).await;
        assert_eq!(theirs.status, 200, "{path}: {}", theirs.text);
        assert!(!theirs.text.contains("cart"), "{path}: {}", theirs.text);
        let nobody = server.get_as("nobody", &path).await;
        let nothing = nobody.text.replace("\"key\":\"sesame\"", "");
        assert!(
            !nothing.contains(SECRET) && !nothing.contains("cart"),
            "{path}: {}",
            nobody.text
        );
    }
    let theirs = server
        .get_as(OTHER, &format!("/api/v1/traces/{TRACE_HEX}"))
        .await
        .ok();
    assert_eq!(
        (
            theirs["spans"].as_array().unwrap().len(),
            &theirs["spans"][0]["name"]
        ),
        (1, &json!(SECRET))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_sees_one_tenant() {
    let server = Server::filled().await;
    for table in [
        "logs",
        "spans",
        "records",
        "metrics",
        "cupola.public.logs",
        "information_schema.tables",
    ] {
        let reply = server.sql(&format!("SELECT * FROM {table}")).await;
        assert_eq!(reply.status, 200, "{table}: {}", reply.text);
        assert!(!reply.text.contains(SECRET), "{table}: {}", reply.text);
    }
    let count = |tenant: &'static str| server.sql_as(tenant, "SELECT count(*) FROM records");
    assert_eq!(count("default").await.ok()["rows"], json!([[7]]));
    assert_eq!(count(OTHER).await.ok()["rows"], json!([[2]]));
    assert_eq!(count("nobody").await.ok()["rows"], json!([[0]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_tenant_is_refused_everywhere() {
    let server = Server::filled().await;
    for path in paths() {
        for tenant in ["", ".", "..", "a/b", "a b", "../other", &"x".repeat(151)] {
            if path.ends_with("/status") {
                continue;
            }
            assert_eq!(
                server.get_as(tenant, &path).await.refused(400),
                "invalid_tenant",
                "{path} as {tenant:?}"
            );
        }
    }
    assert_eq!(
        server.get_as("..", "/api/v1/tail").await.refused(400),
        "invalid_tenant"
    );
    let body = json!({"all": true});
    assert_eq!(
        server
            .post_as("a/b", "/api/v1/admin/delete", body)
            .await
            .refused(400),
        "invalid_tenant"
    );
    let twice = server
        .http
        .get(server.url("/api/v1/logs"))
        .header("x-scope-orgid", "a")
        .header("x-scope-orgid", "b");
    assert_eq!(crate::support::reply(twice).await.refused(400), "invalid_tenant");
}
