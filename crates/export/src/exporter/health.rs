//! Whether a destination answers, and who may ask it next.
//!
//! While it fails, consumers take turns: one attempt at a time, at growing intervals of at most [`PROBE_INTERVAL_MAX`], each
//! with its own batch so that no single batch decides. The first success lets all go on at once. So a dead destination is
//! asked rarely, whatever the number of consumers, and a living one is noticed soon.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::retry::RetryConfig;
use crate::{Condition, Trouble};

/// Failures in a row after which a destination counts as failing.
const FAILURES_UNTIL_DOWN: u32 = 3;
/// A failing destination is asked at least this often, unless it said to wait longer.
const PROBE_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// A destination that has failed for this long is not worth waiting for where there is another.
const FAILING_LONG: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Health {
    exporter: String,
    retry: RetryConfig,
    state: Mutex<State>,
    turn: Semaphore,
    recovered: Notify,
}

#[derive(Debug)]
struct State {
    /// In a row.
    failures: u32,
    /// The first of them.
    since: Option<Instant>,
    /// It was said that the destination fails.
    down: bool,
    /// Consumers take turns.
    parked: bool,
    next_attempt: Instant,
    /// For health checks: what failed last, when it was said that the destination fails, and when that ended.
    last_error: Option<Trouble>,
    down_since: Option<SystemTime>,
    recovered: Option<SystemTime>,
}

/// The right to make one attempt.
pub(super) struct Turn<'h> {
    _permit: Option<SemaphorePermit<'h>>,
}

impl Health {
    pub(super) fn new(exporter: &str, retry: RetryConfig) -> Health {
        Health {
            exporter: exporter.to_owned(),
            retry,
            state: Mutex::new(State {
                failures: 0,
                since: None,
                down: false,
                parked: false,
                next_attempt: Instant::now(),
                last_error: None,
                down_since: None,
                recovered: None,
            }),
            turn: Semaphore::new(1),
            recovered: Notify::new(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        !self.state.lock().down
    }

    pub(super) fn is_parked(&self) -> bool {
        self.state.lock().parked
    }

    /// Failing as soon as that is said in the log, with what was answered last.
    pub(super) fn condition(&self) -> Condition {
        let state = self.state.lock();
        let failing = state.last_error.as_ref().filter(|_| state.down);
        Condition {
            failing: failing.map(|last| Trouble {
                since: state.down_since,
                ..last.clone()
            }),
            recovered: state.recovered,
            last_error: state.last_error.clone(),
        }
    }

    /// Failing, and for long.
    pub(super) fn is_lost(&self) -> bool {
        let state = self.state.lock();
        state.down && state.since.is_some_and(|since| since.elapsed() >= FAILING_LONG)
    }

    /// Returns when an attempt may be made.
    pub(super) async fn turn(&self) -> Turn<'_> {
        loop {
            let recovered = self.recovered.notified();
            tokio::pin!(recovered);
            // Registered before looking, so that a recovery in between is seen.
            recovered.as_mut().enable();
            if !self.is_parked() {
                return Turn { _permit: None };
            }
            let probe = async {
                let permit = self.turn.acquire().await.ok();
                let at = self.state.lock().next_attempt;
                tokio::time::sleep_until(at).await;
                permit
            };
            tokio::select! {
                permit = probe => return Turn { _permit: permit },
                () = recovered => {}
            }
        }
    }

    /// Waits for `pause`, or less if the destination recovers meanwhile.
    pub(super) async fn pause(&self, pause: Duration) {
        let _ = tokio::time::timeout(pause, self.recovered.notified()).await;
    }

    /// An attempt was answered well. `waiting` items are in the queue.
    pub(super) fn succeeded(&self, waiting: u64) {
        let mut state = self.state.lock();
        if state.failures == 0 {
            return;
        }
        let (was_down, since) = (state.down, state.since);
        *state = State {
            failures: 0,
            since: None,
            down: false,
            parked: false,
            next_attempt: Instant::now(),
            last_error: state.last_error.take(),
            down_since: None,
            recovered: if was_down {
                Some(SystemTime::now())
            } else {
                state.recovered
            },
        };
        drop(state);
        self.recovered.notify_waiters();
        if was_down {
            let seconds = since.map_or(0.0, |since| since.elapsed().as_secs_f64());
            tracing::info!(
                exporter = self.exporter,
                seconds,
                waiting_items = waiting,
                "exporter recovered"
            );
        }
    }

    /// An attempt failed. `retry_after` is what the destination asked for.
    pub(super) fn failed(&self, reason: &str, retryable: bool, retry_after: Option<Duration>, waiting: u64) {
        let mut state = self.state.lock();
        let now = Instant::now();
        state.failures = state.failures.saturating_add(1);
        state.since.get_or_insert(now);
        let probe = self
            .retry
            .wait(state.failures - 1, None, rand::random::<f64>())
            .min(PROBE_INTERVAL_MAX);
        let begins = state.failures >= FAILURES_UNTIL_DOWN && !state.down;
        state.down |= begins;
        state.last_error = Some(Trouble::new(reason, retryable));
        if begins {
            state.down_since = Some(SystemTime::now());
        }
        // Who refuses for good is there, and waiting does not help.
        let parked = state.down && retryable && self.retry.enabled;
        let freed = state.parked && !parked;
        state.parked = parked;
        state.next_attempt = now + retry_after.unwrap_or(probe).max(probe);
        let failures = state.failures;
        drop(state);
        if freed {
            self.recovered.notify_waiters();
        }
        if begins {
            tracing::warn!(
                exporter = self.exporter,
                reason,
                failures,
                waiting_items = waiting,
                "exporter failing"
            );
        }
    }
}
