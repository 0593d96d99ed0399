//! Statements made to break things get an error.

use cupola_query::QueryError;

use crate::support::{Fixture, State, fixture_requests};

#[tokio::test(flavor = "multi_thread")]
async fn deep_and_long_statements_are_errors_and_not_crashes() {
    let fixture = Fixture::empty().await;
    let parentheses = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    let nested = format!(
        "{}SELECT 1{}",
        "SELECT * FROM (".repeat(5_000),
        ") AS x".repeat(5_000)
    );
    let casts = format!("SELECT {}1", "- ".repeat(7_000));
    let long = format!("SELECT '{}'", "x".repeat(1 << 20));
    let many = format!("SELECT 1{}", ", 1".repeat(200_000));
    for sql in [&parentheses, &nested, &casts, &long, &many] {
        let start: String = sql.chars().take(40).collect();
        let error = fixture.ask(sql).await.err();
        assert!(
            matches!(
                error,
                Some(QueryError::TooComplex { .. } | QueryError::Syntax { .. } | QueryError::Plan { .. })
            ),
            "{start}: {error:?}"
        );
    }
    // The engine lives.
    assert_eq!(fixture.value("SELECT 1 AS one").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_chains_are_answered_or_refused() {
    let fixture = Fixture::empty().await;
    for (name, sql) in [
        ("sum", format!("SELECT 1{}", " + 1".repeat(200))),
        (
            "or",
            format!(
                "SELECT count(*) FROM logs WHERE body = 'x'{}",
                " OR body = 'y'".repeat(200)
            ),
        ),
        ("json", format!("SELECT body{} FROM logs", "->'a'".repeat(60))),
        (
            "union",
            format!("SELECT 1 AS x{}", " UNION ALL SELECT 1".repeat(100)),
        ),
    ] {
        if let Err(error) = fixture.ask(&sql).await {
            assert!(!matches!(error, QueryError::Execution { .. }), "{name}: {error}");
        }
    }
    assert_eq!(fixture.value("SELECT 1 AS one").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_text_is_an_error() {
    let fixture = Fixture::empty().await;
    for sql in [
        "",
        ";",
        "\0",
        "SELECT",
        "SELECT '",
        "SELECT \"",
        "/*",
        "SELECT $1",
        "SELECT attributes[ FROM logs",
        "SELECT attributes['a' FROM logs",
        "SELECT attributes->> FROM logs",
        "SELECT time_bucket('1 banana', timestamp) FROM logs",
        "SELECT time_bucket(timestamp) FROM logs",
        "SELECT attribute(attributes) FROM logs",
        "SELECT attribute(attributes, 'a', 'b') FROM logs",
        "SELECT level_rank() FROM logs",
        "SELECT json_get(body) FROM logs",
        "SELECT match() FROM logs",
        "SELECT percentile() FROM logs",
        "SELECT 'é'::bytea::int",
    ] {
        let answer = fixture.ask(sql).await;
        assert!(answer.is_err(), "{sql:?} was answered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deepest_statements_are_answered_or_refused() {
    let fixture = Fixture::empty().await;
    // As deep as a text can be that is just short enough to be parsed.
    for (name, sql) in [
        ("sum", format!("SELECT 1{}", "+1".repeat(7_900))),
        ("text", format!("SELECT 'a'{}", "||'a'".repeat(300))),
        (
            "union",
            format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(3_000)),
        ),
        (
            "or",
            format!(
                "SELECT count(*) FROM logs WHERE body='x'{}",
                " OR body='y'".repeat(1_000)
            ),
        ),
    ] {
        if let Err(error) = fixture.ask(&sql).await {
            assert!(!matches!(error, QueryError::Internal { .. }), "{name}: {error}");
        }
    }
    assert_eq!(fixture.value("SELECT 1 AS one").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_make_no_more_than_they_may() {
    let fixture = Fixture::filled(State::Memory, &fixture_requests()).await;
    for sql in [
        "SELECT repeat('x', 3000000000)",
        "SELECT repeat(body, 1000000000) FROM logs",
        "SELECT lpad('x', 2000000000)",
        "SELECT rpad(body, 2000000000, 'y') FROM logs",
        "SELECT range(1, 3000000000)",
        "SELECT generate_series(1, severity_number + 3000000000) FROM logs",
        "SELECT range(timestamp '1970-01-01', timestamp '2026-01-01', interval '1 second')",
        "SELECT array_repeat('x', 3000000000)",
        "SELECT array_repeat(body, 3000000000) FROM logs",
        "SELECT array_resize([1], 3000000000)",
        "SELECT list_repeat(1, 3000000000)",
        "SELECT replace(repeat('x', 1000000), 'x', repeat('y', 1000000))",
    ] {
        let error = fixture.ask(sql).await.err();
        assert!(
            matches!(error, Some(QueryError::TooComplex { .. })),
            "{sql}: {error:?}"
        );
    }
    for (sql, expected) in [
        ("SELECT length(repeat('ab', 1000))", "2000"),
        ("SELECT lpad('x', 3, 'ab')", "abx"),
        ("SELECT array_length(range(1, 1000))", "999"),
        ("SELECT array_length(range(10, 1, -1))", "9"),
        ("SELECT array_length(array_repeat('x', 10))", "10"),
        ("SELECT concat('a', NULL, 'b')", "ab"),
        ("SELECT replace('aXbX', 'X', 'yy')", "ayybyy"),
    ] {
        assert_eq!(fixture.value(sql).await, expected, "{sql}");
    }
    // A thousand numbers for each record.
    let records = fixture.value("SELECT count(*) FROM logs").await;
    let all = fixture
        .value("SELECT count(*) FROM logs WHERE array_length(range(0, 1000 + severity_number)) >= 1000")
        .await;
    assert_eq!(all, records);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_the_engine_are_not_shown() {
    let fixture = Fixture::empty().await;
    for sql in [
        "SELECT * FROM information_schema.df_settings",
        "SELECT * FROM cupola.information_schema.df_settings",
        "SHOW ALL",
        "SHOW datafusion.execution.time_zone",
    ] {
        assert!(fixture.ask(sql).await.is_err(), "{sql}");
    }
    let tables = fixture
        .lines("SELECT table_name FROM information_schema.tables ORDER BY 1")
        .await;
    assert!(tables.iter().any(|name| name == "logs"), "{tables:?}");
    assert!(fixture.lines("SHOW TABLES").await.len() > 5);
    assert!(fixture.lines("SHOW COLUMNS FROM logs").await.len() > 5);
}
