//! Deletion: of a tenant, or of one user's rows; durable when it returns; nobody else's rows are touched.

use std::path::Path;
use std::sync::Arc;

use cupola_store::io::FileSystem;
use cupola_store::{DeleteRequest, RowFilter};

use crate::crash::of_user;
use crate::rows::{SECOND, START, USERS, log_numbers, logs, open, point_numbers, points, quiet, tenant};
use crate::simulated::{Simulated, Survival};

fn without(user: u64, numbers: std::ops::Range<u64>) -> Vec<u64> {
    numbers.filter(|number| number % USERS != user).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_of_one_tenant() {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    for name in ["a", "b"] {
        store.append(logs(name, 0..12)).await.unwrap();
        store.append(points(name, 0..12)).await.unwrap();
        store.flush().await.unwrap();
        store.append(logs(name, 12..24)).await.unwrap();
        store.append(points(name, 12..24)).await.unwrap();
    }
    let request = DeleteRequest {
        tenant: tenant("a"),
        filter: Some(of_user(2)),
    };
    let report = store.delete(request.clone()).await.unwrap();
    // Eight log records, eight points, one series.
    assert_eq!(report.rows, 17, "{report:?}");
    assert_eq!(store.delete(request).await.unwrap().rows, 0);
    let reopened = open(quiet(Arc::new(disk.reboot(Survival::Nothing)))).await;
    for store in [&store, &reopened] {
        assert_eq!(log_numbers(store, "a").await, without(2, 0..24));
        assert_eq!(point_numbers(store, "a").await, without(2, 0..24));
        assert_eq!(log_numbers(store, "b").await.len(), 24);
        assert_eq!(point_numbers(store, "b").await.len(), 24);
    }
    // The user may come back.
    for store in [&store, &reopened] {
        store.append(points("a", 24..30)).await.unwrap();
        store.append(logs("a", 24..30)).await.unwrap();
        let mut expected = without(2, 0..24);
        expected.extend(24..30);
        assert_eq!(point_numbers(store, "a").await, expected);
        assert_eq!(log_numbers(store, "a").await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_up_to_a_time() {
    let store = open(quiet(Arc::new(Simulated::new()))).await;
    store.append(logs("a", 0..12)).await.unwrap();
    store.append(points("a", 0..12)).await.unwrap();
    let filter = RowFilter::And(vec![of_user(0), RowFilter::Before(START + 6 * SECOND)]);
    let request = DeleteRequest {
        tenant: tenant("a"),
        filter: Some(filter),
    };
    store.delete(request).await.unwrap();
    let expected = [1, 2, 4, 5, 6, 7, 8, 9, 10, 11];
    assert_eq!(log_numbers(&store, "a").await, expected);
    assert_eq!(point_numbers(&store, "a").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_tenant() {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    for name in ["a", "b"] {
        store.append(logs(name, 0..10)).await.unwrap();
        store.append(points(name, 0..10)).await.unwrap();
    }
    let request = DeleteRequest {
        tenant: tenant("a"),
        filter: None,
    };
    store.delete(request).await.unwrap();
    assert_eq!(store.tenants(), [tenant("b")]);
    let reopened = open(quiet(Arc::new(disk.reboot(Survival::Nothing)))).await;
    assert_eq!(reopened.tenants(), [tenant("b")]);
    assert_eq!(log_numbers(&reopened, "b").await.len(), 10);
    while store.status().counters.segments_removed == 0 {
        tokio::task::yield_now().await;
    }
    store.append(points("a", 10..20)).await.unwrap();
    assert_eq!(point_numbers(&store, "a").await, (10..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_aside_goes_with_its_tenant_and_is_counted_otherwise() {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    store.append(logs("a", 0..10)).await.unwrap();
    let aside = [
        "00000000000000000001.a.logs.pb",
        "00000000000000000002.a.samples.000000.arrows",
        "00000000000000000003.a.b.logs.pb",
        "00000000000000000004.wal",
        "data/a/logs/2026-01-01T00/x.parquet",
        "data/ab/logs/2026-01-01T00/x.parquet",
    ]
    .map(|name| Path::new("/data/quarantine").join(name));
    for path in &aside {
        disk.create_directories(path.parent().unwrap()).unwrap();
        disk.create(path).unwrap().sync().unwrap();
    }
    let delete = async |filter| {
        let tenant = tenant("a");
        store.delete(DeleteRequest { tenant, filter }).await.unwrap()
    };
    let some = delete(Some(of_user(0))).await;
    assert_eq!(
        (some.quarantine_files_removed, some.quarantine_files_left),
        (0, 4)
    );
    assert!(aside.iter().all(|path| disk.paths().contains(path)));

    let whole = delete(None).await;
    assert_eq!(
        (whole.quarantine_files_removed, whole.quarantine_files_left),
        (3, 1)
    );
    let left: Vec<_> = aside.iter().filter(|path| disk.paths().contains(path)).collect();
    assert_eq!(left, [&aside[2], &aside[3], &aside[5]]);
    // A tenant that has nothing else any more is asked about all the same.
    let again = delete(None).await;
    assert_eq!(
        (again.quarantine_files_removed, again.quarantine_files_left),
        (0, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn points_of_many_days_at_once() {
    let disk = Simulated::new();
    let store = open(quiet(Arc::new(disk.clone()))).await;
    let days = |offset: u64| (0..40).map(move |day| day * 86_400 + offset);
    store.append(points("a", days(0))).await.unwrap();
    assert_eq!(point_numbers(&store, "a").await.len(), 40);
    store.append(points("a", days(3))).await.unwrap();
    store.flush().await.unwrap();
    store.append(points("a", days(6))).await.unwrap();
    // Days that were forgotten are loaded again, from segments and from memory: no series is there twice.
    store.append(points("a", days(9))).await.unwrap();
    assert_eq!(point_numbers(&store, "a").await.len(), 160);
    let store = open(quiet(Arc::new(disk.reboot(Survival::Nothing)))).await;
    assert_eq!(point_numbers(&store, "a").await.len(), 160);
}
