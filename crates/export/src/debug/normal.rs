//! One line for each log record, span and data point.

use std::fmt::Write as _;

use cupola_telemetry::view::{Attributes, MetricData, NumberValue};
use cupola_telemetry::{Batch, Signal};

use super::text::{bare, hex, pairs};

pub(super) fn write(out: &mut String, batch: &Batch) {
    match batch.signal() {
        Signal::Logs => logs(out, batch),
        Signal::Traces => spans(out, batch),
        Signal::Metrics => points(out, batch),
    }
}

macro_rules! headed {
    ($out:ident, $data:expr, $signal:literal, $items:ident, |$item:ident| $body:expr) => {
        for (number, resource) in $data.resources().enumerate() {
            let _ = write!($out, concat!("Resource", $signal, " #{}"), number);
            pairs($out, resource.resource().attributes);
            $out.push('\n');
            for (number, scope) in resource.scopes().enumerate() {
                let info = scope.scope();
                let _ = write!($out, concat!("Scope", $signal, " #{} {}"), number, info.name);
                if !info.version.is_empty() {
                    let _ = write!($out, "@{}", info.version);
                }
                pairs($out, info.attributes);
                $out.push('\n');
                for $item in scope.$items() {
                    $body
                }
            }
        }
    };
}

fn logs(out: &mut String, batch: &Batch) {
    headed!(out, batch.logs(), "Log", records, |record| {
        out.push_str(&record.body.map(bare).unwrap_or_default());
        pairs(out, record.attributes);
        out.push('\n');
    });
}

fn spans(out: &mut String, batch: &Batch) {
    headed!(out, batch.traces(), "Traces", spans, |span| {
        let _ = write!(out, "{} {} {}", span.name, hex(span.trace_id), hex(span.span_id));
        pairs(out, span.attributes);
        out.push('\n');
    });
}

fn points(out: &mut String, batch: &Batch) {
    headed!(out, batch.metrics(), "Metrics", metrics, |metric| {
        let name = metric.name;
        match metric.data() {
            None => {}
            Some(MetricData::Gauge(points) | MetricData::Sum { points, .. }) => {
                for point in points {
                    point_head(out, name, point.attributes);
                    match point.value {
                        Some(NumberValue::Int(value)) => drop(writeln!(out, "{value}")),
                        Some(NumberValue::Double(value)) => drop(writeln!(out, "{value}")),
                        None => out.push('\n'),
                    }
                }
            }
            Some(MetricData::Histogram { points, .. }) => {
                for point in points {
                    point_head(out, name, point.attributes);
                    let _ = write!(out, "count={}", point.count);
                    optional(out, point.sum, point.min, point.max);
                    for (bound, count) in point.explicit_bounds.zip(point.bucket_counts) {
                        let _ = write!(out, " le{bound}={count}");
                    }
                    out.push('\n');
                }
            }
            Some(MetricData::ExponentialHistogram { points, .. }) => {
                for point in points {
                    point_head(out, name, point.attributes);
                    let _ = write!(out, "count={}", point.count);
                    optional(out, point.sum, point.min, point.max);
                    out.push('\n');
                }
            }
            Some(MetricData::Summary(points)) => {
                for point in points {
                    point_head(out, name, point.attributes);
                    let _ = write!(out, "count={} sum={}", point.count, point.sum);
                    for quantile in point.quantile_values {
                        let _ = write!(out, " q{}={}", quantile.quantile, quantile.value);
                    }
                    out.push('\n');
                }
            }
        }
    });
}

fn point_head(out: &mut String, name: &str, attributes: Attributes<'_>) {
    let mut labels = String::new();
    pairs(&mut labels, attributes);
    let _ = write!(out, "{name}{{{}}} ", labels.trim_start().replace(' ', ","));
}

fn optional(out: &mut String, sum: Option<f64>, min: Option<f64>, max: Option<f64>) {
    for (name, value) in [("sum", sum), ("min", min), ("max", max)] {
        if let Some(value) = value {
            let _ = write!(out, " {name}={value}");
        }
    }
}
