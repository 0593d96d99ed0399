//! A data directory that an earlier version wrote opens in every later one, with the answers it had. `cargo xtask fixture`
//! writes another one, which is done once for each released format and never over an old one.

use std::path::{Path, PathBuf};

use cupola_telemetry::{Batch, Signal, TenantId};
use serde_json::{Value, json};

use crate::support::{Server, copy_directory, succeed};

/// Asked of a new fixture. One that is there is asked what it has answers to.
const QUESTIONS: &[&str] = &[
    "SELECT service_name, severity_text, count(*) FROM logs GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT timestamp, level, body, body_type, trace_id, span_id, attributes, resource_attributes FROM logs ORDER BY timestamp, body",
    "SELECT body FROM logs WHERE match(body, 'payment timeout') ORDER BY timestamp, body",
    "SELECT body FROM logs WHERE match(body, 'RESET peer') ORDER BY timestamp, body",
    "SELECT body FROM logs WHERE match(body, 'login') ORDER BY timestamp, body",
    "SELECT count(*) FROM logs WHERE match(body, 'absent')",
    "SELECT count(*) FROM logs WHERE body LIKE '%reset by peer%'",
    "SELECT count(*) FROM logs WHERE attributes['http.route'] = '/checkout'",
    "SELECT name, kind, trace_id, span_id, parent_span_id, duration, attributes, events, links FROM spans ORDER BY timestamp, span_id",
    "SELECT e['name'] AS name, e['attributes'] AS attributes FROM (SELECT unnest(events) AS e FROM spans) ORDER BY 1, 2",
    "SELECT name, type, count(*), sum(value), sum(count), sum(sum) FROM metrics GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT timestamp, bucket_counts, explicit_bounds FROM metrics WHERE type = 'histogram' ORDER BY timestamp",
    "SELECT timestamp, count, sum, scale, zero_count, positive_offset, positive_bucket_counts FROM metrics WHERE type = 'exponential_histogram' ORDER BY timestamp",
    "SELECT timestamp, quantile_values FROM metrics WHERE type = 'summary' ORDER BY timestamp",
    "SELECT timestamp, value, trace_id FROM exemplars ORDER BY timestamp",
];
const TENANTS: [&str; 2] = ["default", "acme"];
/// Nothing happens by itself while a fixture is written.
const CONFIGURATION: &str = "\
store:
  flush_interval: 1h
  compaction:
    interval: 1h
    files_min: 2
service:
  telemetry:
    enabled: false
";
const QUIET: [&str; 2] = ["--own-telemetry", "off"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_store_ever_written_opens_and_answers_as_it_did() {
    if let Ok(name) = std::env::var("CUPOLA_WRITE_FIXTURE") {
        write(&fixtures().join(name)).await;
    }
    let (mut opened, mut with_words) = (0, 0);
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let fixture = entry.unwrap().path();
        if !fixture
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("store-")
        {
            continue;
        }
        check(&fixture).await;
        opened += 1;
        with_words += usize::from(has_word_index(&fixture));
    }
    assert!(opened >= 2, "{opened}");
    assert!(with_words >= 1, "no fixture has a merged segment");
}

async fn check(fixture: &Path) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    copy_directory(&fixture.join("data"), &data);
    let text = std::fs::read_to_string(fixture.join("answers.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let expected = expected.as_object().unwrap();
    assert!(!expected.is_empty());
    let server = Server::start_with(&data, &QUIET).await;
    for (asked, answer) in expected {
        let (tenant, question) = asked.split_once(": ").unwrap();
        assert_eq!(
            &ask(&server, tenant, question).await,
            answer,
            "{}: {asked}",
            fixture.display()
        );
    }
    assert!(server.stop().await.0.success());
    let report = succeed(&["doctor", "--data-dir", data.to_str().unwrap()]).await;
    assert!(
        report.ends_with("nothing is wrong\n"),
        "{}: {report}",
        fixture.display()
    );
}

async fn ask(server: &Server, tenant: &str, question: &str) -> Value {
    rounded(serde_json::to_value(server.sql(tenant, question).await).unwrap())
}

/// Sums of doubles depend on the order of rows in the last digits.
fn rounded(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(rounded).collect(),
        Value::Number(number) if number.is_f64() => format!("{:.6e}", number.as_f64().unwrap()).into(),
        other => other,
    }
}

/// Whether the catalog names a segment with an index of words, which only a merge makes.
fn has_word_index(fixture: &Path) -> bool {
    let manifests = std::fs::read_dir(fixture.join("data/manifest")).unwrap();
    let texts = manifests.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    texts.into_iter().any(|text| text.contains("\"words\":{"))
}

/// The telemetry of the SQL cases: bodies of every type, events and links, points of every kind.
fn batches(tenant: &str) -> Vec<Batch> {
    let tenant = TenantId::parse(tenant).unwrap();
    let mut batches = Vec::new();
    for (file, signal) in [
        ("logs.ndjson", Signal::Logs),
        ("traces.ndjson", Signal::Traces),
        ("metrics.ndjson", Signal::Metrics),
    ] {
        let text = std::fs::read_to_string(fixtures().join("../sql/data").join(file)).unwrap();
        let decode = |line: &str| Batch::decode_json(signal, tenant.clone(), line.as_bytes()).unwrap();
        batches.extend(text.lines().map(decode));
    }
    batches
}

async fn admin(server: &Server, what: &str, body: Value) -> Value {
    let url = format!("{}/api/v1/admin/{what}", server.api);
    let answer = server.http.post(url).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{what}");
    answer.json().await.unwrap()
}

/// Merged segments of which rows were deleted, for one tenant; segments of one flush, and a log that was not flushed, for
/// another. A later version must read them all.
async fn write(fixture: &Path) {
    std::fs::create_dir(fixture).expect("a fixture is written once");
    let data = fixture.join("data");
    let temporary = tempfile::tempdir().unwrap();
    let configuration = temporary.path().join("cupola.yaml");
    std::fs::write(&configuration, CONFIGURATION).unwrap();
    let server = Server::start_with(&data, &["--config", configuration.to_str().unwrap()]).await;
    let [merged, flushed] = TENANTS;
    for batch in batches(merged) {
        server.send_ok(&batch).await;
        admin(&server, "flush", json!({})).await;
    }
    assert!(
        admin(&server, "compact", json!({})).await["merges"]
            .as_u64()
            .unwrap()
            >= 3
    );
    let route = json!({"attributes": [{"key": "http.route", "value": "/checkout"}]});
    let deleted = admin(&server, "delete", route).await;
    assert!(deleted["segments_rewritten"].as_u64().unwrap() >= 1, "{deleted}");
    let batches = batches(flushed);
    let (first, rest) = batches.split_at(1);
    for batch in first {
        server.send_ok(batch).await;
    }
    admin(&server, "flush", json!({})).await;
    for batch in rest {
        server.send_ok(batch).await;
    }
    // Killed, not stopped: what it took last is in its log only.
    server.kill().await;
    for unneeded in ["spill", "tmp"] {
        let _ = std::fs::remove_dir_all(data.join(unneeded));
    }
    assert!(has_word_index(fixture));
    let copy = temporary.path().join("data");
    copy_directory(&data, &copy);
    let server = Server::start_with(&copy, &QUIET).await;
    let mut answers = serde_json::Map::new();
    for tenant in TENANTS {
        for question in QUESTIONS {
            answers.insert(
                format!("{tenant}: {question}"),
                ask(&server, tenant, question).await,
            );
        }
    }
    let text = serde_json::to_string_pretty(&answers).unwrap() + "\n";
    std::fs::write(fixture.join("answers.json"), text).unwrap();
}
