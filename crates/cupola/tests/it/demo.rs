//! `cupola demo`: the shop runs, its telemetry arrives for each tenant, Ctrl-C stops it.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::ChildStdout;

use crate::support::{cupola, eventually, signal, succeed, try_sql};

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
/// How many services the longest trace goes through.
const LONGEST: &str =
    "SELECT count(DISTINCT service_name) FROM spans GROUP BY trace_id ORDER BY 1 DESC LIMIT 1";
const REQUESTS: &str = "SELECT count(*) FROM metrics WHERE name = 'http.server.request.duration'";

/// Where the page is, as soon as the demo has said so.
async fn page(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some(page) = line.trim().strip_prefix("web page") {
            return page.trim().to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_runs_and_its_telemetry_is_found() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().to_str().unwrap();
    let arguments = [
        "demo",
        "--free-ports",
        "--data-dir",
        directory,
        "--memory-limit",
        "1GiB",
    ];
    let mut demo = cupola(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let page = page(&mut lines).await;
    let url = page.strip_suffix("/?tenant=acme").unwrap().to_owned();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for tenant in TENANTS {
        let one = async |sql: &str| {
            let rows = try_sql(&http, &url, tenant, sql).await.unwrap();
            rows.first().and_then(|row| row[0].as_i64()).unwrap_or(0)
        };
        eventually("an order and metrics of each tenant", || async {
            one(LONGEST).await == 4 && one(REQUESTS).await > 0
        })
        .await;
    }
    signal("INT", demo.id().unwrap()).await;
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        said.push(line);
    }
    assert!(demo.wait().await.unwrap().success(), "{said:?}");
    assert!(said.last().unwrap().ends_with("good bye"), "{said:?}");
    for tenant in TENANTS {
        let query = async |sql: &str| {
            let csv = succeed(&[
                "query",
                sql,
                "--data-dir",
                directory,
                "--tenant",
                tenant,
                "--format",
                "csv",
            ])
            .await;
            csv.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        let services = query("SELECT DISTINCT service_name FROM spans ORDER BY service_name").await;
        assert_eq!(services, ["api", "cloud", "gateway", "worker"], "{tenant}");
        // The same trace goes through all of them, over HTTP headers and the queue.
        let longest = query(LONGEST).await;
        assert_eq!(longest, ["4"], "{tenant}");
        let linked = query("SELECT count(*) FROM logs JOIN spans ON logs.span_id = spans.span_id").await;
        assert!(linked[0].parse::<u64>().unwrap() > 0, "{tenant}");
        let metrics = query(REQUESTS).await;
        assert!(metrics[0].parse::<u64>().unwrap() > 0, "{tenant}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_stops_by_itself_when_it_is_told_for_how_long_to_run() {
    let said = succeed(&["demo", "--free-ports", "--for", "100ms", "--memory-limit", "1GiB"]).await;
    assert!(said.contains("It stops by itself after 100ms."), "{said}");
    assert!(said.ends_with("requests were made; good bye\n"), "{said}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_services_of_the_demo_end_with_it_also_when_it_is_killed() {
    let arguments = ["demo", "--free-ports", "--memory-limit", "1GiB"];
    let mut demo = cupola(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    page(&mut BufReader::new(demo.stdout.take().unwrap()).lines()).await;
    let services = children(demo.id().unwrap());
    assert_eq!(services.len(), 4);
    demo.kill().await.unwrap();
    eventually("the end of the services", || async {
        services.iter().all(|service| !runs(*service))
    })
    .await;
}

/// The state of a process and its parent.
#[cfg(target_os = "linux")]
fn state(process: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it may have anything in it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    let processes = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes
        .filter(|process| state(*process).is_some_and(|(_, of)| of == parent))
        .collect()
}

/// Whoever has ended and whom nobody has asked about does not run.
#[cfg(target_os = "linux")]
fn runs(process: u32) -> bool {
    state(process).is_some_and(|(state, _)| state != "Z")
}
