//! A reader that has seen enough (`| head`) is no failure.

use std::process::{Output, Stdio};

use crate::support::{PATIENCE, cupola, succeed};

/// Runs a command whose output nobody reads.
async fn unread(arguments: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = cupola(arguments)
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_end_well_when_nobody_reads_on() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().to_str().unwrap();
    succeed(&[
        "generate",
        "--data-dir",
        directory,
        "-n",
        "300",
        "--services",
        "3",
    ])
    .await;
    let sql = "SELECT trace_id FROM spans LIMIT 1";
    let csv = succeed(&["query", sql, "--data-dir", directory, "--format", "csv"]).await;
    let trace = csv.lines().nth(1).unwrap();
    let commands: [&[&str]; 8] = [
        &["version"],
        &["config", "check"],
        &["config", "show"],
        &["doctor", "--data-dir", directory],
        &["doctor", "--data-dir", directory, "--json"],
        &["query", sql, "--data-dir", directory],
        &["query", sql, "--data-dir", directory, "--format", "ndjson"],
        &["trace", trace, "--data-dir", directory],
    ];
    for command in commands {
        let output = unread(command).await;
        let shown = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success() && shown.is_empty(),
            "{command:?}: {shown}"
        );
    }
}
