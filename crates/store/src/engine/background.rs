//! Background work: who does it, and how it is stopped.

use std::sync::Arc;
use std::time::Duration;

use cupola_telemetry::{Signal, TenantId};
use object_store::ObjectStoreExt;
use object_store::path::Path;
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
    workers: Tasks,
    garbage: Tasks,
}

/// Tasks that are told to end together. Each ends between two pieces of work and never within one.
#[derive(Debug)]
struct Tasks {
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
    running: tokio::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl Background {
    pub(super) fn start(
        engine: &Arc<Engine>,
        garbage: UnboundedReceiver<Path>,
        seal_requests: UnboundedReceiver<SealRequest>,
    ) -> Background {
        let (removing, stop) = (CancellationToken::new(), CancellationToken::new());
        let removal = remove_garbage(engine.clone(), garbage, removing.clone());
        let mut workers = vec![tokio::spawn(seal(engine.clone(), seal_requests, stop.clone()))];
        if engine.config.background && !engine.config.read_only {
            workers.push(tokio::spawn(flush(engine.clone(), stop.clone())));
            workers.push(tokio::spawn(freeze(engine.clone(), stop.clone())));
            workers.push(tokio::spawn(compact(engine.clone(), stop.clone())));
            workers.push(tokio::spawn(retain(engine.clone(), stop.clone())));
        }
        Background {
            workers: Tasks::new(stop, workers),
            garbage: Tasks::new(removing, vec![tokio::spawn(removal)]),
        }
    }

    /// Ends all tasks but the removal of files, and waits for them.
    pub(super) async fn stop(&self) {
        self.workers.stop().await;
    }

    /// Removes the files nobody needs by now, and ends.
    pub(super) async fn clear_garbage(&self) {
        self.garbage.stop().await;
    }
}

impl Tasks {
    fn new(stop: CancellationToken, running: Vec<JoinHandle<()>>) -> Tasks {
        Tasks {
            _stop_when_dropped: stop.clone().drop_guard(),
            stop,
            running: tokio::sync::Mutex::new(running),
        }
    }

    async fn stop(&self) {
        self.stop.cancel();
        for task in self.running.lock().await.drain(..) {
            let _ = task.await;
        }
    }
}

/// Waits for an event, or to be told to end.
async fn wait(stop: &CancellationToken, event: impl Future) {
    tokio::select! {
        () = stop.cancelled() => {}
        _ = event => {}
    }
}

/// Flushes frozen generations as they come.
async fn flush(engine: Arc<Engine>, stop: CancellationToken) {
    let mut pause = RETRY_PAUSE_MIN;
    while !stop.is_cancelled() {
        match engine.flush_oldest().await {
            Ok(true) => pause = RETRY_PAUSE_MIN,
            Ok(false) => wait(&stop, engine.memtable.frozen.notified()).await,
            Err(error) => {
                tracing::error!(error = %Report(&error), ?pause, "could not flush, trying again");
                wait(&stop, tokio::time::sleep(pause)).await;
                pause = (2 * pause).min(RETRY_PAUSE_MAX);
            }
        }
    }
}

/// Freezes the active generation when it is old, or when memory is short.
async fn freeze(engine: Arc<Engine>, stop: CancellationToken) {
    let interval = engine.config.flush_interval;
    while !stop.is_cancelled() {
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
            () = stop.cancelled() => return,
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

async fn compact(engine: Arc<Engine>, stop: CancellationToken) {
    loop {
        wait(&stop, tokio::time::sleep(engine.config.compaction.interval)).await;
        if stop.is_cancelled() {
            return;
        }
        if let Err(error) = engine.compact().await {
            add(&engine.counters.compaction_failures, 1);
            tracing::warn!(error = %Report(&error), "could not compact, trying again later");
        }
    }
}

async fn retain(engine: Arc<Engine>, stop: CancellationToken) {
    if engine.config.retention.is_empty() {
        return;
    }
    while !stop.is_cancelled() {
        if let Err(error) = engine.apply_retention(engine.config.clock.now_unix_nano()).await {
            add(&engine.counters.retention_failures, 1);
            tracing::warn!(error = %Report(&error), "could not apply retention, trying again later");
        }
        wait(&stop, tokio::time::sleep(engine.config.retention_interval)).await;
    }
}

/// Removes segment files that nothing refers to any more.
async fn remove_garbage(engine: Arc<Engine>, mut garbage: UnboundedReceiver<Path>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            path = garbage.recv() => match path {
                Some(path) => remove_file(&engine, &path).await,
                None => return,
            },
            () = stop.cancelled() => return,
        }
    }
}

async fn remove_file(engine: &Engine, path: &Path) {
    match engine.objects.delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => add(&engine.counters.segments_removed, 1),
        Err(error) => {
            add(&engine.counters.segment_removal_failures, 1);
            tracing::warn!(%path, %error, "could not remove a segment file, a later start will");
        }
    }
}

/// Seals tails that have grown long, so that a snapshot or flush finds little left to do.
async fn seal(engine: Arc<Engine>, mut requests: UnboundedReceiver<SealRequest>, stop: CancellationToken) {
    let seals = Arc::new(Semaphore::new(SEALS_MAX));
    loop {
        let request = tokio::select! {
            () = stop.cancelled() => return,
            request = requests.recv() => request,
        };
        let (Some((tenant, signal)), Ok(permit)) = (request, seals.clone().acquire_owned().await) else {
            return;
        };
        let task = engine.clone();
        engine.tasks.spawn(async move {
            let _permit = permit;
            seal_one(&task, tenant, signal).await;
        });
    }
}

async fn seal_one(engine: &Arc<Engine>, tenant: TenantId, signal: Signal) {
    let generation = engine.memtable.view().active.id;
    if let Err(error) = engine.seal(&tenant, signal, generation).await {
        tracing::warn!(%tenant, %signal, error = %Report(&error), "could not make columns, the flush tries again");
    }
}

/// An error with its causes.
pub(super) struct Report<'a>(pub(super) &'a dyn std::error::Error);

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
