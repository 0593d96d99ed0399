//! One statement from text to rows, on the engine's threads, within its limits.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use cupola_telemetry::TenantId;
use datafusion::common::DataFusionError;
use datafusion::config::Dialect;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use datafusion::physical_plan::execute_stream;
use datafusion::sql::parser::Statement;
use futures::{Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::DropGuard;
use tracing::{Instrument as _, Span, field};

use super::counters::add;
use super::planned::{Parts, PlannedQuery};
use super::registry::{Listed, QueryHandle, QueryName, Running};
use super::{Engine, QueryResult};
use crate::config::QueryLimits;
use crate::error::QueryError;
use crate::memory::batch_bytes;
use crate::planner::{check_statement, check_text, prepare_statement};
use crate::tables::table_names;

/// Batches found ahead of the reader.
const BATCHES_AHEAD: usize = 4;

/// What a query is made from.
pub(super) enum Work {
    /// The text of a statement, over a snapshot of its own.
    Statement,
    /// A plan that a protocol made on a session of the engine.
    Plan(PlannedQuery),
}

/// What comes from the task of a query. Whoever reads must not take a task that is gone for one that is done: an answer
/// without its end is not whole.
enum Message {
    Batch(RecordBatch),
    Failed(QueryError),
    End,
}

type Batches = mpsc::Sender<Message>;
type Planned = oneshot::Sender<Result<SchemaRef, QueryError>>;

/// Plans a statement and leaves it running.
pub(super) async fn start(
    engine: &Arc<Engine>,
    tenant: &TenantId,
    sql: &str,
    name: Option<QueryName>,
    work: Work,
    limits: QueryLimits,
) -> Result<QueryResult, QueryError> {
    // A plan has been made from text that was looked at.
    if matches!(work, Work::Statement) {
        check_text(sql)?;
    }
    let Some(runtime) = &engine.runtime.0 else {
        return Err(QueryError::Cancelled);
    };
    let listed = Listed::new(&engine.registry, tenant, sql, name)?;
    let running = Arc::clone(&listed.running);
    add(&engine.counters.statements, 1);
    // Whoever waits here and goes away cancels, as whoever drops the stream does.
    let guard = running.cancel.clone().drop_guard();
    let (planned, schema) = oneshot::channel();
    let (batches, receiver) = mpsc::channel(BATCHES_AHEAD);
    let span = span_of(&running);
    let task = supervise(Arc::clone(engine), listed, work, limits, planned, batches);
    runtime.spawn(task.instrument(span));
    let schema = schema.await.map_err(|_| lost())??;
    let stream = QueryStream {
        schema: Arc::clone(&schema),
        receiver: Some(receiver),
        _guard: guard,
    };
    Ok(QueryResult {
        schema,
        stream: Box::pin(stream),
        handle: QueryHandle { running },
    })
}

/// The task ended without a word: a panic inside an operator.
pub(super) fn lost() -> QueryError {
    QueryError::Internal {
        cause: "its task ended unexpectedly".to_owned(),
    }
}

/// The span of a statement, with what the semantic conventions ask of the server's side of a database call. Without its
/// text, which has values in it; a slow one is logged with its text, within this span.
///
/// <https://opentelemetry.io/docs/specs/semconv/database/database-spans/>
fn span_of(running: &Running) -> Span {
    tracing::info_span!(
        "query",
        db.system.name = "cupola",
        db.namespace = running.tenant().as_str(),
        db.response.returned_rows = field::Empty,
        cupola.tenant = running.tenant().as_str(),
        cupola.query.id = %running.id(),
        cupola.query.rows_scanned = field::Empty,
        cupola.query.bytes_scanned = field::Empty,
        error.type = field::Empty,
    )
}

/// Runs a query until it ends, is cancelled, or is out of time, and tells whoever waits.
async fn supervise(
    engine: Arc<Engine>,
    listed: Listed,
    work: Work,
    limits: QueryLimits,
    planned: Planned,
    batches: Batches,
) {
    let running = Arc::clone(&listed.running);
    let mut planned = Some(planned);
    let outcome = {
        let time = limits.time.unwrap_or(Duration::MAX);
        let work = execute(&engine, &running, work, limits, &mut planned, &batches);
        tokio::select! {
            biased;
            () = running.cancel.cancelled() => Err(QueryError::Cancelled),
            outcome = tokio::time::timeout(time, work) => {
                outcome.unwrap_or(Err(QueryError::TimeLimit { limit: time }))
            }
        }
    };
    log_slow(&engine, &running, outcome.as_ref().err());
    conclude(&engine, &running, outcome.as_ref().err());
    // Whoever learns that the query has ended must not find it listed any more.
    drop(listed);
    // Where sending fails nobody reads: the stream was dropped.
    let _ = match (outcome, planned.take()) {
        (Ok(()), _) => batches.send(Message::End).await.is_ok(),
        (Err(error), None) => batches.send(Message::Failed(error)).await.is_ok(),
        (Err(error), Some(planned)) => planned.send(Err(error)).is_ok(),
    };
}

/// Lets go of the plan, and counts what there is to count of it.
fn conclude(engine: &Engine, running: &Running, error: Option<&QueryError>) {
    let counters = &engine.counters;
    let spilled = running.finish();
    let progress = running.progress();
    add(&counters.spills, spilled.times);
    add(&counters.spilled_bytes, spilled.bytes);
    add(&counters.rows_scanned, progress.rows_scanned);
    add(&counters.bytes_scanned, progress.bytes_scanned);
    let span = Span::current();
    span.record("db.response.returned_rows", progress.rows);
    span.record("cupola.query.rows_scanned", progress.rows_scanned);
    span.record("cupola.query.bytes_scanned", progress.bytes_scanned);
    if let Some(error) = error {
        counters.ended(error);
        span.record("error.type", error.kind());
    }
}

fn log_slow(engine: &Engine, running: &Running, error: Option<&QueryError>) {
    let elapsed = running.elapsed();
    if elapsed < engine.config.slow_query {
        return;
    }
    add(&engine.counters.slow, 1);
    let progress = running.progress();
    tracing::warn!(
        query.id = %running.id(),
        tenant = %running.tenant(),
        query.text = running.sql(),
        elapsed_ms = elapsed.as_millis() as u64,
        rows = progress.rows,
        rows_scanned = progress.rows_scanned,
        bytes_scanned = progress.bytes_scanned,
        error = error.map(tracing::field::display),
        "slow query"
    );
}

async fn execute(
    engine: &Engine,
    running: &Running,
    work: Work,
    limits: QueryLimits,
    planned: &mut Option<Planned>,
    batches: &Batches,
) -> Result<(), QueryError> {
    let _slot = engine.slots.take().await?;
    let Open {
        schema,
        mut stream,
        _session,
    } = open(engine, running, work, limits).await?;
    let renamed = *schema != *stream.schema();
    if let Some(planned) = planned.take()
        && planned.send(Ok(Arc::clone(&schema))).is_err()
    {
        return Ok(());
    }
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let rows =
            running.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed) + batch.num_rows() as u64;
        if let Some(limit) = limits.rows_max.filter(|limit| rows > *limit) {
            return Err(QueryError::RowLimit { limit });
        }
        let size = batch_bytes(&batch) as u64;
        let bytes = running.bytes.fetch_add(size, Ordering::Relaxed) + size;
        if let Some(limit) = limits.bytes_max.filter(|limit| bytes > *limit) {
            return Err(QueryError::ByteLimit { limit });
        }
        let batch = if renamed { rename(batch, &schema)? } else { batch };
        if batches.send(Message::Batch(batch)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// A plan that has been started.
struct Open {
    schema: SchemaRef,
    stream: SendableRecordBatchStream,
    /// Tables that describe others look for them in the session while they are read, and hold it weakly.
    _session: SessionState,
}

/// Plans the statement, if that is still to do, and opens its stream.
async fn open(
    engine: &Engine,
    running: &Running,
    work: Work,
    limits: QueryLimits,
) -> Result<Open, QueryError> {
    let (state, plan) = match work {
        Work::Statement => plan(engine, running, limits).await?,
        Work::Plan(planned) => *planned.into_parts()?,
    };
    let read_only = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    read_only.verify_plan(&plan)?;
    let plan = state.create_physical_plan(&plan).await?;
    let stream = execute_stream(Arc::clone(&plan), state.task_ctx())?;
    running.start(plan);
    Ok(Open {
        schema: readable_names(&stream.schema()),
        stream,
        _session: state,
    })
}

/// Plans the statement over a new snapshot.
async fn plan(engine: &Engine, running: &Running, limits: QueryLimits) -> Result<Parts, QueryError> {
    let snapshot = engine.store.snapshot(running.tenant()).await?;
    let memory = engine.sessions.memory(&engine.memory, &limits);
    let state = engine.sessions.state(Arc::new(snapshot), memory)?;
    let statement = parse_statement(&state, running.sql())?;
    let plan = state.statement_to_plan(statement).await?;
    Ok((state, plan))
}

/// The statement of a text, if it only reads. To be called where it may be deep (`QueryEngine::plan`).
pub fn parse_statement(state: &SessionState, sql: &str) -> Result<Statement, QueryError> {
    let mut statement = state.sql_to_statement(sql, &Dialect::PostgreSQL)?;
    check_statement(&statement)?;
    prepare_statement(&mut statement)?;
    Ok(statement)
}

/// `logs.attributes['k']` reads `attributes['k']`: which table it is from is only of interest in a join, where tables
/// have aliases. For protocols that announce the columns of a plan before it is executed.
pub fn readable_names(schema: &SchemaRef) -> SchemaRef {
    let tables = table_names();
    let short = |name: &str| -> Option<String> {
        let (table, rest) = name.split_once('.')?;
        let is_attribute = rest.contains("attributes['") || rest.contains("attributes->>");
        (is_attribute && tables.iter().any(|known| known == table)).then(|| rest.to_owned())
    };
    if !schema.fields().iter().any(|field| short(field.name()).is_some()) {
        return Arc::clone(schema);
    }
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| match short(field.name()) {
            Some(name) => field.as_ref().clone().with_name(name),
            None => field.as_ref().clone(),
        })
        .collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The same columns under other names.
fn rename(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let (_, columns, rows) = batch.into_parts();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

/// The rows of a running query. Dropping it cancels the query.
struct QueryStream {
    schema: SchemaRef,
    /// None after the end, which may be asked for again.
    receiver: Option<mpsc::Receiver<Message>>,
    _guard: DropGuard,
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch, DataFusionError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(receiver) = &mut self.receiver else {
            return Poll::Ready(None);
        };
        let end = match ready!(receiver.poll_recv(context)) {
            Some(Message::Batch(batch)) => return Poll::Ready(Some(Ok(batch))),
            Some(Message::Failed(error)) => Some(Err(error.into())),
            Some(Message::End) => None,
            None => Some(Err(lost().into())),
        };
        self.receiver = None;
        Poll::Ready(end)
    }
}

impl RecordBatchStream for QueryStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn stream(messages: Vec<Message>) -> QueryStream {
        let (sender, receiver) = mpsc::channel(messages.len().max(1));
        for message in messages {
            sender.try_send(message).ok().unwrap();
        }
        QueryStream {
            schema: Arc::new(Schema::empty()),
            receiver: Some(receiver),
            _guard: CancellationToken::new().drop_guard(),
        }
    }

    fn batch() -> Message {
        Message::Batch(RecordBatch::new_empty(Arc::new(Schema::empty())))
    }

    #[tokio::test]
    async fn an_answer_without_its_end_is_an_error() {
        let mut whole = stream(vec![batch(), Message::End]);
        assert!(matches!(whole.next().await, Some(Ok(_))));
        assert!(whole.next().await.is_none());
        // Asked again after its end, as stream combinators do.
        assert!(whole.next().await.is_none());

        // As after a panic of the task.
        let mut cut = stream(vec![batch()]);
        assert!(matches!(cut.next().await, Some(Ok(_))));
        assert!(matches!(cut.next().await, Some(Err(_))));
        assert!(cut.next().await.is_none());
    }
}
