//! A data directory that this version wrote opens in every later one, with the answers it had. `cargo xtask fixture`
//! writes it again, which is done once for each released format and never over an old one.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Server, copy_directory, succeed};

const QUESTIONS: &[&str] = &[
    "SELECT service_name, severity_text, count(*) FROM logs GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT body, trace_id, attributes['user.id'] AS user, attributes['duration_ms'] AS took FROM logs ORDER BY timestamp, body LIMIT 20",
    "SELECT name, kind, span_id, parent_span_id, attributes['http.route'] AS route FROM spans ORDER BY timestamp, span_id LIMIT 20",
    "SELECT service_name, count(*), sum(duration) FROM spans GROUP BY 1 ORDER BY 1",
    "SELECT name, count(*), sum(value), sum(count), sum(sum) FROM metrics GROUP BY name ORDER BY name",
];
const TENANTS: [&str; 2] = ["default", "acme"];

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/store-v1")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_of_version_1_opens_and_answers_as_it_did() {
    let fixture = fixture();
    if std::env::var_os("CUPOLA_WRITE_FIXTURE").is_some() {
        write(&fixture).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    copy_directory(&fixture.join("data"), &data);
    let text = std::fs::read_to_string(fixture.join("answers.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let answers = answers(&data).await;
    for (question, answer) in expected.as_object().unwrap() {
        assert_eq!(&answers[question], answer, "{question}");
    }
    assert_eq!(
        answers.as_object().unwrap().len(),
        expected.as_object().unwrap().len()
    );
    let report = succeed(&["doctor", "--data-dir", data.to_str().unwrap()]).await;
    assert!(report.ends_with("nothing is wrong\n"), "{report}");
}

async fn answers(data: &Path) -> Value {
    let server = Server::start_with(data, &["--own-telemetry", "off"]).await;
    let mut answers = serde_json::Map::new();
    for tenant in TENANTS {
        for question in QUESTIONS {
            let rows = server.sql(tenant, question).await;
            answers.insert(
                format!("{tenant}: {question}"),
                rounded(serde_json::to_value(rows).unwrap()),
            );
        }
    }
    assert!(server.stop().await.0.success());
    answers.into()
}

/// Sums of doubles depend on the order of rows in the last digits.
fn rounded(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(rounded).collect(),
        Value::Number(number) if number.is_f64() => format!("{:.6e}", number.as_f64().unwrap()).into(),
        other => other,
    }
}

/// Segments written by a flush, and a log that was not flushed: a later version must read both.
async fn write(fixture: &Path) {
    let data = fixture.join("data");
    let _ = std::fs::remove_dir_all(fixture);
    let generate = |to: [String; 2], start: &'static str| {
        let [flag, target] = to;
        async move {
            let arguments = [
                "generate",
                &flag,
                &target,
                "-n",
                "150",
                "--batch",
                "50",
                "--services",
                "4",
                "--pods",
                "2",
                "--seed",
                "7",
                "--start",
                start,
                "--span",
                "90m",
                "--tenants",
                "default,acme",
            ];
            succeed(&arguments).await
        }
    };
    generate(
        ["--data-dir".to_owned(), data.to_str().unwrap().to_owned()],
        "2026-01-01T00:00:00Z",
    )
    .await;
    let server = Server::start_with(&data, &["--own-telemetry", "off", "--flush-interval", "1h"]).await;
    generate(
        ["--endpoint".to_owned(), server.otlp_grpc.clone()],
        "2026-01-01T02:00:00Z",
    )
    .await;
    // Killed, not stopped: what it took last is in its log only.
    server.kill().await;
    for unneeded in ["spill", "tmp"] {
        let _ = std::fs::remove_dir_all(data.join(unneeded));
    }
    let copy = tempfile::tempdir().unwrap();
    copy_directory(&data, &copy.path().join("data"));
    let answers = answers(&copy.path().join("data")).await;
    std::fs::write(
        fixture.join("answers.json"),
        serde_json::to_string_pretty(&answers).unwrap() + "\n",
    )
    .unwrap();
}
