//! Commands on a data directory find the segments where `serve` puts them, and asking changes nothing.

use std::path::Path;

use cupola_generator::{Generator, GeneratorConfig};

use crate::support::{Server, cupola, run, succeed};

const COUNT: &str = "SELECT count(*) FROM logs";

fn file_url(directory: &Path) -> String {
    format!("file://{}", directory.display())
}

async fn count(more: &[&str]) -> String {
    let mut arguments = vec!["query", COUNT, "--format", "csv"];
    arguments.extend(more);
    let csv = succeed(&arguments).await;
    csv.lines().nth(1).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_elsewhere_are_found_or_nothing_is_touched() {
    let (data, segments) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (directory, url) = (data.path().to_str().unwrap(), file_url(segments.path()));
    let elsewhere = ["--object-store-url", &url, "--own-telemetry", "off"];
    let mut generator = Generator::new(GeneratorConfig::default());
    let server = Server::start_with(data.path(), &elsewhere).await;
    server.send_ok(&generator.logs(30)).await;
    assert!(server.stop().await.0.success());
    let server = Server::start_with(data.path(), &elsewhere).await;
    server.send_ok(&generator.logs(12)).await;
    // Killed: what it took last is in its log only.
    server.kill().await;

    for command in [
        vec!["query", COUNT, "--data-dir", directory],
        vec![
            "trace",
            "0123456789abcdef0123456789abcdef",
            "--data-dir",
            directory,
        ],
        vec!["generate", "-n", "1", "--data-dir", directory],
        vec!["doctor", "--repair", "--data-dir", directory],
    ] {
        let output = run(&command).await;
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let shown = String::from_utf8(output.stderr).unwrap();
        assert!(
            shown.contains(&url) && shown.contains("--object-store-url"),
            "{shown}"
        );
    }
    assert_eq!(
        count(&["--data-dir", directory, "--object-store-url", &url]).await,
        "42"
    );
    let config = data.path().join("cupola.yaml");
    let yaml = format!("store: {{directory: {directory:?}, object_store_url: {url:?}}}\n");
    std::fs::write(&config, yaml).unwrap();
    let config = config.to_str().unwrap();
    assert_eq!(count(&["--data-dir", directory, "--config", config]).await, "42");
    let by_environment = cupola(&["query", COUNT, "--format", "csv", "--data-dir", directory])
        .env("CUPOLA_OBJECT_STORE_URL", &url)
        .output()
        .await
        .unwrap();
    assert!(
        String::from_utf8(by_environment.stdout)
            .unwrap()
            .ends_with("42\r\n")
    );
    let report = succeed(&["doctor", "--config", config]).await;
    assert!(
        report.contains(", 1 record in 1 log file,"),
        "the log is as it was: {report}"
    );

    let server = Server::start_with(data.path(), &elsewhere).await;
    assert_eq!(server.count("default", COUNT).await, 42);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_a_store_is_not_made_one() {
    let empty = tempfile::tempdir().unwrap();
    let output = run(&["query", "SELECT 1", "--data-dir", empty.path().to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(shown.contains("is not a Cupola data directory"), "{shown}");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_not_asked_for_what_is_on_this_machine() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().to_str().unwrap();
    succeed(&["generate", "--data-dir", directory, "-n", "10", "--services", "2"]).await;
    let mut query = cupola(&["query", COUNT, "--data-dir", directory]);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        // Nobody listens there.
        query.env(name, "http://127.0.0.1:1");
    }
    let output = query.output().await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
