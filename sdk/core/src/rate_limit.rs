//! Limits on how many log records an application may record, by level, logger and tenant, and on how many bytes of them in a day.
//! Owns the counts. Spans are not limited here: sampling is for them, and leaves traces whole.
//!
//! Every rule that fits a record must admit it, in their order; what a later one drops has been counted by those before it. Without rules nothing is asked; with them, what is asked is a few atomic numbers:
//! there is no lock, and none that the child of a `fork()` could find shut. A child goes on from the counts of its parent, and
//! counts what it drops for itself.

mod bucket;
mod tenants;

use std::sync::Arc;

use crate::fork::ProcessCount;
use crate::log::Severity;
use crate::wildcard;
pub(crate) use bucket::{Bucket, Rate};
use tenants::Tenants;

/// The attribute that tells the tenant of a record. Baggage of this name becomes it, unless settings say otherwise.
pub const TENANT: &str = "tenant.id";

/// What may be recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimitSettings {
    pub rules: Vec<RateLimitRule>,
    /// Most tenants that a rule tells apart at a time; others share one limit until one of those has been quiet long enough to be
    /// forgotten.
    pub tenants_max: usize,
}

impl Default for RateLimitSettings {
    fn default() -> RateLimitSettings {
        RateLimitSettings {
            rules: Vec::new(),
            tenants_max: 1024,
        }
    }
}

/// One limit.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimitRule {
    /// What it is called where it is told what it dropped.
    pub name: String,
    /// Records of this level alone: the four severities that share its name.
    pub level: Option<Severity>,
    /// Records of loggers whose name fits; `*` stands for any characters, `?` for one.
    pub logger: Option<String>,
    pub tenant: TenantRule,
    /// Records in a second, in the long run.
    pub per_second: Option<f64>,
    /// Records that may come at once after a silence; at least one. As many as in a second, if it is not given.
    pub burst: Option<u32>,
    /// Bytes of records in a day of UTC, encoded; as far as they are known before they are written.
    pub bytes_per_day: Option<u64>,
}

/// Of which tenants a rule is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TenantRule {
    /// It does not matter, nor whether there is one.
    #[default]
    Any,
    /// Each that there is has the limit for itself.
    Each,
    /// This one alone.
    Only(String),
}

impl RateLimitRule {
    /// One that fits every record and lets all of them through.
    pub fn new(name: impl Into<String>) -> RateLimitRule {
        RateLimitRule {
            name: name.into(),
            level: None,
            logger: None,
            tenant: TenantRule::Any,
            per_second: None,
            burst: None,
            bytes_per_day: None,
        }
    }

    fn rate(&self) -> Rate {
        Rate::new(self.per_second, self.burst, self.bytes_per_day)
    }

    /// Whether a record is one of those that it limits.
    #[inline]
    fn fits(&self, severity: Severity, logger: &str, tenant: Option<&str>) -> bool {
        self.level
            .is_none_or(|level| level_of(level) == level_of(severity))
            && match &self.tenant {
                TenantRule::Any => true,
                TenantRule::Each => tenant.is_some(),
                TenantRule::Only(name) => tenant == Some(name),
            }
            && self
                .logger
                .as_ref()
                .is_none_or(|pattern| wildcard::matches(pattern, logger))
    }
}

/// Severities that share a name share this number.
fn level_of(severity: Severity) -> u8 {
    (severity.number() - 1) / 4
}

/// What a rule has dropped in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    pub rule: String,
    pub records: u64,
    pub bytes: u64,
}

/// The rules, and how much of what they allow is left.
#[derive(Debug)]
pub struct Limiter {
    settings: RateLimitSettings,
    rules: Vec<Rule>,
    asks_for_tenant: bool,
    asks_for_bytes: bool,
}

#[derive(Debug)]
struct Rule {
    rate: Rate,
    counts: Counts,
    records: ProcessCount,
    bytes: ProcessCount,
}

#[derive(Debug)]
enum Counts {
    One(Bucket),
    Each(Tenants),
}

impl Limiter {
    /// `None` if there is no rule, and so nothing to ask.
    pub fn new(settings: &RateLimitSettings) -> Option<Limiter> {
        let rule = |rule: &RateLimitRule| Rule {
            rate: rule.rate(),
            counts: match rule.tenant {
                TenantRule::Each => Counts::Each(Tenants::new(settings.tenants_max)),
                TenantRule::Any | TenantRule::Only(_) => Counts::One(Bucket::default()),
            },
            records: ProcessCount::new(),
            bytes: ProcessCount::new(),
        };
        (!settings.rules.is_empty()).then(|| Limiter {
            rules: settings.rules.iter().map(rule).collect(),
            asks_for_tenant: settings.rules.iter().any(|rule| rule.tenant != TenantRule::Any),
            asks_for_bytes: settings.rules.iter().any(|rule| rule.bytes_per_day.is_some()),
            settings: settings.clone(),
        })
    }

    /// The one for other settings: the one that there is, with its counts, if they are the same.
    pub fn renewed(before: Option<&Arc<Limiter>>, settings: &RateLimitSettings) -> Option<Arc<Limiter>> {
        match before {
            Some(before) if before.settings == *settings => Some(before.clone()),
            _ => Limiter::new(settings).map(Arc::new),
        }
    }

    /// Whether a record may be recorded, which is then counted. `now` is in nanoseconds since 1970.
    pub fn admits(
        &self,
        severity: Severity,
        logger: &str,
        tenant: Option<&str>,
        bytes: usize,
        now: u64,
    ) -> bool {
        let bytes = bytes as u64;
        let fitting = self.settings.rules.iter().zip(&self.rules);
        let mut fitting = fitting.filter(|(rule, _)| rule.fits(severity, logger, tenant));
        fitting.all(|(_, rule)| {
            let is_admitted = rule.bucket(tenant, now).admits(&rule.rate, bytes, now);
            if !is_admitted {
                rule.records.add(1);
                rule.bytes.add(bytes);
            }
            is_admitted
        })
    }

    /// Whether any rule wants to know the tenant.
    pub(crate) fn asks_for_tenant(&self) -> bool {
        self.asks_for_tenant
    }

    /// Whether any rule wants to know how long a record is.
    pub(crate) fn asks_for_bytes(&self) -> bool {
        self.asks_for_bytes
    }

    /// What each rule has dropped in this process, since it was made.
    pub fn limited(&self) -> Vec<Limited> {
        let rules = self.settings.rules.iter().zip(&self.rules);
        let limited = rules.map(|(settings, rule)| Limited {
            rule: settings.name.clone(),
            records: rule.records.get(),
            bytes: rule.bytes.get(),
        });
        limited.collect()
    }

    /// Records, of those admitted or dropped, whose tenant was not told apart from others because there were too many.
    pub fn tenants_overflowed(&self) -> u64 {
        let overflowed = self.rules.iter().map(|rule| match &rule.counts {
            Counts::One(_) => 0,
            Counts::Each(tenants) => tenants.overflowed(),
        });
        overflowed.sum()
    }
}

impl Rule {
    fn bucket(&self, tenant: Option<&str>, now: u64) -> &Bucket {
        match &self.counts {
            Counts::One(bucket) => bucket,
            Counts::Each(tenants) => tenants.bucket(tenant.unwrap_or_default(), now),
        }
    }
}
