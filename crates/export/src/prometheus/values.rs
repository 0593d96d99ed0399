//! Values, exemplars and times of single points.

use cupola_telemetry::view::{Exemplars, HistogramDataPoint, NumberDataPoint, SummaryDataPoint};

use super::labels::EXEMPLAR_CHARACTERS_MAX;
use super::{ClassicHistogram, Exemplar, Labels, Value};

/// The flag of a point whose sender says that there is no value.
pub(super) const NO_RECORDED_VALUE: u32 = 1;

pub(super) fn number(point: &NumberDataPoint<'_>) -> Result<Value, &'static str> {
    match point.value {
        Some(value) => Ok(Value::Number(value.as_f64())),
        None if point.flags & NO_RECORDED_VALUE != 0 => Ok(Value::Number(f64::NAN)),
        None => Err("the point has no value"),
    }
}

pub(super) fn classic(point: &HistogramDataPoint<'_>) -> Result<Value, &'static str> {
    let (bounds, counts) = (point.explicit_bounds.len(), point.bucket_counts.len());
    if counts != bounds + 1 && (bounds, counts) != (0, 0) {
        return Err("the histogram has not one count more than bounds");
    }
    let mut total = 0_u64;
    let mut buckets = Vec::with_capacity(bounds);
    let mut before = f64::NEG_INFINITY;
    for (bound, count) in point.explicit_bounds.zip(point.bucket_counts) {
        if bound.is_nan() || bound <= before && !buckets.is_empty() {
            return Err("the bounds of the histogram do not rise");
        }
        before = bound;
        total = total.saturating_add(count);
        if bound.is_finite() {
            buckets.push((bound, total));
        }
    }
    Ok(Value::Histogram(ClassicHistogram {
        buckets,
        count: point.count,
        sum: point.sum,
    }))
}

pub(super) fn summary(point: &SummaryDataPoint<'_>) -> Value {
    Value::Summary {
        quantiles: point
            .quantile_values
            .map(|value| (value.quantile, value.value))
            .collect(),
        count: point.count,
        sum: point.sum,
    }
}

pub(super) fn exemplars(exemplars: Option<Exemplars<'_>>) -> Vec<Exemplar> {
    let one = |exemplar: cupola_telemetry::view::Exemplar<'_>| {
        let mut ids = Labels::default();
        ids.set("trace_id", hex(exemplar.trace_id));
        ids.set("span_id", hex(exemplar.span_id));
        let mut labels = ids.clone();
        labels.add_attributes("", exemplar.filtered_attributes);
        if labels.characters() > EXEMPLAR_CHARACTERS_MAX {
            labels = ids;
        }
        Some(Exemplar {
            labels,
            value: exemplar.value?.as_f64(),
            timestamp_ms: millis(exemplar.time_unix_nano),
        })
    };
    exemplars.into_iter().flatten().filter_map(one).collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(super) fn millis(nanos: u64) -> i64 {
    (nanos / 1_000_000) as i64
}
