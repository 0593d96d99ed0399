//! Precedence of flag, environment, file and default; mistakes are named with their place.

use std::path::Path;

use crate::support::{cupola, normalized, run, succeed};

fn write(directory: &Path, text: &str) -> String {
    let path = directory.join("cupola.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_flag_goes_before_the_environment_before_the_file_before_the_default() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(
        directory.path(),
        "receivers:\n  otlp:\n    protocols:\n      grpc:\n        endpoint: 127.0.0.1:1001\n      http:\n\
         \x20       endpoint: 127.0.0.1:1002\napi:\n  endpoint: 127.0.0.1:1003\nmemory:\n  limit: 300MiB\n",
    );
    let output = cupola(&[
        "config",
        "show",
        "--config",
        &file,
        "--otlp-grpc",
        "127.0.0.1:3001",
    ])
    .env("CUPOLA_OTLP_GRPC", "127.0.0.1:2001")
    .env("CUPOLA_OTLP_HTTP", "127.0.0.1:2002")
    .output()
    .await
    .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "127.0.0.1:3001",
        "127.0.0.1:2002",
        "127.0.0.1:1003",
        "300MiB",
        "127.0.0.1:13133",
    ] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
    assert!(
        !shown.contains("2001") && !shown.contains("1001") && !shown.contains("1002"),
        "{shown}"
    );
    let again = write(directory.path(), &shown);
    assert_eq!(
        succeed(&["config", "show", "--config", &again]).await,
        shown,
        "what is shown can be read"
    );
    let check = succeed(&["config", "check", "--config", &again]).await;
    assert!(check.ends_with("cupola.yaml is valid\n"), "{check}");
}

#[tokio::test]
async fn the_files_that_the_documentation_shows_are_valid() {
    let directory = tempfile::tempdir().unwrap();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let pages = [
        "configuration.md",
        "pipelines.md",
        "connectors.md",
        "exporters/postgres.md",
        "exporters/elasticsearch.md",
    ];
    let pages = pages.map(|page| std::fs::read_to_string(docs.join(page)).unwrap());
    let of_page = |page: &String| -> Vec<String> {
        let blocks = page
            .split("```yaml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next());
        blocks.map(str::to_owned).collect()
    };
    let blocks: Vec<String> = pages.iter().flat_map(of_page).collect();
    assert!(blocks.len() >= 7 && blocks[0].contains("\nquery:"), "{blocks:?}");
    for block in blocks {
        let file = write(directory.path(), &block);
        let check = succeed(&["config", "check", "--config", &file]).await;
        assert!(check.ends_with("cupola.yaml is valid\n"), "{check}");
    }
}

#[tokio::test]
async fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(
        directory.path(),
        "receivers:\n  otlp:\n    protocols:\n      grpc:\n        endpont: 0.0.0.0:4317\n",
    );
    let output = run(&["serve", "--config", &file]).await;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        normalized(&output.stderr, &[(&file, "FILE")]),
        "error: the configuration is not valid\n\n\
         \x20 FILE:5:9: receivers.otlp.protocols.grpc.endpont: unknown key\n\
         \x20   |\n\
         \x20 5 |         endpont: 0.0.0.0:4317\n\
         \x20   |         ^\n\
         \x20 hint: did you mean `endpoint`?\n"
    );
}

#[tokio::test]
async fn a_value_of_the_wrong_kind_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "store:\n  flush_interval: soon\n");
    let output = run(&["config", "check", "--config", &file]).await;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        normalized(&output.stderr, &[(&file, "FILE")]),
        "error: the configuration is not valid\n\n\
         \x20 FILE:2:19: store.flush_interval: `soon` is not a duration; write for example 500ms, 10s, 1h30m or 90d\n\
         \x20   |\n\
         \x20 2 |   flush_interval: soon\n\
         \x20   |                   ^\n"
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_read_stops_only_what_needs_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "no: such section\n");
    let version = cupola(&["version"])
        .env("CUPOLA_CONFIG", &file)
        .output()
        .await
        .unwrap();
    assert!(version.status.success());
    let check = cupola(&["config", "check"])
        .env("CUPOLA_CONFIG", &file)
        .output()
        .await
        .unwrap();
    assert_eq!(check.status.code(), Some(2));
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let output = run(&["config", "check", "--memory-limit", "1MiB"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: the memory limit of 1MiB is too small\n  hint: give at least 128MiB with --memory-limit\n"
    );
    let output = run(&["serve", "--config", "/nowhere/cupola.yaml"]).await;
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(
        shown.starts_with("error: cannot read the configuration /nowhere/cupola.yaml\n  cause: No such file"),
        "{shown}"
    );
}
