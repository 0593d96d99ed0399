//! The spanmetrics connector: requests, errors and durations out of spans.
//!
//! Acknowledges a batch of spans as soon as they are counted, in memory: a crash loses what was counted since the last
//! flush, and cumulative series begin anew after it, which their start tells. A span is one call, or as many as the
//! threshold in its trace state says that it stands for after sampling. Spans of a resource without `service.name` are counted under `unknown_service`, as
//! the specification names them; the Collector leaves them out.
//!
//! # Names
//!
//! Grafana's service graph, its tables of requests, errors and durations, and what was made for Tempo's metrics
//! generator ask for Tempo's names, so these are what a configuration without a word about names gets. One that sets
//! `namespace` or `histogram.unit` gets the Collector's, and `naming` decides for itself.
//!
//! | | `tempo` | `collector` |
//! |---|---|---|
//! | calls | `traces_spanmetrics_calls_total` | `traces.span.metrics.calls` |
//! | durations | `traces_spanmetrics_latency`, seconds | `traces.span.metrics.duration`, `ms` or `s` |
//! | bytes | `traces_spanmetrics_size_total` | |
//! | labels | `service`, `span_name`, `span_kind`, `status_code` | `service.name`, `span.name`, `span.kind`, `status.code` |
//! | attributes of the resource | if asked for | on |
//! | exemplars | on | off |
//!
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/connector/spanmetricsconnector>,
//! <https://grafana.com/docs/tempo/latest/metrics-generator/span_metrics/>

mod config;
mod naming;

use std::sync::Arc;

use async_trait::async_trait;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::view::{Attributes, Event, Resource, Scope, Span};
use cupola_telemetry::{Batch, Signal};

use super::activity::Activity;
use super::aggregate::{Aggregate, AggregateSettings, At, Labels, Measured};
use super::flusher::Flusher;
use super::outputs::Outputs;
use super::{Surroundings, spans};
use crate::ottl::Env;
use crate::processors::ConfigError;
pub use config::{
    AggregationTemporality, DimensionConfig, EventsConfig, ExemplarsConfig, ExplicitConfig,
    ExponentialConfig, HistogramConfig, SpanMetricsConfig, Unit,
};
pub use naming::Naming;
use naming::{Families, LabelNames};

/// Place of the calls among the families.
const CALLS: usize = 0;

/// Counts spans and measures their durations.
pub struct SpanMetrics {
    counting: Counting,
    flusher: Arc<Flusher>,
    flush_each_batch: bool,
    activity: Activity,
}

/// What spans are counted by.
struct Counting {
    config: SpanMetricsConfig,
    names: LabelNames,
    families: Families,
    nanos_per_unit: f64,
    instance: Option<String>,
    exemplars: bool,
    env: Arc<dyn Env + Send + Sync>,
}

impl SpanMetrics {
    /// Starts flushing on the current runtime.
    pub fn new(
        config: &SpanMetricsConfig,
        outputs: Outputs,
        surroundings: Surroundings,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let outputs = outputs.required(Signal::Metrics)?;
        let Surroundings {
            env,
            memory,
            instance,
        } = surroundings;
        let families = config.families();
        let settings = AggregateSettings {
            scope: "spanmetricsconnector",
            families: families.list.clone(),
            temporality: config.temporality(),
            series_max: config.series_max(),
            resources_max: config.resource_metrics_cache_size,
            expiration: config.expiration(),
            exemplars_max: config.exemplars_max(),
        };
        let now = env.now_unix_nano();
        let flusher = Flusher::new(Aggregate::new(settings, &memory, now), outputs, env.clone());
        let interval = config.metrics_flush_interval.0;
        if !interval.is_zero() {
            let flushing = flusher.clone();
            flusher.every(interval, move || {
                let flushing = flushing.clone();
                async move {
                    flushing.flush().await;
                }
            });
        }
        let counting = Counting {
            names: config.resolved_naming().labels(),
            families,
            nanos_per_unit: config.unit_seconds() * 1e9,
            instance,
            exemplars: config.exemplars_max() > 0,
            config: config.clone(),
            env,
        };
        Ok(Self {
            counting,
            flusher,
            flush_each_batch: interval.is_zero(),
            activity: Activity::default(),
        })
    }

    /// Sends what has been counted. Whether all of it was taken, or refused for good.
    pub async fn flush(&self) -> bool {
        self.flusher.flush().await
    }
}

impl Drop for SpanMetrics {
    fn drop(&mut self) {
        self.flusher.abandon();
    }
}

#[async_trait]
impl Sink for SpanMetrics {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if batch.signal() != Signal::Traces {
            return Err(SendError::permanent("spanmetrics takes traces only"));
        }
        let now = self.flusher.now();
        self.flusher
            .with(|aggregate| self.counting.count(&batch, aggregate, now))?;
        self.activity.saw(batch.items(), batch.items(), now);
        if self.flush_each_batch {
            self.flush().await;
        }
        Ok(Accepted::all())
    }
}

#[async_trait]
impl Component for SpanMetrics {
    async fn shutdown(&self) {
        self.flusher.shutdown(|_| ()).await;
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        self.activity.collect(samples);
        self.flusher.collect(samples);
    }
}

impl Counting {
    fn count(&self, batch: &Batch, aggregate: &mut Aggregate, now: u64) {
        let (mut resource_key, mut labels) = (Labels::default(), Labels::default());
        for resource_spans in batch.traces().resources() {
            let resource = resource_spans.resource();
            self.resource_key(&resource, &mut resource_key);
            for scope_spans in resource_spans.scopes() {
                let scope = scope_spans.scope();
                for span in scope_spans.spans() {
                    labels.clear();
                    self.common_labels(&mut labels, &resource, &scope, &span);
                    let mut counting = SpanCounting {
                        counting: self,
                        batch,
                        aggregate: &mut *aggregate,
                        now,
                        resource: &resource,
                        resource_key: resource_key.bytes(),
                        labels: &mut labels,
                        times: self.times(&span),
                    };
                    counting.count(&span);
                }
            }
        }
    }

    /// The resource of the metrics.
    fn resource_key(&self, resource: &Resource<'_>, key: &mut Labels) {
        key.clear();
        let config = &self.config;
        match &config.resource_metrics_key_attributes[..] {
            [] if config.with_resource() => {
                // In one order, so that senders that write them in different orders have one resource.
                let mut attributes: Vec<_> = resource.attributes.collect();
                attributes.sort_by_key(|attribute| attribute.key);
                attributes.dedup_by_key(|attribute| attribute.key);
                for attribute in attributes {
                    key.value(attribute.key, attribute.value);
                }
            }
            names => {
                for name in names {
                    if let Some(value) = resource.attributes.get(name) {
                        key.value(name, value);
                    }
                }
            }
        }
    }

    fn common_labels(
        &self,
        labels: &mut Labels,
        resource: &Resource<'_>,
        scope: &Scope<'_>,
        span: &Span<'_>,
    ) {
        let names = &self.names;
        let (code, message) = span
            .status
            .map_or((0, ""), |status| (status.code, status.message));
        let excluded = |name: &str| self.is_excluded(name);
        if !excluded(names.service) {
            labels.text(names.service, &spans::service_name(resource));
        }
        if !excluded(names.span_name) {
            labels.text(names.span_name, span.name);
        }
        if !excluded(names.span_kind) {
            labels.text(names.span_kind, spans::kind_text(span.kind));
        }
        if !excluded(names.status_code) {
            labels.text(names.status_code, spans::status_text(code));
        }
        if self.config.include_status_message {
            labels.text(names.status_message, message);
        }
        const INSTANCE: &str = "collector.instance.id";
        if let Some(instance) = &self.instance
            && !excluded(INSTANCE)
        {
            labels.text(INSTANCE, instance);
        }
        let with_scope = &self.config.include_instrumentation_scope;
        if !scope.name.is_empty() && with_scope.iter().any(|name| name == scope.name) {
            labels.text("span.instrumentation.scope.name", scope.name);
            if !scope.version.is_empty() {
                labels.text("span.instrumentation.scope.version", scope.version);
            }
        }
        if self.config.enable_metrics_sampling_method {
            let method = match spans::adjusted_count(span.trace_state) {
                Some(_) => "extrapolated",
                None => "counted",
            };
            labels.text("sampling.method", method);
        }
        let places = [span.attributes, resource.attributes];
        dimensions(labels, &self.config.dimensions, &places);
    }

    /// How many spans a sampled one stands for, so that calls are those that were made.
    fn times(&self, span: &Span<'_>) -> u64 {
        match spans::adjusted_count(span.trace_state) {
            None => 1,
            Some(count) => spans::whole_number(count, || self.env.random()),
        }
    }

    /// `status.code` also names Tempo's `status_code`, and the other way round.
    fn is_excluded(&self, name: &str) -> bool {
        let same = |excluded: &String| {
            let excluded = excluded.as_str();
            excluded == name
                || (name == "service" && excluded == "service.name")
                || excluded.replace('.', "_") == name.replace('.', "_")
        };
        self.config.exclude_dimensions.iter().any(same)
    }
}

/// Adds what the first of `places` that has a dimension says.
fn dimensions(labels: &mut Labels, wanted: &[DimensionConfig], places: &[Attributes<'_>]) {
    for dimension in wanted {
        let name = &dimension.name;
        match places.iter().find_map(|attributes| attributes.get(name)) {
            Some(value) => labels.value(name, value),
            None => {
                if let Some(default) = &dimension.default {
                    labels.text(name, default);
                }
            }
        }
    }
}

/// One span, whose common labels have been made.
struct SpanCounting<'c> {
    counting: &'c Counting,
    batch: &'c Batch,
    aggregate: &'c mut Aggregate,
    now: u64,
    resource: &'c Resource<'c>,
    resource_key: &'c [u8],
    labels: &'c mut Labels,
    /// How many spans this one stands for.
    times: u64,
}

impl SpanCounting<'_> {
    fn count(&mut self, span: &Span<'_>) {
        let Counting { config, families, .. } = self.counting;
        let common = self.labels.len();
        let places = [span.attributes, self.resource.attributes];
        dimensions(self.labels, &config.calls_dimensions, &places);
        self.add(CALLS, self.times);
        if let Some(size) = families.size {
            self.add(size, (span.raw().len() as u64).saturating_mul(self.times));
        }
        self.labels.truncate(common);
        if let Some(duration) = families.duration {
            dimensions(self.labels, &config.histogram.dimensions, &places);
            self.observe(duration, span);
            self.labels.truncate(common);
        }
        if let Some(events) = families.events {
            for event in span.events {
                self.event(events, &event, &places);
                self.labels.truncate(common);
            }
        }
    }

    fn event(&mut self, family: usize, event: &Event<'_>, places: &[Attributes<'_>; 2]) {
        let [span, resource] = *places;
        let places = [event.attributes, span, resource];
        dimensions(self.labels, &self.counting.config.events.dimensions, &places);
        self.add(family, self.times);
    }

    fn add(&mut self, family: usize, count: u64) {
        let at = At {
            resource: self.resource_key,
            family,
            labels: self.labels.bytes(),
        };
        self.aggregate.add(self.now, self.batch.tenant(), at, count);
    }

    fn observe(&mut self, family: usize, span: &Span<'_>) {
        let value = spans::duration_nanos(span) as f64 / self.counting.nanos_per_unit;
        let exemplar = match self.counting.exemplars {
            true => spans::exemplar(span, value, self.now),
            false => None,
        };
        let at = At {
            resource: self.resource_key,
            family,
            labels: self.labels.bytes(),
        };
        let measured = Measured {
            value,
            times: self.times,
            exemplar,
        };
        self.aggregate
            .observe(self.now, self.batch.tenant(), at, measured);
    }
}
