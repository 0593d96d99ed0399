//! Statements over HTTP: four formats, exact values, limits, refusals, cancellation.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use cupola_api::ApiConfig;
use serde_json::json;

use crate::support::{ENDLESS, Server, reply};

#[tokio::test(flavor = "multi_thread")]
async fn json_says_columns_rows_and_stats() {
    let server = Server::filled().await;
    let sql = "SELECT name, timestamp, duration, attributes['http.route'] AS route FROM spans \
               WHERE trace_id = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' ORDER BY timestamp LIMIT 2";
    let reply = server.sql(sql).await;
    let answer = reply.ok();
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(
        answer["columns"],
        json!([
            {"name": "name", "type": "text"}, {"name": "timestamp", "type": "timestamp"},
            {"name": "duration", "type": "int64"}, {"name": "route", "type": "text"}
        ])
    );
    assert_eq!(
        answer["rows"],
        json!([
            ["GET /cart", "2026-01-01T00:00:00.000000000Z", 50_000_000, "/cart"],
            ["load cart", "2026-01-01T00:00:00.010000000Z", 30_000_000, null]
        ])
    );
    assert_eq!(answer["stats"]["rows"], 2);
    assert_eq!(answer["stats"]["query_id"], reply.header("x-query-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_javascript_cannot_hold_are_strings() {
    let server = Server::filled().await;
    let sql = "SELECT 9007199254740991 AS a, 9007199254740992 AS b, 'NaN'::double AS c, '-Infinity'::double AS d, \
               attributes FROM spans WHERE name = 'GET /cart'";
    let answer = server.sql(sql).await.ok();
    let row = answer["rows"][0].as_array().unwrap();
    assert_eq!(
        row[..4],
        [
            json!(9_007_199_254_740_991_i64),
            json!("9007199254740992"),
            json!("NaN"),
            json!("-Infinity")
        ]
    );
    let expected = json!({"http.route": "/cart", "big": "9007199254740993", "ratio": 0.5, "ok": true});
    assert_eq!(row[4], expected, "an attribute set is an object with real types");
}

#[tokio::test(flavor = "multi_thread")]
async fn accept_selects_csv_ndjson_or_arrow() {
    let server = Server::empty().await;
    let ask = |accept: &'static str| {
        let body = json!({"query": "SELECT value, 'a,b' AS text FROM generate_series(1, 3000)"}).to_string();
        let request = server
            .http
            .post(server.url("/api/v1/sql"))
            .header("content-type", "application/json");
        request.header("accept", accept).body(body)
    };
    let csv = reply(ask("text/csv")).await;
    let lines: Vec<&str> = csv.text.split("\r\n").collect();
    assert_eq!(
        (lines[0], lines[1], lines.len()),
        ("value,text", "1,\"a,b\"", 3002)
    );

    let ndjson = reply(ask("application/x-ndjson")).await;
    assert_eq!(ndjson.header("content-type"), "application/x-ndjson");
    assert_eq!(ndjson.text.lines().count(), 3000);
    assert_eq!(ndjson.text.lines().last(), Some(r#"{"value":3000,"text":"a,b"}"#));

    let bytes = ask("application/vnd.apache.arrow.stream")
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let batches: Vec<RecordBatch> = StreamReader::try_new(&bytes[..], None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let values = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    assert!(values.eq(1..=3000));

    assert_eq!(reply(ask("image/png")).await.refused(406), "not_acceptable");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_is_refused_with_a_reason_and_a_hint() {
    let server = Server::filled().await;
    for (sql, code) in [
        ("SELEC 1", "query_invalid"),
        ("SELECT nothing FROM logs", "query_invalid"),
        ("SELECT * FROM nowhere", "query_invalid"),
        ("DROP TABLE logs", "query_invalid"),
        ("CREATE TABLE t AS SELECT 1", "query_invalid"),
        ("COPY logs TO '/tmp/logs.csv'", "query_invalid"),
        ("", "bad_request"),
        ("  ", "bad_request"),
    ] {
        assert_eq!(server.sql(sql).await.refused(400), code, "{sql}");
    }
    let misspelt = server.sql("SELECT bodi FROM logs").await.json();
    assert!(
        misspelt["error"]["hint"].as_str().unwrap().contains("body"),
        "{misspelt}"
    );
    let elsewhere = server.sql("SELECT * FROM nowhere").await.json();
    assert!(
        elsewhere["error"]["hint"].as_str().unwrap().contains("logs"),
        "{elsewhere}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_bodies_are_refused() {
    let server = Server::empty().await;
    let post = |content_type: &'static str, body: Vec<u8>| {
        let request = server.http.post(server.url("/api/v1/sql"));
        reply(request.header("content-type", content_type).body(body))
    };
    for body in [
        "",
        "{",
        "[]",
        "{\"query\": 1}",
        "{\"query\": \"SELECT 1\", \"limit\": 1}",
        "{}",
    ] {
        assert_eq!(
            post("application/json", body.into()).await.refused(400),
            "bad_request",
            "{body}"
        );
    }
    assert_eq!(
        post("application/json", vec![0xff; 8]).await.refused(400),
        "bad_request"
    );
    assert_eq!(
        post("text/plain", b"SELECT 1".to_vec()).await.refused(415),
        "unsupported_media_type"
    );
    let large = json!({"query": "x".repeat(1 << 20)}).to_string().into_bytes();
    assert_eq!(
        post("application/json", large).await.refused(413),
        "body_too_large"
    );
    let get = server.get("/api/v1/sql").await;
    assert_eq!(get.refused(405), "method_not_allowed");
    assert_eq!(server.get("/api/v1/nothing").await.refused(404), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_request_hold() {
    let server = Server::empty().await;
    let ask = |query: &'static str, limits: serde_json::Value| {
        server.post_as(
            "default",
            "/api/v1/sql",
            json!({"query": query, "limits": limits}),
        )
    };
    let rows = "SELECT value FROM generate_series(1, 100)";
    assert_eq!(
        ask(rows, json!({"rows_max": 99})).await.refused(422),
        "limit_exceeded"
    );
    assert_eq!(
        ask(rows, json!({"bytes_max": 8})).await.refused(422),
        "limit_exceeded"
    );
    assert_eq!(
        ask(rows, json!({"rows_max": 100})).await.ok()["stats"]["rows"],
        100
    );
    assert_eq!(
        ask(ENDLESS, json!({"timeout_ms": 50})).await.refused(504),
        "timeout"
    );
    let hungry = "SELECT array_agg(value) FROM generate_series(1, 3000000)";
    let refused = ask(hungry, json!({"memory_bytes_max": 1 << 20})).await;
    assert_eq!(refused.refused(503), "overloaded");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_the_first_rows_ends_the_json_with_the_error() {
    let server = Server::empty().await;
    // Divides by zero only after more rows than are held back.
    let sql = "SELECT 1 / (value - 200000) AS n, repeat('x', 100) AS pad FROM generate_series(1, 300000)";
    let reply = server.sql(sql).await;
    assert_eq!(reply.status, 200);
    let answer = reply.json();
    assert!(!answer["rows"].as_array().unwrap().is_empty());
    assert_eq!(answer["error"]["code"], "query_failed");
    assert!(answer.get("stats").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn running_statements_are_listed_and_cancelled() {
    let server = Server::empty().await;
    let running = async { server.sql(ENDLESS).await.refused(409) };
    let cancel = async {
        server.await_running(1).await;
        let listed = server.get("/api/v1/queries").await.ok();
        let query = &listed["queries"][0];
        assert_eq!(query["query"], ENDLESS);
        let path = format!("/api/v1/queries/{}", query["id"].as_str().unwrap());
        // Another tenant neither sees nor stops it.
        assert_eq!(
            server.get_as("other", "/api/v1/queries").await.ok(),
            json!({"queries": []})
        );
        let foreign = server
            .http
            .delete(server.url(&path))
            .header("x-scope-orgid", "other");
        assert_eq!(reply(foreign).await.refused(404), "not_found");
        assert_eq!(reply(server.http.delete(server.url(&path))).await.status, 204);
    };
    let (code, ()) = tokio::join!(running, cancel);
    assert_eq!(code, "cancelled");
    server.await_running(0).await;
    let gone = reply(server.http.delete(server.url("/api/v1/queries/q1"))).await;
    assert_eq!(gone.refused(404), "not_found");
    assert_eq!(
        reply(server.http.delete(server.url("/api/v1/queries/x")))
            .await
            .refused(404),
        "not_found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_tells_how_far_a_statement_is() {
    let server = Server::filled().await;
    let running = async { server.sql(ENDLESS).await.refused(409) };
    let watch = async {
        server.await_running(1).await;
        let far = server.get("/api/v1/queries").await.ok()["queries"][0].clone();
        assert_eq!(far["query"], ENDLESS);
        for count in [
            "rows_scanned",
            "bytes_scanned",
            "segments_done",
            "segments_total",
            "rows_returned",
        ] {
            assert_eq!(far[count], 0, "{count}: no table is read: {far}");
        }
        let path = format!("/api/v1/queries/{}", far["id"].as_str().unwrap());
        assert_eq!(reply(server.http.delete(server.url(&path))).await.status, 204);
    };
    let (code, ()) = tokio::join!(running, watch);
    assert_eq!(code, "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_can_be_cancelled_by_an_id_of_the_callers_own() {
    let server = Server::empty().await;
    let ask = |sql: &str, id: &str| {
        let request = server.http.post(server.url("/api/v1/sql"));
        let body = json!({ "query": sql }).to_string();
        reply(
            request
                .header("content-type", "application/json")
                .header("x-query-id", id)
                .body(body),
        )
    };
    let short = ask("SELECT 1", "report-7").await;
    assert_eq!(short.header("x-query-id"), "report-7");
    assert_eq!(short.ok()["stats"]["query_id"], "report-7");
    for wrong in ["q7", "7", "a b", "a/b", &"x".repeat(65)] {
        assert_eq!(
            ask("SELECT 1", wrong).await.refused(400),
            "bad_request",
            "{wrong}"
        );
    }
    let running = async { ask(ENDLESS, "report-7").await.refused(409) };
    let cancel = async {
        server.await_running(1).await;
        assert_eq!(ask("SELECT 1", "report-7").await.refused(409), "query_id_taken");
        let listed = server.get("/api/v1/queries").await.ok();
        assert_eq!(listed["queries"][0]["id"], "report-7");
        let path = server.url("/api/v1/queries/report-7");
        let foreign = server.http.delete(&path).header("x-scope-orgid", "other");
        assert_eq!(reply(foreign).await.refused(404), "not_found");
        assert_eq!(reply(server.http.delete(&path)).await.status, 204);
    };
    let (code, ()) = tokio::join!(running, cancel);
    assert_eq!(code, "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_statements_that_may_wait_one_is_told_to_come_again() {
    let queries = cupola_query::QueryConfig {
        threads: 2,
        running_max: 1,
        waiting_max: 0,
        ..cupola_query::QueryConfig::default()
    };
    let server = Server::start(ApiConfig::ephemeral(), queries, |_| {}).await;
    let running = async { server.sql(ENDLESS).await.refused(409) };
    let refuse = async {
        server.await_running(1).await;
        // Listed before it has its slot.
        while server.engine.status().running == 0 {
            tokio::task::yield_now().await;
        }
        for refused in [server.sql("SELECT 1").await, server.get("/api/v1/logs").await] {
            assert_eq!(refused.refused(503), "overloaded");
            assert_eq!(refused.header("retry-after"), "1");
        }
        let id = server.engine.running()[0].id;
        assert!(server.engine.cancel(id));
    };
    let (code, ()) = tokio::join!(running, refuse);
    assert_eq!(code, "cancelled");
    server.await_running(0).await;
    server.sql("SELECT 1").await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_cancels_its_statement() {
    let server = Server::empty().await;
    let body = json!({"query": ENDLESS}).to_string();
    let request = server
        .http
        .post(server.url("/api/v1/sql"))
        .header("content-type", "application/json")
        .body(body);
    let waiting = tokio::spawn(request.send());
    server.await_running(1).await;
    waiting.abort();
    server.await_running(0).await;

    // The same in the middle of an answer, which waits for its reader: nothing is collected.
    let body =
        json!({"query": "SELECT value, repeat('x', 1000) FROM generate_series(1, 9000000)"}).to_string();
    let request = server
        .http
        .post(server.url("/api/v1/sql"))
        .header("content-type", "application/json")
        .body(body);
    let mut response = request.send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    server.await_running(1).await;
    drop(response);
    server.await_running(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_json_the_answer_is_json() {
    let server = Server::filled().await;
    for expression in [
        "attributes",
        "substr(attributes, 2)",
        "left(attributes, 3)",
        "upper(attributes)",
        "attributes || 'x'",
        "coalesce(attributes, 'x')",
        "nullif(attributes, 'x')",
        "CASE WHEN name = 'SELECT' THEN attributes ELSE '{' END",
        "length(attributes)",
        "min(attributes) OVER (ORDER BY timestamp)",
        "replace(attributes, '}', '')",
        "arrow_cast(attributes, 'LargeUtf8')",
        "arrow_cast(attributes, 'Binary')",
    ] {
        let sql = format!("SELECT {expression} AS value FROM spans");
        let answer = server.sql(&sql).await;
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text);
        assert_eq!(answer.json()["rows"].as_array().unwrap().len(), 4, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_fails_of_its_values_is_at_fault() {
    let server = Server::filled().await;
    for sql in [
        "SELECT 1 / (duration - duration) FROM spans",
        "SELECT CAST(name AS BIGINT) FROM spans",
    ] {
        assert_eq!(server.sql(sql).await.refused(400), "query_failed", "{sql}");
    }
    let large = "SELECT repeat('x', 3000000000)";
    assert_eq!(server.sql(large).await.refused(422), "limit_exceeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn now_is_the_moment_of_the_request() {
    let server = Server::empty().await;
    let now = async || {
        let answer = server.sql("SELECT now() AS now").await.ok();
        answer["rows"][0][0].as_str().unwrap().to_owned()
    };
    let first = now().await;
    assert!(now().await > first);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_without_a_name_of_its_own_is_named_as_it_is_written() {
    let server = Server::filled().await;
    let answer = server
        .sql("SELECT attributes['http.route'] FROM spans LIMIT 1")
        .await;
    assert_eq!(answer.ok()["columns"][0]["name"], "attributes['http.route']");
}
