//! One call, in a process of its own, whose only settings are variables.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const CHILD: &str = "CUPOLA_TEST_CHILD";

fn run(test: &str, directory: &Path, variables: &[(&str, &str)]) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("init::{test}"),
            "--ignored",
            "--nocapture",
            "--quiet",
        ])
        .current_dir(directory)
        .env_clear()
        .env(CHILD, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
#[ignore = "is run as a process by the tests here"]
fn an_application() {
    assert!(std::env::var_os(CHILD).is_some());
    let _cupola = cupola_sdk::init().unwrap();
    assert!(matches!(cupola_sdk::init(), Err(cupola_sdk::InitError::Twice)));
    let span = tracing::info_span!("checkout", order.id = 17).entered();
    tracing::info!(user.id = "alice", "order placed");
    tracing::debug!("not at this level");
    log::warn!("by the log crate");
    drop(span);
    let panicked = std::thread::spawn(|| panic!("on purpose")).join();
    assert!(panicked.is_err());
}

#[test]
fn variables_alone_make_logs_and_spans_of_a_process() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("cupola.yaml"),
        "logger:\n  service_name: cart\n  service_version: 1.2.3\n  log_level: INFO\n  enable_console: true\n  backends:\n\
         \x20   - backend_type: filesystem\n      signals: [logs, traces]\n      config: { log_file: ./logs/cart.jsonl }\n",
    )
    .unwrap();
    let output = run("an_application", directory.path(), &[]);
    let console = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{console}");
    assert!(
        console.contains("order placed") && console.contains("panicked: on purpose"),
        "{console}"
    );
    assert!(
        console.contains("thread '") && console.contains("on purpose"),
        "the usual words too: {console}"
    );
    assert!(!console.contains("not at this level"), "{console}");
    let all = lines(&directory.path().join("logs/cart.jsonl"));
    let logs: Vec<&Value> = all.iter().filter(|line| line.get("body").is_some()).collect();
    let bodies: Vec<&str> = logs.iter().map(|log| log["body"].as_str().unwrap()).collect();
    assert_eq!(
        bodies,
        ["order placed", "by the log crate", "panicked: on purpose"]
    );
    let members: Vec<&String> = logs[0].as_object().unwrap().keys().collect();
    let mut wanted = [
        "timestamp",
        "severity_text",
        "severity_number",
        "body",
        "trace_id",
        "span_id",
        "resource",
        "attributes",
    ];
    wanted.sort_unstable();
    let mut members: Vec<&str> = members.into_iter().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, wanted);
    assert_eq!(logs[0]["attributes"]["user.id"], "alice");
    assert_eq!(logs[0]["attributes"]["order.id"], 17);
    assert_eq!(logs[0]["resource"]["service.name"], "cart");
    assert_eq!(logs[0]["resource"]["service.version"], "1.2.3");
    assert!(
        logs[2]["attributes"]["exception.stacktrace"]
            .as_str()
            .unwrap()
            .contains("init")
    );
    let span = all.iter().find(|line| line["name"] == "checkout").unwrap();
    assert_eq!(span["trace_id"], logs[0]["trace_id"]);
    assert_eq!(span["span_id"], logs[1]["span_id"]);
}

#[test]
fn a_file_with_mistakes_says_where_they_are_and_a_dead_collector_keeps_nothing_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("cupola.yaml"),
        "logger:\n  servce_name: cart\n",
    )
    .unwrap();
    let output = run("an_application", directory.path(), &[]);
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success());
    assert!(
        said.contains("cupola.yaml:2:3") && said.contains("service_name"),
        "{said}"
    );
    std::fs::remove_file(directory.path().join("cupola.yaml")).unwrap();
    let dead = [
        ("OTEL_SERVICE_NAME", "cart"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("CUPOLA_EXIT_TIMEOUT", "200ms"),
    ];
    let output = run("an_application", directory.path(), &dead);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("could be delivered within"), "{said}");
}
