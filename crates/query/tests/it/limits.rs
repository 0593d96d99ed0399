//! Limits hold, and what runs can be stopped.

use std::time::Duration;

use cupola_query::{QueryConfig, QueryEngine, QueryError, QueryLimits};
use cupola_telemetry::TenantId;
use cupola_telemetry::memory::MemoryBudget;
use futures::{StreamExt, TryStreamExt};

use crate::support::{Fixture, State, fixture_requests};

/// Runs for as long as it is let.
pub(crate) const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b \
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
    let counters = fixture.engine.status().counters;
    assert_eq!(
        (
            counters.statements,
            counters.time_limit,
            counters.row_limit,
            counters.byte_limit
        ),
        (3, 1, 1, 1)
    );
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
    assert_eq!(fixture.engine.status().counters.cancelled, 3);
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
    let status = fixture.engine.status();
    assert!(
        status.counters.spills > 0 && status.counters.spilled_bytes > 0,
        "{status:?}"
    );
    assert_eq!(status.spill_bytes, 0, "nothing is left on the disk");
    // What the plan itself says.
    let explained = format!("EXPLAIN ANALYZE {sorted}");
    let explained = fixture.ask_as(&tenant, &explained, little).await.unwrap();
    let explained = crate::support::lines(&explained).join("\n");
    assert!(
        explained
            .split("spill_count=")
            .skip(1)
            .any(|rest| !rest.starts_with('0')),
        "{explained}"
    );
    // Where nothing may be spilled, the same does not fit.
    let nowhere = QueryConfig {
        threads: 2,
        spill_directory: None,
        ..QueryConfig::default()
    };
    let nowhere = QueryEngine::new(fixture.store.clone(), nowhere, MemoryBudget::new(1 << 30)).unwrap();
    let refused = match nowhere.sql(&tenant, sorted, little).await {
        Ok(result) => result
            .stream
            .try_collect::<Vec<_>>()
            .await
            .map_err(QueryError::from),
        Err(error) => Err(error),
    };
    assert!(matches!(refused, Err(QueryError::Memory { .. })), "{refused:?}");
    let least = QueryLimits {
        memory_bytes_max: Some(1 << 20),
        ..limits()
    };
    let grouped = "SELECT cardinality(array_agg(value)) FROM generate_series(1, 1000000)";
    let refused = fixture.ask_as(&tenant, grouped, least).await;
    assert!(matches!(refused, Err(QueryError::Memory { .. })), "{refused:?}");
    assert_eq!(fixture.engine.status().counters.memory_limit, 1);
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

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_memory_count_as_what_they_show() {
    let record = |number: usize| {
        format!(
            r#"{{"timeUnixNano":"{}","body":{{"stringValue":"{number} {}"}}}}"#,
            1_772_359_200_000_000_000 + number as u64,
            "x".repeat(1_000)
        )
    };
    let records: Vec<String> = (0..2_000).map(record).collect();
    let json = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{}]}}]}}]}}"#,
        records.join(",")
    );
    let tenant = TenantId::default_tenant();
    let request = crate::support::request(cupola_telemetry::Signal::Logs, &tenant, &json);
    for state in State::ALL {
        let fixture = Fixture::filled(state, std::slice::from_ref(&request)).await;
        let few = QueryLimits {
            bytes_max: Some(64 << 10),
            ..limits()
        };
        for sql in [
            "SELECT body FROM logs WHERE body LIKE '17 %'",
            "SELECT body FROM logs WHERE match(body, '17') ORDER BY body",
            "SELECT body FROM logs ORDER BY timestamp DESC LIMIT 5",
            "SELECT substr(body, 1, 4) AS start FROM logs ORDER BY timestamp, body LIMIT 5",
        ] {
            let answer = fixture.ask_as(&tenant, sql, few).await;
            assert!(answer.is_ok(), "{sql} {state:?}: {answer:?}");
        }
        let all = fixture.ask_as(&tenant, "SELECT body FROM logs", few).await;
        assert!(
            matches!(all, Err(QueryError::ByteLimit { .. })),
            "{state:?}: {all:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn now_is_the_moment_of_the_statement() {
    let fixture = Fixture::empty().await;
    let now = async || -> i64 {
        let text = fixture.value("SELECT CAST(now() AS BIGINT) AS now").await;
        text.parse().unwrap()
    };
    let first = now().await;
    assert!(now().await > first);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_readable_names_and_one_for_each_column() {
    let fixture = Fixture::filled(State::Flushed, &fixture_requests()).await;
    let lines = fixture
        .lines("SELECT attributes['http.route'], attributes->>'http.route' FROM logs LIMIT 1")
        .await;
    assert_eq!(lines[0], "attributes['http.route'] | attributes->>'http.route'");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_spilling_left_is_cleared_from_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    let spill = directory.path().join("spill");
    for name in [
        "mine/notes.txt",
        "datafusion-Xy12/left",
        "datafusion.txt/notes.txt",
    ] {
        let path = spill.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "text").unwrap();
    }
    std::fs::write(spill.join("datafusion-notes"), "a file, which it does not make").unwrap();
    let (store, _) =
        cupola_store::Store::open(cupola_store::StoreConfig::new(directory.path().join("store")))
            .await
            .unwrap();
    let config = QueryConfig {
        spill_directory: Some(spill.clone()),
        ..QueryConfig::default()
    };
    let _engine = cupola_query::QueryEngine::new(store, config, MemoryBudget::new(1 << 30)).unwrap();
    for kept in ["mine/notes.txt", "datafusion.txt/notes.txt", "datafusion-notes"] {
        assert!(spill.join(kept).exists(), "{kept}");
    }
    assert!(!spill.join("datafusion-Xy12").exists());
}
