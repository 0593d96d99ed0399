//! Statements on their way to the executor of sqlx that runs them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};

use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use sqlx::error::{BoxDynError, ErrorKind};
use sqlx::{Database, Either, Error, Execute, SqlStr};

use super::place::dialect_of;
use super::statement;
use crate::context::{Context, InContext as _};
use crate::database::{Client, Failure, Operation, Running};

/// What a statement answers, one after another.
type Step<DB> = Result<Either<<DB as Database>::QueryResult, <DB as Database>::Row>, Error>;

/// A query whose text has been read, which sqlx has for those alone who run it.
pub(super) struct Read<DB: Database> {
    sql: SqlStr,
    statement: Option<DB::Statement>,
    arguments: Result<Option<DB::Arguments>, BoxDynError>,
    is_persistent: bool,
}

impl<DB: Database> Read<DB> {
    fn of<'q>(mut query: impl Execute<'q, DB>) -> Read<DB> {
        Read {
            arguments: query.take_arguments(),
            statement: query.statement().cloned(),
            is_persistent: query.persistent(),
            sql: query.sql(),
        }
    }
}

impl<'q, DB: Database> Execute<'q, DB> for Read<DB> {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.statement.as_ref()
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, BoxDynError> {
        std::mem::replace(&mut self.arguments, Ok(None))
    }

    fn persistent(&self) -> bool {
        self.is_persistent
    }
}

/// A query that has begun.
struct Begun<DB: Database> {
    query: Read<DB>,
    context: Context,
    running: Running,
    returns_rows: bool,
}

fn begin<'q, DB: Database>(client: &Arc<Client>, query: impl Execute<'q, DB>) -> Begun<DB> {
    let query = Read::of(query);
    let told = statement::read(query.sql.as_str(), dialect_of::<DB>());
    let returns_rows = told.operation.as_deref() == Some("SELECT");
    let (context, running) = client.begin(Operation {
        name: told.operation,
        collection: told.collection,
        summary: Some(told.summary).filter(|summary| !summary.is_empty()),
        text: Some(told.text).filter(|text| !text.is_empty()),
        batch: None,
    });
    Begun {
        query,
        context,
        running,
        returns_rows,
    }
}

/// Runs a query for all that it answers.
pub(super) fn many<'e, 'q: 'e, DB: Database>(
    client: &Arc<Client>,
    query: impl Execute<'q, DB> + 'q,
    run: impl FnOnce(Read<DB>) -> BoxStream<'e, Step<DB>>,
) -> BoxStream<'e, Step<DB>> {
    let begun = begin(client, query);
    let inner = begun.context.clone().run(|| run(begun.query));
    Box::pin(Steps::<DB> {
        inner,
        context: begun.context,
        running: begun.running,
        returns_rows: begun.returns_rows,
        rows: 0,
    })
}

/// Runs a query for its first row.
pub(super) fn one<'e, 'q: 'e, DB: Database>(
    client: &Arc<Client>,
    query: impl Execute<'q, DB> + 'q,
    run: impl FnOnce(Read<DB>) -> BoxFuture<'e, Result<Option<DB::Row>, Error>>,
) -> BoxFuture<'e, Result<Option<DB::Row>, Error>> {
    let mut begun = begin(client, query);
    let inner = begun.context.clone().run(|| run(begun.query));
    Box::pin(async move {
        let row = inner.in_context(begun.context).await;
        match &row {
            Ok(row) => begun.running.succeeded(Some(row.is_some().into())),
            Err(error) => fail(&mut begun.running, error),
        }
        row
    })
}

/// Does something that has no text: `BEGIN`, `COMMIT`.
pub(super) async fn simple<T>(
    client: &Arc<Client>,
    name: &'static str,
    run: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let (context, mut running) = client.begin(Operation {
        name: Some(name.to_owned()),
        summary: Some(name.to_owned()),
        ..Operation::default()
    });
    let done = run.in_context(context).await;
    match &done {
        Ok(_) => running.succeeded(None),
        Err(error) => fail(&mut running, error),
    }
    done
}

struct Steps<'e, DB: Database> {
    inner: BoxStream<'e, Step<DB>>,
    context: Context,
    running: Running,
    returns_rows: bool,
    rows: u64,
}

impl<DB: Database> Steps<'_, DB> {
    fn succeed(&mut self) {
        let rows = (self.returns_rows || self.rows > 0).then_some(self.rows);
        self.running.succeeded(rows);
    }
}

impl<DB: Database> Stream for Steps<'_, DB> {
    type Item = Step<DB>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Option<Step<DB>>> {
        let this = &mut *self;
        let context = this.context.clone();
        let step = ready!(context.run(|| this.inner.as_mut().poll_next(task)));
        match &step {
            Some(Ok(Either::Right(_))) => this.rows += 1,
            Some(Ok(Either::Left(_))) => {}
            Some(Err(error)) => fail(&mut this.running, error),
            None => this.succeed(),
        }
        Poll::Ready(step)
    }
}

impl<DB: Database> Drop for Steps<'_, DB> {
    /// Whoever has read rows, and reads no further, has what was asked for.
    fn drop(&mut self) {
        if self.rows > 0 {
            self.succeed();
        }
    }
}

fn fail(running: &mut Running, error: &Error) {
    let code = match error {
        Error::Database(error) => error.code(),
        _ => None,
    };
    let (kind, message) = described(error);
    running.failed(&Failure {
        kind,
        code: code.as_deref(),
        message,
    });
}

/// What kind of error, and what people are told of it.
fn described(error: &Error) -> (&'static str, &'static str) {
    match error {
        Error::Database(error) => match error.kind() {
            ErrorKind::UniqueViolation => ("unique_violation", "a key is there already"),
            ErrorKind::ForeignKeyViolation => ("foreign_key_violation", "what a key points to is not there"),
            ErrorKind::NotNullViolation => ("not_null_violation", "a value is missing"),
            ErrorKind::CheckViolation => ("check_violation", "a value is not allowed"),
            ErrorKind::ExclusionViolation => ("exclusion_violation", "a value excludes another"),
            _ => ("database", "the database refused the statement"),
        },
        Error::Io(_) => ("io", "the connection broke"),
        Error::Tls(_) => ("tls", "no secure connection could be made"),
        Error::Protocol(_) => ("protocol", "the database answered what is not understood"),
        Error::PoolTimedOut => ("pool_timed_out", "no connection became free in time"),
        Error::PoolClosed => ("pool_closed", "the pool is closed"),
        Error::WorkerCrashed => ("worker_crashed", "the thread of the database has crashed"),
        Error::Encode(_) => ("encode", "a bound value could not be written"),
        Error::Decode(_) | Error::ColumnDecode { .. } => ("decode", "a value could not be read"),
        _ => ("_OTHER", ""),
    }
}

/// An executor that has its client and one of sqlx behind it.
macro_rules! executes {
    ($life:lifetime, [$($own:lifetime),*], $traced:ty, $inner:expr) => {
        impl<$life, $($own,)* DB> Executor<$life> for $traced
        where
            DB: Database,
            for<'a> &'a mut DB::Connection: Executor<'a, Database = DB>,
        {
            type Database = DB;

            fn fetch_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxStream<'e, Result<Either<DB::QueryResult, DB::Row>, Error>>
            where
                $life: 'e,
                E: 'q + Execute<'q, DB>,
            {
                let (client, inner) = $inner(self);
                executor::many(client, query, |query| inner.fetch_many(query))
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<Option<DB::Row>, Error>>
            where
                $life: 'e,
                E: 'q + Execute<'q, DB>,
            {
                let (client, inner) = $inner(self);
                executor::one(client, query, |query| inner.fetch_optional(query))
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [DB::TypeInfo],
            ) -> BoxFuture<'e, Result<DB::Statement, Error>>
            where
                $life: 'e,
            {
                let (_, inner) = $inner(self);
                inner.prepare_with(sql, parameters)
            }

            #[cfg(feature = "sqlx")]
            fn describe<'e>(
                self,
                sql: SqlStr,
            ) -> BoxFuture<'e, Result<sqlx::Describe<DB>, Error>>
            where
                $life: 'e,
            {
                let (_, inner) = $inner(self);
                inner.describe(sql)
            }
        }
    };
}

pub(super) use executes;
