//! Traces, attributes, services, the service map and the status.

use cupola_api::OtlpPorts;
use cupola_telemetry::TenantId;
use cupola_telemetry::encode::{LogsEncoder, MetricsEncoder};
use serde_json::{Value, json};

use crate::support::{START, Server, TRACE_HEX};

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_has_its_spans_and_logs_as_they_were_sent() {
    let server = Server::filled().await;
    let trace = server.get(&format!("/api/v1/traces/{TRACE_HEX}")).await.ok();
    let names: Vec<&str> = trace["spans"]
        .as_array()
        .unwrap()
        .iter()
        .map(|span| span["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["GET /cart", "load cart", "SELECT"]);
    assert_eq!(trace["truncated"], false);
    let root = &trace["spans"][0];
    assert_eq!(
        (&root["kind"], &root["status_code"]),
        (&json!("server"), &json!("unset"))
    );
    assert_eq!(
        (&root["parent_span_id"], &root["service_name"]),
        (&json!(""), &json!("front"))
    );
    assert_eq!(root["timestamp"], "2026-01-01T00:00:00.000000000Z");
    assert_eq!(
        (&root["duration_ns"], &root["scope_name"]),
        (&json!(50_000_000), &json!("http"))
    );
    assert_eq!(
        root["attributes"],
        json!({"http.route": "/cart", "big": "9007199254740993", "ratio": 0.5, "ok": true})
    );
    assert_eq!(
        root["resource_attributes"],
        json!({"service.name": "front", "host.name": "a"})
    );
    let child = &trace["spans"][1];
    assert_eq!(
        child["events"],
        json!([{"timestamp": "2026-01-01T00:00:00.011000000Z", "name": "cache miss", "attributes": {"key": "u1"}}])
    );
    assert_eq!(child["links"][0]["trace_id"], "cc".repeat(16));
    assert_eq!(child["links"][0]["attributes"], json!({"why": "retry"}));
    let failed = &trace["spans"][2];
    assert_eq!(
        (&failed["status_code"], &failed["status_message"]),
        (&json!("error"), &json!("timeout"))
    );
    let logs = trace["logs"].as_array().unwrap();
    assert_eq!(logs.len(), 2);
    assert_eq!(
        (&logs[0]["level"], &logs[1]["level"]),
        (&json!("info"), &json!("error"))
    );
    assert_eq!(logs[1]["observed_timestamp"], "2026-01-01T00:00:00.026000000Z");
    assert_eq!(logs[1]["attributes"], json!({"retries": 3, "user.id": "u2"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_is_not_there_or_no_trace_id() {
    let server = Server::filled().await;
    let unknown = server.get(&format!("/api/v1/traces/{}", "0f".repeat(16))).await;
    assert_eq!(unknown.refused(404), "not_found");
    for id in ["abc", "zz", &"g".repeat(32), "'; DROP"] {
        assert_eq!(
            server.get(&format!("/api/v1/traces/{id}")).await.refused(400),
            "bad_request",
            "{id}"
        );
    }
    // Upper case names the same trace.
    assert_eq!(
        server
            .get(&format!("/api/v1/traces/{}", TRACE_HEX.to_uppercase()))
            .await
            .ok()["trace_id"],
        TRACE_HEX
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_traces_is_newest_first_and_filtered() {
    let server = Server::filled().await;
    let traces = server.get("/api/v1/traces").await.ok();
    assert_eq!(
        traces["traces"],
        json!([
            {
                "trace_id": "bb".repeat(16), "root_name": "GET /health", "root_service": "front",
                "timestamp": "2026-01-01T00:00:01.000000000Z", "duration_ns": 1_000_000,
                "span_count": 1, "error_count": 0, "service_count": 1
            },
            {
                "trace_id": TRACE_HEX, "root_name": "GET /cart", "root_service": "front",
                "timestamp": "2026-01-01T00:00:00.000000000Z", "duration_ns": 50_000_000,
                "span_count": 3, "error_count": 1, "service_count": 2
            }
        ])
    );
    for (query, expected) in [
        ("service=cart", vec![TRACE_HEX]),
        ("errors=true", vec![TRACE_HEX]),
        ("min_duration_ms=10", vec![TRACE_HEX]),
        ("name=GET%20%2Fhealth", vec!["bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"]),
        ("attribute=http.route%3D%2Fcart", vec![TRACE_HEX]),
        (
            "from=2026-01-01T00:00:00.5Z",
            vec!["bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"],
        ),
        ("to=2026-01-01T00:00:00.5Z", vec![TRACE_HEX]),
        ("limit=1", vec!["bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"]),
        ("service=none", vec![]),
        ("from=1h", vec![]),
        ("service='%20OR%20''%3D'", vec![]),
    ] {
        let found = server.get(&format!("/api/v1/traces?{query}")).await.ok();
        let ids: Vec<&Value> = found["traces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|trace| &trace["trace_id"])
            .collect();
        assert_eq!(ids, expected, "{query}");
    }
    for query in [
        "limit=0",
        "limit=501",
        "limit=x",
        "errors=1",
        "from=yesterday",
        "from=2&to=1",
        "servce=a",
        "min_duration_ms=0",
    ] {
        assert_eq!(
            server.get(&format!("/api/v1/traces?{query}")).await.refused(400),
            "bad_request",
            "{query}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attribute_keys_and_values_have_counts() {
    let server = Server::filled().await;
    let keys = server.get("/api/v1/attributes?signal=spans").await.ok();
    assert_eq!(keys["rows_examined"], 4);
    let listed = keys["keys"].as_array().unwrap();
    let find = |set: &str, key: &str| listed.iter().find(|one| one["set"] == set && one["key"] == key);
    assert_eq!(find("attributes", "http.route").unwrap()["count"], 2);
    assert_eq!(find("resource_attributes", "service.name").unwrap()["count"], 4);

    let values = server
        .get("/api/v1/attributes?signal=spans&key=http.route")
        .await
        .ok();
    let route = |value: &str| json!({"value": value, "count": 1});
    assert_eq!(
        values,
        json!({"key": "http.route", "values": [route("/cart"), route("/health")]})
    );
    let logs = server.get("/api/v1/attributes?key=retries").await.ok();
    assert_eq!(logs["values"], json!([{"value": "3", "count": 1}]));
    let services = server
        .get("/api/v1/attributes?set=resource_attributes&key=service.name")
        .await
        .ok();
    assert_eq!(
        services["values"],
        json!([{"value": "cart", "count": 2}, {"value": "front", "count": 1}])
    );
    let none = server.get("/api/v1/attributes?key=it's%20%22none%22").await.ok();
    assert_eq!(none["values"], json!([]));
    for query in ["signal=metrics", "set=body", "limit=0&key=a"] {
        assert_eq!(
            server
                .get(&format!("/api/v1/attributes?{query}"))
                .await
                .refused(400),
            "bad_request",
            "{query}"
        );
    }
}

/// The newest rows alone have counts; older ones are known from the catalog, and from what is in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_rare_key_is_listed_however_many_newer_rows_lack_it() {
    const DAY: u64 = 86_400_000_000_000;
    let server = Server::empty().await;
    let rare = |key: &str, at: u64| {
        let mut logs = LogsEncoder::new();
        {
            let mut resource = logs.resource_logs();
            resource.resource().attribute("service.name", "old");
            let mut scope = resource.scope_logs();
            let mut record = scope.record();
            record.time_unix_nano(at).body("rare").attribute(key, 1_i64);
        }
        logs.finish(TenantId::default_tenant())
    };
    server.store.append(rare("rare.segment", START)).await.unwrap();
    server.store.flush().await.unwrap();
    let mut many = LogsEncoder::new();
    {
        let mut resource = many.resource_logs();
        resource.resource().attribute("service.name", "new");
        let mut scope = resource.scope_logs();
        for index in 0..5_001_u64 {
            let mut record = scope.record();
            record
                .time_unix_nano(START + DAY + index)
                .body("x")
                .attribute("much", true);
        }
    }
    server
        .store
        .append(many.finish(TenantId::default_tenant()))
        .await
        .unwrap();
    server.store.flush().await.unwrap();
    server.store.append(rare("rare.memory", START + 1)).await.unwrap();
    let listed = async |query: &str| -> Vec<(String, i64)> {
        let path = format!("/api/v1/attributes?set=attributes{query}");
        let answer = server.get(&path).await.ok();
        let keys = answer["keys"].as_array().unwrap().iter();
        keys.map(|key| {
            let name = key["key"].as_str().unwrap().to_owned();
            (name, key["count"].as_i64().unwrap())
        })
        .collect()
    };
    let expect = |keys: &[(&str, i64)]| -> Vec<(String, i64)> {
        keys.iter()
            .map(|(key, count)| ((*key).to_owned(), *count))
            .collect()
    };
    assert_eq!(
        listed("").await,
        expect(&[("much", 5_000), ("rare.memory", 0), ("rare.segment", 0)])
    );
    assert_eq!(
        listed("&to=2026-01-01T12:00:00Z").await,
        expect(&[("rare.memory", 1), ("rare.segment", 1)])
    );
    assert_eq!(
        listed("&from=2026-01-01T12:00:00Z").await,
        expect(&[("much", 5_000)])
    );
    assert_eq!(listed("&limit=2").await.len(), 2);
    assert_eq!(listed("&service=new").await, expect(&[("much", 5_000)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_sends_only_metrics_is_a_service() {
    let server = Server::filled().await;
    let mut metrics = MetricsEncoder::new();
    {
        let mut resource = metrics.resource_metrics();
        resource.resource().attribute("service.name", "meter");
        let mut scope = resource.scope_metrics();
        for name in ["a", "b"] {
            let mut metric = scope.metric();
            metric.name(name);
            let mut gauge = metric.gauge();
            for host in ["x", "y"] {
                let mut point = gauge.point();
                point.time_unix_nano(START + 7).value(1.0).attribute("host", host);
            }
        }
    }
    let metrics = metrics.finish(TenantId::default_tenant());
    server.store.append(metrics).await.unwrap();
    for (query, there) in [
        ("", true),
        ("?from=2026-01-01T10:00:00Z&to=2026-01-02T00:00:00Z", true),
        ("?from=2026-01-02T00:00:00Z", false),
        ("?to=2026-01-01T00:00:00Z", false),
    ] {
        let services = server.get(&format!("/api/v1/services{query}")).await.ok();
        let services = services["services"].as_array().unwrap();
        let found = services.iter().find(|service| service["name"] == "meter");
        assert_eq!(found.is_some(), there, "{query}: {services:?}");
        if let Some(found) = found {
            assert_eq!(
                (&found["metric_count"], &found["span_count"], &found["log_count"]),
                (&json!(2), &json!(0), &json!(0))
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_and_who_calls_whom() {
    let server = Server::filled().await;
    let services = server.get("/api/v1/services").await.ok();
    let [cart, front] = services["services"].as_array().unwrap().as_slice() else {
        panic!("{services}")
    };
    assert_eq!((&cart["name"], &front["name"]), (&json!("cart"), &json!("front")));
    assert_eq!(
        (&cart["span_count"], &cart["error_count"], &cart["log_count"]),
        (&json!(2), &json!(1), &json!(2))
    );
    // The rates of a store that is younger than the range are not those of the range.
    let since = services["span_seconds"].as_f64().unwrap();
    let day = 86_400.0;
    let within = server.get("/api/v1/services?to=2000-01-01T00:00:00Z").await.ok();
    assert_eq!(within["span_seconds"], Value::Null);
    assert!(since > day, "{since}");
    let p50 = front["duration_p50_ns"].as_i64().unwrap();
    assert!((1_000_000..=50_000_000).contains(&p50), "{front}");
    assert_eq!(
        server.get("/api/v1/services?from=1h").await.ok(),
        json!({"services": [], "span_seconds": null})
    );

    let map = server.get("/api/v1/service-map").await.ok();
    let edge = &map["edges"][0];
    assert_eq!(
        (map["edges"].as_array().unwrap().len(), &edge["from"], &edge["to"]),
        (1, &json!("front"), &json!("cart"))
    );
    assert_eq!(
        (&edge["call_count"], &edge["error_count"]),
        (&json!(1), &json!(0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_sizes_and_no_telemetry() {
    let server = Server::filled().await;
    let status = server.get("/api/v1/status").await.ok();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["store"]["tenants"], 2);
    assert_eq!(status["store"]["segment_rows"], 4);
    assert!(status["store"]["unflushed_bytes"].as_u64().unwrap() > 0);
    assert_eq!(status["store"]["appended_items"], 9);
    assert_eq!(status["otlp"], json!({"grpc_port": null, "http_port": null}));
    server.api.announce_otlp(OtlpPorts {
        grpc_port: None,
        http_port: Some(4318),
    });
    let status = server.get("/api/v1/status").await.ok();
    assert_eq!(status["otlp"], json!({"grpc_port": null, "http_port": 4318}));
}
