//! `Ticket`: how a sender that waits hears what became of all of its traces.

use std::sync::Arc;

use cupola_export::{Accepted, SendError};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Shared by the fragments of one batch.
pub(super) struct Ticket {
    state: Mutex<State>,
    done: Notify,
}

struct State {
    left: usize,
    outcome: Result<Accepted, SendError>,
}

impl Ticket {
    /// Waits for as many fragments.
    pub(super) fn new(fragments: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                left: fragments,
                outcome: Ok(Accepted::all()),
            }),
            done: Notify::new(),
        })
    }

    /// One fragment is done. The worst outcome counts: a retryable error before one for good, so that nothing is lost.
    pub(super) fn complete(&self, outcome: Result<Accepted, SendError>) {
        let mut state = self.state.lock();
        state.left = state.left.saturating_sub(1);
        match (&mut state.outcome, outcome) {
            (Ok(all), Ok(one)) => all.merge(one),
            (Err(SendError::Retryable { .. }), _) | (Err(_), Ok(_)) => {}
            (all, Err(error)) => *all = Err(error),
        }
        if state.left == 0 {
            self.done.notify_waiters();
        }
    }

    pub(super) async fn wait(&self) -> Result<Accepted, SendError> {
        loop {
            let done = self.done.notified();
            {
                let state = self.state.lock();
                if state.left == 0 {
                    return state.outcome.clone();
                }
            }
            done.await;
        }
    }
}
