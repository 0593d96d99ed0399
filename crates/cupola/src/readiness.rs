//! Readiness of a server that runs: not while its log cannot be written, since nothing is taken then.
//!
//! Whoever heeds that sends nothing any more, so that no batch comes to show that the log can be written again: meanwhile the
//! store tries by itself. Refuses to look at anything else: a server that refuses for want of memory is busy, not broken.

use std::time::Duration;

use cupola_api::Readiness;
use cupola_store::Store;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

const LOOK_EVERY: Duration = Duration::from_millis(500);
const LOG_FAILING: &str = "the write-ahead log cannot be written; its disk may be full";

/// Keeps `/ready` true to the store until it is told to end.
pub(crate) struct ReadinessWatch {
    readiness: Readiness,
    task: Option<JoinHandle<()>>,
}

impl ReadinessWatch {
    /// Ready from now on, as long as the log can be written, if there is one.
    pub(crate) fn start(readiness: Readiness, store: Option<Store>) -> Self {
        readiness.set_ready();
        let task = store.map(|store| tokio::spawn(watch(readiness.clone(), store)));
        ReadinessWatch { readiness, task }
    }

    /// Not ready any more, whatever becomes of the log.
    pub(crate) async fn end(self, why: &str) {
        if let Some(task) = self.task {
            task.abort();
            // Cut off or not: afterwards it says nothing any more.
            let _ = task.await;
        }
        self.readiness.set_not_ready(why);
    }
}

async fn watch(readiness: Readiness, store: Store) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_ready = true;
    loop {
        looks.tick().await;
        let can_write = store.probe_journal().await.is_ok();
        if can_write == is_ready {
            continue;
        }
        is_ready = can_write;
        match is_ready {
            true => readiness.set_ready(),
            false => readiness.set_not_ready(LOG_FAILING),
        }
    }
}
