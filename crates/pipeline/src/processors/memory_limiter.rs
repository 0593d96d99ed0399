//! The memory limiter: refuses, for now, while the process takes more memory than it may.
//!
//! Cupola holds a ceiling of its own in any case (`memory.limit`); this one is for files that bring a tighter one along.
//! Looks at resident memory, at most once in each interval, when a batch comes. A receiver whose pipeline begins with it
//! asks it before a request is read: what is refused costs next to nothing, and the time goes to what was taken. What had
//! been let in and read when memory became short passes up to `limit_mib` itself: to refuse it then would throw away the
//! work, and its sender would bring it again.
//! <https://github.com/open-telemetry/opentelemetry-collector/tree/main/processor/memorylimiterprocessor>

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::units::TimeSpan;
use cupola_export::{Accepted, Component, Outlook, Sample, SendError, Sink};
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

    /// The limits, on a machine of `total` bytes.
    fn limits(&self, total: u64) -> Limits {
        let (limit, spike) = match self.limit_mib {
            0 => {
                let share = |percent: u64| total / 100 * percent;
                (share(self.limit_percentage), share(self.spike_limit_percentage))
            }
            mebibytes => (mebibytes << 20, self.spike_limit_mib << 20),
        };
        let spike = if spike == 0 { limit / 5 } else { spike };
        Limits {
            soft: limit.saturating_sub(spike),
            hard: limit,
        }
    }
}

/// Resident bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    /// From here on nothing new is let in.
    soft: u64,
    /// From here on nothing is.
    hard: u64,
}

/// How much memory there was when it was last looked at, in the order of the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
enum Level {
    Open = 0,
    /// What was read already passes: it takes its memory in any case, and time was spent on it.
    Soft = 1,
    Hard = 2,
}

/// What a refused sender is asked to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub struct MemoryLimiter {
    probe: Arc<dyn MemoryProbe>,
    next: Arc<dyn Sink>,
    limits: Limits,
    interval: Duration,
    begun: Instant,
    /// Nanoseconds after the beginning when memory is to be looked at again.
    look_at: AtomicU64,
    /// A [`Level`].
    level: AtomicU8,
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
            limits: config.limits(probe.total()),
            probe,
            next,
            interval: config.check_interval.0,
            begun: Instant::now(),
            look_at: AtomicU64::new(0),
            level: AtomicU8::new(Level::Open as u8),
            refused: AtomicU64::new(0),
            refused_unread: AtomicU64::new(0),
        })
    }

    fn level(&self) -> Level {
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
            self.look();
        }
        self.last_level()
    }

    fn last_level(&self) -> Level {
        match self.level.load(Ordering::Relaxed) {
            0 => Level::Open,
            1 => Level::Soft,
            _ => Level::Hard,
        }
    }

    fn look(&self) {
        let resident = self.probe.resident();
        let level = match resident {
            _ if resident >= self.limits.hard => Level::Hard,
            _ if resident >= self.limits.soft => Level::Soft,
            _ => Level::Open,
        };
        let before = self.last_level();
        self.level.store(level as u8, Ordering::Relaxed);
        match (before == Level::Open, level == Level::Open) {
            (true, false) => tracing::warn!(
                resident_bytes = resident,
                limit_bytes = self.limits.soft,
                "memory limiter refuses"
            ),
            (false, true) => tracing::info!(resident_bytes = resident, "memory limiter lets in again"),
            _ => {}
        }
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
        let refused_from = if batch.is_admitted() {
            Level::Hard
        } else {
            Level::Soft
        };
        if self.level() >= refused_from {
            self.refused.fetch_add(batch.items() as u64, Ordering::Relaxed);
            return Err(refusal());
        }
        // Let in here, and nowhere else.
        self.next.send(batch.with_admission(false)).await
    }

    fn outlook(&self, _signal: Signal) -> Outlook {
        if self.level() < Level::Soft {
            return Outlook::Open;
        }
        self.refused_unread.fetch_add(1, Ordering::Relaxed);
        Outlook::Refused(refusal())
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
        let refusing = f64::from(u8::from(self.last_level() > Level::Open));
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
        assert_eq!(limiter.outlook(Signal::Logs), Outlook::Refused(refusal));
        probe.0.store(10 << 20, Ordering::Relaxed);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(limiter.outlook(Signal::Logs), Outlook::Open);
        assert!(limiter.send(batch()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_let_in_passes_up_to_the_hard_limit() {
        let probe = Arc::new(Told(AtomicU64::new(99 << 20)));
        let limiter = MemoryLimiter::new(&config(), probe.clone(), Arc::new(Taken)).unwrap();
        assert!(matches!(limiter.outlook(Signal::Logs), Outlook::Refused(_)));
        assert!(limiter.send(batch()).await.is_err());
        assert!(limiter.send(batch().with_admission(true)).await.is_ok());
        let changed = batch().with_admission(true);
        let changed = changed.derived(changed.payload().clone(), changed.items());
        assert!(
            limiter.send(changed).await.is_err(),
            "nobody has asked for what a processor made"
        );
        probe.0.store(100 << 20, Ordering::Relaxed);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(limiter.send(batch().with_admission(true)).await.is_err());
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
        let mebibytes = |soft: u64, hard: u64| Limits {
            soft: soft << 20,
            hard: hard << 20,
        };
        assert_eq!(share.limits(1000 << 20), mebibytes(500, 800));
        assert_eq!(config().limits(0), mebibytes(80, 100));
        assert!(MemoryLimiterConfig::default().validate().is_err());
    }
}
