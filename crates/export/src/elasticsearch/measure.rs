//! Data points as Elasticsearch aggregates them: numbers, and distributions as values with counts.

use cupola_telemetry::view::{AnyValue, ExponentialHistogramDataPoint, NumberValue};

use super::json;
use crate::items::{Kind, Point};
use crate::object::{Object, array, numbers};

/// The value of a point as Elasticsearch aggregates it, and the template of its field.
pub(super) fn measured(kind: Kind, point: &Point<'_>) -> (String, &'static str) {
    let counts = kind.name == "sum" && kind.monotonic == Some(true);
    match point {
        Point::Number(point) => match point.value {
            Some(NumberValue::Int(value)) => (
                value.to_string(),
                if counts { "counter_long" } else { "gauge_long" },
            ),
            Some(NumberValue::Double(value)) => (
                json::text(AnyValue::Double(value)),
                if counts { "counter_double" } else { "gauge_double" },
            ),
            None => ("null".to_owned(), "gauge_double"),
        },
        Point::Histogram(point) => {
            let bounds: Vec<f64> = point.explicit_bounds.iter().collect();
            let values = (0..=bounds.len()).map(|bucket| middle(&bounds, bucket));
            (distribution(values, point.bucket_counts.iter()), "histogram")
        }
        Point::Exponential(point) => (exponential(point), "histogram"),
        Point::Summary(point) => {
            let mut summary = Object::new();
            summary.json("sum", &json::text(AnyValue::Double(point.sum)));
            summary.plain("value_count", point.count);
            (summary.finish(), "summary")
        }
    }
}

/// A value that stands for a bucket: the middle of its bounds; those without a lower or an upper one have their other.
fn middle(bounds: &[f64], bucket: usize) -> f64 {
    let lower = bucket.checked_sub(1).and_then(|below| bounds.get(below));
    match (lower, bounds.get(bucket)) {
        (Some(lower), Some(upper)) => lower + (upper - lower) / 2.0,
        (None, Some(upper)) if *upper > 0.0 => upper / 2.0,
        (None, Some(bound)) | (Some(bound), None) => *bound,
        (None, None) => 0.0,
    }
}

fn exponential(point: &ExponentialHistogramDataPoint<'_>) -> String {
    let base = 2_f64.powf(2_f64.powi(point.scale.saturating_neg()));
    let value = |offset: i32, index: usize| {
        let lower = base.powf(f64::from(offset) + index as f64);
        lower + (lower * base - lower) / 2.0
    };
    let mut all: Vec<(f64, u64)> = Vec::new();
    if let Some(buckets) = point.negative {
        let counts = buckets.bucket_counts.iter().enumerate();
        all.extend(counts.map(|(index, count)| (-value(buckets.offset, index), count)));
        all.reverse();
    }
    all.push((0.0, point.zero_count));
    if let Some(buckets) = point.positive {
        let counts = buckets.bucket_counts.iter().enumerate();
        all.extend(counts.map(|(index, count)| (value(buckets.offset, index), count)));
    }
    distribution(
        all.iter().map(|(value, _)| *value),
        all.iter().map(|(_, count)| *count),
    )
}

/// Buckets that hold something. <https://www.elastic.co/guide/en/elasticsearch/reference/current/histogram.html>
fn distribution(values: impl Iterator<Item = f64>, counts: impl Iterator<Item = u64>) -> String {
    let filled: Vec<(f64, u64)> = values.zip(counts).filter(|(_, count)| *count > 0).collect();
    let mut object = Object::new();
    let values = array(filled.iter(), |text, (value, _)| {
        json::write(text, AnyValue::Double(*value))
    });
    object.json("values", &values);
    object.json("counts", &numbers(filled.iter().map(|(_, count)| *count)));
    object.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_stands_for_its_middle() {
        let bounds = [1.0, 3.0];
        assert_eq!([0, 1, 2].map(|bucket| middle(&bounds, bucket)), [0.5, 2.0, 3.0]);
        assert_eq!(middle(&[], 0), 0.0);
        assert_eq!(middle(&[-1.0], 0), -1.0);
        let json = distribution([0.5, 2.0, 3.0].into_iter(), [4, 0, 6].into_iter());
        assert_eq!(json, r#"{"values":[0.5,3.0],"counts":[4,6]}"#);
    }
}
