//! The walk over a batch: each point is given out translated, or noted as refused.

use cupola_telemetry::Batch;
use cupola_telemetry::view::{
    Attributes, Exemplars, HistogramDataPoint, Metric, MetricData, NumberDataPoint, Resource,
    ResourceMetrics, Scope, SummaryDataPoint,
};

use super::labels::text;
use super::values::{NO_RECORDED_VALUE, classic, exemplars, millis, number, summary};
use super::{Family, Kind, Labels, NativeHistogram, Point, Refused, Value, metric_name};

const DELTA: i32 = 1;
const CUMULATIVE: i32 = 2;
/// These tell apart whose telemetry it is, and are `job` and `instance`.
const IDENTITY: [&str; 3] = ["service.name", "service.namespace", "service.instance.id"];

/// What is asked of the translation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// In front of every name.
    pub namespace: String,
    /// Units and types in names.
    pub suffixes: bool,
    /// Attributes of the resource as labels of every series.
    pub resource_labels: bool,
    /// `otel_scope_name`, `otel_scope_version` and attributes of the scope as labels of every series.
    pub scope_labels: bool,
    /// A series `target_info` for each resource.
    pub target_info: bool,
    /// Lets points of delta temporality through, for whoever sums them up.
    pub delta: bool,
    /// Labels of every series that has none of that name.
    pub external_labels: Labels,
}

/// Takes a translated point, or says why it cannot.
pub type Emit<'e> = dyn FnMut(&Point<'_>) -> Result<(), &'static str> + 'e;

/// Gives every point of `batch`, and says which have no form in Prometheus or were not taken.
pub fn translate(batch: &Batch, options: &Options, emit: &mut Emit<'_>) -> Refused {
    let mut walk = Walk {
        options,
        emit,
        refused: Refused::default(),
        next: 0,
        newest_ms: 0,
    };
    for resource in batch.metrics().resources() {
        walk.resource(resource);
    }
    walk.refused
}

struct Walk<'w, 'e> {
    options: &'w Options,
    emit: &'w mut Emit<'e>,
    refused: Refused,
    /// Number of the next point in the batch.
    next: usize,
    /// Time of the newest point of this resource.
    newest_ms: i64,
}

/// What the points of one metric have in common.
struct Scene<'s> {
    family: Family,
    base: &'s Labels,
    /// As the sender named it.
    name: &'s str,
    delta: bool,
}

/// What all kinds of points have.
struct Head<'s> {
    attributes: Attributes<'s>,
    time: u64,
    start: u64,
    flags: u32,
    exemplars: Option<Exemplars<'s>>,
}

impl Walk<'_, '_> {
    fn resource(&mut self, metrics: ResourceMetrics<'_>) {
        let resource = metrics.resource();
        let identity = identity(resource);
        let mut labels = identity.clone();
        if self.options.resource_labels {
            labels.add_attributes("", resource.attributes);
        }
        self.newest_ms = 0;
        for scope in metrics.scopes() {
            let mut labels = labels.clone();
            if self.options.scope_labels {
                scope_labels(&mut labels, scope.scope(), scope.schema_url());
            }
            for metric in scope.metrics() {
                self.metric(metric, &labels);
            }
        }
        if self.options.target_info && self.newest_ms > 0 {
            self.target_info(resource, identity);
        }
    }

    fn target_info(&mut self, resource: Resource<'_>, identity: Labels) {
        let others = resource
            .attributes
            .filter(|attribute| !IDENTITY.contains(&attribute.key))
            .count();
        if identity.is_empty() || others == 0 {
            return;
        }
        let mut labels = identity;
        labels.add_attributes("", resource.attributes);
        for key in IDENTITY {
            labels.set(&super::label_name(key), "");
        }
        self.add_external(&mut labels);
        let name = match self.options.namespace.as_str() {
            "" => "target_info".to_owned(),
            namespace => format!("{namespace}_target_info"),
        };
        let family = Family {
            name,
            kind: Kind::Info,
            help: "Target metadata".to_owned(),
            unit: String::new(),
        };
        // What describes points is none itself: there is nothing to refuse.
        let _ = (self.emit)(&Point {
            family: &family,
            labels: &labels,
            value: Value::Number(1.0),
            timestamp_ms: self.newest_ms,
            start_ms: 0,
            exemplars: Vec::new(),
            stale: false,
            delta: false,
        });
    }

    fn add_external(&self, labels: &mut Labels) {
        for (name, value) in self.options.external_labels.iter() {
            labels.set_missing(name, value);
        }
    }

    /// What the points of a metric have in common, and why none of them can be taken.
    fn scene<'s>(
        &self,
        metric: Metric<'s>,
        data: MetricData<'s>,
        base: &'s Labels,
    ) -> (Scene<'s>, Option<&'static str>) {
        let (kind, temporality) = match data {
            MetricData::Gauge(_) => (Kind::Gauge, None),
            MetricData::Sum {
                temporality,
                monotonic: true,
                ..
            } => (Kind::Counter, Some(temporality)),
            MetricData::Sum { temporality, .. } => (Kind::Gauge, Some(temporality)),
            MetricData::Histogram { temporality, .. } => (Kind::Histogram, Some(temporality)),
            MetricData::ExponentialHistogram { temporality, .. } => (Kind::Histogram, Some(temporality)),
            MetricData::Summary(_) => (Kind::Summary, None),
        };
        let options = self.options;
        let (name, unit) = metric_name(
            metric.name,
            metric.unit,
            kind,
            &options.namespace,
            options.suffixes,
        );
        let delta = temporality == Some(DELTA);
        let problem = match temporality {
            _ if name.is_empty() => Some("the name has no letter that Prometheus allows"),
            Some(DELTA) if !options.delta => {
                Some("delta temporality: put deltatocumulative before this exporter")
            }
            Some(DELTA | CUMULATIVE) | None => None,
            Some(_) => Some("the temporality is not specified"),
        };
        let scene = Scene {
            family: Family {
                name,
                kind,
                help: metric.description.to_owned(),
                unit,
            },
            base,
            name: metric.name,
            delta,
        };
        (scene, problem)
    }

    fn metric(&mut self, metric: Metric<'_>, base: &Labels) {
        let Some(data) = metric.data() else {
            return;
        };
        let (scene, problem) = self.scene(metric, data, base);
        let fail = |reason| problem.map_or(Ok(()), |_| Err(reason));
        let reason = problem.unwrap_or_default();
        match data {
            MetricData::Gauge(points) | MetricData::Sum { points, .. } => {
                for point in points {
                    let value = fail(reason).and_then(|()| number(&point));
                    self.point(&scene, number_head(&point), value);
                }
            }
            MetricData::Histogram { points, .. } => {
                for point in points {
                    let value = fail(reason).and_then(|()| classic(&point));
                    self.point(&scene, histogram_head(&point), value);
                }
            }
            MetricData::ExponentialHistogram { points, .. } => {
                for point in points {
                    let head = Head {
                        attributes: point.attributes,
                        time: point.time_unix_nano,
                        start: point.start_time_unix_nano,
                        flags: point.flags,
                        exemplars: Some(point.exemplars),
                    };
                    let value = fail(reason).and_then(|()| NativeHistogram::of(&point).map(Value::Native));
                    self.point(&scene, head, value);
                }
            }
            MetricData::Summary(points) => {
                for point in points {
                    self.point(
                        &scene,
                        summary_head(&point),
                        fail(reason).map(|()| summary(&point)),
                    );
                }
            }
        }
    }

    fn point(&mut self, scene: &Scene<'_>, head: Head<'_>, value: Result<Value, &'static str>) {
        let number = self.next;
        self.next += 1;
        let value = match value {
            Ok(_) if head.time == 0 => Err("the point has no time"),
            value => value,
        };
        let value = match value {
            Ok(value) => value,
            Err(reason) => return self.refused.add(number, scene.name, reason),
        };
        let mut labels = scene.base.clone();
        let mut own = Labels::default();
        own.add_attributes("", head.attributes);
        for (name, value) in own.iter() {
            // `job` and `instance` say whose series it is, whatever the point says.
            if name != "job" && name != "instance" || labels.get(name).is_none() {
                labels.set(name, value);
            }
        }
        self.add_external(&mut labels);
        let timestamp_ms = millis(head.time);
        let taken = (self.emit)(&Point {
            family: &scene.family,
            labels: &labels,
            value,
            timestamp_ms,
            start_ms: millis(head.start),
            exemplars: exemplars(head.exemplars),
            stale: head.flags & NO_RECORDED_VALUE != 0,
            delta: scene.delta,
        });
        match taken {
            Ok(()) => self.newest_ms = self.newest_ms.max(timestamp_ms),
            Err(reason) => self.refused.add(number, scene.name, reason),
        }
    }
}

fn identity(resource: Resource<'_>) -> Labels {
    let value = |key| resource.attributes.get(key).map(text).unwrap_or_default();
    let [name, namespace, instance] = IDENTITY.map(value);
    let job = match namespace.is_empty() {
        true => name,
        false => format!("{namespace}/{name}"),
    };
    let mut labels = Labels::default();
    labels.set("job", job);
    labels.set("instance", instance);
    labels
}

fn scope_labels(labels: &mut Labels, scope: Scope<'_>, schema_url: &str) {
    labels.add_attributes("otel_scope_", scope.attributes);
    labels.set("otel_scope_name", scope.name);
    labels.set("otel_scope_version", scope.version);
    labels.set("otel_scope_schema_url", schema_url);
}

fn number_head<'s>(point: &NumberDataPoint<'s>) -> Head<'s> {
    Head {
        attributes: point.attributes,
        time: point.time_unix_nano,
        start: point.start_time_unix_nano,
        flags: point.flags,
        exemplars: Some(point.exemplars),
    }
}

fn histogram_head<'s>(point: &HistogramDataPoint<'s>) -> Head<'s> {
    Head {
        attributes: point.attributes,
        time: point.time_unix_nano,
        start: point.start_time_unix_nano,
        flags: point.flags,
        exemplars: Some(point.exemplars),
    }
}

fn summary_head<'s>(point: &SummaryDataPoint<'s>) -> Head<'s> {
    Head {
        attributes: point.attributes,
        time: point.time_unix_nano,
        start: point.start_time_unix_nano,
        flags: point.flags,
        exemplars: None,
    }
}
