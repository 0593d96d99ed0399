//! Setting up a process: what it has one of, so that each test has a process of its own.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cupola_sdk::InitError;
use serde_json::Value;

/// Tells the child which part is its.
const PART: &str = "CUPOLA_SDK_TEST_PART";

/// Runs `part` of [`child`] in a process of its own, in a directory with this configuration.
fn run(part: &str, directory: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "init::child", "--nocapture", "--test-threads", "1"]);
    command
        .current_dir(directory)
        .env(PART, part)
        .env_remove("RUST_LOG");
    command
        .env_remove("RUST_BACKTRACE")
        .envs(variables.iter().copied());
    command.output().unwrap()
}

/// A directory with a configuration that writes lines of JSON.
fn directory(more: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "logger:\n  service_name: shop\n{more}  backends:\n    - backend_type: filesystem\n      config: {{ log_file: ./out.jsonl }}\n"
    );
    std::fs::write(directory.path().join("cupola.yaml"), text).unwrap();
    directory
}

fn lines(directory: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(directory.join("out.jsonl")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn bodies(directory: &Path) -> Vec<String> {
    let lines = lines(directory);
    lines
        .iter()
        .map(|line| line["body"].as_str().unwrap().to_owned())
        .collect()
}

/// What a child does; nothing in the process of the tests.
#[test]
fn child() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    match part.as_str() {
        "usual" => usual(),
        "panics" => panics(),
        "dead" => dead(),
        "twice" => twice(),
        "reloads" => reloads(),
        "forks" => forks(),
        other => panic!("no part {other}"),
    }
}

fn usual() {
    let _cupola = cupola_sdk::init().unwrap();
    tracing::info_span!("order", tenant = "north").in_scope(|| {
        tracing::info!(user.id = 7, "placed");
        log::warn!(target: "old::crate", "from log");
    });
    tracing::debug!("not");
}

#[test]
fn one_call_sets_up_records_console_and_the_crate_log() {
    let directory = directory("");
    let output = run("usual", directory.path(), &[("NO_COLOR", "1")]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let lines = lines(directory.path());
    assert_eq!(bodies(directory.path()), ["placed", "from log"]);
    assert_eq!(lines[0]["resource"]["service.name"], "shop");
    assert_eq!(
        (
            &lines[0]["attributes"]["tenant"],
            &lines[0]["attributes"]["user.id"]
        ),
        (&"north".into(), &7.into())
    );
    assert_eq!(lines[0]["span_id"], lines[1]["span_id"]);
    assert_eq!(lines[1]["severity_text"], "WARN");
    assert_eq!(lines[1]["attributes"]["tenant"], "north");
    assert_eq!(lines[1]["attributes"]["code.file.path"], file!());
    assert!(lines[1]["attributes"].get("log.target").is_none());
    assert!(stderr.contains(" INFO  it::init "), "{stderr}");
    assert!(stderr.contains(" WARN  old::crate "), "{stderr}");
    assert!(!stderr.contains("warning"), "{stderr}");
}

#[test]
fn the_sdk_says_of_itself_what_its_level_lets_through() {
    let directory = directory("");
    let told = |level: &str| {
        let variables = [
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("CUPOLA_CONSOLE", "off"),
            ("OTEL_LOG_LEVEL", level),
        ];
        let output = run("usual", directory.path(), &variables);
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    for level in ["warn", "info"] {
        let stderr = told(level);
        assert!(
            stderr.contains("cupola: environment: warning: OTEL_TRACES_SAMPLER: `sometimes` is none"),
            "{stderr}"
        );
    }
    for level in ["error", "none"] {
        assert_eq!(told(level), "");
    }
}

#[test]
fn directives_of_the_variable_go_before_the_level_of_the_file() {
    let directory = directory("  log_level: ERROR\n");
    run("usual", directory.path(), &[]);
    assert!(bodies(directory.path()).is_empty());
    run(
        "usual",
        directory.path(),
        &[("RUST_LOG", "off,old=warn"), ("CUPOLA_LOG_LEVEL", "TRACE")],
    );
    assert_eq!(bodies(directory.path()), ["from log"]);
}

fn panics() {
    let _cupola = cupola_sdk::init().unwrap();
    let span = tracing::info_span!("order", tenant = "north");
    let fails = std::panic::AssertUnwindSafe(|| span.in_scope(|| panic!("no {}", "stock")));
    assert!(std::panic::catch_unwind(fails).is_err());
}

#[test]
fn a_panic_is_recorded_with_its_stack_in_its_span_and_still_told_as_before() {
    let directory = directory("");
    let output = run("panics", directory.path(), &[]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("panicked at"),
        "the hook that was there is called: {stderr}"
    );
    let lines = lines(directory.path());
    assert_eq!(lines[0]["body"], "panicked: no stock");
    assert_eq!(
        (
            &lines[0]["severity_text"],
            &lines[0]["attributes"]["exception.type"]
        ),
        (&"ERROR".into(), &"panic".into())
    );
    assert_eq!(lines[0]["attributes"]["exception.message"], "no stock");
    let stack = lines[0]["attributes"]["exception.stacktrace"].as_str().unwrap();
    assert!(stack.contains("init::panics"), "{stack}");
    assert_eq!(lines[0]["attributes"]["code.file.path"], file!());
    assert_eq!(lines[0]["span_id"].as_str().unwrap().len(), 16);
}

fn dead() {
    let begun = Instant::now();
    let cupola = cupola_sdk::builder()
        .service_name("shop")
        .change(|settings| settings.exit_timeout = Duration::from_millis(300))
        .init()
        .unwrap();
    tracing::info!("for nobody");
    drop(cupola);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_destination_that_is_not_there_keeps_nobody_from_starting_and_ending() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_LOGS_EXPORTER", "otlp"),
    ];
    let output = run("dead", directory.path(), &variables);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn twice() {
    let first = cupola_sdk::builder().service_name("shop").init().unwrap();
    assert!(matches!(cupola_sdk::init(), Err(InitError::Twice)));
    drop(first);
    assert!(matches!(cupola_sdk::init(), Err(InitError::Twice)));
}

#[test]
fn a_second_set_up_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let output = run("twice", directory.path(), &[]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn what_is_written_wrongly_is_an_error_with_its_place() {
    let environment = cupola_sdk::core::configuration::Environment::of([("RUST_LOG", "loud=very")]);
    let error = cupola_sdk::builder()
        .environment(environment)
        .build()
        .unwrap_err();
    assert!(matches!(error, InitError::Filter(_)), "{error:?}");
    let directory = directory("  log_levle: INFO\n");
    let environment = cupola_sdk::core::configuration::Environment::system().with(
        "CUPOLA_CONFIG",
        directory.path().join("cupola.yaml").to_str().unwrap(),
    );
    let error = cupola_sdk::builder()
        .environment(environment)
        .build()
        .unwrap_err();
    let InitError::Configuration(error) = error else {
        panic!("{error:?}")
    };
    assert!(error.to_string().contains("log_levle"), "{error}");
}

/// Says it until a file has it, or until it has been so long that it never will.
fn say_until(body: &'static str, file: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        tracing::debug!("{body}");
        log::debug!("{body}");
        if std::fs::read_to_string(file).is_ok_and(|text| text.contains(body)) {
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

fn reloads() {
    let _cupola = cupola_sdk::init().unwrap();
    tracing::debug!("before");
    tracing::info!("the first, with which the thread begins that looks at files");
    let text = std::fs::read_to_string("cupola.yaml").unwrap();
    let text = text
        .replace("log_level: INFO", "log_level: DEBUG")
        .replace("out.jsonl", "other.jsonl");
    std::fs::write("cupola.yaml", text).unwrap();
    say_until("after", Path::new("other.jsonl"));
}

#[test]
fn a_file_that_changes_is_put_in_force_while_the_application_runs() {
    let directory = directory("  log_level: INFO\n");
    let output = run("reloads", directory.path(), &[]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!bodies(directory.path()).iter().any(|body| body == "before"));
}

fn forks() {
    let cupola = cupola_sdk::init().unwrap();
    let span = tracing::info_span!("shared", tenant = "north");
    let entered = span.enter();
    tracing::info!("by the parent");
    assert!(cupola.flush(Duration::from_secs(60)));
    // SAFETY: the child records, flushes and ends without unwinding.
    let child = unsafe { libc::fork() };
    if child == 0 {
        tracing::info!("by the child");
        tracing::info_span!("of the child").in_scope(|| {});
        drop(entered);
        drop(span);
        let is_flushed = cupola.flush(Duration::from_secs(60));
        // SAFETY: nothing of the parent's is ended by it.
        unsafe { libc::_exit(i32::from(!is_flushed)) };
    }
    let mut status = 0;
    // SAFETY: it waits for the child that was made above.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
}

#[test]
fn the_child_of_a_fork_records_in_the_span_of_its_parent_and_does_not_end_it() {
    let directory = tempfile::tempdir().unwrap();
    let text = "logger:\n  service_name: shop\n  backends:\n    - backend_type: filesystem\n      signals: [logs, traces]\n\
                \x20     config: { log_file: ./out.jsonl }\n";
    std::fs::write(directory.path().join("cupola.yaml"), text).unwrap();
    let output = run("forks", directory.path(), &[]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = lines(directory.path());
    let named = |name: &str| -> Vec<Value> {
        let of_name = |line: &&Value| line["name"] == name || line["body"] == name;
        lines.iter().filter(of_name).cloned().collect()
    };
    let (shared, own) = (named("shared"), named("of the child"));
    assert_eq!((shared.len(), own.len()), (1, 1));
    let (parent, child) = (named("by the parent"), named("by the child"));
    assert_eq!((parent.len(), child.len()), (1, 1));
    for log in [&parent[0], &child[0]] {
        assert_eq!(log["span_id"], shared[0]["span_id"]);
    }
    assert_eq!(own[0]["parent_span_id"], shared[0]["span_id"]);
    assert_ne!(
        parent[0]["resource"]["process.pid"],
        child[0]["resource"]["process.pid"]
    );
}
