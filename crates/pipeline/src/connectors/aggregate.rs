//! Metrics under construction: series by tenant, resource, metric and labels, until a flush writes them.
//!
//! Bounded in series a tenant and metric, in resources a tenant, in tenants and in memory; what is beyond goes to one
//! overflow series a tenant and metric. Refuses to send anything and to read a clock: both are the flusher's.

mod encoding;
mod exemplars;
mod explicit;
mod exponential;
mod labels;
mod series;
mod tenant;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cupola_telemetry::memory::{MemoryBudget, Reservation};
use cupola_telemetry::{Batch, TenantId};

pub(super) use exemplars::Exemplar;
pub(super) use labels::Labels;
use series::Series;
use tenant::{Group, Tenant};

/// Tenants with series at one time; spans of others are not counted.
const TENANTS_MAX: usize = 10_000;
/// Points of one batch; some more if there are new series, which have two.
const POINTS_MAX: usize = 10_000;
/// Maps and allocators on top of the bytes of a series.
const SERIES_OVERHEAD: usize = 96;

/// What a series of a metric holds.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A count, which only grows.
    Sum,
    Explicit(Arc<[f64]>),
    Exponential {
        max_size: usize,
    },
}

/// A metric that is made.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) unit: String,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Temporality {
    Delta,
    Cumulative,
}

#[derive(Clone, Debug)]
pub(super) struct AggregateSettings {
    /// Name of the instrumentation scope.
    pub(super) scope: &'static str,
    pub(super) families: Vec<Family>,
    pub(super) temporality: Temporality,
    /// Of a tenant and metric.
    pub(super) series_max: usize,
    /// Of a tenant.
    pub(super) resources_max: usize,
    /// Series that were not touched for so long go, once their last value has been delivered.
    pub(super) expiration: Option<Duration>,
    /// Of a point.
    pub(super) exemplars_max: usize,
}

/// All series of a connector.
pub(super) struct Aggregate {
    settings: AggregateSettings,
    tenants: HashMap<TenantId, Tenant>,
    memory: Reservation,
    /// When the last flush took what there was, or this was made.
    window_start: u64,
    /// The latest moment so far: clocks may be set back, points may not.
    now: u64,
    /// The number of the next flush.
    round: u64,
    /// The last flush that was delivered.
    delivered: u64,
    counts: AggregateCounts,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AggregateCounts {
    /// Measurements that went to an overflow series.
    pub(super) overflowed: u64,
    /// Measurements of tenants beyond the bound, which went nowhere.
    pub(super) dropped: u64,
    pub(super) expired: u64,
}

/// Points ready to be sent, and in delta temporality the series that they came from.
pub(super) struct Portion {
    pub(super) batch: Batch,
    taken: Vec<Taken>,
    /// Cumulative series that nobody has got before.
    new: Vec<SeriesKey>,
}

struct SeriesKey {
    resource: Box<[u8]>,
    family: usize,
    labels: Box<[u8]>,
}

struct Taken {
    resource: Box<[u8]>,
    family: usize,
    labels: Box<[u8]>,
    series: Series,
}

impl Aggregate {
    pub(super) fn new(settings: AggregateSettings, memory: &MemoryBudget, now: u64) -> Self {
        Self {
            settings,
            tenants: HashMap::new(),
            memory: memory.reservation(),
            window_start: now,
            now,
            round: 1,
            delivered: 0,
            counts: AggregateCounts::default(),
        }
    }

    pub(super) fn counts(&self) -> AggregateCounts {
        self.counts
    }

    pub(super) fn temporality(&self) -> Temporality {
        self.settings.temporality
    }

    /// Series that there are now.
    pub(super) fn series(&self) -> usize {
        let of_tenant = |tenant: &Tenant| tenant.series.iter().sum::<usize>();
        self.tenants.values().map(of_tenant).sum()
    }

    /// Series that have something that was not delivered.
    pub(super) fn undelivered(&self) -> usize {
        let groups = self.tenants.values().flat_map(|tenant| tenant.groups.values());
        let series = groups.flat_map(|group| group.families.iter().flat_map(HashMap::values));
        series.filter(|series| series.round > self.delivered).count()
    }

    /// Adds to a count.
    pub(super) fn add(&mut self, now: u64, tenant: &TenantId, at: At<'_>, count: u64) {
        if let Some(series) = self.at(now, tenant, at) {
            series.add(count);
        }
    }

    /// Adds a value to a histogram.
    pub(super) fn observe(&mut self, now: u64, tenant: &TenantId, at: At<'_>, measured: Measured) {
        let most = self.settings.exemplars_max;
        let kind = self.settings.families[at.family].kind.clone();
        if let Some(series) = self.at(now, tenant, at) {
            series.observe(&kind, measured, most);
        }
    }

    /// The series there, a new one, or the one for what is beyond the bounds.
    fn at(&mut self, now: u64, tenant_id: &TenantId, at: At<'_>) -> Option<&mut Series> {
        self.now = self.now.max(now);
        if !self.tenants.contains_key(tenant_id) {
            if self.tenants.len() >= TENANTS_MAX {
                self.counts.dropped += 1;
                return None;
            }
            let tenant = Tenant {
                series: vec![0; self.settings.families.len()],
                ..Tenant::default()
            };
            self.tenants.insert(tenant_id.clone(), tenant);
        }
        let tenant = self.tenants.get_mut(tenant_id)?;
        let (mut resource, mut labels) = (at.resource, at.labels);
        if !tenant.has(resource, at.family, labels) {
            let room = tenant.series[at.family] < self.settings.series_max
                && (tenant.groups.contains_key(resource)
                    || tenant.groups.len() < self.settings.resources_max);
            let bytes = cost(&self.settings, at.family, resource, labels);
            if !room || !self.memory.try_grow(bytes) {
                self.counts.overflowed += 1;
                (resource, labels) = (&[], OVERFLOW);
                if !tenant.has(resource, at.family, labels) {
                    // One a tenant and metric: it cannot be refused.
                    self.memory
                        .grow(cost(&self.settings, at.family, resource, labels));
                }
            }
        }
        let start = match self.settings.temporality {
            Temporality::Delta => self.window_start,
            Temporality::Cumulative => self.now,
        };
        let kind = &self.settings.families[at.family].kind;
        let series = tenant.series(resource, at.family, labels, || Series::new(kind, start));
        series.round = self.round;
        series.touched = self.now;
        Some(series)
    }

    /// Everything that is to be sent now, and the number of this flush.
    pub(super) fn take(&mut self, now: u64) -> (u64, Vec<Portion>) {
        self.now = self.now.max(now);
        let round = self.round;
        self.round += 1;
        self.expire();
        let mut portions = Vec::new();
        for (id, tenant) in &mut self.tenants {
            let mut writing = encoding::Writing::new(&self.settings, id, self.now);
            for (resource, group) in &mut tenant.groups {
                match self.settings.temporality {
                    Temporality::Cumulative => {
                        for series in group.families.iter_mut().flat_map(HashMap::values_mut) {
                            series.exemplars.forget(self.delivered);
                        }
                        writing.borrow(resource, group);
                    }
                    Temporality::Delta => writing.keep(group.drain(resource)),
                }
            }
            portions.extend(writing.finish());
        }
        if self.settings.temporality == Temporality::Delta {
            self.tenants.clear();
            self.memory.shrink(self.memory.bytes());
            self.window_start = self.now;
        }
        (round, portions)
    }

    /// Remembers that a flush has been delivered as a whole.
    pub(super) fn delivered(&mut self, round: u64) {
        self.delivered = self.delivered.max(round);
    }

    /// Remembers that a pipeline has got a portion, so that what is new in it is new no more.
    pub(super) fn announced(&mut self, portion: &Portion) {
        let Some(tenant) = self.tenants.get_mut(portion.batch.tenant()) else {
            return;
        };
        for key in &portion.new {
            let group = tenant.groups.get_mut(&key.resource);
            if let Some(series) = group.and_then(|group| group.families[key.family].get_mut(&key.labels)) {
                series.is_announced = true;
            }
        }
    }

    /// Takes back what could not be sent; a cumulative value is here anyway.
    pub(super) fn give_back(&mut self, portion: Portion) {
        let id = portion.batch.tenant().clone();
        let most = self.settings.exemplars_max;
        let families = self.settings.families.len();
        let tenant = self.tenants.entry(id).or_default();
        tenant.series.resize(families, 0);
        for taken in portion.taken {
            let Taken {
                resource,
                family,
                labels,
                series,
            } = taken;
            let mut taken = Some(series);
            if !tenant.has(&resource, family, &labels) {
                self.memory.grow(cost(&self.settings, family, &resource, &labels));
            }
            let kind = &self.settings.families[family].kind;
            let series = tenant.series(&resource, family, &labels, || {
                taken.take().unwrap_or_else(|| Series::new(kind, 0))
            });
            if let Some(older) = taken {
                series.merge(older, most);
            }
            series.round = self.round;
        }
    }

    /// Drops series that nothing has come for, after their last value has been delivered.
    fn expire(&mut self) {
        let Some(expiration) = self.settings.expiration else {
            return;
        };
        let limit = u64::try_from(expiration.as_nanos()).unwrap_or(u64::MAX);
        let (now, delivered) = (self.now, self.delivered);
        let idle = |series: &Series| series.round <= delivered && now.saturating_sub(series.touched) >= limit;
        let (settings, memory, counts) = (&self.settings, &mut self.memory, &mut self.counts);
        self.tenants.retain(|_, tenant| {
            tenant.groups.retain(|resource, group| {
                for (family, series) in group.families.iter_mut().enumerate() {
                    series.retain(|labels, series| {
                        let keep = !idle(series);
                        if !keep {
                            memory.shrink(cost(settings, family, resource, labels));
                            tenant.series[family] -= 1;
                            counts.expired += 1;
                        }
                        keep
                    });
                }
                group.families.iter().any(|series| !series.is_empty())
            });
            !tenant.groups.is_empty()
        });
    }
}

/// A value for a histogram.
pub(super) struct Measured {
    pub(super) value: f64,
    /// How many such values this one stands for.
    pub(super) times: u64,
    pub(super) exemplar: Option<Exemplar>,
}

/// Which series.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    /// Encoded.
    pub(super) resource: &'a [u8],
    /// Place in the settings.
    pub(super) family: usize,
    /// Of [`Labels`].
    pub(super) labels: &'a [u8],
}

/// `otel.metric.overflow = true`.
/// <https://opentelemetry.io/docs/specs/otel/metrics/sdk/#overflow-attribute>
const OVERFLOW: &[u8] = b"\x0a\x1a\x0a\x14otel.metric.overflow\x12\x02\x10\x01";

/// What a series may take, with its key, its buckets and its exemplars.
fn cost(settings: &AggregateSettings, family: usize, resource: &[u8], labels: &[u8]) -> usize {
    let buckets = match &settings.families[family].kind {
        Kind::Sum => 0,
        Kind::Explicit(bounds) => bounds.len() + 1,
        Kind::Exponential { max_size } => *max_size,
    };
    let exemplars = settings.exemplars_max * size_of::<Exemplar>() * 2;
    resource.len()
        + labels.len()
        + buckets * size_of::<u64>()
        + exemplars
        + size_of::<Series>()
        + SERIES_OVERHEAD
}
