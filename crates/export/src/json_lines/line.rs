//! One item as one line.
//!
//! - A log record: `timestamp`, `severity_text`, `severity_number`, `body`, `trace_id`, `span_id`, `resource`, `attributes`.
//! - A span: `timestamp` (its start), `end_timestamp`, `duration_nano`, `name`, `kind`, `trace_id`, `span_id`, `parent_span_id`,
//!   `trace_state`, `status_code`, `status_message`, `resource`, `attributes`, `events`, `links`.
//! - A point: `timestamp`, `start_timestamp`, `name`, `description`, `unit`, `type`, `temporality`, `is_monotonic`, `value` (a
//!   number, or an object with what a histogram or summary has), `resource`, `attributes`, `exemplars`.
//!
//! Times are RFC 3339 in UTC with nanoseconds; a record without a time has that of its observation. What an item says beside
//! that is among its attributes under the names that OpenTelemetry has for it: `event.name`, `otel.scope.name`,
//! `otel.scope.version`, `otel.dropped_attributes_count`. Bytes are base64, and numbers that JSON does not have are null.

use cupola_telemetry::Batch;
use cupola_telemetry::time::to_rfc3339;
use cupola_telemetry::view::{
    AnyValue, Attributes, Exemplar, LogRecord, Metric, NumberValue, Resource, Scope, Span,
};

use crate::elasticsearch::document::kind_name;
use crate::elasticsearch::json::{members, text};
use crate::items::{Kind, Point, Visitor, walk};
use crate::object::{Object, array, hex, numbers};

/// The items of a batch, each with a line end behind it. Log records are in the order of their times, as people read them: in a
/// batch they stand by scope, and by the thread that recorded them.
pub fn lines(batch: &Batch) -> Vec<String> {
    let mut lines = Lines::default();
    walk(batch, &mut lines);
    // Those of one time stay as they were.
    lines.lines.sort_by_key(|(time, _)| *time);
    lines.lines.into_iter().map(|(_, line)| line).collect()
}

/// A log record as it stands in a line, without the line end. `resource` is an object of JSON: see [`attributes`].
pub fn log(record: &LogRecord<'_>, scope: Option<&Scope<'_>>, resource: &str) -> String {
    let mut line = Object::new();
    let (time, observed) = (record.time_unix_nano, record.observed_time_unix_nano);
    let moment = if time == 0 { observed } else { time };
    line.text("timestamp", &to_rfc3339(moment));
    line.text("severity_text", record.severity_text);
    line.plain("severity_number", record.severity_number);
    line.json("body", &record.body.map_or("null".to_owned(), text));
    line.text("trace_id", &hex(record.trace_id));
    line.text("span_id", &hex(record.span_id));
    line.json("resource", resource);
    let mut own = own_attributes(record.attributes, scope, record.dropped_attributes_count);
    own.unless_there("event.name", record.event_name);
    if observed != 0 && observed != moment {
        own.unless_there("otel.observed_timestamp", &to_rfc3339(observed));
    }
    line.json("attributes", &own.finish());
    line.finish()
}

/// Attributes as an object of JSON.
pub fn attributes(attributes: Attributes<'_>) -> String {
    text(AnyValue::KeyValueList(attributes))
}

#[derive(Default)]
struct Lines<'a> {
    /// Each with the time that it is sorted by.
    lines: Vec<(u64, String)>,
    resource: String,
    scope: Option<Scope<'a>>,
}

impl Lines<'_> {
    fn push(&mut self, line: Object) {
        let mut line = line.finish();
        line.push('\n');
        self.lines.push((0, line));
    }
}

impl<'a> Visitor<'a> for Lines<'a> {
    fn resource(&mut self, resource: Resource<'a>, _: &'a str) {
        self.resource = attributes(resource.attributes);
    }

    fn scope(&mut self, scope: Scope<'a>, _: &'a str) {
        self.scope = Some(scope);
    }

    fn log(&mut self, record: LogRecord<'a>) {
        let mut line = log(&record, self.scope.as_ref(), &self.resource);
        line.push('\n');
        let times = [record.time_unix_nano, record.observed_time_unix_nano];
        let time = times.into_iter().find(|time| *time != 0).unwrap_or(0);
        self.lines.push((time, line));
    }

    fn span(&mut self, span: Span<'a>) {
        let mut line = Object::new();
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        line.text("timestamp", &to_rfc3339(start));
        line.text("end_timestamp", &to_rfc3339(end));
        line.plain("duration_nano", end.saturating_sub(start));
        line.text("name", span.name);
        line.text("kind", &kind_name(span.kind));
        line.text("trace_id", &hex(span.trace_id));
        line.text("span_id", &hex(span.span_id));
        line.text("parent_span_id", &hex(span.parent_span_id));
        line.text("trace_state", span.trace_state);
        let status = span
            .status
            .map_or((0, ""), |status| (status.code, status.message));
        line.text("status_code", status_name(status.0));
        line.text("status_message", status.1);
        line.json("resource", &self.resource);
        let mut own = own_attributes(
            span.attributes,
            self.scope.as_ref(),
            span.dropped_attributes_count,
        );
        own.number("otel.dropped_events_count", span.dropped_events_count);
        own.number("otel.dropped_links_count", span.dropped_links_count);
        line.json("attributes", &own.finish());
        let events = array(span.events, |out, event| {
            let mut object = Object::new();
            object.text("timestamp", &to_rfc3339(event.time_unix_nano));
            object.text("name", event.name);
            object.json("attributes", &attributes(event.attributes));
            object.some_number("dropped_attributes_count", event.dropped_attributes_count);
            out.push_str(&object.finish());
        });
        line.json("events", &events);
        let links = array(span.links, |out, link| {
            let mut object = Object::new();
            object.text("trace_id", &hex(link.trace_id));
            object.text("span_id", &hex(link.span_id));
            object.some_text("trace_state", link.trace_state);
            object.json("attributes", &attributes(link.attributes));
            object.some_number("dropped_attributes_count", link.dropped_attributes_count);
            out.push_str(&object.finish());
        });
        line.json("links", &links);
        self.push(line);
    }

    fn point(&mut self, metric: &Metric<'a>, kind: Kind, point: Point<'a>) {
        let mut line = Object::new();
        line.text("timestamp", &to_rfc3339(point.time_unix_nano()));
        let start = point.start_time_unix_nano();
        line.text(
            "start_timestamp",
            &if start == 0 {
                String::new()
            } else {
                to_rfc3339(start)
            },
        );
        line.text("name", metric.name);
        line.text("description", metric.description);
        line.text("unit", metric.unit);
        line.text("type", kind.name);
        line.text("temporality", kind.temporality.map_or("", temporality_name));
        line.json(
            "is_monotonic",
            kind.monotonic
                .map_or("null", |is| if is { "true" } else { "false" }),
        );
        line.json("value", &value(&point));
        line.json("resource", &self.resource);
        line.json(
            "attributes",
            &own_attributes(point.attributes(), self.scope.as_ref(), 0).finish(),
        );
        let exemplars = point
            .exemplars()
            .map_or("[]".to_owned(), |all| array(all, exemplar));
        line.json("exemplars", &exemplars);
        self.push(line);
    }
}

/// The attributes of an item under construction, and what is added to them.
struct Own {
    object: Object,
    keys: Vec<String>,
}

impl Own {
    /// Adds what has no member of its own; what the item says itself counts.
    fn unless_there(&mut self, key: &str, text: &str) {
        if !text.is_empty() && !self.keys.iter().any(|known| known == key) {
            self.object.text(key, text);
        }
    }

    fn number(&mut self, key: &str, number: u32) {
        if number != 0 && !self.keys.iter().any(|known| known == key) {
            self.object.plain(key, number);
        }
    }

    fn finish(self) -> String {
        self.object.finish()
    }
}

fn own_attributes(attributes: Attributes<'_>, scope: Option<&Scope<'_>>, dropped: u32) -> Own {
    let mut own = Own {
        object: Object::new(),
        keys: Vec::new(),
    };
    members(attributes, |key, value| {
        own.object.json(key, &text(value));
        if key.starts_with("otel.") || key == "event.name" {
            own.keys.push(key.to_owned());
        }
    });
    if let Some(scope) = scope {
        own.unless_there("otel.scope.name", scope.name);
        own.unless_there("otel.scope.version", scope.version);
    }
    own.number("otel.dropped_attributes_count", dropped);
    own
}

fn value(point: &Point<'_>) -> String {
    let mut object = Object::new();
    match point {
        Point::Number(point) => return point.value.map_or("null".to_owned(), number),
        Point::Histogram(point) => {
            object.plain("count", point.count);
            some_double(&mut object, "sum", point.sum);
            some_double(&mut object, "min", point.min);
            some_double(&mut object, "max", point.max);
            object.json("bucket_counts", &numbers(point.bucket_counts));
            let bounds = array(point.explicit_bounds, |out, bound| out.push_str(&double(bound)));
            object.json("explicit_bounds", &bounds);
        }
        Point::Exponential(point) => {
            object.plain("count", point.count);
            some_double(&mut object, "sum", point.sum);
            some_double(&mut object, "min", point.min);
            some_double(&mut object, "max", point.max);
            object.plain("scale", point.scale);
            object.plain("zero_count", point.zero_count);
            object.json("zero_threshold", &double(point.zero_threshold));
            for (key, buckets) in [("positive", point.positive), ("negative", point.negative)] {
                if let Some(buckets) = buckets {
                    let mut inner = Object::new();
                    inner.plain("offset", buckets.offset);
                    inner.json("bucket_counts", &numbers(buckets.bucket_counts));
                    object.json(key, &inner.finish());
                }
            }
        }
        Point::Summary(point) => {
            object.plain("count", point.count);
            object.json("sum", &double(point.sum));
            let quantiles = array(point.quantile_values, |out, quantile| {
                let mut inner = Object::new();
                inner.json("quantile", &double(quantile.quantile));
                inner.json("value", &double(quantile.value));
                out.push_str(&inner.finish());
            });
            object.json("quantile_values", &quantiles);
        }
    }
    object.finish()
}

fn exemplar(out: &mut String, exemplar: Exemplar<'_>) {
    let mut object = Object::new();
    object.text("timestamp", &to_rfc3339(exemplar.time_unix_nano));
    object.json("value", &exemplar.value.map_or("null".to_owned(), number));
    object.text("trace_id", &hex(exemplar.trace_id));
    object.text("span_id", &hex(exemplar.span_id));
    object.json("attributes", &attributes(exemplar.filtered_attributes));
    out.push_str(&object.finish());
}

fn some_double(object: &mut Object, key: &str, value: Option<f64>) {
    if let Some(value) = value {
        object.json(key, &double(value));
    }
}

fn number(value: NumberValue) -> String {
    match value {
        NumberValue::Int(value) => value.to_string(),
        NumberValue::Double(value) => double(value),
    }
}

fn double(value: f64) -> String {
    text(AnyValue::Double(value))
}

fn status_name(code: i32) -> &'static str {
    match code {
        1 => "Ok",
        2 => "Error",
        _ => "Unset",
    }
}

fn temporality_name(number: i32) -> &'static str {
    match number {
        1 => "delta",
        2 => "cumulative",
        _ => "",
    }
}
