//! One call, in a process of its own, whose only settings are variables.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cupola_sdk::core::configuration::Environment;
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
    let panicked = std::thread::spawn(|| {
        let span = tracing::info_span!("fails");
        span.in_scope(|| panic!("on {}", "purpose"));
    });
    assert!(panicked.join().is_err());
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
    assert_eq!(logs[2]["attributes"]["exception.type"], "panic");
    assert_eq!(logs[2]["attributes"]["exception.message"], "on purpose");
    assert_eq!(logs[2]["attributes"]["code.file.path"], file!());
    assert_eq!(logs[1]["attributes"]["code.file.path"], file!());
    assert!(logs[1]["attributes"].get("log.target").is_none());
    let failed = all.iter().find(|line| line["name"] == "fails").unwrap();
    assert_eq!(failed["span_id"], logs[2]["span_id"]);
    let failed = failed.to_string();
    assert!(
        failed.contains("exception.stacktrace") && failed.contains("on purpose"),
        "{failed}"
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

/// A configuration that writes lines of JSON to `out.jsonl`.
fn configure(directory: &Path, more: &str) {
    let text = format!(
        "logger:\n  service_name: cart\n{more}  backends:\n    - backend_type: filesystem\n      config: {{ log_file: ./out.jsonl }}\n"
    );
    std::fs::write(directory.join("cupola.yaml"), text).unwrap();
}

fn bodies(directory: &Path) -> Vec<String> {
    let path = directory.join("out.jsonl");
    let lines = if path.exists() { lines(&path) } else { Vec::new() };
    lines
        .iter()
        .map(|line| line["body"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_level_of_a_file_holds_and_directives_of_the_variable_go_before_it() {
    let directory = tempfile::tempdir().unwrap();
    configure(directory.path(), "  log_level: ERROR\n");
    run("an_application", directory.path(), &[]);
    assert_eq!(bodies(directory.path()), ["panicked: on purpose"]);
    std::fs::remove_file(directory.path().join("out.jsonl")).unwrap();
    configure(directory.path(), "  log_level: TRACE\n");
    run("an_application", directory.path(), &[]);
    assert!(bodies(directory.path()).contains(&"not at this level".to_owned()));
    std::fs::remove_file(directory.path().join("out.jsonl")).unwrap();
    run(
        "an_application",
        directory.path(),
        &[("RUST_LOG", "off,it::init=warn")],
    );
    assert_eq!(bodies(directory.path()), ["by the log crate"]);
}

/// Says it until a file has it, or until it has been so long that it never will.
fn say_until(body: &'static str, file: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        tracing::debug!("{body}");
        log::debug!("{body} by log");
        tracing::error!("something to export");
        if std::fs::read_to_string(file).is_ok_and(|text| text.contains(&format!("{body} by log"))) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{body} never came to {}",
            file.display()
        );
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "is run as a process by the tests here"]
fn an_application_whose_file_changes() {
    assert!(std::env::var_os(CHILD).is_some());
    let _cupola = cupola_sdk::init().unwrap();
    tracing::debug!("before");
    let text = std::fs::read_to_string("cupola.yaml").unwrap();
    let text = text
        .replace("log_level: INFO", "log_level: DEBUG")
        .replace("out.jsonl", "other.jsonl");
    std::fs::write("cupola.yaml", text).unwrap();
    say_until("after", Path::new("other.jsonl"));
}

#[test]
fn a_file_that_changes_is_put_in_force_while_the_application_runs() {
    let directory = tempfile::tempdir().unwrap();
    configure(directory.path(), "  log_level: INFO\n");
    let output = run("an_application_whose_file_changes", directory.path(), &[]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!bodies(directory.path()).iter().any(|body| body == "before"));
}

#[test]
fn directives_that_cannot_be_read_are_an_error() {
    let environment = Environment::of([("RUST_LOG", "loud=very")]);
    let builder = cupola_sdk::builder().environment(environment);
    let error = builder.build::<tracing_subscriber::Registry>().unwrap_err();
    assert!(matches!(error, cupola_sdk::InitError::Filter(_)), "{error:?}");
    assert!(error.to_string().contains("loud=very"), "{error}");
}
