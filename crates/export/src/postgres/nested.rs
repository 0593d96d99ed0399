//! What is JSON within a row: events, links, exemplars, and whatever a point has that is not one number.

use cupola_telemetry::view::{AnyValue, Attributes, Buckets, Event, Exemplar, Link, NumberValue};

use crate::items::Point;
use crate::object::{Object, array, doubles, numbers};

/// Attributes as an object; left out where there are none.
pub(super) fn some_attributes(object: &mut Object, key: &str, attributes: Attributes<'_>) {
    if !attributes.is_empty() {
        object.value(key, AnyValue::KeyValueList(attributes));
    }
}

pub(super) fn event(text: &mut String, event: Event<'_>) {
    let mut object = Object::new();
    object.plain("time_unix_nano", event.time_unix_nano);
    object.text("name", event.name);
    some_attributes(&mut object, "attributes", event.attributes);
    object.some_number("dropped_attributes_count", event.dropped_attributes_count);
    text.push_str(&object.finish());
}

pub(super) fn link(text: &mut String, link: Link<'_>) {
    let mut object = Object::new();
    object.id("trace_id", link.trace_id);
    object.id("span_id", link.span_id);
    object.some_text("trace_state", link.trace_state);
    some_attributes(&mut object, "attributes", link.attributes);
    object.some_number("dropped_attributes_count", link.dropped_attributes_count);
    object.some_number("flags", link.flags);
    text.push_str(&object.finish());
}

pub(super) fn exemplar(text: &mut String, exemplar: Exemplar<'_>) {
    let mut object = Object::new();
    object.plain("time_unix_nano", exemplar.time_unix_nano);
    match exemplar.value {
        Some(NumberValue::Int(value)) => object.plain("value", value),
        Some(NumberValue::Double(value)) => object.double("value", value),
        None => {}
    }
    object.id("trace_id", exemplar.trace_id);
    object.id("span_id", exemplar.span_id);
    some_attributes(&mut object, "filtered_attributes", exemplar.filtered_attributes);
    text.push_str(&object.finish());
}

/// Whatever is not one number.
pub(super) fn histogram(point: Point<'_>) -> Option<String> {
    let mut object = Object::new();
    let optional = |object: &mut Object, key, value: Option<f64>| {
        if let Some(value) = value {
            object.double(key, value);
        }
    };
    match point {
        Point::Number(_) => return None,
        Point::Histogram(point) => {
            object.plain("count", point.count);
            optional(&mut object, "sum", point.sum);
            optional(&mut object, "min", point.min);
            optional(&mut object, "max", point.max);
            object.json("explicit_bounds", &doubles(point.explicit_bounds.iter()));
            object.json("bucket_counts", &numbers(point.bucket_counts.iter()));
        }
        Point::Exponential(point) => {
            object.plain("count", point.count);
            optional(&mut object, "sum", point.sum);
            optional(&mut object, "min", point.min);
            optional(&mut object, "max", point.max);
            object.plain("scale", point.scale);
            object.plain("zero_count", point.zero_count);
            object.double("zero_threshold", point.zero_threshold);
            for (key, buckets) in [("positive", point.positive), ("negative", point.negative)] {
                if let Some(buckets) = buckets {
                    object.json(key, &self::buckets(buckets));
                }
            }
        }
        Point::Summary(point) => {
            object.plain("count", point.count);
            object.double("sum", point.sum);
            let quantiles = array(point.quantile_values, |text, value| {
                let mut object = Object::new();
                object.double("quantile", value.quantile);
                object.double("value", value.value);
                text.push_str(&object.finish());
            });
            object.json("quantiles", &quantiles);
        }
    }
    Some(object.finish())
}

fn buckets(buckets: Buckets<'_>) -> String {
    let mut object = Object::new();
    object.plain("offset", buckets.offset);
    object.json("bucket_counts", &numbers(buckets.bucket_counts.iter()));
    object.finish()
}
