//! What is known of targets: the labels of their `target_info`. Owns the bounds on what is remembered.

use std::collections::HashMap;

use cupola_telemetry::TenantId;
use cupola_telemetry::encode::Resource;
use std::sync::{Mutex, PoisonError};

use crate::receivers::series::{PointValue, STALE_NAN, Series};

/// Targets remembered; beyond it the one that was not heard of for longest is forgotten.
pub const TARGETS_MAX: usize = 1000;
/// Longest description remembered, names and values together.
const TARGET_BYTES_MAX: usize = 4 * 1024;

type Key = (TenantId, String, String);

#[derive(Debug, Default)]
pub(super) struct Targets {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    targets: HashMap<Key, Target>,
    /// Goes up with each use.
    clock: u64,
}

#[derive(Debug)]
struct Target {
    attributes: Vec<(String, String)>,
    used: u64,
}

impl Targets {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // What a panic elsewhere left is whole: every change is one insertion.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a series `target_info`; one that has ended is forgotten.
    pub(super) fn learn(&self, tenant: &TenantId, series: &Series<'_>) {
        let key = (tenant.clone(), series.job.to_owned(), series.instance.to_owned());
        let ended = series.points.last().is_some_and(
            |point| matches!(point.value, PointValue::Number(value) if value.to_bits() == STALE_NAN),
        );
        let bytes: usize = series
            .labels
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        let mut known = self.known();
        if ended || bytes > TARGET_BYTES_MAX {
            known.targets.remove(&key);
            return;
        }
        known.clock += 1;
        let used = known.clock;
        if known.targets.len() >= TARGETS_MAX && !known.targets.contains_key(&key) {
            let oldest = known.targets.iter().min_by_key(|(_, target)| target.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                known.targets.remove(&oldest);
            }
        }
        let labels = series.labels.iter();
        let attributes = labels
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        known.targets.insert(key, Target { attributes, used });
    }

    /// Writes the resource of a job's instance.
    pub(super) fn describe(&self, tenant: &TenantId, job: &str, instance: &str, resource: &mut Resource<'_>) {
        if !job.is_empty() {
            // The other direction joins them with a slash.
            let (namespace, name) = job.split_once('/').unwrap_or(("", job));
            if !namespace.is_empty() {
                resource.attribute("service.namespace", namespace);
            }
            resource.attribute("service.name", name);
        }
        if !instance.is_empty() {
            resource.attribute("service.instance.id", instance);
        }
        let key = (tenant.clone(), job.to_owned(), instance.to_owned());
        let mut known = self.known();
        known.clock += 1;
        let clock = known.clock;
        let Some(target) = known.targets.get_mut(&key) else {
            return;
        };
        target.used = clock;
        for (name, value) in &target.attributes {
            if !matches!(
                name.as_str(),
                "service.namespace" | "service.name" | "service.instance.id"
            ) {
                resource.attribute(name, value);
            }
        }
    }
}
