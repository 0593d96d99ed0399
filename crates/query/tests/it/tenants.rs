//! No query reaches another tenant.

use cupola_query::QueryLimits;
use cupola_telemetry::{Signal, TenantId};

use crate::support::{Fixture, State, lines, request};

fn log(tenant: &TenantId, body: &str) -> cupola_telemetry::Batch {
    let json = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"1772359200000000000","body":{{"stringValue":"{body}"}},"attributes":[{{"key":"secret.{body}","value":{{"stringValue":"{body}"}}}}]}}]}}]}}]}}"#
    );
    request(Signal::Logs, tenant, &json)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_its_own_rows_and_no_other() {
    let (one, other, nobody) = (
        TenantId::parse("one").unwrap(),
        TenantId::parse("other").unwrap(),
        TenantId::parse("nobody").unwrap(),
    );
    for state in State::ALL {
        let fixture = Fixture::filled(state, &[log(&one, "mine"), log(&other, "theirs")]).await;
        for (tenant, expected) in [(&one, vec!["mine"]), (&other, vec!["theirs"]), (&nobody, vec![])] {
            for sql in [
                "SELECT body FROM logs",
                "SELECT body FROM public.logs",
                "SELECT body FROM cupola.public.logs",
                "SELECT message AS body FROM records",
                "WITH x AS (SELECT * FROM logs) SELECT body FROM x UNION SELECT body FROM x",
            ] {
                let batches = fixture.ask_as(tenant, sql, QueryLimits::default()).await.unwrap();
                assert_eq!(lines(&batches)[1..], expected, "{tenant} {sql} {state:?}");
            }
        }
        // Neither names nor types of keys leak.
        let batches = fixture
            .ask_as(&one, "SELECT attributes FROM logs", QueryLimits::default())
            .await
            .unwrap();
        assert!(!lines(&batches).concat().contains("theirs"));
        for sql in [
            "SELECT * FROM other.public.logs",
            "SELECT * FROM other.logs",
            "SELECT * FROM \"data/other/logs\"",
        ] {
            assert!(
                fixture.ask_as(&one, sql, QueryLimits::default()).await.is_err(),
                "{sql}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_sees_one_moment() {
    let tenant = TenantId::default_tenant();
    let fixture = Fixture::filled(State::Memory, &[log(&tenant, "before")]).await;
    let session = fixture.engine.session(&tenant).await.unwrap();
    fixture.fill(State::Flushed, &[log(&tenant, "after")]).await;
    let rows = session
        .sql("SELECT body FROM logs")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    assert_eq!(lines(&rows)[1..], ["before"]);
    assert_eq!(fixture.value("SELECT count(*) FROM logs").await, "2");
}
