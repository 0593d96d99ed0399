//! The last value of every series, within a bound.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::prometheus::{ClassicHistogram, Exemplar, Family, Labels, Point, Value};

/// Why a point of a new series is refused when there is no room.
pub(super) const FULL: &str = "the page has as many series as `series_max` allows";
const OTHER_TYPE: &str = "a metric of the same name and another type is on the page";
/// Exemplars kept of a series: a histogram shows one for each bucket.
const EXEMPLARS_MAX: usize = 64;

pub(super) struct Store {
    families: BTreeMap<String, Shown>,
    series: usize,
    series_max: usize,
    expiration: Duration,
}

/// One family and its series.
pub(super) struct Shown {
    pub(super) family: Family,
    pub(super) series: BTreeMap<Labels, Entry>,
}

pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) timestamp_ms: i64,
    pub(super) exemplars: Vec<Exemplar>,
    start_ms: i64,
    seen: Instant,
}

impl Store {
    pub(super) fn new(series_max: usize, expiration: Duration) -> Store {
        Store {
            families: BTreeMap::new(),
            series: 0,
            series_max,
            expiration,
        }
    }

    pub(super) fn families(&self) -> impl Iterator<Item = &Shown> {
        self.families.values()
    }

    pub(super) fn series(&self) -> usize {
        self.series
    }

    pub(super) fn series_max(&self) -> usize {
        self.series_max
    }

    /// Puts a point on the page, or says why it cannot be there.
    pub(super) fn take(&mut self, point: &Point<'_>, now: Instant) -> Result<(), &'static str> {
        if point.stale {
            self.remove(point);
            return Ok(());
        }
        if let Some(shown) = self.families.get_mut(&point.family.name) {
            if shown.family.kind != point.family.kind {
                return Err(OTHER_TYPE);
            }
            if let Some(entry) = shown.series.get_mut(point.labels) {
                entry.update(point, now);
                return Ok(());
            }
        }
        if self.series >= self.series_max {
            self.expire(now);
        }
        if self.series >= self.series_max {
            return Err(FULL);
        }
        let shown = self
            .families
            .entry(point.family.name.clone())
            .or_insert_with(|| Shown {
                family: point.family.clone(),
                series: BTreeMap::new(),
            });
        shown.series.insert(point.labels.clone(), Entry::new(point, now));
        self.series += 1;
        Ok(())
    }

    /// Removes what saw no point for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        let expiration = self.expiration;
        let mut left = 0;
        self.families.retain(|_, shown| {
            shown
                .series
                .retain(|_, entry| now.saturating_duration_since(entry.seen) < expiration);
            left += shown.series.len();
            !shown.series.is_empty()
        });
        self.series = left;
    }

    fn remove(&mut self, point: &Point<'_>) {
        let Some(shown) = self.families.get_mut(&point.family.name) else {
            return;
        };
        if shown.series.remove(point.labels).is_some() {
            self.series -= 1;
        }
        if shown.series.is_empty() {
            self.families.remove(&point.family.name);
        }
    }
}

impl Entry {
    fn new(point: &Point<'_>, now: Instant) -> Entry {
        let mut entry = Entry {
            value: point.value.clone(),
            timestamp_ms: point.timestamp_ms,
            exemplars: Vec::new(),
            start_ms: point.start_ms,
            seen: now,
        };
        entry.add_exemplars(&point.exemplars);
        entry
    }

    fn update(&mut self, point: &Point<'_>, now: Instant) {
        self.seen = now;
        if point.delta {
            // The same stretch of time again is the same point sent again.
            if (point.timestamp_ms, point.start_ms) == (self.timestamp_ms, self.start_ms) {
                return;
            }
            add(&mut self.value, &point.value);
        } else if point.timestamp_ms < self.timestamp_ms {
            return;
        } else {
            self.value = point.value.clone();
        }
        self.timestamp_ms = self.timestamp_ms.max(point.timestamp_ms);
        self.start_ms = point.start_ms;
        self.add_exemplars(&point.exemplars);
    }

    fn add_exemplars(&mut self, exemplars: &[Exemplar]) {
        self.exemplars.extend_from_slice(exemplars);
        let beyond = self.exemplars.len().saturating_sub(EXEMPLARS_MAX);
        self.exemplars.drain(..beyond);
    }
}

/// Adds a change. What cannot be added to begins anew, as after a restart of its sender.
fn add(value: &mut Value, change: &Value) {
    match (&mut *value, change) {
        (Value::Number(sum), Value::Number(change)) => *sum += change,
        (Value::Native(sum), Value::Native(change)) => sum.add(change),
        (Value::Histogram(sum), Value::Histogram(change)) if same_bounds(sum, change) => {
            for ((_, sum), (_, change)) in sum.buckets.iter_mut().zip(&change.buckets) {
                *sum = sum.saturating_add(*change);
            }
            sum.count = sum.count.saturating_add(change.count);
            sum.sum = sum.sum.zip(change.sum).map(|(sum, change)| sum + change);
        }
        (value, change) => *value = change.clone(),
    }
}

fn same_bounds(a: &ClassicHistogram, b: &ClassicHistogram) -> bool {
    let bounds = |histogram: &ClassicHistogram| -> Vec<u64> {
        histogram
            .buckets
            .iter()
            .map(|(bound, _)| bound.to_bits())
            .collect()
    };
    bounds(a) == bounds(b)
}
