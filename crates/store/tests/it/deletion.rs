//! Deletion: of a tenant, or of one user's rows; durable when it returns; nobody else's rows are touched.

use std::sync::Arc;

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
