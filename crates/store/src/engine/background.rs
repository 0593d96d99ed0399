//! Background work: who does it, and how it is stopped.

use std::sync::Arc;
use std::time::Duration;

use cupola_telemetry::{Signal, TenantId};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::memtable::SealRequest;
use crate::status::add;

use super::Engine;

/// Tails sealed at the same time.
const SEALS_MAX: usize = 2;
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// The tasks of an open store. Dropping it tells them to end.
#[derive(Debug)]
pub(crate) struct Background {
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Background {
    pub(super) fn start(
        engine: &Arc<Engine>,
        garbage: UnboundedReceiver<Path>,
        seal_requests: UnboundedReceiver<SealRequest>,
    ) -> Background {
        let stop = CancellationToken::new();
        let mut tasks = vec![
            spawn(&stop, "store-garbage", remove_garbage(engine.clone(), garbage)),
            spawn(&stop, "store-seal", seal(engine.clone(), seal_requests)),
        ];
        if engine.config.background {
            tasks.push(spawn(&stop, "store-flush", flush(engine.clone())));
            tasks.push(spawn(&stop, "store-freeze", freeze(engine.clone())));
            tasks.push(spawn(&stop, "store-compact", compact(engine.clone())));
            tasks.push(spawn(&stop, "store-retain", retain(engine.clone())));
        }
        Background {
            _stop_when_dropped: stop.clone().drop_guard(),
            stop,
            tasks: Mutex::new(tasks),
        }
    }

    /// Ends all tasks and waits for them.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            let _ = task.await;
        }
    }
}

/// Runs `work` until it ends or is told to. Every await of `work` is a place where it may end for good, which a crash
/// could make it as well.
fn spawn(
    stop: &CancellationToken,
    name: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => tracing::debug!(name, "task stopped"),
            () = work => {}
        }
    })
}

/// Flushes frozen generations as they come.
async fn flush(engine: Arc<Engine>) {
    let mut pause = RETRY_PAUSE_MIN;
    loop {
        match engine.flush_oldest().await {
            Ok(true) => pause = RETRY_PAUSE_MIN,
            Ok(false) => engine.memtable.frozen.notified().await,
            Err(error) => {
                tracing::error!(error = %Report(&error), ?pause, "could not flush, trying again");
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(RETRY_PAUSE_MAX);
            }
        }
    }
}

/// Freezes the active generation when it is old, or when memory is short.
async fn freeze(engine: Arc<Engine>) {
    let interval = engine.config.flush_interval;
    loop {
        let age = engine.memtable.view().active.first_received().map(|received| {
            let age = engine.config.clock.now_unix_nano().saturating_sub(received);
            Duration::from_nanos(u64::try_from(age).unwrap_or(0))
        });
        let left = interval.saturating_sub(age.unwrap_or_default());
        if age.is_some() && left.is_zero() {
            if engine.journal.freeze().await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(left.max(Duration::from_millis(10))) => {}
            () = engine.flush_requested.notified() => {
                // One at a time: more small generations would not make memory free any sooner.
                if engine.memtable.view().frozen.is_empty() && engine.journal.freeze().await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn compact(engine: Arc<Engine>) {
    loop {
        tokio::time::sleep(engine.config.compaction.interval).await;
        if let Err(error) = engine.compact().await {
            add(&engine.counters.compaction_failures, 1);
            tracing::warn!(error = %Report(&error), "could not compact, trying again later");
        }
    }
}

async fn retain(engine: Arc<Engine>) {
    if engine.config.retention.is_empty() {
        return;
    }
    loop {
        if let Err(error) = engine.apply_retention(engine.config.clock.now_unix_nano()).await {
            add(&engine.counters.retention_failures, 1);
            tracing::warn!(error = %Report(&error), "could not apply retention, trying again later");
        }
        tokio::time::sleep(engine.config.retention_interval).await;
    }
}

/// Removes files of segments that nothing refers to.
async fn remove_garbage(engine: Arc<Engine>, mut garbage: UnboundedReceiver<Path>) {
    while let Some(path) = garbage.recv().await {
        match engine.objects.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => add(&engine.counters.segments_removed, 1),
            Err(error) => {
                add(&engine.counters.segment_removal_failures, 1);
                tracing::warn!(%path, %error, "could not remove a segment file, the next start will");
            }
        }
    }
}

/// Seals tails that have grown long, so that a snapshot or flush finds little left to do.
async fn seal(engine: Arc<Engine>, mut requests: UnboundedReceiver<SealRequest>) {
    let seals = Arc::new(Semaphore::new(SEALS_MAX));
    while let Some((tenant, signal)) = requests.recv().await {
        let Ok(permit) = seals.clone().acquire_owned().await else {
            return;
        };
        let engine = engine.clone();
        tokio::spawn(async move {
            let _permit = permit;
            seal_one(&engine, tenant, signal).await;
        });
    }
}

async fn seal_one(engine: &Engine, tenant: TenantId, signal: Signal) {
    let generation = engine.memtable.view().active.id;
    if let Err(error) = engine.seal(&tenant, signal, generation).await {
        tracing::warn!(%tenant, %signal, error = %Report(&error), "could not make columns, the flush tries again");
    }
}

/// An error with its causes.
struct Report<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
