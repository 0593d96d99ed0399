//! Queries beyond what runs at one time wait, within a bound; planning for protocols is limited as execution is.

use std::time::Duration;

use cupola_query::{QueryConfig, QueryEngine, QueryError, QueryLimits, QueryName};
use cupola_telemetry::TenantId;
use cupola_telemetry::memory::MemoryBudget;

use crate::limits::ENDLESS;
use crate::support::Fixture;

const PATIENCE: Duration = Duration::from_secs(60);

async fn until(what: &str, reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{what}");
}

async fn narrow(running_max: usize, waiting_max: usize) -> Fixture {
    let config = QueryConfig {
        threads: 2,
        running_max,
        waiting_max,
        ..QueryConfig::default()
    };
    Fixture::with(config, MemoryBudget::new(1 << 30)).await
}

fn ask(engine: &QueryEngine, sql: &'static str) -> tokio::task::JoinHandle<Result<(), QueryError>> {
    let engine = engine.clone();
    tokio::spawn(async move {
        let result = engine
            .sql(&TenantId::default_tenant(), sql, QueryLimits::UNSET)
            .await?;
        futures::TryStreamExt::try_collect::<Vec<_>>(result.stream).await?;
        Ok(())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_runs_one_waits_and_one_more_is_refused() {
    let fixture = narrow(1, 1).await;
    let engine = &fixture.engine;
    let first = ask(engine, ENDLESS);
    until("the first runs", || engine.status().running == 1).await;
    let second = ask(engine, "SELECT 1");
    until("the second waits", || engine.status().waiting == 1).await;
    let third = ask(engine, "SELECT 1").await.unwrap();
    assert!(
        matches!(third, Err(QueryError::Overloaded { waiting: 1 })),
        "{third:?}"
    );
    let status = engine.status();
    assert_eq!((status.running_max, status.waiting_max), (1, 1));
    assert_eq!(status.counters.refused, 1);
    let ids: Vec<_> = engine.running().iter().map(|query| query.id).collect();
    assert_eq!(ids.len(), 2, "what waits is listed");
    assert!(engine.cancel(ids[0]));
    assert!(matches!(first.await.unwrap(), Err(QueryError::Cancelled)));
    second.await.unwrap().unwrap();
    until("all slots are free", || {
        engine.status().running == 0 && engine.status().waiting == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn planning_is_limited_in_time() {
    let fixture = Fixture::empty().await;
    let soon = QueryLimits {
        time: Some(Duration::from_millis(50)),
        ..QueryLimits::UNSET
    };
    let planned = fixture
        .engine
        .plan(&TenantId::default_tenant(), "SELECT 1", soon, async |_| {
            std::future::pending::<()>().await;
        })
        .await;
    assert!(
        matches!(planned, Err(QueryError::TimeLimit { .. })),
        "{planned:?}"
    );
    assert_eq!(fixture.engine.status().counters.time_limit, 1);
    until("it is not listed any longer", || {
        fixture.engine.running().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn planning_is_listed_and_can_be_stopped() {
    let fixture = Fixture::empty().await;
    let engine = fixture.engine.clone();
    let planning = tokio::spawn({
        let engine = engine.clone();
        async move {
            let tenant = TenantId::default_tenant();
            let planning = engine.plan(&tenant, "SELECT 2", QueryLimits::UNSET, async |_| {
                std::future::pending::<()>().await;
            });
            planning.await
        }
    });
    until("it is listed", || !engine.running().is_empty()).await;
    let listed = engine.running();
    assert_eq!(listed[0].sql, "SELECT 2");
    assert!(engine.cancel(listed[0].id));
    assert!(matches!(planning.await.unwrap(), Err(QueryError::Cancelled)));
    until("it is not listed any longer", || engine.running().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_listed_under_the_name_it_was_given() {
    let fixture = Fixture::empty().await;
    let (engine, tenant) = (&fixture.engine, TenantId::default_tenant());
    let name = QueryName::parse("report-7");
    let first = engine.sql_named(&tenant, ENDLESS, name.clone(), QueryLimits::UNSET);
    let first = first.await.unwrap();
    assert_eq!(engine.running()[0].name, name);
    let second = engine.sql_named(&tenant, ENDLESS, name, QueryLimits::UNSET).await;
    assert!(matches!(second, Err(QueryError::NameTaken { .. })));
    first.handle.cancel();
}
