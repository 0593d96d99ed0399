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

use crate::error::QueryError;

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

/// A name that whoever asks gives to a query, so that it can be stopped before anything of its answer is known. Only one
/// query of a tenant has it at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueryName(Box<str>);

impl QueryName {
    /// Longest name, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// 1 to 64 characters of `A-Z a-z 0-9 . _ -`, which must not look like a [`QueryId`].
    pub fn parse(text: &str) -> Option<QueryName> {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let is_name = (1..=Self::BYTES_MAX).contains(&text.len())
            && text.bytes().all(is_known)
            && text.parse::<QueryId>().is_err();
        is_name.then(|| QueryName(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
    /// Given by whoever asked.
    pub name: Option<QueryName>,
    pub tenant: TenantId,
    pub sql: String,
    pub elapsed: Duration,
    pub progress: QueryProgress,
}

/// One query, held by whoever asked, by the task that runs it, and by the list.
#[derive(Debug)]
pub(super) struct Running {
    id: QueryId,
    name: Option<QueryName>,
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

    /// Lets go of the plan, and gives what it spilled. To be called on the engine's threads.
    pub(super) fn finish(&self) -> Spilled {
        let progress = self.progress();
        let stage = std::mem::replace(&mut *self.stage.lock(), Stage::Finished(progress));
        match &stage {
            Stage::Executing(plan) => spilled(plan),
            _ => Spilled::default(),
        }
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

/// Calls `look` with every node of a plan.
fn each_node<'a>(plan: &'a Arc<dyn ExecutionPlan>, mut look: impl FnMut(&'a Arc<dyn ExecutionPlan>)) {
    // No recursion: plans can be deeper than the stack of whoever asks.
    let mut nodes = vec![plan];
    while let Some(plan) = nodes.pop() {
        look(plan);
        nodes.extend(plan.children());
    }
}

/// Adds what the leaves of a plan have read.
fn add_scans(plan: &Arc<dyn ExecutionPlan>, progress: &mut QueryProgress) {
    each_node(plan, |node| {
        if node.children().is_empty() {
            add_scan(node, progress);
        }
    });
}

/// What a plan put on the disk for want of memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spilled {
    pub(super) times: u64,
    pub(super) bytes: u64,
}

fn spilled(plan: &Arc<dyn ExecutionPlan>) -> Spilled {
    let mut spilled = Spilled::default();
    each_node(plan, |node| {
        let Some(metrics) = node.metrics() else {
            return;
        };
        spilled.times += metrics.spill_count().unwrap_or(0) as u64;
        spilled.bytes += metrics.spilled_bytes().unwrap_or(0) as u64;
    });
    spilled
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

    /// Given by whoever asked.
    pub fn name(&self) -> Option<&QueryName> {
        self.running.name.as_ref()
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
    /// Lists a query, unless another one of the tenant has its name.
    pub(super) fn add(
        &self,
        tenant: &TenantId,
        sql: &str,
        name: Option<QueryName>,
    ) -> Result<Arc<Running>, QueryError> {
        let mut listed = self.running.lock();
        if let Some(name) = &name
            && listed
                .values()
                .any(|other| other.tenant == *tenant && other.name.as_ref() == Some(name))
        {
            return Err(QueryError::NameTaken { name: name.clone() });
        }
        let id = QueryId(self.next_id.fetch_add(1, Ordering::Relaxed) + 1);
        let running = Arc::new(Running {
            id,
            name,
            tenant: tenant.clone(),
            sql: sql.to_owned(),
            started: Instant::now(),
            cancel: CancellationToken::new(),
            stage: Mutex::default(),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        listed.insert(id, Arc::clone(&running));
        Ok(running)
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
                name: running.name.clone(),
                tenant: running.tenant.clone(),
                sql: running.sql.clone(),
                elapsed: running.elapsed(),
                progress: running.progress(),
            })
            .collect()
    }
}

/// A query in the list for as long as this lives.
pub(super) struct Listed {
    registry: Arc<Registry>,
    pub(super) running: Arc<Running>,
}

impl Listed {
    pub(super) fn new(
        registry: &Arc<Registry>,
        tenant: &TenantId,
        sql: &str,
        name: Option<QueryName>,
    ) -> Result<Listed, QueryError> {
        Ok(Listed {
            running: registry.add(tenant, sql, name)?,
            registry: Arc::clone(registry),
        })
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.registry.remove(self.running.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_plain_and_no_ids() {
        for good in ["a", "report-7_b.c", "Q", "q", "quarter", &"x".repeat(64)] {
            assert_eq!(QueryName::parse(good).unwrap().as_str(), good);
        }
        for wrong in ["", "17", "q17", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
            assert!(QueryName::parse(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn a_name_belongs_to_one_query_of_a_tenant_while_it_is_listed() {
        let registry = Arc::new(Registry::default());
        let (one, other) = (TenantId::default_tenant(), TenantId::parse("other").unwrap());
        let list = |tenant| Listed::new(&registry, tenant, "SELECT 1", QueryName::parse("report"));
        let first = list(&one).unwrap();
        assert!(matches!(list(&one), Err(QueryError::NameTaken { .. })));
        assert!(list(&other).is_ok(), "names of others are their own");
        drop(first);
        assert!(list(&one).is_ok());
        assert!(registry.running().is_empty());
    }
}
