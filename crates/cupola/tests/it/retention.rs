//! Retention as the configuration says it: the rules of the documentation, on rows of every age and level.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cupola_telemetry::encode::{LogsEncoder, MetricsEncoder, TracesEncoder};
use cupola_telemetry::{Batch, TenantId};

use crate::support::{Server, eventually};

/// Of each kind of row one of every age.
const AGES_DAYS: [u64; 6] = [2, 5, 20, 60, 120, 400];
const DAY: Duration = Duration::from_secs(86_400);
/// Name, severity, and whether `audit` is true.
const LOGS: [(&str, i32, bool); 10] = [
    ("without a severity", 0, false),
    ("trace", 1, false),
    ("debug", 5, false),
    ("debug4", 8, false),
    ("info", 9, false),
    ("warn4", 16, false),
    ("error", 17, false),
    ("fatal4", 24, false),
    ("audited debug", 5, true),
    ("audited info", 9, true),
];
const SPANS: [(&str, &str, bool); 3] = [
    ("check", "health-checker", false),
    ("order", "orders", false),
    ("audited order", "orders", true),
];
const POINTS: [(&str, bool); 2] = [("load", false), ("audited.load", true)];

/// The example of `docs/configuration.md`.
fn documented() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once("## Retention").unwrap();
    let (_, example) = section.split_once("```yaml\n").unwrap();
    example.split_once("```").unwrap().0.to_owned()
}

fn time(age_days: u64) -> u64 {
    let then = SystemTime::now() - DAY * age_days as u32;
    then.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64
}

fn batches(tenant: &str, age_days: u64) -> [Batch; 3] {
    let tenant = TenantId::parse(tenant).unwrap();
    let (time, named) = (time(age_days), |name: &str| format!("{name}, {age_days} days"));
    let mut logs = LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        resource.resource().attribute("service.name", "orders");
        let mut scope = resource.scope_logs();
        for (name, severity, audit) in LOGS {
            let mut record = scope.record();
            record
                .time_unix_nano(time)
                .severity_number(severity)
                .body(named(name).as_str());
            record.attribute("audit", audit);
        }
    }
    let mut spans = TracesEncoder::new();
    for (name, service, audit) in SPANS {
        let mut resource = spans.resource_spans();
        resource.resource().attribute("service.name", service);
        let mut scope = resource.scope_spans();
        let mut span = scope.span();
        span.trace_id(&[7; 16]).span_id(&[7; 8]).name(&named(name));
        span.start_time_unix_nano(time).end_time_unix_nano(time + 1);
        span.attribute("audit", audit);
    }
    let mut points = MetricsEncoder::new();
    {
        let mut resource = points.resource_metrics();
        let mut scope = resource.scope_metrics();
        for (name, audit) in POINTS {
            let mut metric = scope.metric();
            metric.name(&named(name));
            let mut gauge = metric.gauge();
            gauge
                .point()
                .time_unix_nano(time)
                .value(1_i64)
                .attribute("audit", audit);
        }
    }
    [
        logs.finish(tenant.clone()),
        spans.finish(tenant.clone()),
        points.finish(tenant),
    ]
}

/// Every row of a tenant by its name.
async fn found(server: &Server, tenant: &str) -> BTreeSet<String> {
    let all = "SELECT body FROM logs UNION ALL SELECT name FROM spans UNION ALL SELECT name FROM metrics";
    let rows = server.sql(tenant, all).await;
    rows.iter()
        .map(|row| row[0].as_str().unwrap().to_owned())
        .collect()
}

/// The rows that are younger than what the rules say of their kind.
fn kept(days: impl Fn(&str) -> u64) -> BTreeSet<String> {
    let kinds = LOGS.map(|kind| kind.0).into_iter();
    let kinds = kinds
        .chain(SPANS.map(|kind| kind.0))
        .chain(POINTS.map(|kind| kind.0));
    kinds
        .flat_map(|kind| {
            let young = AGES_DAYS
                .into_iter()
                .filter(|age| *age < days(kind))
                .collect::<Vec<_>>();
            young.into_iter().map(move |age| format!("{kind}, {age} days"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_logs_are_kept_three_days_errors_ninety_and_the_rest_as_documented() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start_with(&data, &["--own-telemetry", "off"]).await;
    for tenant in ["default", "staging"] {
        for age in AGES_DAYS {
            for batch in batches(tenant, age) {
                server.send_ok(&batch).await;
            }
        }
        assert_eq!(found(&server, tenant).await, kept(|_| u64::MAX), "without rules");
    }
    assert!(server.stop().await.0.success());

    let configuration = directory.path().join("cupola.yaml");
    let text = documented() + "  retention_interval: 200ms\n";
    std::fs::write(&configuration, &text).unwrap();
    let more = [
        "--config",
        configuration.to_str().unwrap(),
        "--own-telemetry",
        "off",
    ];
    let server = Server::start_with(&data, &more).await;
    let of_all = kept(|kind| match kind {
        "trace" | "debug" | "debug4" | "audited debug" => 3,
        "error" | "fatal4" => 90,
        "check" => 1,
        "audited info" | "audited order" | "audited.load" => 365,
        "without a severity" | "info" | "warn4" | "order" | "load" => 30,
        other => panic!("{other}"),
    });
    let of_staging = kept(|kind| match kind {
        "trace" | "debug" | "debug4" | "audited debug" => 3,
        "error" | "fatal4" => 90,
        _ => 7,
    });
    let run = || server.metric("cupola_store_retention_runs_total");
    // One that began with everything there, and one that finds nothing left to do.
    for _ in 0..2 {
        let before = run().await;
        eventually("a run of retention", || async { run().await > before + 1.0 }).await;
        for (tenant, expected) in [("default", &of_all), ("staging", &of_staging)] {
            let found = found(&server, tenant).await;
            let lost: Vec<_> = expected.difference(&found).collect();
            let left: Vec<_> = found.difference(expected).collect();
            assert!(
                lost.is_empty() && left.is_empty(),
                "{tenant}: lost {lost:?}, left {left:?}"
            );
        }
    }
}
