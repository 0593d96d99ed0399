//! Statements of sqlx: a span and a measurement for each, on PostgreSQL, MySQL and SQLite. Names of spans, attributes and metrics
//! are those of the semantic conventions.
//!
//! <https://opentelemetry.io/docs/specs/semconv/db/database-spans/>
//!
//! A [`TracedPool`] stands where the pool stood. A span is named after what the statement does to what (`SELECT orders`), and has
//! its text with `?` in place of every literal; bound values are in neither, nor are messages of the database, which quote them.
//! It lasts until the last row has been read, and begins with waiting for a connection.
//!
//! ```
//! use cupola_sdk::sqlx::TracedPool;
//! # use sqlx::SqlitePool;
//!
//! # async fn orders(sdk: &cupola_sdk::core::Sdk, pool: SqlitePool) -> Result<(), sqlx::Error> {
//! let pool = TracedPool::new(sdk, pool);
//! let open = sqlx::query("SELECT id FROM orders WHERE paid = $1").bind(false).fetch_all(&pool).await?;
//!
//! let mut transaction = pool.begin().await?;
//! sqlx::query("UPDATE orders SET paid = true").execute(&mut transaction).await?;
//! transaction.commit().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Where a literal ends may depend on the server, as behind `\'` in MySQL: what cannot be told from a literal ends the text, as one
//! `?`. SQLite takes `"paid"` for a literal where there is no such column, so that of columns in such quotes only those are told that
//! have their table in front; `[paid]` and `` `paid` `` are names anywhere.
//!
//! What takes a pool of sqlx itself, such as `migrate!`, is given `&*pool`, and is not traced. sqlx has log records of its own
//! for statements, with their literals: `disable_statement_logging` of its options turns them off.
//!
//! sqlx asks more of an executor where its macros are enabled, which the feature `sqlx` does. An application that has sqlx
//! without them takes `sqlx-without-macros` in its place, and compiles less.

mod connection;
mod executor;
mod place;
mod pool;
mod statement;
mod transaction;

pub use connection::TracedConnection;
pub use pool::TracedPool;
pub use transaction::TracedTransaction;
