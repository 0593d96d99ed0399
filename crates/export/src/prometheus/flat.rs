//! Points as the single series that Prometheus keeps of them: buckets, sums, counts and quantiles.

use super::{ClassicHistogram, Exemplar, Point, Value};

/// One value of one series.
#[derive(Debug, Clone, Copy)]
pub struct Flat<'a> {
    /// Behind the name of the family: `_bucket`, `_sum`, `_count` or nothing.
    pub suffix: &'static str,
    /// A label that this series has beside those of the point.
    pub extra: Option<(&'static str, f64)>,
    pub value: f64,
    pub exemplars: &'a [Exemplar],
}

/// Gives the series of a point, buckets from the lowest on. A native histogram has none.
pub fn flatten(point: &Point<'_>, emit: &mut dyn FnMut(Flat<'_>)) {
    let plain = |suffix, value| Flat {
        suffix,
        extra: None,
        value,
        exemplars: &[],
    };
    match &point.value {
        Value::Number(value) => emit(Flat {
            exemplars: &point.exemplars,
            ..plain("", *value)
        }),
        Value::Histogram(histogram) => flatten_histogram(histogram, &point.exemplars, emit),
        Value::Native(_) => {}
        Value::Summary {
            quantiles,
            count,
            sum,
        } => {
            for (quantile, value) in quantiles {
                emit(Flat {
                    extra: Some(("quantile", *quantile)),
                    ..plain("", *value)
                });
            }
            emit(plain("_sum", *sum));
            emit(plain("_count", *count as f64));
        }
    }
}

fn flatten_histogram(histogram: &ClassicHistogram, exemplars: &[Exemplar], emit: &mut dyn FnMut(Flat<'_>)) {
    let mut exemplars = exemplars.to_vec();
    exemplars.sort_by(|a, b| a.value.total_cmp(&b.value));
    let mut rest = &exemplars[..];
    let last = (f64::INFINITY, histogram.count);
    for (bound, count) in histogram.buckets.iter().copied().chain([last]) {
        let within = rest.partition_point(|exemplar| exemplar.value <= bound);
        let (own, others) = rest.split_at(within);
        rest = others;
        emit(Flat {
            suffix: "_bucket",
            extra: Some(("le", bound)),
            value: count as f64,
            exemplars: own,
        });
    }
    let plain = |suffix, value| Flat {
        suffix,
        extra: None,
        value,
        exemplars: &[],
    };
    if let Some(sum) = histogram.sum {
        emit(plain("_sum", sum));
    }
    emit(plain("_count", histogram.count as f64));
}

/// A number as Prometheus writes it. In OpenMetrics bounds always have a fraction: `1.0`.
pub fn number_text(value: f64, fraction: bool) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // Debug turns to exponents where digits would be many.
    let text = format!("{value:?}");
    match text.strip_suffix(".0") {
        Some(whole) if !fraction => whole.to_owned(),
        _ => text,
    }
}
