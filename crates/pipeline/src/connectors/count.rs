//! The count connector: how many spans, events, metrics, points and log records there were, by condition and attribute.
//!
//! Counts are deltas, sent after each batch under the resources of what was counted. A batch is acknowledged when it
//! has been counted, in memory; counts that a pipeline refuses for a while go with the next ones, and what is there
//! when the process crashes is lost. A condition that fails on an item does not hold for it, and is counted.
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/connector/countconnector>

mod config;
mod walk;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::view::Attributes;
use cupola_telemetry::{Batch, Signal};

use super::Surroundings;
use super::activity::Activity;
use super::aggregate::{Aggregate, AggregateSettings, At, Family, Kind, Labels, Temporality};
use super::flusher::Flusher;
use super::outputs::Outputs;
use crate::ottl::{Conditions, Context, Env};
use crate::processors::ConfigError;
pub use config::{CountAttribute, CountConfig, CountMetric, DefaultValue};

/// Series of a tenant and metric.
const SERIES_MAX: usize = 50_000;
/// Resources of a tenant between two flushes.
const RESOURCES_MAX: usize = 10_000;
/// How often counts that were kept are sent although nothing new came.
const KEPT_INTERVAL: Duration = Duration::from_secs(10);

/// Counts what it is given.
pub struct Count {
    counters: Vec<Counter>,
    flusher: Arc<Flusher>,
    env: Arc<dyn Env + Send + Sync>,
    activity: Activity,
    errors: AtomicU64,
}

/// One metric.
struct Counter {
    context: Context,
    conditions: Option<Conditions>,
    attributes: Vec<CountAttribute>,
}

impl Count {
    /// Starts on the current runtime.
    pub fn new(
        config: &CountConfig,
        outputs: Outputs,
        surroundings: Surroundings,
    ) -> Result<Self, ConfigError> {
        let outputs = outputs.required(Signal::Metrics)?;
        let (mut counters, mut families) = (Vec::new(), Vec::new());
        for (name, description, counter) in config.compile()? {
            counters.push(counter);
            families.push((name, description));
        }
        let family = |(name, description)| Family {
            name,
            description,
            unit: String::new(),
            kind: Kind::Sum,
        };
        let settings = AggregateSettings {
            scope: "otelcol/countconnector",
            families: families.into_iter().map(family).collect(),
            temporality: Temporality::Delta,
            series_max: SERIES_MAX,
            resources_max: RESOURCES_MAX,
            expiration: None,
            exemplars_max: 0,
        };
        let Surroundings { env, memory, .. } = surroundings;
        let now = env.now_unix_nano();
        let flusher = Flusher::new(Aggregate::new(settings, &memory, now), outputs, env.clone());
        let kept = flusher.clone();
        flusher.every(KEPT_INTERVAL, move || {
            let kept = kept.clone();
            async move {
                kept.flush().await;
            }
        });
        Ok(Self {
            counters,
            flusher,
            env,
            activity: Activity::default(),
            errors: AtomicU64::new(0),
        })
    }

    /// Sends what was kept. Whether all of it was taken, or refused for good.
    pub async fn flush(&self) -> bool {
        self.flusher.flush().await
    }

    /// Counts a batch, and returns how many things were counted at least once by a metric.
    fn count(&self, batch: &Batch, aggregate: &mut Aggregate, now: u64) -> usize {
        let mut most = 0;
        for (family, counter) in self.counters.iter().enumerate() {
            if counter.context.signal() != Some(batch.signal()) {
                continue;
            }
            let marks = counter.conditions.as_ref().map(|conditions| {
                let marks = conditions.marks(batch, &*self.env).unwrap_or_default();
                self.errors.fetch_add(marks.errors as u64, Ordering::Relaxed);
                if let Some(error) = marks.first_error {
                    tracing::warn!(%error, "a condition of a count failed on an item");
                }
                marks.marks
            });
            let (mut index, mut counted) = (0, 0);
            let mut labels = Labels::default();
            walk::walk(batch, counter.context, &mut |resource, places| {
                let holds = marks.as_ref().is_none_or(|marks| marks.get(index) == Some(&true));
                index += 1;
                if holds && counter.labels(places, &mut labels) {
                    let labels = labels.bytes();
                    let at = At {
                        resource,
                        family,
                        labels,
                    };
                    aggregate.add(now, batch.tenant(), at, 1);
                    counted += 1;
                }
            });
            most = most.max(counted);
        }
        most.min(batch.items())
    }
}

impl Counter {
    /// Whether all attributes are there, or have a default.
    fn labels(&self, places: &[Attributes<'_>; 3], labels: &mut Labels) -> bool {
        labels.clear();
        for attribute in &self.attributes {
            let key = &attribute.key;
            let found = places.iter().find_map(|attributes| attributes.get(key));
            match (found, &attribute.default_value) {
                (Some(value), _) => labels.value(key, value),
                (None, Some(default)) => labels.value(key, default.view()),
                (None, None) => return false,
            }
        }
        true
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.flusher.abandon();
    }
}

#[async_trait]
impl Sink for Count {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let now = self.flusher.now();
        let counted = self
            .flusher
            .with(|aggregate| self.count(&batch, aggregate, now))?;
        self.activity.saw(batch.items(), counted, now);
        if counted > 0 {
            self.flush().await;
        }
        Ok(Accepted::all())
    }
}

#[async_trait]
impl Component for Count {
    async fn shutdown(&self) {
        self.flusher.shutdown(|_| ()).await;
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        self.activity.collect(samples);
        self.flusher.collect(samples);
        samples.push(Sample::count(
            "cupola_connector_count_errors",
            "Conditions that failed on an item.",
            self.errors.load(Ordering::Relaxed),
        ));
    }
}
