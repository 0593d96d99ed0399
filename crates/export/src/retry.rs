//! Retrying one batch: exponential back-off with jitter, the destination's own wish first. Owns when the
//! next attempt is made and when to give up. Refuses to judge errors: [`SendError`] already says which are
//! worth another attempt.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::units::TimeSpan;
use cupola_telemetry::Batch;
use serde::{Deserialize, Deserializer};
use tokio::time::Instant;

use crate::queue::SettingError;
use crate::{Accepted, SendError, Sink};

/// When a failed attempt is repeated. The defaults are those of the OpenTelemetry Collector's
/// `retry_on_failure`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// Without it the first failure is final.
    pub enabled: bool,
    /// Wait before the second attempt, before jitter.
    #[serde(deserialize_with = "time_span")]
    pub initial_interval: Duration,
    /// Growth of the wait from attempt to attempt.
    pub multiplier: f64,
    /// Each wait is drawn from `interval ± interval × randomization_factor`, so that many clients of one
    /// restarted server do not come back at the same moment.
    pub randomization_factor: f64,
    /// Longest wait between two attempts, before jitter. A destination's `Retry-After` may be longer.
    #[serde(deserialize_with = "time_span")]
    pub max_interval: Duration,
    /// Give up when the next attempt would start later than this after the first; zero means never.
    #[serde(deserialize_with = "time_span")]
    pub max_elapsed_time: Duration,
}

impl Default for RetryConfig {
    fn default() -> RetryConfig {
        RetryConfig {
            enabled: true,
            initial_interval: Duration::from_secs(5),
            multiplier: 1.5,
            randomization_factor: 0.5,
            max_interval: Duration::from_secs(30),
            max_elapsed_time: Duration::from_secs(300),
        }
    }
}

/// The destination's wish is drawn out by at most this share, so that obedient clients spread out too.
const RETRY_AFTER_JITTER: f64 = 0.1;

impl RetryConfig {
    /// A policy that never repeats.
    #[must_use]
    pub fn disabled() -> RetryConfig {
        RetryConfig {
            enabled: false,
            ..RetryConfig::default()
        }
    }

    pub fn validate(&self) -> Result<(), SettingError> {
        if !(self.multiplier >= 1.0 && self.multiplier.is_finite()) {
            return Err(SettingError::new(
                "retry_on_failure.multiplier",
                "must be at least 1",
            ));
        }
        if !(0.0..=1.0).contains(&self.randomization_factor) {
            let problem = "must be between 0 and 1";
            return Err(SettingError::new(
                "retry_on_failure.randomization_factor",
                problem,
            ));
        }
        let limit = self.max_elapsed_time;
        if self.enabled && !limit.is_zero() && (limit < self.initial_interval || limit < self.max_interval) {
            let problem = "must not be shorter than `initial_interval` and `max_interval`; 0 means for ever";
            return Err(SettingError::new("retry_on_failure.max_elapsed_time", problem));
        }
        Ok(())
    }

    /// The wait after failed attempt number `attempt` (from 0). `random` is uniform in `[0, 1)`.
    #[must_use]
    pub fn wait(&self, attempt: u32, retry_after: Option<Duration>, random: f64) -> Duration {
        if let Some(wanted) = retry_after {
            // Never earlier than asked for.
            return wanted.saturating_add(scale(wanted, RETRY_AFTER_JITTER * random));
        }
        let growth = self
            .multiplier
            .max(1.0)
            .powi(i32::try_from(attempt).unwrap_or(i32::MAX));
        let interval = scale(self.initial_interval, growth).min(self.max_interval);
        let spread = self.randomization_factor.clamp(0.0, 1.0);
        scale(interval, 1.0 - spread + 2.0 * spread * random)
    }
}

pub(crate) fn time_span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    TimeSpan::deserialize(deserializer).map(|span| span.0)
}

fn scale(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

/// What has happened so far, for self-telemetry.
#[derive(Debug, Default)]
pub struct RetryStats {
    /// Attempts after the first.
    pub retries: AtomicU64,
    /// Batches given up after the last attempt.
    pub exhausted: AtomicU64,
}

/// A sink that repeats what its inner sink could not send now.
#[derive(Debug)]
pub struct Retry<S> {
    inner: S,
    config: RetryConfig,
    stats: RetryStats,
}

impl<S: Sink> Retry<S> {
    pub fn new(inner: S, config: RetryConfig) -> Retry<S> {
        Retry {
            inner,
            config,
            stats: RetryStats::default(),
        }
    }

    pub fn stats(&self) -> &RetryStats {
        &self.stats
    }
}

#[async_trait]
impl<S: Sink> Sink for Retry<S> {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let started = Instant::now();
        let mut attempt: u32 = 0;
        loop {
            let error = match self.inner.send(batch.clone()).await {
                Ok(accepted) => return Ok(accepted),
                Err(error) => error,
            };
            let SendError::Retryable { reason, retry_after } = &error else {
                return Err(error);
            };
            if !self.config.enabled {
                return Err(error);
            }
            let wait = self.config.wait(attempt, *retry_after, rand::random::<f64>());
            let limit = self.config.max_elapsed_time;
            if !limit.is_zero() && started.elapsed().saturating_add(wait) > limit {
                self.stats.exhausted.fetch_add(1, Ordering::Relaxed);
                return Err(error);
            }
            tracing::debug!(attempt, wait_ms = wait.as_millis() as u64, %reason, "attempt failed, will retry");
            tokio::time::sleep(wait).await;
            self.stats.retries.fetch_add(1, Ordering::Relaxed);
            attempt = attempt.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_within_their_jitter_up_to_the_maximum() {
        let config = RetryConfig::default();
        assert_eq!(config.wait(0, None, 0.0), Duration::from_millis(2500));
        assert_eq!(config.wait(0, None, 0.5), Duration::from_secs(5));
        assert_eq!(config.wait(1, None, 0.5), Duration::from_millis(7500));
        assert_eq!(config.wait(50, None, 0.5), Duration::from_secs(30));
        assert!(config.wait(u32::MAX, None, 0.999) < Duration::from_secs(45));
    }

    #[test]
    fn settings_are_those_of_the_collector() {
        let read = |text: &str| serde_json::from_str::<RetryConfig>(text);
        assert_eq!(read("{}").unwrap(), RetryConfig::default());
        let config =
            read(r#"{"initial_interval": "1s", "max_interval": "1m", "max_elapsed_time": "0s"}"#).unwrap();
        assert_eq!(config.max_interval, Duration::from_secs(60));
        assert_eq!(config.validate(), Ok(()));
        assert!(read(r#"{"max_retries": 3}"#).is_err());
        let wrong = read(r#"{"randomization_factor": 2}"#)
            .unwrap()
            .validate()
            .unwrap_err();
        assert_eq!(wrong.key, "retry_on_failure.randomization_factor");
        assert!(read(r#"{"max_elapsed_time": "1s"}"#).unwrap().validate().is_err());
    }

    #[test]
    fn the_destinations_wish_is_never_cut_short() {
        let config = RetryConfig::default();
        let wanted = Duration::from_secs(100);
        assert_eq!(config.wait(3, Some(wanted), 0.0), wanted);
        assert!(config.wait(3, Some(wanted), 0.999) > wanted);
        assert!(config.wait(3, Some(Duration::MAX), 0.999) >= Duration::MAX);
    }
}
