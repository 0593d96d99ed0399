//! Editors of the values and the buckets of points.

use cupola_telemetry::edit::{Message, MetricKind};

use super::points::{
    BUCKET_COUNTS, EXPLICIT_BOUNDS, Number, SUM, double, doubles, fixed64s, number, set_double, set_doubles,
    set_fixed64s, set_number,
};
use crate::ottl::error::Fault;
use crate::ottl::eval::{Evaluator, Run};
use crate::ottl::functions::double_like;

/// Bounds are the same that differ by less.
const BOUND_TOLERANCE: f64 = 1e-12;

/// Multiplies all values of the metric, and gives it another unit.
pub(super) fn scale<'a>(
    run: &mut Run<'_, 'a>,
    factor: f64,
    unit: Option<&'a Evaluator>,
) -> Result<(), Fault> {
    let unit = unit.map(|unit| unit.value(run)).transpose()?;
    let unit = unit.map(|unit| unit.into_text()).transpose()?;
    let kind = match run.place.metric_kind() {
        Some(MetricKind::ExponentialHistogram) => {
            return Err(Fault::new("exponential histograms cannot be scaled"));
        }
        Some(kind) => kind,
        None => return Err(Fault::new("the metric has no points that can be scaled")),
    };
    let scaled: Vec<Vec<u8>> = run
        .place
        .points_now()
        .map(|point| scaled(kind, point, factor))
        .collect();
    run.place.set_points(kind, scaled);
    if let Some(unit) = unit {
        run.place.item.set_text(3, unit);
    }
    Ok(())
}

fn scaled(kind: MetricKind, point: &[u8], factor: f64) -> Vec<u8> {
    const QUANTILES: u32 = 6;
    const EXEMPLARS: u32 = 8;
    let mut point = Message::new(point);
    let scale = |point: &mut Message<'_>, number: u32| {
        if let Some(value) = double(point, number) {
            set_double(point, number, value * factor);
        }
    };
    let mut messages = Vec::new();
    match kind {
        MetricKind::Histogram => {
            [SUM, 11, 12]
                .into_iter()
                .for_each(|number| scale(&mut point, number));
            let bounds: Vec<f64> = doubles(&point, EXPLICIT_BOUNDS)
                .iter()
                .map(|bound| bound * factor)
                .collect();
            set_doubles(&mut point, EXPLICIT_BOUNDS, &bounds);
            for exemplar in point.repeated(EXEMPLARS) {
                messages.push((EXEMPLARS, scaled_exemplar(exemplar, factor)));
            }
        }
        MetricKind::Summary => {
            scale(&mut point, SUM);
            for quantile in point.repeated(QUANTILES) {
                let mut quantile = Message::new(quantile);
                scale(&mut quantile, 2);
                messages.push((QUANTILES, quantile.encode()));
            }
        }
        _ => {
            if let Some(value) = number(&point) {
                set_number(&mut point, multiplied(value, factor));
            }
        }
    }
    if let Some((number, _)) = messages.first() {
        point.remove(*number);
    }
    let mut encoded = point.encode();
    for (number, message) in messages {
        cupola_telemetry::wire::write_bytes(&mut encoded, number, &message);
    }
    encoded
}

fn multiplied(value: Number, factor: f64) -> Number {
    match value {
        Number::Double(value) => Number::Double(value * factor),
        Number::Int(value) => Number::Int((value as f64 * factor) as i64),
    }
}

fn scaled_exemplar(exemplar: &[u8], factor: f64) -> Vec<u8> {
    const AS_DOUBLE: u32 = 3;
    const AS_INT: u32 = 6;
    let mut exemplar = Message::new(exemplar);
    match (double(&exemplar, AS_DOUBLE), exemplar.number(AS_INT)) {
        (Some(value), _) => set_double(&mut exemplar, AS_DOUBLE, value * factor),
        (None, Some(bits)) => {
            let value = (bits as i64 as f64 * factor) as i64;
            exemplar.set_fixed64(AS_INT, value as u64);
        }
        (None, None) => {}
    }
    exemplar.encode()
}

/// Makes the point's buckets fewer: without a bound, or so few at most.
pub(super) fn merge_buckets<'a>(
    run: &mut Run<'_, 'a>,
    value: &'a Evaluator,
    limit: bool,
) -> Result<(), Fault> {
    if run.place.metric_kind() != Some(MetricKind::Histogram) {
        return Ok(());
    }
    let Some(target) = double_like(&value.value(run)?)? else {
        return Err(Fault::new("the target value is nil"));
    };
    let point = &mut run.place.part;
    let (mut bounds, mut counts) = (doubles(point, EXPLICIT_BOUNDS), fixed64s(point, BUCKET_COUNTS));
    if limit && !(target >= 1.0 && target.trunc() == target && target <= i64::MAX as f64) {
        return Err(Fault::of(format_args!("{target} is no number of buckets")));
    }
    if bounds.len() + 1 != counts.len() || counts.len() == 1 {
        return Ok(());
    }
    if limit {
        let most = target as usize;
        if counts.len() <= most || !bounds.is_sorted_by(|a, b| a < b) {
            return Ok(());
        }
        let width = counts.len().div_ceil(most);
        counts = counts
            .chunks(width)
            .map(|chunk| chunk.iter().fold(0u64, |sum, count| sum.wrapping_add(*count)))
            .collect();
        bounds = bounds.into_iter().skip(width - 1).step_by(width).collect();
    } else {
        let Some(at) = bounds
            .iter()
            .position(|bound| (bound - target).abs() < BOUND_TOLERANCE)
        else {
            return Ok(());
        };
        bounds.remove(at);
        let count = counts.remove(at);
        counts[at] = counts[at].wrapping_add(count);
    }
    set_doubles(point, EXPLICIT_BOUNDS, &bounds);
    set_fixed64s(point, BUCKET_COUNTS, &counts);
    Ok(())
}
