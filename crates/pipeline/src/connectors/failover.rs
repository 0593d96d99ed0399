//! The failover connector: pipelines by priority, and the highest that works gets the data.
//!
//! Each batch goes to all pipelines of the level that is in use. If none of them can take it for now, it goes to the
//! next level, which then is in use, and so on; at the end to the higher ones, before the sender is told to keep it.
//! Every `retry_interval` one batch is tried at the higher levels first, and what works is in use again: nobody has to
//! do anything. What a pipeline refuses for good, another would refuse too: that does not change the level.
//!
//! Acknowledges a batch once a pipeline has taken it. A pipeline of the same level that had not is counted.
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/connector/failoverconnector>

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::units::TimeSpan;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::{Batch, Signal};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

use super::activity::Activity;
use super::outputs::{Output, Outputs, send_each};
use crate::ottl::Env;
use crate::processors::ConfigError;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FailoverConfig {
    /// Pipelines, those of the highest priority first.
    pub priority_levels: Vec<Vec<String>>,
    /// How often higher levels are tried again.
    pub retry_interval: TimeSpan,
    /// Accepted: all higher levels are tried with the same batch.
    pub retry_gap: Option<TimeSpan>,
    /// Accepted: a level is never given up.
    pub max_retries: Option<u64>,
}

impl Default for FailoverConfig {
    fn default() -> Self {
        Self {
            priority_levels: Vec::new(),
            retry_interval: TimeSpan(Duration::from_secs(600)),
            retry_gap: None,
            max_retries: None,
        }
    }
}

impl FailoverConfig {
    /// Refuses what cannot work, naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |key: String, problem: &str| Err(ConfigError::setting(key, problem));
        if self.priority_levels.is_empty() {
            return refuse("priority_levels".to_owned(), "needs at least one level");
        }
        let mut seen: Vec<&str> = Vec::new();
        for (index, level) in self.priority_levels.iter().enumerate() {
            if level.is_empty() {
                return refuse(format!("priority_levels[{index}]"), "needs at least one pipeline");
            }
            for pipeline in level {
                if seen.contains(&pipeline.as_str()) {
                    let problem = format!("`{pipeline}` is there twice");
                    return refuse(format!("priority_levels[{index}]"), &problem);
                }
                seen.push(pipeline);
            }
        }
        if self.retry_interval.0.is_zero() {
            return refuse("retry_interval".to_owned(), "must be longer than nothing");
        }
        Ok(())
    }
}

/// Gives batches to the highest level that takes them.
pub struct Failover {
    signal: Signal,
    levels: Vec<Level>,
    state: Mutex<State>,
    retry_interval: Duration,
    env: Arc<dyn Env + Send + Sync>,
    activity: Activity,
    /// Items taken at a level, for a pipeline there that did not take them.
    missed: AtomicU64,
    /// Items that no level took.
    refused: AtomicU64,
}

struct Level {
    outputs: Vec<Output>,
    /// Items taken.
    sent: AtomicU64,
}

struct State {
    /// The level in use.
    current: usize,
    /// When the higher levels are tried again.
    next_try: Instant,
}

impl Failover {
    /// A failover between pipelines of `signal`.
    pub fn new(
        config: &FailoverConfig,
        signal: Signal,
        outputs: Outputs,
        env: Arc<dyn Env + Send + Sync>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut levels = Vec::new();
        for (index, pipelines) in config.priority_levels.iter().enumerate() {
            let key = format!("priority_levels[{index}]");
            let outputs = outputs.named(&key, pipelines)?;
            if let Some(other) = outputs.iter().find(|output| output.signal != signal) {
                let problem = format!("`{}` does not take {signal}", other.pipeline);
                return Err(ConfigError::setting(key, problem));
            }
            levels.push(Level {
                outputs,
                sent: AtomicU64::new(0),
            });
        }
        Ok(Self {
            signal,
            levels,
            state: Mutex::new(State {
                current: 0,
                next_try: Instant::now(),
            }),
            retry_interval: config.retry_interval.0,
            activity: Activity::default(),
            env,
            missed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// The level in use, from 0.
    pub fn level(&self) -> usize {
        self.state.lock().current
    }

    /// Levels in the order in which a batch is to be tried at them.
    fn order(&self) -> Vec<usize> {
        let mut state = self.state.lock();
        let current = state.current;
        if current > 0 && Instant::now() >= state.next_try {
            // This batch tries; others go on where data is taken.
            state.next_try = Instant::now() + self.retry_interval;
            return (0..self.levels.len()).collect();
        }
        (current..self.levels.len()).chain(0..current).collect()
    }

    /// Makes a level that has taken a batch the one in use.
    fn use_level(&self, level: usize, started_at: usize, reason: &str) {
        let mut state = self.state.lock();
        let before = state.current;
        // Another batch may have found a level meanwhile: what this one knows is about the one that it began with.
        if before == level || (level > before && before != started_at) {
            return;
        }
        state.current = level;
        if level > before {
            state.next_try = Instant::now() + self.retry_interval;
            drop(state);
            tracing::error!(
                from = before,
                to = level,
                reason,
                "pipelines failed, a lower priority takes over"
            );
        } else {
            drop(state);
            tracing::info!(from = before, to = level, "a higher priority takes over again");
        }
    }

    /// Gives a batch to all pipelines of a level.
    async fn send_at(&self, level: &Level, batch: &Batch) -> Result<Accepted, SendError> {
        let items = batch.items() as u64;
        let parts = level
            .outputs
            .iter()
            .map(|output| (output.sink.clone(), batch.clone()));
        let (mut accepted, mut taken, mut missed) = (Accepted::all(), 0, 0);
        let (mut retryable, mut permanent) = (None, None);
        for (output, answer) in level.outputs.iter().zip(send_each(parts.collect()).await) {
            match answer {
                Ok(part) => {
                    taken += 1;
                    accepted.merge(part);
                }
                Err(error) => {
                    missed += 1;
                    tracing::warn!(pipeline = %output.pipeline, %error, "a pipeline of a failover did not take a batch");
                    match error.is_retryable() {
                        true => retryable = retryable.or(Some(error)),
                        false => permanent = permanent.or(Some(error)),
                    }
                }
            }
        }
        if taken > 0 {
            self.missed.fetch_add(missed * items, Ordering::Relaxed);
            level.sent.fetch_add(items, Ordering::Relaxed);
            return Ok(accepted);
        }
        match retryable.or(permanent) {
            Some(error) => Err(error),
            None => Ok(accepted),
        }
    }
}

#[async_trait]
impl Sink for Failover {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if batch.signal() != self.signal {
            return Err(SendError::permanent(format!("this takes {} only", self.signal)));
        }
        let items = batch.items();
        self.activity.saw(items, items, self.env.now_unix_nano());
        let started_at = self.level();
        let mut failure = SendError::retryable("there is no level");
        for index in self.order() {
            match self.send_at(&self.levels[index], &batch).await {
                Ok(accepted) => {
                    self.use_level(index, started_at, failure.reason());
                    return Ok(accepted);
                }
                Err(error @ SendError::Permanent { .. }) => return Err(error),
                Err(error) => failure = error,
            }
        }
        self.refused.fetch_add(items as u64, Ordering::Relaxed);
        Err(failure)
    }
}

#[async_trait]
impl Component for Failover {
    fn collect(&self, samples: &mut Vec<Sample>) {
        self.activity.collect(samples);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        for (index, level) in self.levels.iter().enumerate() {
            let sample = Sample::count(
                "cupola_connector_failover_sent_items",
                "Items that a level has taken.",
                read(&level.sent),
            );
            samples.push(sample.with("level", index.to_string()));
        }
        samples.extend([
            Sample::level(
                "cupola_connector_failover_level",
                "The level in use, 0 being that of the highest priority.",
                self.level() as f64,
            ),
            Sample::count(
                "cupola_connector_failover_missed_items",
                "Items that a pipeline did not take while another one of its level did.",
                read(&self.missed),
            ),
            Sample::count(
                "cupola_connector_failover_refused_items",
                "Items that no level took; their senders keep them.",
                read(&self.refused),
            ),
        ]);
    }
}
