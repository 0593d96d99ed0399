//! Statements of sqlx on SQLite in memory, and on real servers of PostgreSQL and MySQL.

use cupola_peers::{mariadb, peer_or_skip, postgres};
use cupola_sdk::sqlx::TracedPool;
use cupola_sdk::testing::{Capture, CapturedSpan};
use cupola_sdk::{Context, InContext as _};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{AssertSqlSafe, Error, MySql, Postgres, Row as _, Sqlite};
use tokio_stream::StreamExt as _;

use crate::measured::histogram;

const SECRET: &str = "zq-hunter-2";
const ERROR: i32 = 2;

/// A pool with a table: of one connection, as each has a memory of its own.
async fn sqlite(capture: &Capture) -> TracedPool<Sqlite> {
    let options = SqlitePoolOptions::new().max_connections(1);
    let pool = options.connect("sqlite::memory:").await.unwrap();
    let pool = TracedPool::new(capture.sdk(), pool);
    sqlx::query("CREATE TABLE orders (id INTEGER PRIMARY KEY, article TEXT NOT NULL)")
        .execute(&*pool)
        .await
        .unwrap();
    sqlx::query("INSERT INTO orders (article) VALUES ('lamp'), ('chair'), ('table')")
        .execute(&*pool)
        .await
        .unwrap();
    assert!(
        capture.spans().is_empty(),
        "what the pool itself runs is not traced"
    );
    pool
}

fn only(capture: &Capture) -> CapturedSpan {
    let mut spans = capture.spans();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    capture.clear();
    spans.remove(0)
}

fn attribute(span: &CapturedSpan, key: &str) -> String {
    let value = span.attributes.get(key).map(ToString::to_string);
    value.unwrap_or_default().trim_matches('"').to_owned()
}

fn names(capture: &Capture) -> Vec<String> {
    capture.spans().into_iter().map(|span| span.name).collect()
}

#[tokio::test(flavor = "current_thread")]
async fn a_statement_is_a_span_without_values_in_the_trace_around_it() {
    let capture = Capture::new();
    let pool = sqlite(&capture).await;
    let context = Context::root().with_member("tenant.id", "acme").unwrap();
    let sql =
        format!("SELECT id, article FROM orders WHERE id > 1 AND article <> '{SECRET}' AND article <> $1");
    let asked = sqlx::query(AssertSqlSafe(sql)).bind(SECRET).fetch_all(&pool);
    let rows = asked.in_context(context).await.unwrap();
    assert_eq!(rows.len(), 2);
    let span = only(&capture);
    assert_eq!(
        (span.name.as_str(), span.kind, span.status_code),
        ("SELECT orders", 3, 0)
    );
    for (key, value) in [
        ("db.system.name", "sqlite"),
        ("db.namespace", ":memory:"),
        ("db.operation.name", "SELECT"),
        ("db.collection.name", "orders"),
        ("db.query.summary", "SELECT orders"),
        (
            "db.query.text",
            "SELECT id, article FROM orders WHERE id > ? AND article <> ? AND article <> $1",
        ),
        ("db.response.returned_rows", "2"),
        ("tenant.id", "acme"),
        ("server.address", ""),
    ] {
        assert_eq!(attribute(&span, key), value, "{key}");
    }
    assert!(!capture.render().contains(SECRET));
}

#[tokio::test(flavor = "current_thread")]
async fn every_way_of_asking_is_one_span() {
    let capture = Capture::new();
    let pool = sqlite(&capture).await;
    let rows = |span: CapturedSpan| attribute(&span, "db.response.returned_rows");

    let done = sqlx::query("UPDATE orders SET article = $1")
        .bind("x")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 3);
    let span = only(&capture);
    assert_eq!(span.name, "UPDATE orders");
    assert_eq!(rows(span), "");

    let one: i64 = sqlx::query_scalar("SELECT count(*) FROM orders")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!((one, rows(only(&capture)).as_str()), (3, "1"));

    let none = sqlx::query("SELECT 1 FROM orders WHERE id = 99")
        .fetch_optional(&pool)
        .await
        .unwrap();
    assert_eq!((none.is_none(), rows(only(&capture)).as_str()), (true, "0"));

    // Whoever has enough reads no further.
    let mut stream = sqlx::query("SELECT id FROM orders").fetch(&pool);
    assert_eq!(stream.next().await.unwrap().unwrap().get::<i64, _>(0), 1);
    drop(stream);
    let span = only(&capture);
    assert_eq!(span.status_code, 0);
    assert_eq!(rows(span), "1");

    sqlx::raw_sql("DELETE FROM orders WHERE id = 1; SELECT id FROM orders")
        .execute(&pool)
        .await
        .unwrap();
    let span = only(&capture);
    assert_eq!(span.name, "DELETE orders; SELECT orders");
    assert_eq!(
        attribute(&span, "db.query.text"),
        "DELETE FROM orders WHERE id = ?; SELECT id FROM orders"
    );
    assert_eq!(attribute(&span, "db.operation.name"), "");

    // A statement that was prepared before keeps what it is.
    use sqlx::{Executor as _, SqlSafeStr as _, Statement as _};
    let prepared = (&pool)
        .prepare("SELECT article FROM orders".into_sql_str())
        .await
        .unwrap();
    assert!(capture.spans().is_empty());
    prepared.query().fetch_all(&pool).await.unwrap();
    assert_eq!(only(&capture).name, "SELECT orders");
}

#[tokio::test(flavor = "current_thread")]
async fn transactions_and_connections_are_traced_too() {
    let capture = Capture::new();
    let pool = sqlite(&capture).await;
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("DELETE FROM orders")
        .execute(&mut transaction)
        .await
        .unwrap();
    let mut inner = transaction.begin().await.unwrap();
    sqlx::query("SELECT 1").fetch_one(&mut inner).await.unwrap();
    inner.commit().await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(
        names(&capture),
        [
            "BEGIN",
            "DELETE orders",
            "SAVEPOINT",
            "SELECT",
            "RELEASE",
            "ROLLBACK"
        ]
    );
    capture.clear();
    let mut connection = pool.acquire().await.unwrap();
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM orders")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(count, 3, "it was undone");
    let transaction = connection.begin().await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(names(&capture), ["SELECT orders", "BEGIN", "COMMIT"]);
}

#[tokio::test(flavor = "current_thread")]
async fn failures_have_the_code_of_the_database_and_none_of_its_words() {
    let capture = Capture::new();
    let pool = sqlite(&capture).await;
    let failed = sqlx::query("INSERT INTO orders (id, article) VALUES (1, $1)")
        .bind(SECRET)
        .execute(&pool)
        .await;
    assert!(failed.is_err());
    let span = only(&capture);
    assert_eq!(span.status_code, ERROR);
    // SQLite has codes of its own: SQLITE_CONSTRAINT_PRIMARYKEY.
    assert_eq!(attribute(&span, "db.response.status_code"), "1555");
    assert_eq!(attribute(&span, "error.type"), "1555");
    assert_eq!(span.status_message, "a key is there already");

    sqlx::query("SELECT zq_secret FROM orders")
        .fetch_all(&pool)
        .await
        .unwrap_err();
    let span = only(&capture);
    assert_eq!(
        (span.status_code, attribute(&span, "error.type").as_str()),
        (ERROR, "1")
    );

    let waiting = sqlx::query("SELECT id FROM orders").fetch_all(&pool);
    drop(waiting);
    assert!(capture.spans().is_empty(), "nothing was begun");
    pool.close().await;
    let closed = sqlx::query("SELECT id FROM orders").fetch_all(&pool).await;
    assert!(matches!(closed, Err(Error::PoolClosed)));
    assert_eq!(attribute(&only(&capture), "error.type"), "pool_closed");
}

#[tokio::test(flavor = "current_thread")]
async fn what_nobody_waits_for_any_more_was_cancelled() {
    let capture = Capture::new();
    let pool = sqlite(&capture).await;
    let held = pool.acquire().await.unwrap();
    {
        let asked = sqlx::query("SELECT id FROM orders").fetch_all(&pool);
        tokio::pin!(asked);
        // The only connection is taken.
        assert!(futures_now(&mut asked).is_none());
    }
    drop(held);
    let span = only(&capture);
    assert_eq!(
        (span.status_code, attribute(&span, "error.type").as_str()),
        (ERROR, "cancelled")
    );
}

/// What a future is ready with at once.
fn futures_now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut task) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test(flavor = "current_thread")]
async fn statements_are_measured_by_what_they_do() {
    let capture = Capture::new();
    let pool = sqlite(&capture)
        .await
        .server("db.example", Some(5433))
        .namespace("shop");
    for _ in 0..3 {
        sqlx::query("SELECT id FROM orders")
            .fetch_all(&pool)
            .await
            .unwrap();
    }
    sqlx::query("SELECT nothing FROM orders")
        .fetch_all(&pool)
        .await
        .unwrap_err();
    let series = histogram(&capture, "db.client.operation.duration");
    let counts: Vec<u64> = series.iter().map(|series| series.count).collect();
    assert_eq!(series.len(), 2, "{series:?}");
    assert_eq!(counts.iter().sum::<u64>(), 4);
    for series in series {
        assert_eq!(series.unit, "s");
        let failed = series.attributes.contains_key("error.type");
        assert_eq!(series.count, if failed { 1 } else { 3 });
        for (key, value) in [
            ("db.system.name", "sqlite"),
            ("db.namespace", "shop"),
            ("server.address", "db.example"),
            ("server.port", "5433"),
            ("db.query.summary", "SELECT orders"),
        ] {
            assert_eq!(series.attributes[key], value, "{key}");
        }
        assert!(!series.attributes.contains_key("db.query.text"));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn postgresql_says_where_it_is_and_with_which_state_it_failed() {
    let server = peer_or_skip!(postgres::start());
    let capture = Capture::new();
    let pool = PgPoolOptions::new().connect(&server.url()).await.unwrap();
    let pool: TracedPool<Postgres> = TracedPool::new(capture.sdk(), pool);
    sqlx::query("CREATE TABLE public.orders (id BIGINT PRIMARY KEY, article TEXT)")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(only(&capture).name, "CREATE TABLE public.orders");
    let sql = format!("INSERT INTO orders VALUES (1, E'{SECRET}\\'{SECRET}'), (2, $${SECRET}'$$), ($1, $2)");
    let insert = || {
        sqlx::query(AssertSqlSafe(sql.clone()))
            .bind(3_i64)
            .bind(SECRET)
            .execute(&pool)
    };
    insert().await.unwrap();
    let span = only(&capture);
    for (key, value) in [
        ("db.system.name", "postgresql"),
        ("db.namespace", "postgres"),
        ("server.address", "localhost"),
        ("server.port", &server.port.to_string()),
        ("db.operation.name", "INSERT"),
        ("db.collection.name", "orders"),
        (
            "db.query.text",
            "INSERT INTO orders VALUES (?, ?), (?, ?), ($1, $2)",
        ),
    ] {
        assert_eq!(attribute(&span, key), value, "{key}");
    }
    insert().await.unwrap_err();
    let span = only(&capture);
    assert_eq!(attribute(&span, "db.response.status_code"), "23505");
    assert_eq!(attribute(&span, "error.type"), "23505");
    let mut transaction = pool.begin().await.unwrap();
    let found = sqlx::query("WITH x AS (SELECT id FROM orders) SELECT * FROM x").fetch_all(&mut transaction);
    assert_eq!(found.await.unwrap().len(), 3);
    // The value that is told in the message is in no record.
    let cast = sqlx::query("SELECT CAST($1 AS TEXT)::INT")
        .bind(SECRET)
        .fetch_one(&mut transaction);
    assert!(cast.await.unwrap_err().to_string().contains(SECRET));
    transaction.rollback().await.unwrap();
    assert_eq!(
        names(&capture),
        ["BEGIN", "SELECT orders SELECT", "SELECT", "ROLLBACK"]
    );
    assert_eq!(
        attribute(&capture.span("SELECT"), "db.response.status_code"),
        "22P02"
    );
    assert!(!capture.render().contains(SECRET));
    pool.close().await;
}

#[tokio::test(flavor = "current_thread")]
async fn mysql_has_quotes_and_states_of_its_own() {
    let server = peer_or_skip!(mariadb::start());
    let capture = Capture::new();
    let pool = MySqlPoolOptions::new().connect(&server.url()).await.unwrap();
    let pool: TracedPool<MySql> = TracedPool::new(capture.sdk(), pool);
    sqlx::query("CREATE TABLE `orders` (id BIGINT PRIMARY KEY, article TEXT)")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(only(&capture).name, "CREATE TABLE orders");
    let sql = format!("INSERT INTO `orders` VALUES (1, \"{SECRET}\"), (2, '\\'{SECRET}'), (?, ?) # {SECRET}");
    let insert = || {
        sqlx::query(AssertSqlSafe(sql.clone()))
            .bind(3_i64)
            .bind(SECRET)
            .execute(&pool)
    };
    insert().await.unwrap();
    let span = only(&capture);
    for (key, value) in [
        ("db.system.name", "mysql"),
        ("db.namespace", "test"),
        ("server.address", "127.0.0.1"),
        ("server.port", &server.port.to_string()),
        ("db.collection.name", "orders"),
        // Up to the quote behind a backslash, which by another setting were the end of the literal.
        ("db.query.text", "INSERT INTO `orders` VALUES (?, ?), (?, ?"),
    ] {
        assert_eq!(attribute(&span, key), value, "{key}");
    }
    insert().await.unwrap_err();
    assert_eq!(attribute(&only(&capture), "db.response.status_code"), "23000");
    assert_eq!(
        sqlx::query("SELECT * FROM orders")
            .fetch_all(&pool)
            .await
            .unwrap()
            .len(),
        3
    );
    assert!(!capture.render().contains(SECRET));
    pool.close().await;
}
