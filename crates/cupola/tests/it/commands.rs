//! `query`, `tail`, `trace`, `doctor` and `generate`, as a user runs them.

use std::path::Path;
use std::process::Stdio;

use cupola_telemetry::encode::{LogsEncoder, TracesEncoder};
use cupola_telemetry::{Batch, TenantId};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::{Server, cupola, eventually, run, signal, succeed};

const TIME: u64 = 1_767_225_600_000_000_000;
const TRACE: [u8; 16] = *b"0123456789abcdef";
pub(crate) const TRACE_HEX: &str = "30313233343536373839616263646566";

pub(crate) fn logs(bodies: &[(&str, i32)]) -> Batch {
    let mut encoder = LogsEncoder::new();
    let mut resource = encoder.resource_logs();
    resource.resource().attribute("service.name", "orders");
    let mut scope = resource.scope_logs();
    for (number, (body, severity)) in bodies.iter().enumerate() {
        let mut record = scope.record();
        record
            .time_unix_nano(TIME + number as u64 * 1_000_000)
            .severity_number(*severity)
            .body(*body);
        record.attribute("order.number", 100 + number as i64);
        record.trace_id(&TRACE).span_id(b"spanspan");
    }
    drop(scope);
    drop(resource);
    encoder.finish(TenantId::default_tenant())
}

pub(crate) fn trace() -> Batch {
    let mut encoder = TracesEncoder::new();
    for (service, id, parent, name, start, end, failed) in [
        ("web", b"rootroot", None, "GET /checkout", 0, 100, false),
        (
            "orders",
            b"spanspan",
            Some(b"rootroot"),
            "POST /orders",
            20,
            90,
            true,
        ),
    ] {
        let mut resource = encoder.resource_spans();
        resource.resource().attribute("service.name", service);
        let mut scope = resource.scope_spans();
        let mut span = scope.span();
        span.trace_id(&TRACE).span_id(id).name(name).kind(2);
        span.start_time_unix_nano(TIME + start * 1_000_000)
            .end_time_unix_nano(TIME + end * 1_000_000);
        if let Some(parent) = parent {
            span.parent_span_id(parent);
        }
        if failed {
            span.attribute("order.id", 7);
            span.status().message("no stock").code(2);
        }
    }
    encoder.finish(TenantId::default_tenant())
}

async fn filled(data: &Path) -> Server {
    let server = Server::start(data).await;
    server
        .send_ok(&logs(&[
            ("order placed", 9),
            ("slow, \"very\" slow", 13),
            ("out of stock", 17),
        ]))
        .await;
    server.send_ok(&trace()).await;
    server
}

const SQL: &str = "SELECT body, severity_number AS severity FROM logs ORDER BY timestamp";

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_answered_alike_by_a_server_and_offline_in_every_format() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().to_str().unwrap();
    let server = filled(data.path()).await;
    let formats = ["table", "json", "ndjson", "csv"];
    let mut online = Vec::new();
    for format in formats {
        online.push(succeed(&["query", SQL, "--format", format, "--url", &server.api]).await);
    }
    assert!(
        online[0].starts_with(
            "body               severity\n─────────────────  ────────\norder placed              9\n\
             slow, \"very\" slow        13\nout of stock             17\n(3 rows, "
        ),
        "{}",
        online[0]
    );
    assert_eq!(
        online[3],
        "body,severity\r\norder placed,9\r\n\"slow, \"\"very\"\" slow\",13\r\nout of stock,17\r\n"
    );
    assert_eq!(online[2].lines().count(), 3);
    assert!(server.stop().await.0.success());
    for (format, online) in formats.iter().zip(online) {
        let offline = succeed(&["query", SQL, "--format", format, "--data-dir", directory]).await;
        // Only how long it took, and its id, may differ.
        let comparable = |text: &str| match *format {
            "table" => text.rsplit_once("(3 rows").unwrap().0.to_owned(),
            "json" => serde_json::from_str::<Value>(text).unwrap()["rows"].to_string(),
            _ => text.to_owned(),
        };
        assert_eq!(comparable(&offline), comparable(&online), "{format}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_cut_where_no_terminal_is_and_columns_can_stand_below_one_another() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let ask = async |sql: &str, format: &str| {
        succeed(&["query", sql, "--format", format, "--url", &server.api]).await
    };
    let wide = "SELECT repeat('x', 300) AS a, repeat('y', 300) AS b";
    let shown = ask(wide, "table").await;
    let line = format!("{}  {}", "x".repeat(300), "y".repeat(300));
    assert!(shown.contains(&line), "{shown}");
    let shown = ask("SELECT 'x' AS a, 7 AS seven", "vertical").await;
    assert!(
        shown.starts_with("── row 1\na      x\nseven  7\n(1 row, "),
        "{shown}"
    );
    let plan = ask("EXPLAIN SELECT body FROM logs ORDER BY body", "table").await;
    assert!(plan.starts_with("logical_plan\n"), "{plan}");
    assert!(plan.lines().any(|line| line.starts_with("  ")), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_answer_of_the_default_tenant_hints_at_others() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let ask = async |tenant: &str| {
        let sql = "SELECT body FROM logs";
        let output = run(&["query", sql, "--url", &server.api, "--tenant", tenant]).await;
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    for tenant in ["acme", "globex"] {
        let mut encoder = LogsEncoder::new();
        let mut resource = encoder.resource_logs();
        resource.scope_logs().record().body("text");
        drop(resource);
        server
            .send_ok(&encoder.finish(TenantId::parse(tenant).unwrap()))
            .await;
    }
    let hint = ask("default").await;
    assert!(
        hint.starts_with("hint: the tenant `default` has no data"),
        "{hint}"
    );
    assert_eq!(ask("nobody").await, "");
    assert_eq!(ask("acme").await, "");
    server.send_ok(&trace()).await;
    assert_eq!(ask("default").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_statement_is_explained() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let output = run(&["query", "SELECT nonsense FROM logs", "--url", &server.api]).await;
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(
        shown.starts_with("error: ") && shown.contains("nonsense"),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_shows_what_arrives_and_matches() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let arguments = [
        "tail",
        "--url",
        &server.api,
        "--level",
        "warn",
        "--service",
        "orders",
        "--lines",
        "2",
        "--color",
        "never",
    ];
    let mut child = cupola(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    eventually("the tail to be connected", || async {
        let metrics = server
            .http
            .get(format!("{}/metrics", server.api))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        metrics.contains("cupola_api_tails 1")
    })
    .await;
    server
        .send_ok(&logs(&[("order placed", 9), ("slow", 13), ("out of stock", 17)]))
        .await;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    let second = lines.next_line().await.unwrap().unwrap();
    assert_eq!(
        first,
        format!("00:00:00.001 WARN  orders           slow trace={TRACE_HEX}")
    );
    assert_eq!(
        second,
        format!("00:00:00.002 ERROR orders           out of stock trace={TRACE_HEX}")
    );
    assert!(
        child.wait().await.unwrap().success(),
        "it stops after the lines it was asked for"
    );
}

#[tokio::test]
async fn tail_can_be_stopped_before_the_server_answers() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut child = cupola(&["tail", "--url", &url]).spawn().unwrap();
    let _connection = silent.accept().await.unwrap();
    signal("INT", child.id().unwrap()).await;
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_drawn_as_a_waterfall() {
    let data = tempfile::tempdir().unwrap();
    let server = filled(data.path()).await;
    let drawn = succeed(&["trace", TRACE_HEX, "--url", &server.api, "--color", "never"]).await;
    let lines: Vec<&str> = drawn.lines().collect();
    assert_eq!(
        lines[0],
        format!("{TRACE_HEX} 2026-01-01T00:00:00Z · 2 spans · 2 services · 100ms · 1 failed")
    );
    assert!(
        lines[1].starts_with("web GET /checkout ") && lines[1].contains("100ms ▇"),
        "{drawn}"
    );
    assert!(
        lines[2].starts_with("  orders ✗ POST /orders ") && lines[2].contains("70.0ms "),
        "{drawn}"
    );
    assert_eq!(lines[3], "    no stock");
    assert!(drawn.contains("› error out of stock"), "{drawn}");
    assert!(!drawn.contains("order.id"), "{drawn}");
    let url = ["trace", TRACE_HEX, "--url", &server.api];
    let all = succeed(&[&url[..], &["--attributes", "--color", "never"]].concat()).await;
    assert_eq!(all.replace("    order.id = 7\n", ""), drawn);
    let coloured = succeed(&[&url[..], &["--color", "always"]].concat()).await;
    assert!(
        coloured.contains("\u{1b}[31m✗ POST /orders\u{1b}[0m"),
        "{coloured}"
    );
    assert!(server.stop().await.0.success());
    let offline = succeed(&[
        "trace",
        TRACE_HEX,
        "--data-dir",
        data.path().to_str().unwrap(),
        "--color",
        "never",
    ])
    .await;
    assert_eq!(offline, drawn);
    let absent = "ffffffffffffffffffffffffffffffff";
    let output = run(&["trace", absent, "--data-dir", data.path().to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_and_repairs_damage() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().to_str().unwrap();
    succeed(&[
        "generate",
        "--data-dir",
        directory,
        "-n",
        "500",
        "--services",
        "3",
    ])
    .await;
    let healthy = succeed(&["doctor", "--data-dir", directory]).await;
    assert!(healthy.ends_with("nothing is wrong\n"), "{healthy}");
    let segment = any_parquet(&data.path().join("data")).unwrap();
    std::fs::write(&segment, b"this is no Parquet").unwrap();
    let output = run(&["doctor", "--data-dir", directory]).await;
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("unreadable: "), "{shown}");
    let failure = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        failure,
        "error: 1 problem is not repaired\n  hint: repair with `cupola doctor --repair`\n"
    );
    let output = run(&["doctor", "--data-dir", directory, "--json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let path = segment.strip_prefix(data.path()).unwrap();
    assert_eq!(report["problems"][0]["kind"], "unreadable", "{report}");
    assert_eq!(report["problems"][0]["path"], path.to_str().unwrap(), "{report}");
    assert_eq!(report["problems"][0]["repaired"], false, "{report}");
    assert!(
        report["segments"].as_u64() > Some(1) && report["rows"].as_u64() > Some(0),
        "{report}"
    );
    let repaired = succeed(&["doctor", "--data-dir", directory, "--repair"]).await;
    let rows = report["problems"][0]["rows"].as_u64().unwrap();
    let moved = format!("(moved to quarantine/{}; its {rows} row", path.display());
    assert!(repaired.contains(&moved), "{repaired}");
    assert!(
        repaired.contains(&format!("repaired, with a loss: {rows} row")),
        "{repaired}"
    );
    let healthy = succeed(&["doctor", "--data-dir", directory]).await;
    assert!(healthy.ends_with("nothing is wrong\n"), "{healthy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_telemetry_goes_to_an_endpoint_to_files_and_into_a_directory() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let common = [
        "-n",
        "1200",
        "--batch",
        "500",
        "--services",
        "4",
        "--tenants",
        "acme,globex",
    ];
    for (protocol, endpoint) in [("grpc", &server.otlp_grpc), ("http/protobuf", &server.otlp_http)] {
        let mut arguments = vec![
            "generate",
            "--endpoint",
            endpoint,
            "--protocol",
            protocol,
            "--compression",
            "gzip",
        ];
        arguments.extend(common);
        succeed(&arguments).await;
    }
    let mut spans = 0;
    for tenant in ["acme", "globex"] {
        spans += server.count(tenant, "SELECT count(*) FROM spans").await;
    }
    assert_eq!(spans, 2_400);
    let files = tempfile::tempdir().unwrap();
    let mut arguments = vec![
        "generate",
        "--output",
        files.path().to_str().unwrap(),
        "--format",
        "ndjson",
    ];
    arguments.extend(common);
    succeed(&arguments).await;
    let lines = |tenant: &str| {
        let path = files.path().join(tenant).join("logs.ndjson");
        std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
    };
    assert_eq!(lines("acme") + lines("globex"), 1_200);
}

#[tokio::test]
async fn the_version_is_told() {
    let version = succeed(&["version"]).await;
    assert_eq!(version, format!("cupola {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(succeed(&["--version"]).await, version);
}

fn any_parquet(directory: &Path) -> Option<std::path::PathBuf> {
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        let path = entry.path();
        let found = if path.is_dir() {
            any_parquet(&path)
        } else {
            Some(path)
        };
        if let Some(found) =
            found.filter(|found| found.extension().is_some_and(|extension| extension == "parquet"))
        {
            return Some(found);
        }
    }
    None
}
