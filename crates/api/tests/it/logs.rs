//! The list of logs: filters, order, and pages that neither lose nor repeat a record.

use std::collections::BTreeSet;

use cupola_telemetry::TenantId;
use cupola_telemetry::encode::LogsEncoder;
use serde_json::{Value, json};

use crate::support::{START, Server, TRACE_HEX};

fn bodies(page: &Value) -> Vec<&Value> {
    page["logs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|log| &log["body"])
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_select_and_structured_bodies_stay_structured() {
    let server = Server::filled().await;
    let opened = json!("cart opened by user");
    let failed = json!("payment failed: Timeout of database");
    let step = json!({"step": 1});
    let of_trace = format!("trace_id={TRACE_HEX}");
    for (query, expected) in [
        ("", vec![&step, &failed, &opened]),
        ("level=info", vec![&failed, &opened]),
        ("level=error", vec![&failed]),
        ("service=cart", vec![&step, &failed]),
        ("words=TIMEOUT%20payment", vec![&failed]),
        ("words=time", vec![]),
        (&of_trace, vec![&failed, &opened]),
        ("attribute=user.id%3Du1", vec![&opened]),
        ("attribute=retries%3D3&attribute=user.id%3Du2", vec![&failed]),
        ("attribute=retries%3D3&attribute=user.id%3Du1", vec![]),
        ("resource_attribute=service.name%3Dfront", vec![&opened]),
        ("to=2026-01-01T00:00:00.025Z", vec![&opened]),
        (
            "from=2026-01-01T00:00:00.025Z&to=2026-01-01T00:00:01Z",
            vec![&failed],
        ),
    ] {
        let page = server.get(&format!("/api/v1/logs?{query}")).await.ok();
        assert_eq!(bodies(&page), expected, "{query}");
        assert!(page.get("next_cursor").is_none());
    }
    for query in [
        "level=loud",
        "trace_id=1",
        "attribute=a",
        "attribute==a",
        "cursor=x",
        "cursor=1.99999999",
        "limit=1001",
        "word=a",
    ] {
        assert_eq!(
            server.get(&format!("/api/v1/logs?{query}")).await.refused(400),
            "bad_request",
            "{query}"
        );
    }
}

/// Records of these nanoseconds, numbered in their bodies, in batches of which every other one is flushed.
async fn server_with(times: &[u64]) -> Server {
    let server = Server::empty().await;
    for (batch, times) in times.chunks(7).enumerate() {
        let mut logs = LogsEncoder::new();
        {
            let mut resource = logs.resource_logs();
            resource.resource().attribute("service.name", "a");
            let mut scope = resource.scope_logs();
            for (index, time) in times.iter().enumerate() {
                scope
                    .record()
                    .time_unix_nano(START + time)
                    .body(&format!("record {}", batch * 7 + index));
            }
        }
        server
            .store
            .append(logs.finish(TenantId::default_tenant()))
            .await
            .unwrap();
        if batch % 2 == 0 {
            server.store.flush().await.unwrap();
        }
    }
    server
}

/// Walks all pages; every record must be there once, newest first.
async fn check_pages(times: &[u64], limit: usize) {
    let server = server_with(times).await;
    let mut seen = BTreeSet::new();
    let mut last: Option<String> = None;
    let mut cursor = String::new();
    for _ in 0..times.len() + 2 {
        let page = server
            .get(&format!("/api/v1/logs?limit={limit}&cursor={cursor}"))
            .await
            .ok();
        let logs = page["logs"].as_array().unwrap();
        assert!(logs.len() <= limit);
        for log in logs {
            assert!(seen.insert(log["body"].to_string()), "{log} twice");
            let at = log["timestamp"].as_str().unwrap().to_owned();
            assert!(
                last.as_ref().is_none_or(|last| at <= *last),
                "{at} after {last:?}"
            );
            last = Some(at);
        }
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(seen.len(), times.len(), "with pages of {limit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_lose_and_repeat_nothing() {
    let distinct: Vec<u64> = (0..25).collect();
    check_pages(&distinct, 10).await;
    check_pages(&distinct, 25).await;
    // Groups of one nanosecond that straddle the pages.
    let groups: Vec<u64> = (0..25).map(|n| n / 4).collect();
    check_pages(&groups, 10).await;
    // A group larger than a page, between others.
    let crowd: Vec<u64> = (0..25)
        .map(|n| if (5..20).contains(&n) { 5 } else { n })
        .collect();
    check_pages(&crowd, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_arrive_between_pages_do_not_move_them() {
    let server = server_with(&(0..20).collect::<Vec<u64>>()).await;
    let first = server.get("/api/v1/logs?limit=10").await.ok();
    let mut logs = LogsEncoder::new();
    logs.resource_logs()
        .scope_logs()
        .record()
        .time_unix_nano(START + 1000)
        .body("newer");
    server
        .store
        .append(logs.finish(TenantId::default_tenant()))
        .await
        .unwrap();
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = server
        .get(&format!("/api/v1/logs?limit=10&cursor={cursor}"))
        .await
        .ok();
    assert_eq!(bodies(&second).len(), 10);
    assert_eq!(bodies(&second)[0], "record 9");
    assert!(second.get("next_cursor").is_none());
}
