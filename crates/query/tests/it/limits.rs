//! Limits hold, and what runs can be stopped.

use std::time::Duration;

use cupola_query::{QueryConfig, QueryError, QueryLimits};
use cupola_telemetry::TenantId;
use cupola_telemetry::memory::MemoryBudget;
use futures::StreamExt;

use crate::support::{Fixture, State, fixture_requests};

/// Runs for as long as it is let.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b \
                       WHERE (a.value + b.value) % 7 = 3";

fn limits() -> QueryLimits {
    QueryLimits::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn time_rows_and_bytes_are_limited() {
    let fixture = Fixture::filled(State::Memory, &fixture_requests()).await;
    let tenant = TenantId::default_tenant();
    let time = QueryLimits {
        time: Some(Duration::from_millis(200)),
        ..limits()
    };
    assert!(matches!(
        fixture.ask_as(&tenant, ENDLESS, time).await,
        Err(QueryError::TimeLimit { .. })
    ));
    let rows = QueryLimits {
        rows_max: Some(5),
        ..limits()
    };
    let many = "SELECT * FROM logs";
    assert!(matches!(
        fixture.ask_as(&tenant, many, rows).await,
        Err(QueryError::RowLimit { limit: 5 })
    ));
    let bytes = QueryLimits {
        bytes_max: Some(10),
        ..limits()
    };
    assert!(matches!(
        fixture.ask_as(&tenant, many, bytes).await,
        Err(QueryError::ByteLimit { limit: 10 })
    ));
    assert!(fixture.engine.running().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_cancelled_by_id_by_handle_and_by_dropping_it() {
    let fixture = Fixture::empty().await;
    let tenant = TenantId::default_tenant();
    let mut result = fixture.engine.sql(&tenant, ENDLESS, limits()).await.unwrap();
    let running = fixture.engine.running();
    assert_eq!(running.len(), 1);
    assert_eq!(
        (running[0].id, running[0].sql.as_str()),
        (result.handle.id(), ENDLESS)
    );
    assert!(fixture.engine.cancel(result.handle.id()));
    let error = result.stream.next().await.unwrap().unwrap_err();
    assert!(matches!(QueryError::from(error), QueryError::Cancelled));

    let mut result = fixture.engine.sql(&tenant, ENDLESS, limits()).await.unwrap();
    result.handle.cancel();
    assert!(result.stream.next().await.unwrap().is_err());

    let result = fixture.engine.sql(&tenant, ENDLESS, limits()).await.unwrap();
    let handle = result.handle.clone();
    drop(result.stream);
    tokio::time::timeout(Duration::from_secs(10), async {
        while !fixture.engine.running().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(!fixture.engine.cancel(handle.id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sorting_more_than_memory_spills_and_grouping_too_much_is_refused() {
    let memory = MemoryBudget::new(1 << 30);
    let fixture = Fixture::with(
        QueryConfig {
            threads: 2,
            ..QueryConfig::default()
        },
        memory.clone(),
    )
    .await;
    let tenant = TenantId::default_tenant();
    let little = QueryLimits {
        memory_bytes_max: Some(64 << 20),
        ..limits()
    };
    let sorted = "SELECT max(n) FROM (SELECT row_number() OVER (ORDER BY value % 1000, value) AS n \
                  FROM generate_series(1, 1500000))";
    assert_eq!(
        crate::support::lines(&fixture.ask_as(&tenant, sorted, little).await.unwrap())[1],
        "1500000"
    );
    let least = QueryLimits {
        memory_bytes_max: Some(1 << 20),
        ..limits()
    };
    let grouped = "SELECT cardinality(array_agg(value)) FROM generate_series(1, 1000000)";
    let refused = fixture.ask_as(&tenant, grouped, least).await;
    assert!(matches!(refused, Err(QueryError::Memory { .. })), "{refused:?}");
    // All of it is given back.
    tokio::time::timeout(Duration::from_secs(30), async {
        while memory.used() != fixture.engine.metadata_cache_bytes() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_tells_what_was_read() {
    let fixture = Fixture::filled(State::Flushed, &fixture_requests()).await;
    let tenant = TenantId::default_tenant();
    let result = fixture
        .engine
        .sql(&tenant, "SELECT body FROM logs", limits())
        .await
        .unwrap();
    let handle = result.handle.clone();
    let rows: usize = result
        .stream
        .map(|batch| batch.unwrap().num_rows())
        .fold(0, async |a, b| a + b)
        .await;
    let progress = handle.progress();
    assert_eq!((progress.rows, progress.rows_scanned), (rows as u64, rows as u64));
    assert!(progress.bytes_scanned > 0);
    assert!(progress.files_total > 0);
    assert_eq!(progress.files_done, progress.files_total);
}
