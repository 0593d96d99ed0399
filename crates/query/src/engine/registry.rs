//! Which queries are under way, how far they are, and stopping them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cupola_telemetry::TenantId;
use datafusion::physical_plan::{ExecutionPlan, metrics::MetricsSet};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Names a query while it runs; unique in the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId(u64);

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q{}", self.0)
    }
}

impl FromStr for QueryId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<QueryId, Self::Err> {
        text.strip_prefix('q').unwrap_or(text).parse().map(QueryId)
    }
}

/// How far a query is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryProgress {
    /// Rows that left the scans, after the filters that were evaluated there.
    pub rows_scanned: u64,
    /// Bytes read from segments.
    pub bytes_scanned: u64,
    /// Segments the plan names.
    pub files_total: u64,
    /// Segments read or found to have nothing.
    pub files_done: u64,
    /// Rows and bytes of the answer so far.
    pub rows: u64,
    pub bytes: u64,
}

/// A query under way, as listed.
#[derive(Debug, Clone)]
pub struct RunningQuery {
    pub id: QueryId,
    pub tenant: TenantId,
    pub sql: String,
    pub elapsed: Duration,
    pub progress: QueryProgress,
}

/// One query, held by whoever asked, by the task that runs it, and by the list.
#[derive(Debug)]
pub(super) struct Running {
    id: QueryId,
    tenant: TenantId,
    sql: String,
    started: Instant,
    pub(super) cancel: CancellationToken,
    stage: Mutex<Stage>,
    pub(super) rows: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// What tells how far a query is.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    Planning,
    Executing(Arc<dyn ExecutionPlan>),
    /// The plan is not held any longer: it may be too deep to be dropped by whoever holds a handle last.
    Finished(QueryProgress),
}

impl Running {
    pub(super) fn start(&self, plan: Arc<dyn ExecutionPlan>) {
        *self.stage.lock() = Stage::Executing(plan);
    }

    /// To be called on the engine's threads.
    pub(super) fn finish(&self) {
        let progress = self.progress();
        let plan = std::mem::replace(&mut *self.stage.lock(), Stage::Finished(progress));
        drop(plan);
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    pub(super) fn id(&self) -> QueryId {
        self.id
    }

    pub(super) fn progress(&self) -> QueryProgress {
        let mut progress = QueryProgress {
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            ..QueryProgress::default()
        };
        match &*self.stage.lock() {
            Stage::Planning => {}
            Stage::Executing(plan) => add_scans(plan, &mut progress),
            Stage::Finished(progress) => return *progress,
        }
        progress
    }
}

/// Adds what the leaves of a plan have read.
fn add_scans(plan: &Arc<dyn ExecutionPlan>, progress: &mut QueryProgress) {
    // No recursion: plans can be deeper than the stack of whoever asks.
    let mut nodes = vec![plan];
    while let Some(plan) = nodes.pop() {
        let children = plan.children();
        if children.is_empty() {
            add_scan(plan, progress);
        }
        nodes.extend(children);
    }
}

fn add_scan(plan: &Arc<dyn ExecutionPlan>, progress: &mut QueryProgress) {
    let Some(metrics) = plan.metrics() else {
        return;
    };
    progress.rows_scanned += metrics.output_rows().unwrap_or(0) as u64;
    progress.bytes_scanned += sum(&metrics, "bytes_scanned");
    progress.files_done += sum(&metrics, "files_processed");
    if let Some(scan) = crate::scan::snapshot_source(plan) {
        progress.files_total += scan.files_total() as u64;
    }
}

fn sum(metrics: &MetricsSet, name: &str) -> u64 {
    metrics
        .sum_by_name(name)
        .map_or(0, |value| value.as_usize() as u64)
}

/// A hold on a running query.
#[derive(Debug, Clone)]
pub struct QueryHandle {
    pub(super) running: Arc<Running>,
}

impl QueryHandle {
    pub fn id(&self) -> QueryId {
        self.running.id
    }

    pub fn elapsed(&self) -> Duration {
        self.running.elapsed()
    }

    pub fn progress(&self) -> QueryProgress {
        self.running.progress()
    }

    /// Stops the query; its stream ends with [`crate::QueryError::Cancelled`].
    pub fn cancel(&self) {
        self.running.cancel.cancel();
    }
}

/// The queries under way.
#[derive(Debug, Default)]
pub(super) struct Registry {
    next_id: AtomicU64,
    running: Mutex<BTreeMap<QueryId, Arc<Running>>>,
}

impl Registry {
    pub(super) fn add(&self, tenant: &TenantId, sql: &str) -> Arc<Running> {
        let id = QueryId(self.next_id.fetch_add(1, Ordering::Relaxed) + 1);
        let running = Arc::new(Running {
            id,
            tenant: tenant.clone(),
            sql: sql.to_owned(),
            started: Instant::now(),
            cancel: CancellationToken::new(),
            stage: Mutex::default(),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        self.running.lock().insert(id, Arc::clone(&running));
        running
    }

    pub(super) fn remove(&self, id: QueryId) {
        self.running.lock().remove(&id);
    }

    pub(super) fn cancel(&self, id: QueryId) -> bool {
        match self.running.lock().get(&id) {
            Some(running) => {
                running.cancel.cancel();
                true
            }
            None => false,
        }
    }

    pub(super) fn running(&self) -> Vec<RunningQuery> {
        let running: Vec<Arc<Running>> = self.running.lock().values().cloned().collect();
        running
            .iter()
            .map(|running| RunningQuery {
                id: running.id,
                tenant: running.tenant.clone(),
                sql: running.sql.clone(),
                elapsed: running.elapsed(),
                progress: running.progress(),
            })
            .collect()
    }
}
