//! `cupola query`: where a statement comes from, what it may cost, how it fails late, and that Ctrl-C ends it everywhere.

use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt as _;

use crate::support::{PATIENCE, Server, cupola, eventually, run, signal};

/// Runs for as long as it is let.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b \
                       WHERE (a.value + b.value) % 7 = 3";

/// Runs a command that is told something on standard input.
async fn told(arguments: &[&str], input: &str) -> Output {
    let mut child = cupola(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output());
    ended.await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_may_come_from_standard_input_and_is_held_to_its_limits() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (many, hungry) = (
        "SELECT value FROM generate_series(1, 100)",
        "SELECT array_agg(value) FROM generate_series(1, 3000000)",
    );
    let cases: [(&str, &[&str], Result<&str, &str>); 6] = [
        ("SELECT 40 + 2 AS answer\n", &[], Ok("answer\r\n42\r\n")),
        ("", &[], Err("error: the query is empty")),
        (
            ENDLESS,
            &["--timeout", "200ms"],
            Err("error: the query ran into its time limit of 200ms"),
        ),
        (
            many,
            &["--rows-max", "5"],
            Err("error: the answer has more than 5 rows"),
        ),
        ("SELECT 1 AS one", &["--rows-max", "1"], Ok("one\r\n1\r\n")),
        (
            hungry,
            &["--memory-max", "1MiB"],
            Err("error: the query needs more memory than there is for it"),
        ),
    ];
    for (statement, limits, expected) in cases {
        let fixed = ["query", "-", "--format", "csv", "--url", &server.api];
        let output = told(&[&fixed[..], limits].concat(), statement).await;
        let (shown, failure) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        match expected {
            Ok(expected) => assert_eq!((shown.as_str(), failure.as_str()), (expected, "")),
            Err(expected) => {
                assert_eq!(output.status.code(), Some(1), "{statement} {limits:?}: {shown}");
                assert!(failure.starts_with(expected), "{statement} {limits:?}: {failure}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_fails_late_shows_its_first_rows_and_fails_in_every_format() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    // Divides by zero only after more rows than the server holds back.
    let sql = "SELECT 1 / (value - 60000) AS n, repeat('x', 100) AS pad FROM generate_series(1, 80000)";
    for (format, first, failure) in [
        ("table", "n  pad\n─  ───", "error: the query failed: "),
        ("json", "{\"columns\":", "error: the query failed: "),
        ("csv", "n,pad\r\n0,xxx", "error: the answer broke off\n"),
        (
            "ndjson",
            "{\"n\":0,\"pad\":\"xxx",
            "error: the answer broke off\n",
        ),
    ] {
        let output = run(&["query", sql, "--format", format, "--url", &server.api]).await;
        let shown = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{format}: {said}");
        let head: String = shown.chars().take(200).collect();
        assert!(shown.starts_with(first), "{format}: {head}");
        assert!(shown.matches("xxx").count() > 1_000, "{format}: {head}");
        assert!(said.starts_with(failure), "{format}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_statement_ends_on_the_server_too() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let running = async || {
        let url = format!("{}/api/v1/queries", server.api);
        let answer = server.http.get(url).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        answer["queries"].as_array().unwrap().len()
    };
    let child = cupola(&["query", ENDLESS, "--url", &server.api])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the statement", async || running().await == 1).await;
    signal("INT", child.id().unwrap()).await;
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output());
    let output = output.await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: stopped by SIGINT\n"
    );
    eventually("the end of the statement", async || running().await == 0).await;
}
