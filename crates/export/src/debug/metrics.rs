//! Every field of metrics and their points.

use std::fmt::Write as _;

use cupola_telemetry::Batch;
use cupola_telemetry::view::{
    Attributes, Buckets, Exemplars, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, MetricData,
    NumberDataPoint, NumberValue, SummaryDataPoint,
};

use super::text::{hex, list, moment, resource, scope};

pub(super) fn write(out: &mut String, batch: &Batch) {
    for (number, metrics) in batch.metrics().resources().enumerate() {
        resource(
            out,
            "ResourceMetrics",
            number,
            metrics.resource(),
            metrics.schema_url(),
        );
        for (number, metrics) in metrics.scopes().enumerate() {
            scope(out, "ScopeMetrics", number, metrics.scope(), metrics.schema_url());
            for (number, item) in metrics.metrics().enumerate() {
                metric(out, number, item);
            }
        }
    }
}

fn metric(out: &mut String, number: usize, metric: Metric<'_>) {
    let _ = writeln!(
        out,
        "Metric #{number}\nDescriptor:\n     -> Name: {}",
        metric.name
    );
    let _ = writeln!(
        out,
        "     -> Description: {}\n     -> Unit: {}",
        metric.description, metric.unit
    );
    let head = |out: &mut String, kind: &str, temporality: Option<i32>, monotonic: Option<bool>| {
        let _ = writeln!(out, "     -> DataType: {kind}");
        if let Some(monotonic) = monotonic {
            let _ = writeln!(out, "     -> IsMonotonic: {monotonic}");
        }
        if let Some(temporality) = temporality {
            let name = match temporality {
                1 => "Delta",
                2 => "Cumulative",
                _ => "Unspecified",
            };
            let _ = writeln!(out, "     -> AggregationTemporality: {name}");
        }
    };
    match metric.data() {
        None => head(out, "Empty", None, None),
        Some(MetricData::Gauge(points)) => {
            head(out, "Gauge", None, None);
            points
                .enumerate()
                .for_each(|(number, point)| number_point(out, number, &point));
        }
        Some(MetricData::Sum {
            points,
            temporality,
            monotonic,
        }) => {
            head(out, "Sum", Some(temporality), Some(monotonic));
            points
                .enumerate()
                .for_each(|(number, point)| number_point(out, number, &point));
        }
        Some(MetricData::Histogram { points, temporality }) => {
            head(out, "Histogram", Some(temporality), None);
            points
                .enumerate()
                .for_each(|(number, point)| histogram(out, number, &point));
        }
        Some(MetricData::ExponentialHistogram { points, temporality }) => {
            head(out, "ExponentialHistogram", Some(temporality), None);
            points
                .enumerate()
                .for_each(|(number, point)| exponential(out, number, &point));
        }
        Some(MetricData::Summary(points)) => {
            head(out, "Summary", None, None);
            points
                .enumerate()
                .for_each(|(number, point)| summary(out, number, &point));
        }
    }
}

fn head(out: &mut String, kind: &str, number: usize, attributes: Attributes<'_>, start: u64, time: u64) {
    let _ = writeln!(out, "{kind} #{number}");
    list(out, "Data point attributes:", "     ", attributes);
    let _ = writeln!(
        out,
        "StartTimestamp: {}\nTimestamp: {}",
        moment(start),
        moment(time)
    );
}

fn number_point(out: &mut String, number: usize, point: &NumberDataPoint<'_>) {
    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
    head(out, "NumberDataPoints", number, point.attributes, start, time);
    if let Some(value) = point.value {
        let _ = writeln!(out, "Value: {}", value_text(value));
    }
    exemplars(out, point.exemplars);
}

fn value_text(value: NumberValue) -> String {
    match value {
        NumberValue::Int(value) => value.to_string(),
        NumberValue::Double(value) => format!("{value:.6}"),
    }
}

fn extremes(out: &mut String, count: u64, sum: Option<f64>, min: Option<f64>, max: Option<f64>) {
    let _ = writeln!(out, "Count: {count}");
    for (name, value) in [("Sum", sum), ("Min", min), ("Max", max)] {
        if let Some(value) = value {
            let _ = writeln!(out, "{name}: {value:.6}");
        }
    }
}

fn histogram(out: &mut String, number: usize, point: &HistogramDataPoint<'_>) {
    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
    head(out, "HistogramDataPoints", number, point.attributes, start, time);
    extremes(out, point.count, point.sum, point.min, point.max);
    for (number, bound) in point.explicit_bounds.enumerate() {
        let _ = writeln!(out, "ExplicitBounds #{number}: {bound:.6}");
    }
    for (number, count) in point.bucket_counts.enumerate() {
        let _ = writeln!(out, "Buckets #{number}, Count: {count}");
    }
    exemplars(out, point.exemplars);
}

fn exponential(out: &mut String, number: usize, point: &ExponentialHistogramDataPoint<'_>) {
    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
    head(
        out,
        "ExponentialHistogramDataPoints",
        number,
        point.attributes,
        start,
        time,
    );
    extremes(out, point.count, point.sum, point.min, point.max);
    let bound = |index: i64| (index as f64 * (-f64::from(point.scale)).exp2()).exp2();
    let filled = |buckets: Option<Buckets<'_>>| -> Vec<(f64, f64, u64)> {
        let Some(buckets) = buckets else {
            return Vec::new();
        };
        let numbered = (i64::from(buckets.offset)..).zip(buckets.bucket_counts);
        let filled = numbered.filter(|(_, count)| *count > 0);
        filled
            .map(|(index, count)| (bound(index), bound(index + 1), count))
            .collect()
    };
    for (lower, upper, count) in filled(point.negative).into_iter().rev() {
        let _ = writeln!(out, "Bucket [{:.6}, {:.6}), Count: {count}", -upper, -lower);
    }
    if point.zero_count > 0 {
        let _ = writeln!(out, "Bucket [0, 0], Count: {}", point.zero_count);
    }
    for (lower, upper, count) in filled(point.positive) {
        let _ = writeln!(out, "Bucket ({lower:.6}, {upper:.6}], Count: {count}");
    }
    exemplars(out, point.exemplars);
}

fn summary(out: &mut String, number: usize, point: &SummaryDataPoint<'_>) {
    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
    head(out, "SummaryDataPoints", number, point.attributes, start, time);
    let _ = writeln!(out, "Count: {}\nSum: {:.6}", point.count, point.sum);
    for (number, value) in point.quantile_values.enumerate() {
        let _ = writeln!(
            out,
            "QuantileValue #{number}: Quantile {:.6}, Value {:.6}",
            value.quantile, value.value
        );
    }
}

fn exemplars(out: &mut String, exemplars: Exemplars<'_>) {
    for (number, exemplar) in exemplars.enumerate() {
        if number == 0 {
            out.push_str("Exemplars:\n");
        }
        let _ = writeln!(
            out,
            "Exemplar #{number}\n     -> Trace ID: {}",
            hex(exemplar.trace_id)
        );
        let _ = writeln!(out, "     -> Span ID: {}", hex(exemplar.span_id));
        let _ = writeln!(out, "     -> Timestamp: {}", moment(exemplar.time_unix_nano));
        if let Some(value) = exemplar.value {
            let _ = writeln!(out, "     -> Value: {}", value_text(value));
        }
        list(
            out,
            "     -> FilteredAttributes:",
            "          ",
            exemplar.filtered_attributes,
        );
    }
}
