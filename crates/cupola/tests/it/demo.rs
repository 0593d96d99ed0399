//! `cupola demo`: the shop runs, its telemetry arrives for each tenant, Ctrl-C or the clock stops it.

use crate::support::{run, succeed};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_runs_and_its_telemetry_is_found() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().to_str().unwrap();
    let output = run(&[
        "demo",
        "--for",
        "12s",
        "--free-ports",
        "--data-dir",
        directory,
        "--memory-limit",
        "1GiB",
    ])
    .await;
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{shown}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        shown.contains("Cupola is running") && shown.contains("Things to try"),
        "{shown}"
    );
    for tenant in ["acme", "globex", "initech"] {
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
        assert_eq!(
            services,
            ["fulfilment", "inventory", "orders", "payments", "storefront"],
            "{tenant}"
        );
        // The same trace goes through all of them, over HTTP headers and the queue.
        let longest =
            query("SELECT count(DISTINCT service_name) FROM spans GROUP BY trace_id ORDER BY 1 DESC LIMIT 1")
                .await;
        assert_eq!(longest, ["5"], "{tenant}");
        let linked = query("SELECT count(*) FROM logs JOIN spans ON logs.span_id = spans.span_id").await;
        assert!(linked[0].parse::<u64>().unwrap() > 0, "{tenant}");
        let metrics = query("SELECT count(*) FROM metrics WHERE name = 'http.server.request.duration'").await;
        assert!(metrics[0].parse::<u64>().unwrap() > 0, "{tenant}");
    }
}
