//! Statements of sqlx as spans, in SQLite in memory: what they do to what, their text without values, how many rows they brought.
//!
//! ```text
//! cargo run -p cupola-sdk --features sqlx --example orders
//! ```
//!
//! It sends to where `OTEL_EXPORTER_OTLP_ENDPOINT` says, by default to `http://localhost:4318`, which `cupola serve` listens on.

use cupola_sdk::otel_trace;
use cupola_sdk::sqlx::TracedPool;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Sqlite, SqlitePool};

#[otel_trace(args, result)]
async fn order(pool: &TracedPool<Sqlite>, article: &str, count: i64) -> Result<i64, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query("INSERT INTO orders (article, count) VALUES ($1, $2)")
        .bind(article)
        .bind(count)
        .execute(&mut transaction)
        .await?;
    let ordered = sqlx::query_scalar("SELECT sum(count) FROM orders WHERE article = $1")
        .bind(article)
        .fetch_one(&mut transaction)
        .await?;
    transaction.commit().await?;
    Ok(ordered)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cupola = cupola_sdk::builder().service_name("orders").init()?;
    // One connection, as each has a memory of its own.
    let pool: SqlitePool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect("sqlite::memory:")
        .await?;
    let pool = TracedPool::new(cupola.sdk(), pool);
    sqlx::query("CREATE TABLE orders (article TEXT NOT NULL, count INTEGER NOT NULL CHECK (count > 0))")
        .execute(&pool)
        .await?;
    for (article, count) in [("lamp", 2), ("lamp", 3), ("chair", 0)] {
        match order(&pool, article, count).await {
            Ok(ordered) => tracing::info!(article, ordered, "ordered"),
            Err(error) => tracing::warn!(article, error = &error as &dyn std::error::Error, "refused"),
        }
    }
    Ok(())
}
