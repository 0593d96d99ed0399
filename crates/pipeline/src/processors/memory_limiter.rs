//! The memory limiter: refuses, for now, while the process takes more memory than it may.
//!
//! Cupola holds a ceiling of its own in any case (`memory.limit`); this one is for files that bring a tighter one along.
//! Looks at resident memory, at most once in each interval, when a batch comes. A receiver whose pipeline begins with it
//! asks it before a request is read: what is refused costs next to nothing, and the time goes to what was taken.
//! <https://github.com/open-telemetry/opentelemetry-collector/tree/main/processor/memorylimiterprocessor>

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::units::TimeSpan;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::{Batch, Signal};
use serde::Deserialize;
use tokio::time::Instant;

use super::statements::ConfigError;
use crate::graph::context::MemoryProbe;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryLimiterConfig {
    /// How often memory is looked at.
    pub check_interval: TimeSpan,
    pub limit_mib: u64,
    /// How far below the limit refusing begins; a fifth of it if zero.
    pub spike_limit_mib: u64,
    /// Of the machine or its control group; used where `limit_mib` is zero.
    pub limit_percentage: u64,
    pub spike_limit_percentage: u64,
    /// Settings of a garbage collector, read and not needed.
    pub min_gc_interval_when_soft_limited: TimeSpan,
    pub min_gc_interval_when_hard_limited: TimeSpan,
}

impl Default for MemoryLimiterConfig {
    fn default() -> Self {
        Self {
            check_interval: TimeSpan(Duration::ZERO),
            limit_mib: 0,
            spike_limit_mib: 0,
            limit_percentage: 0,
            spike_limit_percentage: 0,
            min_gc_interval_when_soft_limited: TimeSpan(Duration::from_secs(10)),
            min_gc_interval_when_hard_limited: TimeSpan(Duration::ZERO),
        }
    }
}

impl MemoryLimiterConfig {
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.check_interval.0.is_zero() {
            return Err(ConfigError::setting(
                "check_interval",
                "it must be greater than zero; write for example 1s",
            ));
        }
        if self.limit_mib == 0 && self.limit_percentage == 0 {
            return Err(ConfigError::setting(
                "limit_mib",
                "either it or limit_percentage is needed",
            ));
        }
        if self.limit_percentage > 100 || self.spike_limit_percentage > 100 {
            return Err(ConfigError::setting(
                "limit_percentage",
                "a percentage is at most 100",
            ));
        }
        if self.limit_mib > 0 && self.spike_limit_mib >= self.limit_mib {
            return Err(ConfigError::setting(
                "spike_limit_mib",
                "it must be less than limit_mib",
            ));
        }
        if self.limit_mib == 0 && self.spike_limit_percentage >= self.limit_percentage {
            return Err(ConfigError::setting(
                "spike_limit_percentage",
                "it must be less than limit_percentage",
            ));
        }
        Ok(())
    }

    /// Resident bytes from which on batches are refused, on a machine of `total` bytes.
    fn refuse_from(&self, total: u64) -> u64 {
        let (limit, spike) = match self.limit_mib {
            0 => {
                let share = |percent: u64| total / 100 * percent;
                (share(self.limit_percentage), share(self.spike_limit_percentage))
            }
            mebibytes => (mebibytes << 20, self.spike_limit_mib << 20),
        };
        let spike = if spike == 0 { limit / 5 } else { spike };
        limit.saturating_sub(spike)
    }
}

/// What a refused sender is asked to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub struct MemoryLimiter {
    probe: Arc<dyn MemoryProbe>,
    next: Arc<dyn Sink>,
    refuse_from: u64,
    interval: Duration,
    begun: Instant,
    /// Nanoseconds after the beginning when memory is to be looked at again.
    look_at: AtomicU64,
    refusing: AtomicBool,
    refused: AtomicU64,
    /// Receivers that were told so before they had read anything.
    refused_unread: AtomicU64,
}

impl MemoryLimiter {
    pub fn new(
        config: &MemoryLimiterConfig,
        probe: Arc<dyn MemoryProbe>,
        next: Arc<dyn Sink>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            refuse_from: config.refuse_from(probe.total()),
            probe,
            next,
            interval: config.check_interval.0,
            begun: Instant::now(),
            look_at: AtomicU64::new(0),
            refusing: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            refused_unread: AtomicU64::new(0),
        })
    }

    fn is_refusing(&self) -> bool {
        let now = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let due = self.look_at.load(Ordering::Relaxed);
        let interval = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        let next = now.saturating_add(interval);
        if now >= due
            && self
                .look_at
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let resident = self.probe.resident();
            let refusing = resident >= self.refuse_from;
            if refusing != self.refusing.swap(refusing, Ordering::Relaxed) {
                match refusing {
                    true => tracing::warn!(
                        resident_bytes = resident,
                        limit_bytes = self.refuse_from,
                        "memory limiter refuses"
                    ),
                    false => tracing::info!(resident_bytes = resident, "memory limiter lets in again"),
                }
            }
        }
        self.refusing.load(Ordering::Relaxed)
    }
}

fn refusal() -> SendError {
    SendError::Retryable {
        reason: "memory usage is above the limit of the memory limiter".to_owned(),
        retry_after: Some(RETRY_AFTER),
    }
}

#[async_trait]
impl Sink for MemoryLimiter {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if self.is_refusing() {
            self.refused.fetch_add(batch.items() as u64, Ordering::Relaxed);
            return Err(refusal());
        }
        self.next.send(batch).await
    }

    fn refuses(&self, _signal: Signal) -> Option<SendError> {
        self.is_refusing().then(|| {
            self.refused_unread.fetch_add(1, Ordering::Relaxed);
            refusal()
        })
    }
}

#[async_trait]
impl Component for MemoryLimiter {
    fn collect(&self, samples: &mut Vec<Sample>) {
        let refused = self.refused.load(Ordering::Relaxed);
        samples.push(Sample::count(
            "otelcol_processor_memory_limiter_refused_items",
            "Items refused because memory was above the limit.",
            refused,
        ));
        let unread = self.refused_unread.load(Ordering::Relaxed);
        samples.push(Sample::count(
            "cupola_memory_limiter_refused_unread_requests",
            "Requests refused before they were read, because memory was above the limit.",
            unread,
        ));
        let refusing = f64::from(u8::from(self.refusing.load(Ordering::Relaxed)));
        samples.push(Sample::level(
            "cupola_memory_limiter_refusing",
            "Whether it refuses now.",
            refusing,
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use cupola_telemetry::TenantId;
    use cupola_telemetry::encode::LogsEncoder;

    use super::*;

    struct Told(AtomicU64);

    impl MemoryProbe for Told {
        fn resident(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn total(&self) -> u64 {
            1000 << 20
        }
    }

    struct Taken;

    #[async_trait]
    impl Sink for Taken {
        async fn send(&self, _batch: Batch) -> Result<Accepted, SendError> {
            Ok(Accepted::all())
        }
    }

    fn batch() -> Batch {
        let mut logs = LogsEncoder::new();
        logs.resource_logs().scope_logs().record().body("a");
        logs.finish(TenantId::default_tenant())
    }

    fn config() -> MemoryLimiterConfig {
        MemoryLimiterConfig {
            check_interval: TimeSpan(Duration::from_secs(1)),
            limit_mib: 100,
            spike_limit_mib: 20,
            ..MemoryLimiterConfig::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn above_the_soft_limit_batches_are_refused_until_memory_is_given_back() {
        let probe = Arc::new(Told(AtomicU64::new(79 << 20)));
        let limiter = MemoryLimiter::new(&config(), probe.clone(), Arc::new(Taken)).unwrap();
        assert!(limiter.send(batch()).await.is_ok());
        probe.0.store(80 << 20, Ordering::Relaxed);
        assert!(
            limiter.send(batch()).await.is_ok(),
            "not looked at before the interval is over"
        );
        tokio::time::advance(Duration::from_secs(1)).await;
        let refusal = limiter.send(batch()).await.unwrap_err();
        assert!(refusal.is_retryable(), "{refusal}");
        assert_eq!(limiter.refuses(Signal::Logs), Some(refusal));
        probe.0.store(10 << 20, Ordering::Relaxed);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(limiter.refuses(Signal::Logs), None);
        assert!(limiter.send(batch()).await.is_ok());
    }

    #[test]
    fn limits_are_of_the_machine_where_they_are_shares() {
        let share = MemoryLimiterConfig {
            limit_mib: 0,
            limit_percentage: 80,
            spike_limit_mib: 0,
            spike_limit_percentage: 30,
            ..config()
        };
        assert_eq!(share.refuse_from(1000 << 20), 500 << 20);
        assert_eq!(config().refuse_from(0), 80 << 20);
        assert!(MemoryLimiterConfig::default().validate().is_err());
    }
}
