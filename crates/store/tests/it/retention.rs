//! Retention: by signal, tenant and match; the first rule that names a row decides.

use std::sync::Arc;
use std::time::Duration;

use cupola_store::{Comparison, Literal, RetentionRule, RowFilter, StoreConfig};
use cupola_telemetry::Signal;

use crate::crash::of_user;
use crate::rows::{HOUR, START, log_numbers, logs, open, point_numbers, points, quiet};
use crate::simulated::{Simulated, Survival};

const DAY: i64 = 24 * HOUR;

fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

fn config(disk: &Simulated, retention: Vec<RetentionRule>) -> StoreConfig {
    StoreConfig {
        retention,
        ..quiet(Arc::new(disk.clone()))
    }
}

fn errors() -> RowFilter {
    RowFilter::Column {
        name: "severity_number".to_owned(),
        comparison: Comparison::GreaterOrEqual,
        value: Literal::Int(17),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_logs_three_days_errors_ninety_the_rest_of_one_tenant_ten() {
    let disk = Simulated::new();
    let debug = RetentionRule {
        filter: Some(RowFilter::Not(Box::new(errors()))),
        ..RetentionRule::signal(Signal::Logs, days(3))
    };
    let rest = RetentionRule {
        tenant: Some("a".to_owned()),
        ..RetentionRule::signal(Signal::Logs, days(90))
    };
    let store = open(config(&disk, vec![debug, rest])).await;
    store.append(logs("a", 0..10)).await.unwrap();
    store.append(logs("b", 0..10)).await.unwrap();
    store.append(points("a", 0..10)).await.unwrap();
    store.flush().await.unwrap();

    assert_eq!(store.apply_retention(START + 2 * DAY).await.unwrap().rows, 0);
    let report = store.apply_retention(START + 4 * DAY).await.unwrap();
    assert_eq!((report.rows, report.segments_rewritten), (10, 2));
    assert_eq!(log_numbers(&store, "a").await, [1, 3, 5, 7, 9]);
    let again = store.apply_retention(START + 4 * DAY).await.unwrap();
    assert_eq!((again.rows, again.segments_rewritten), (0, 0));

    let report = store.apply_retention(START + 91 * DAY).await.unwrap();
    assert_eq!((report.rows, report.segments_dropped), (5, 1));
    assert!(log_numbers(&store, "a").await.is_empty());
    assert_eq!(
        log_numbers(&store, "b").await,
        [1, 3, 5, 7, 9],
        "no rule names errors of b"
    );
    assert_eq!(
        point_numbers(&store, "a").await.len(),
        10,
        "no rule names metrics"
    );

    let store = open(config(&disk.reboot(Survival::Nothing), Vec::new())).await;
    assert!(log_numbers(&store, "a").await.is_empty());
    assert_eq!(log_numbers(&store, "b").await, [1, 3, 5, 7, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn points_go_by_the_attributes_of_their_series() {
    let disk = Simulated::new();
    let rule = RetentionRule {
        filter: Some(of_user(1)),
        ..RetentionRule::signal(Signal::Metrics, days(3))
    };
    let rest = RetentionRule::signal(Signal::Metrics, days(30));
    let store = open(config(&disk, vec![rule, rest])).await;
    store.append(points("a", 0..9)).await.unwrap();
    store.flush().await.unwrap();
    store.apply_retention(START + 4 * DAY).await.unwrap();
    assert_eq!(point_numbers(&store, "a").await, [0, 2, 3, 5, 6, 8]);
    // The same series go on.
    store.append(points("a", 9..12)).await.unwrap();
    assert_eq!(point_numbers(&store, "a").await, [0, 2, 3, 5, 6, 8, 9, 10, 11]);
    store.flush().await.unwrap();
    store.apply_retention(START + 40 * DAY).await.unwrap();
    assert!(point_numbers(&store, "a").await.is_empty());
    store.append(points("a", 12..15)).await.unwrap();
    assert_eq!(point_numbers(&store, "a").await, [12, 13, 14]);
}
