//! One item as one line.
//!
//! - A log record: `timestamp`, `severity_text`, `severity_number`, `body`, `trace_id`, `span_id`, `resource`, `attributes`.
//! - A span: `timestamp` (its start), `end_timestamp`, `duration_nano`, `name`, `kind`, `trace_id`, `span_id`, `parent_span_id`,
//!   `trace_state`, `status_code`, `status_message`, `resource`, `attributes`, `events`, `links`.
//! - A point: `timestamp`, `start_timestamp`, `name`, `description`, `unit`, `type`, `temporality`, `is_monotonic`, `value` (a
//!   number, or an object with what a histogram or summary has), `resource`, `attributes`, `exemplars`.
//!
//! Times are RFC 3339 in UTC with nanoseconds; a record without a time has that of its observation. What an item says beside
//! that is among its attributes: `event.name`, `otel.scope.name`, `otel.scope.version`, `otel.dropped_attributes_count` and the
//! like under the names that OpenTelemetry has for them, and `otel.scope.attributes`, `otel.observed_timestamp`. An attribute of
//! such a name that the item has itself counts. Schema URLs and flags are left out.
//!
//! Bytes are base64, and numbers that JSON does not have are null. Of equal keys the last counts; an empty one is `(empty)`.

use cupola_telemetry::Batch;
use cupola_telemetry::view::{
    AnyValue, Attributes, Exemplar, LogRecord, Metric, NumberValue, Resource, Scope, Span,
};

use super::members::{Members, object};
use crate::elasticsearch::document::kind_name;
use crate::elasticsearch::json;
use crate::items::{Kind, Point, Visitor, walk};

/// Bytes of a line for which there is room from the start.
const LINE_BYTES: usize = 512;

/// Lines, one behind the other.
#[derive(Debug, Default)]
pub struct LinesText {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl LinesText {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them, each with a line end behind it.
    pub fn all(&self) -> &str {
        &self.text
    }

    /// Where a line begins; behind the last there is the end.
    pub(super) fn start(&self, line: usize) -> usize {
        match line.checked_sub(1) {
            None => 0,
            Some(before) => self.ends.get(before).copied().unwrap_or(self.text.len()),
        }
    }

    /// Each line has its time; those of one time stay as they were.
    fn sorted(&self, times: &[u64]) -> LinesText {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|line| times.get(*line));
        let mut sorted = LinesText {
            text: String::with_capacity(self.text.len()),
            ends: Vec::with_capacity(self.len()),
        };
        for line in order {
            sorted
                .text
                .push_str(&self.text[self.start(line)..self.start(line + 1)]);
            sorted.ends.push(sorted.text.len());
        }
        sorted
    }

    fn end_line(&mut self) {
        self.text.push('\n');
        self.ends.push(self.text.len());
    }
}

/// Lines that are there already.
impl<'l> FromIterator<&'l str> for LinesText {
    fn from_iter<I: IntoIterator<Item = &'l str>>(lines: I) -> LinesText {
        let mut all = LinesText::default();
        for line in lines {
            all.text.push_str(line);
            all.end_line();
        }
        all
    }
}

/// The items of a batch. Log records are in the order of their times, as people read them: in a batch they stand by scope, and by
/// the thread that recorded them.
pub fn lines(batch: &Batch) -> LinesText {
    let mut lines = Lines::default();
    lines.lines.text.reserve(batch.items() * LINE_BYTES);
    lines.lines.ends.reserve(batch.items());
    walk(batch, &mut lines);
    match lines.times.is_sorted() {
        true => lines.lines,
        false => lines.lines.sorted(&lines.times),
    }
}

/// Appends what a resource is in a line: an object of JSON.
pub fn write_resource(out: &mut String, resource: &Resource<'_>) {
    object(out, |members| {
        let mut own = Own::write(members, resource.attributes);
        own.number("otel.dropped_attributes_count", resource.dropped_attributes_count);
    });
}

/// Appends a log record as it stands in a line, without the line end. `resource` is what [`write_resource`] writes.
pub fn write_log(out: &mut String, record: &LogRecord<'_>, scope: Option<&Scope<'_>>, resource: &str) {
    let (moment, observed) = (moment(record), record.observed_time_unix_nano);
    object(out, |line| {
        line.moment("timestamp", moment);
        line.text("severity_text", record.severity_text);
        line.plain("severity_number", record.severity_number);
        line.value("body", record.body);
        line.id("trace_id", record.trace_id);
        line.id("span_id", record.span_id);
        line.json("resource", resource);
        line.object("attributes", |members| {
            let mut own = Own::write(members, record.attributes);
            own.of_scope(scope);
            own.number("otel.dropped_attributes_count", record.dropped_attributes_count);
            own.text("event.name", record.event_name);
            if observed != 0 && observed != moment && !own.has("otel.observed_timestamp") {
                own.members.moment("otel.observed_timestamp", observed);
            }
        });
    });
}

/// When it happened, or was observed if nobody says.
fn moment(record: &LogRecord<'_>) -> u64 {
    match record.time_unix_nano {
        0 => record.observed_time_unix_nano,
        time => time,
    }
}

/// What has been written of a batch, and under what the next item stands.
#[derive(Default)]
struct Lines<'a> {
    lines: LinesText,
    /// Of each line, if they are log records.
    times: Vec<u64>,
    resource: String,
    scope: Option<Scope<'a>>,
}

impl<'a> Visitor<'a> for Lines<'a> {
    fn resource(&mut self, resource: Resource<'a>, _: &'a str) {
        self.resource.clear();
        write_resource(&mut self.resource, &resource);
    }

    fn scope(&mut self, scope: Scope<'a>, _: &'a str) {
        self.scope = Some(scope);
    }

    fn log(&mut self, record: LogRecord<'a>) {
        write_log(&mut self.lines.text, &record, self.scope.as_ref(), &self.resource);
        self.lines.end_line();
        self.times.push(moment(&record));
    }

    fn span(&mut self, span: Span<'a>) {
        object(&mut self.lines.text, |line| {
            let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
            line.moment("timestamp", start);
            line.moment("end_timestamp", end);
            line.plain("duration_nano", end.saturating_sub(start));
            line.text("name", span.name);
            line.text("kind", &kind_name(span.kind));
            line.id("trace_id", span.trace_id);
            line.id("span_id", span.span_id);
            line.id("parent_span_id", span.parent_span_id);
            line.text("trace_state", span.trace_state);
            let status = span.status.map(|status| (status.code, status.message));
            let (code, message) = status.unwrap_or((0, ""));
            line.text("status_code", status_name(code));
            line.text("status_message", message);
            line.json("resource", &self.resource);
            line.object("attributes", |members| {
                let mut own = Own::write(members, span.attributes);
                own.of_scope(self.scope.as_ref());
                own.number("otel.dropped_attributes_count", span.dropped_attributes_count);
                own.number("otel.dropped_events_count", span.dropped_events_count);
                own.number("otel.dropped_links_count", span.dropped_links_count);
            });
            events_and_links(line, &span);
        });
        self.lines.end_line();
    }

    fn point(&mut self, metric: &Metric<'a>, kind: Kind, point: Point<'a>) {
        object(&mut self.lines.text, |line| {
            line.moment("timestamp", point.time_unix_nano());
            match point.start_time_unix_nano() {
                0 => line.text("start_timestamp", ""),
                start => line.moment("start_timestamp", start),
            }
            line.text("name", metric.name);
            line.text("description", metric.description);
            line.text("unit", metric.unit);
            line.text("type", kind.name);
            line.text("temporality", kind.temporality.map_or("", temporality_name));
            match kind.monotonic {
                Some(is_monotonic) => line.plain("is_monotonic", is_monotonic),
                None => line.json("is_monotonic", "null"),
            }
            value(line, &point);
            line.json("resource", &self.resource);
            line.object("attributes", |members| {
                Own::write(members, point.attributes()).of_scope(self.scope.as_ref());
            });
            match point.exemplars() {
                Some(exemplars) => line.array("exemplars", exemplars, exemplar),
                None => line.json("exemplars", "[]"),
            }
        });
        self.lines.end_line();
    }
}

/// The attributes of an item under construction, and what is added to them: what has no member of its own. What the item says
/// itself counts.
struct Own<'m, 'o, 'k> {
    members: &'m mut Members<'o>,
    /// Of the item's keys those that something could be added under.
    keys: Vec<&'k str>,
}

impl<'m, 'o, 'k> Own<'m, 'o, 'k> {
    fn write(members: &'m mut Members<'o>, attributes: Attributes<'k>) -> Own<'m, 'o, 'k> {
        let mut keys = Vec::new();
        json::members(attributes, |key, value| {
            members.value(key, Some(value));
            if key.starts_with("otel.") || key == "event.name" {
                keys.push(key);
            }
        });
        Own { members, keys }
    }

    fn has(&self, key: &str) -> bool {
        self.keys.contains(&key)
    }

    fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() && !self.has(key) {
            self.members.text(key, text);
        }
    }

    fn number(&mut self, key: &str, number: u32) {
        if !self.has(key) {
            self.members.some_number(key, number);
        }
    }

    fn of_scope(&mut self, scope: Option<&Scope<'_>>) {
        let Some(scope) = scope else {
            return;
        };
        self.text("otel.scope.name", scope.name);
        self.text("otel.scope.version", scope.version);
        let mut attributes = scope.attributes;
        if attributes.next().is_some() && !self.has("otel.scope.attributes") {
            self.members.attributes("otel.scope.attributes", scope.attributes);
        }
        self.number(
            "otel.scope.dropped_attributes_count",
            scope.dropped_attributes_count,
        );
    }
}

fn events_and_links(line: &mut Members<'_>, span: &Span<'_>) {
    line.array("events", span.events, |out, event| {
        object(out, |members| {
            members.moment("timestamp", event.time_unix_nano);
            members.text("name", event.name);
            members.attributes("attributes", event.attributes);
            members.some_number("dropped_attributes_count", event.dropped_attributes_count);
        });
    });
    line.array("links", span.links, |out, link| {
        object(out, |members| {
            members.id("trace_id", link.trace_id);
            members.id("span_id", link.span_id);
            if !link.trace_state.is_empty() {
                members.text("trace_state", link.trace_state);
            }
            members.attributes("attributes", link.attributes);
            members.some_number("dropped_attributes_count", link.dropped_attributes_count);
        });
    });
}

fn value(line: &mut Members<'_>, point: &Point<'_>) {
    match point {
        Point::Number(point) => line.value("value", point.value.map(number)),
        Point::Histogram(point) => line.object("value", |members| {
            members.plain("count", point.count);
            members.some_double("sum", point.sum);
            members.some_double("min", point.min);
            members.some_double("max", point.max);
            members.numbers("bucket_counts", point.bucket_counts);
            members.doubles("explicit_bounds", point.explicit_bounds);
        }),
        Point::Exponential(point) => line.object("value", |members| {
            members.plain("count", point.count);
            members.some_double("sum", point.sum);
            members.some_double("min", point.min);
            members.some_double("max", point.max);
            members.plain("scale", point.scale);
            members.plain("zero_count", point.zero_count);
            members.double("zero_threshold", point.zero_threshold);
            for (key, buckets) in [("positive", point.positive), ("negative", point.negative)] {
                if let Some(buckets) = buckets {
                    members.object(key, |inner| {
                        inner.plain("offset", buckets.offset);
                        inner.numbers("bucket_counts", buckets.bucket_counts);
                    });
                }
            }
        }),
        Point::Summary(point) => line.object("value", |members| {
            members.plain("count", point.count);
            members.double("sum", point.sum);
            members.array("quantile_values", point.quantile_values, |out, quantile| {
                object(out, |inner| {
                    inner.double("quantile", quantile.quantile);
                    inner.double("value", quantile.value);
                });
            });
        }),
    }
}

fn exemplar(out: &mut String, exemplar: Exemplar<'_>) {
    object(out, |members| {
        members.moment("timestamp", exemplar.time_unix_nano);
        members.value("value", exemplar.value.map(number));
        members.id("trace_id", exemplar.trace_id);
        members.id("span_id", exemplar.span_id);
        members.attributes("attributes", exemplar.filtered_attributes);
    });
}

fn number(value: NumberValue) -> AnyValue<'static> {
    match value {
        NumberValue::Int(value) => AnyValue::Int(value),
        NumberValue::Double(value) => AnyValue::Double(value),
    }
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
