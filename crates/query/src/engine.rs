//! The query engine: statements in, streams of batches out, within limits.
//!
//! Each statement gets a session of its own over one snapshot of one tenant: it sees one moment, and no table of
//! anybody else exists in it. Planning and execution run on the engine's own threads, so that a heavy query delays
//! no socket.

mod counters;
mod information;
mod planned;
mod registry;
mod run;
mod session;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use cupola_store::{Snapshot, Store};
use cupola_telemetry::TenantId;
use cupola_telemetry::memory::MemoryBudget;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use tokio::runtime::{Handle, Runtime};

pub use counters::{QueryCounters, QueryStatus};
pub use information::information_schema;
pub use planned::PlannedQuery;
pub use registry::{QueryHandle, QueryId, QueryName, QueryProgress, RunningQuery};
pub use run::{parse_statement, readable_names};

use crate::config::{QueryConfig, QueryLimits};
use crate::error::QueryError;
use crate::planner::check_text;
use counters::Counters;
use registry::{Listed, Registry};
use run::Work;
use session::Sessions;
use slots::{Queue, Slots};

/// Stack of the threads that plan: deep expressions are walked recursively. Only what is used is backed by memory.
const STACK_BYTES: usize = 128 << 20;
/// Threads for what blocks, beside those that plan for protocols.
const BLOCKING_THREADS_MAX: usize = 64;

/// Answers SQL over a store. Clones share it.
#[derive(Clone, Debug)]
pub struct QueryEngine {
    inner: Arc<Engine>,
}

#[derive(Debug)]
struct Engine {
    store: Store,
    config: QueryConfig,
    memory: MemoryBudget,
    sessions: Sessions,
    registry: Arc<Registry>,
    counters: Counters,
    queue: Arc<Queue>,
    /// Statements that run at one time.
    slots: Slots,
    /// Statements that protocols plan at one time.
    planning: Slots,
    runtime: QueryRuntime,
}

/// The threads of the engine. Tokio refuses to drop a runtime inside another: it is left to end on its own.
#[derive(Debug)]
struct QueryRuntime(Option<Runtime>);

impl Drop for QueryRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A running query and its rows.
pub struct QueryResult {
    pub schema: SchemaRef,
    /// Dropping it cancels the query. Its errors turn into [`QueryError`] with `from`.
    pub stream: SendableRecordBatchStream,
    pub handle: QueryHandle,
}

impl QueryEngine {
    /// An engine over `store`; queries and the metadata cache draw on `memory`.
    pub fn new(store: Store, config: QueryConfig, memory: MemoryBudget) -> Result<QueryEngine, QueryError> {
        let threads = config.threads.max(1);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("cupola-query")
            .thread_stack_size(STACK_BYTES)
            .max_blocking_threads(threads + BLOCKING_THREADS_MAX)
            .enable_all()
            .build()
            .map_err(|error| QueryError::Setup {
                message: format!("cannot start query threads: {error}"),
            })?;
        let sessions = Sessions::new(&store, &config, &memory)?;
        let queue = Arc::new(Queue::new(config.waiting_max));
        let slots = Slots::new(config.running_max, Arc::clone(&queue));
        let planning = Slots::new(threads, Arc::clone(&queue));
        let inner = Engine {
            store,
            config,
            memory,
            sessions,
            registry: Arc::new(Registry::default()),
            counters: Counters::default(),
            queue,
            slots,
            planning,
            runtime: QueryRuntime(Some(runtime)),
        };
        Ok(QueryEngine {
            inner: Arc::new(inner),
        })
    }

    /// Starts a statement; returns when it is planned. Rows come as they are found.
    pub async fn sql(
        &self,
        tenant: &TenantId,
        sql: &str,
        limits: QueryLimits,
    ) -> Result<QueryResult, QueryError> {
        self.sql_named(tenant, sql, None, limits).await
    }

    /// Starts a statement under a name of the asker's choice, by which [`running`](Self::running) lists it.
    pub async fn sql_named(
        &self,
        tenant: &TenantId,
        sql: &str,
        name: Option<QueryName>,
        limits: QueryLimits,
    ) -> Result<QueryResult, QueryError> {
        let limits = limits.within(self.inner.config.limits);
        run::start(&self.inner, tenant, sql, name, Work::Statement, limits).await
    }

    /// Runs what a protocol does with the text of a statement, over a new snapshot, on a thread whose stack is made for
    /// deep statements. Syntax trees and plans must be made, walked and dropped there, as a recursion over one overflows
    /// the stack of an ordinary thread: what `work` gives back is to hold none but in a [`PlannedQuery`].
    ///
    /// Fails without running `work` when `sql`, all text that it is going to read, is too much to parse. Is listed,
    /// stopped and limited in time as a statement is; its execution has a time of its own.
    pub async fn plan<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        sql: &str,
        limits: QueryLimits,
        work: impl AsyncFnOnce(SessionContext) -> T + Send + 'static,
    ) -> Result<T, QueryError> {
        check_text(sql)?;
        let listed = Listed::new(&self.inner.registry, tenant, sql, None)?;
        let cancel = listed.running.cancel.clone();
        // Whoever waits here and goes away cancels.
        let _guard = cancel.clone().drop_guard();
        let limits = limits.within(self.inner.config.limits);
        let time = limits.time.unwrap_or(Duration::MAX);
        let planned = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(QueryError::Cancelled),
            planned = tokio::time::timeout(time, self.plan_listed(listed, work)) => {
                planned.unwrap_or(Err(QueryError::TimeLimit { limit: time }))
            }
        };
        if let Err(error) = &planned {
            self.inner.counters.ended(error);
        }
        planned
    }

    async fn plan_listed<T: Send + 'static>(
        &self,
        listed: Listed,
        work: impl AsyncFnOnce(SessionContext) -> T + Send + 'static,
    ) -> Result<T, QueryError> {
        let runtime = self.inner.handle()?;
        let turn = self.inner.planning.take().await?;
        let session = self.session(listed.running.tenant()).await?;
        let task = runtime.clone().spawn_blocking(move || {
            let cancel = listed.running.cancel.clone();
            let planned = runtime.block_on(cancel.run_until_cancelled_owned(work(session)));
            // A planner that does not yield is not stopped: it is listed, and has its turn, for as long as it works.
            drop((listed, turn));
            planned
        });
        task.await.map_err(|_| run::lost())?.ok_or(QueryError::Cancelled)
    }

    /// A plan made in [`plan`](Self::plan), for [`execute`](Self::execute).
    pub fn planned(&self, session: SessionState, plan: LogicalPlan) -> Result<PlannedQuery, QueryError> {
        Ok(PlannedQuery::new(session, plan, self.inner.handle()?))
    }

    /// Starts a plan that a protocol made, with its parameters filled in. It is listed under `sql`, limited and refused
    /// if it does more than read, as a statement is.
    pub async fn execute(
        &self,
        tenant: &TenantId,
        sql: &str,
        planned: PlannedQuery,
        limits: QueryLimits,
    ) -> Result<QueryResult, QueryError> {
        let limits = limits.within(self.inner.config.limits);
        run::start(&self.inner, tenant, sql, None, Work::Plan(planned), limits).await
    }

    /// A session over one snapshot of a tenant. Statements are planned in [`plan`](Self::plan).
    pub async fn session(&self, tenant: &TenantId) -> Result<SessionContext, QueryError> {
        let snapshot = self.snapshot(tenant).await?;
        let memory = self
            .inner
            .sessions
            .memory(&self.inner.memory, &self.inner.config.limits);
        let state = self.inner.sessions.state(Arc::new(snapshot), memory)?;
        Ok(SessionContext::new_with_state(state))
    }

    /// The statements under way, oldest first.
    pub fn running(&self) -> Vec<RunningQuery> {
        self.inner.registry.running()
    }

    /// Stops a statement; `false` when it is not running.
    pub fn cancel(&self, id: QueryId) -> bool {
        self.inner.registry.cancel(id)
    }

    /// All tables of a tenant at one moment.
    pub async fn snapshot(&self, tenant: &TenantId) -> Result<Snapshot, QueryError> {
        Ok(self.inner.store.snapshot(tenant).await?)
    }

    /// What the engine does at this moment, and has done.
    pub fn status(&self) -> QueryStatus {
        let engine = &self.inner;
        let (spill_bytes, spill_bytes_max) = engine.sessions.spill_bytes();
        QueryStatus {
            running: engine.slots.taken() as u64,
            running_max: engine.slots.max() as u64,
            waiting: engine.queue.waiting() as u64,
            waiting_max: engine.queue.waiting_max() as u64,
            spill_bytes,
            spill_bytes_max,
            metadata_cache_bytes: engine.sessions.metadata_cache_bytes() as u64,
            metadata_cache_bytes_max: engine.config.metadata_cache_bytes_max as u64,
            counters: engine.counters.read(),
        }
    }

    /// Bytes of parsed file metadata held.
    pub fn metadata_cache_bytes(&self) -> usize {
        self.inner.sessions.metadata_cache_bytes()
    }
}

impl Engine {
    fn handle(&self) -> Result<Handle, QueryError> {
        match &self.runtime.0 {
            Some(runtime) => Ok(runtime.handle().clone()),
            None => Err(QueryError::Cancelled),
        }
    }
}
