//! The query engine: statements in, streams of batches out, within limits.
//!
//! Each statement gets a session of its own over one snapshot of one tenant: it sees one moment, and no table of
//! anybody else exists in it. Planning and execution run on the engine's own threads, so that a heavy query delays
//! no socket.

mod information;
mod planned;
mod registry;
mod run;
mod session;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use cupola_store::{Snapshot, Store};
use cupola_telemetry::TenantId;
use cupola_telemetry::memory::MemoryBudget;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;

pub use information::information_schema;
pub use planned::PlannedQuery;
pub use registry::{QueryHandle, QueryId, QueryProgress, RunningQuery};
pub use run::{parse_statement, readable_names};

use crate::config::{QueryConfig, QueryLimits};
use crate::error::QueryError;
use crate::planner::check_text;
use registry::Registry;
use run::Work;
use session::Sessions;

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
    slots: Arc<Semaphore>,
    /// Statements that protocols plan at one time.
    planning: Arc<Semaphore>,
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
        let slots = Arc::new(Semaphore::new(config.running_max.max(1)));
        let planning = Arc::new(Semaphore::new(threads));
        let inner = Engine {
            store,
            config,
            memory,
            sessions,
            registry: Arc::new(Registry::default()),
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
        let limits = limits.within(self.inner.config.limits);
        run::start(&self.inner, tenant, sql, Work::Statement, limits).await
    }

    /// Runs what a protocol does with the text of a statement, over a new snapshot, on a thread whose stack is made for
    /// deep statements. Syntax trees and plans must be made, walked and dropped there, as a recursion over one overflows
    /// the stack of an ordinary thread: what `work` gives back is to hold none but in a [`PlannedQuery`].
    ///
    /// Fails without running `work` when `sql`, all text that it is going to read, is too much to parse.
    pub async fn plan<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        sql: &str,
        work: impl AsyncFnOnce(SessionContext) -> T + Send + 'static,
    ) -> Result<T, QueryError> {
        check_text(sql)?;
        let runtime = self.inner.handle()?;
        let session = self.session(tenant).await?;
        let turn = Arc::clone(&self.inner.planning);
        let turn = turn.acquire_owned().await.map_err(|_| QueryError::Cancelled)?;
        let task = runtime.clone().spawn_blocking(move || {
            let _turn = turn;
            runtime.block_on(work(session))
        });
        task.await.map_err(|_| run::lost())
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
        run::start(&self.inner, tenant, sql, Work::Plan(planned), limits).await
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
