//! How much may pass in a second: token buckets in items and bytes, for a destination as a whole and for each tenant.
//!
//! A bucket holds what its rate gives in `burst`. A batch passes when the buckets it concerns are full enough, and is paid
//! for as a whole, on credit where it is larger than a bucket: so no batch is ever too large, and the rate holds on average.
//! Refuses to drop anything: what is over the limit waits, or is refused retryably with the time to wait.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use cupola_config::units::{ByteSize, TimeSpan};
use cupola_telemetry::{Batch, TenantId};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::SendError;
use crate::queue::SettingError;

/// What may pass in a second; nothing set means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub items_per_second: Option<f64>,
    pub bytes_per_second: Option<ByteSize>,
}

/// What happens beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenLimited {
    /// The batch waits: the queue grows, and with it what others wait for.
    Wait,
    /// The sender is refused retryably and told how long to wait.
    Refuse,
}

/// `rate_limit` of an exporter.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimitConfig {
    /// Of all tenants together.
    pub items_per_second: Option<f64>,
    pub bytes_per_second: Option<ByteSize>,
    /// Of each tenant.
    pub per_tenant: Limits,
    /// Of one tenant, instead of `per_tenant`.
    pub tenants: HashMap<String, Limits>,
    /// How much may pass at once after a pause, in time.
    pub burst: TimeSpan,
    /// By default what is beyond the limit of its tenant is refused, so that it is in nobody's way, and what is beyond that
    /// of all waits.
    pub when_limited: Option<WhenLimited>,
}

impl Default for RateLimitConfig {
    fn default() -> RateLimitConfig {
        RateLimitConfig {
            items_per_second: None,
            bytes_per_second: None,
            per_tenant: Limits::default(),
            tenants: HashMap::new(),
            burst: TimeSpan(Duration::from_secs(1)),
            when_limited: None,
        }
    }
}

impl RateLimitConfig {
    pub fn validate(&self) -> Result<(), SettingError> {
        let whole = Limits {
            items_per_second: self.items_per_second,
            bytes_per_second: self.bytes_per_second,
        };
        for limits in [&whole, &self.per_tenant]
            .into_iter()
            .chain(self.tenants.values())
        {
            if limits
                .items_per_second
                .is_some_and(|rate| !(rate > 0.0 && rate.is_finite()))
                || limits.bytes_per_second.is_some_and(|rate| rate.0 == 0)
            {
                return Err(SettingError::new("rate_limit", "rates must be greater than 0"));
            }
        }
        for tenant in self.tenants.keys() {
            TenantId::parse(tenant)
                .map_err(|error| SettingError::new("rate_limit.tenants", error.to_string()))?;
        }
        if self.burst.0.is_zero() {
            return Err(SettingError::new("rate_limit.burst", "must be longer than 0"));
        }
        Ok(())
    }
}

/// Time that only goes forward.
pub trait Clock: Send + Sync + 'static {
    /// Since some moment that stays the same.
    fn now(&self) -> Duration;
}

/// The runtime's clock.
#[derive(Debug, Clone, Copy)]
pub struct RuntimeClock(tokio::time::Instant);

impl Default for RuntimeClock {
    fn default() -> RuntimeClock {
        RuntimeClock(tokio::time::Instant::now())
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Tenants that have buckets of their own; those that come later share one.
const TENANTS_MAX: usize = 10_000;
/// Nobody is told to wait longer; it can ask again.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Which limits are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    All,
    /// That of all tenants together.
    Whole,
    /// Those of each tenant.
    Tenants,
}

/// The buckets of one destination.
pub struct RateLimiter {
    config: RateLimitConfig,
    clock: Box<dyn Clock>,
    buckets: Mutex<Buckets>,
}

struct Buckets {
    whole: Pair,
    tenants: HashMap<TenantId, Pair>,
    /// Of the tenants beyond the bound.
    others: Pair,
}

/// A bucket of items and one of bytes.
#[derive(Clone, Copy)]
struct Pair([Option<Bucket>; 2]);

#[derive(Clone, Copy)]
struct Bucket {
    rate: f64,
    depth: f64,
    level: f64,
    filled: Duration,
}

impl Bucket {
    fn new(rate: f64, burst: Duration, now: Duration) -> Bucket {
        let depth = rate * burst.as_secs_f64();
        Bucket {
            rate,
            depth,
            level: depth,
            filled: now,
        }
    }

    /// How long until `cost` can be paid.
    fn wait(&mut self, cost: f64, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.level = (self.level + passed * self.rate).min(self.depth);
        self.filled = self.filled.max(now);
        let missing = cost.min(self.depth) - self.level;
        // Less than a millionth is a matter of rounding.
        if missing <= 1e-6 * self.depth {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(missing / self.rate).map_or(WAIT_MAX, |wait| wait.min(WAIT_MAX))
    }
}

impl Pair {
    fn new(limits: Limits, burst: Duration, now: Duration) -> Pair {
        let bytes = limits.bytes_per_second.map(|rate| rate.0 as f64);
        Pair([limits.items_per_second, bytes].map(|rate| rate.map(|rate| Bucket::new(rate, burst, now))))
    }

    fn wait(&mut self, costs: [f64; 2], now: Duration) -> Duration {
        let buckets = self.0.iter_mut().zip(costs);
        let waits =
            buckets.map(|(bucket, cost)| bucket.as_mut().map_or(Duration::ZERO, |it| it.wait(cost, now)));
        waits.max().unwrap_or_default()
    }

    fn pay(&mut self, costs: [f64; 2]) {
        for (bucket, cost) in self.0.iter_mut().zip(costs) {
            if let Some(bucket) = bucket {
                bucket.level -= cost;
            }
        }
    }
}

impl RateLimiter {
    pub fn new(config: RateLimitConfig, clock: Box<dyn Clock>) -> RateLimiter {
        let (now, burst) = (clock.now(), config.burst.0);
        let whole = Limits {
            items_per_second: config.items_per_second,
            bytes_per_second: config.bytes_per_second,
        };
        let buckets = Buckets {
            whole: Pair::new(whole, burst, now),
            tenants: HashMap::new(),
            others: Pair::new(config.per_tenant, burst, now),
        };
        RateLimiter {
            config,
            clock,
            buckets: Mutex::new(buckets),
        }
    }

    /// Limits beyond which a batch is refused when it comes.
    pub fn refusing(&self) -> Option<Scope> {
        match self.config.when_limited {
            None => Some(Scope::Tenants),
            Some(WhenLimited::Refuse) => Some(Scope::All),
            Some(WhenLimited::Wait) => None,
        }
    }

    /// Limits for which a batch waits before it is sent.
    pub fn delaying(&self) -> Option<Scope> {
        match self.config.when_limited {
            None => Some(Scope::Whole),
            Some(WhenLimited::Refuse) => None,
            Some(WhenLimited::Wait) => Some(Scope::All),
        }
    }

    /// Lets a batch pass, or says how long to wait before asking again.
    pub fn take(&self, batch: &Batch, scope: Scope) -> Result<(), Duration> {
        let now = self.clock.now();
        let costs = [batch.items() as f64, batch.payload().len() as f64];
        let mut buckets = self.buckets.lock();
        if scope == Scope::Whole {
            return pay_all(&mut [&mut buckets.whole], costs, now);
        }
        let Buckets {
            whole,
            tenants,
            others,
        } = &mut *buckets;
        // Those that have limits of their own are as many as the settings name.
        let named = self.config.tenants.contains_key(batch.tenant().as_str());
        let of_tenant = if tenants.len() >= TENANTS_MAX && !named && !tenants.contains_key(batch.tenant()) {
            others
        } else {
            tenants
                .entry(batch.tenant().clone())
                .or_insert_with_key(|tenant| {
                    let own = self.config.tenants.get(tenant.as_str());
                    Pair::new(*own.unwrap_or(&self.config.per_tenant), self.config.burst.0, now)
                })
        };
        match scope {
            Scope::Tenants => pay_all(&mut [of_tenant], costs, now),
            _ => pay_all(&mut [whole, of_tenant], costs, now),
        }
    }

    /// Returns when the batch may pass.
    pub async fn wait(&self, batch: &Batch, scope: Scope) {
        while let Err(wait) = self.take(batch, scope) {
            // Timers count whole milliseconds.
            tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
        }
    }

    /// Lets a batch pass or refuses it.
    pub fn admit(&self, batch: &Batch, scope: Scope) -> Result<(), SendError> {
        self.take(batch, scope).map_err(|wait| SendError::Retryable {
            reason: format!("the rate limit of tenant {} is reached", batch.tenant()),
            retry_after: Some(wait),
        })
    }
}

/// From all buckets, or from none of them.
fn pay_all(buckets: &mut [&mut Pair], costs: [f64; 2], now: Duration) -> Result<(), Duration> {
    let waits = buckets.iter_mut().map(|bucket| bucket.wait(costs, now));
    let wait = waits.max().unwrap_or_default();
    if !wait.is_zero() {
        return Err(wait);
    }
    buckets.iter_mut().for_each(|bucket| bucket.pay(costs));
    Ok(())
}
