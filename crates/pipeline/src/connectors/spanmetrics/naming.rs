//! Names and kinds of the metrics: the Collector's, or those of Tempo's metrics generator, for which dashboards are made.

use std::sync::Arc;

use serde::Deserialize;

use super::config::{SpanMetricsConfig, Unit};
use crate::connectors::aggregate::{Family, Kind};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Naming {
    /// `traces.span.metrics.calls`, `….duration` with its unit; `service.name`, `span.name`, `span.kind`,
    /// `status.code`.
    Collector,
    /// `traces_spanmetrics_calls_total`, `traces_spanmetrics_latency` in seconds, `traces_spanmetrics_size_total`;
    /// `service`, `span_name`, `span_kind`, `status_code`.
    Tempo,
}

/// Seconds, as the Collector has them.
const BOUNDS_COLLECTOR: [f64; 16] = [
    0.002, 0.004, 0.006, 0.008, 0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.4, 2.0, 5.0, 10.0, 15.0,
];
/// Seconds, as Tempo has them: from 2 ms, doubling.
const BOUNDS_TEMPO: [f64; 14] = [
    0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384,
];

impl SpanMetricsConfig {
    pub(super) fn resolved_naming(&self) -> Naming {
        let as_collector = self.namespace.is_some() || self.histogram.unit.is_some();
        self.naming.unwrap_or(match as_collector {
            true => Naming::Collector,
            false => Naming::Tempo,
        })
    }

    /// Seconds in the unit of durations.
    pub(super) fn unit_seconds(&self) -> f64 {
        match (self.resolved_naming(), self.histogram.unit) {
            (Naming::Tempo, _) | (_, Some(Unit::S)) => 1.0,
            (Naming::Collector, Some(Unit::Ms) | None) => 1e-3,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        if let Some(exponential) = &self.histogram.exponential {
            return Kind::Exponential {
                max_size: exponential.max_size,
            };
        }
        let nanos_per_unit = self.unit_seconds() * 1e9;
        let in_unit = |seconds: f64| seconds * 1e9 / nanos_per_unit;
        let bounds: Vec<f64> = match (&self.histogram.explicit, self.resolved_naming()) {
            (Some(explicit), _) if !explicit.buckets.is_empty() => {
                let nanos = explicit.buckets.iter().map(|bucket| bucket.0.as_nanos() as f64);
                nanos.map(|nanos| nanos / nanos_per_unit).collect()
            }
            (_, Naming::Collector) => BOUNDS_COLLECTOR.map(in_unit).to_vec(),
            (_, Naming::Tempo) => BOUNDS_TEMPO.to_vec(),
        };
        Kind::Explicit(Arc::from(bounds))
    }

    pub(super) fn families(&self) -> Families {
        let naming = self.resolved_naming();
        let namespace = self.namespace.as_deref().unwrap_or("traces.span.metrics");
        let name = |collector: &str, tempo: &str| match naming {
            Naming::Tempo => tempo.to_owned(),
            Naming::Collector if namespace.is_empty() => collector.to_owned(),
            Naming::Collector => format!("{namespace}.{collector}"),
        };
        let sum = |name, description: &str| Family {
            name,
            description: description.to_owned(),
            // None, as any would become a part of the name in Prometheus.
            unit: String::new(),
            kind: Kind::Sum,
        };
        let mut families = Families {
            list: vec![sum(
                name("calls", "traces_spanmetrics_calls_total"),
                "Spans, by what they are and how they ended.",
            )],
            ..Families::default()
        };
        if !self.histogram.disable {
            let unit = match (naming, self.unit_seconds() == 1.0) {
                (Naming::Tempo, _) => "",
                (Naming::Collector, true) => "s",
                (Naming::Collector, false) => "ms",
            };
            families.duration = families.push(Family {
                name: name("duration", "traces_spanmetrics_latency"),
                description: "Duration of spans.".to_owned(),
                unit: unit.to_owned(),
                kind: self.kind(),
            });
        }
        if naming == Naming::Tempo {
            let size = sum(
                "traces_spanmetrics_size_total".to_owned(),
                "Encoded bytes of spans.",
            );
            families.size = families.push(size);
        }
        if self.events.enabled {
            let events = name("events", "traces_spanmetrics_events_total");
            families.events = families.push(sum(events, "Events of spans."));
        }
        families
    }
}

/// The metrics that are made; the first is the calls.
#[derive(Default)]
pub(super) struct Families {
    pub(super) list: Vec<Family>,
    pub(super) duration: Option<usize>,
    pub(super) size: Option<usize>,
    pub(super) events: Option<usize>,
}

impl Families {
    fn push(&mut self, family: Family) -> Option<usize> {
        self.list.push(family);
        Some(self.list.len() - 1)
    }
}

/// Names of the labels that every span has.
#[derive(Clone, Copy, Debug)]
pub(super) struct LabelNames {
    pub(super) service: &'static str,
    pub(super) span_name: &'static str,
    pub(super) span_kind: &'static str,
    pub(super) status_code: &'static str,
    pub(super) status_message: &'static str,
}

impl Naming {
    pub(super) fn labels(self) -> LabelNames {
        match self {
            Naming::Collector => LabelNames {
                service: "service.name",
                span_name: "span.name",
                span_kind: "span.kind",
                status_code: "status.code",
                status_message: "status.message",
            },
            Naming::Tempo => LabelNames {
                service: "service",
                span_name: "span_name",
                span_kind: "span_kind",
                status_code: "status_code",
                status_message: "status_message",
            },
        }
    }
}
