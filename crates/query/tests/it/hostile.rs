//! Statements made to break things get an error.

use cupola_query::QueryError;

use crate::support::Fixture;

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
