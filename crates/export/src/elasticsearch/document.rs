//! Items as documents, in the Collector's `otel` mode; what the other modes do is in `schema`. Owns which documents an item
//! is made into: one, and in `otel` mode one more for each event of a span.

use std::ops::Range;

use cupola_telemetry::view::{AnyValue, Attributes, Event, LogRecord, Metric, Resource, Scope, Span};
use cupola_telemetry::{Batch, Signal};

use super::config::{ElasticsearchConfig, MappingMode};
use super::index::{ROUTING, Target, target};
use super::json::{self, moment};
use super::measure::measured;
use super::schema;
use crate::items::{Kind, Point, Visitor, batch_id, item_id, walk};
use crate::object::{Object, array};

/// Documents of a batch: lines of a bulk request.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub(super) lines: Vec<u8>,
    pub(super) all: Vec<Document>,
    /// Items that cannot be a document, and why.
    pub(super) unfit: Vec<usize>,
}

/// One document: two lines.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) item: usize,
    pub(super) lines: Range<usize>,
}

/// Makes documents. `own_ids_of_points` says whether data points are named by us: Elasticsearch names those of its time
/// series itself.
pub(super) fn documents(
    config: &ElasticsearchConfig,
    batch: &Batch,
    own_ids_of_points: bool,
    now: u64,
) -> Documents {
    let named = batch.signal() != Signal::Metrics || own_ids_of_points;
    let mut maker = Maker {
        config,
        signal: batch.signal(),
        batch_id: batch_id(batch),
        named,
        own_ids_of_points,
        now,
        resource: None,
        scope: None,
        item: 0,
        part: 0,
        documents: Documents::default(),
    };
    walk(batch, &mut maker);
    maker.documents
}

/// What an item stands under.
#[derive(Clone, Copy, Debug)]
pub(super) struct Above<'a> {
    pub(super) resource: Resource<'a>,
    pub(super) resource_url: &'a str,
    pub(super) scope: Scope<'a>,
    pub(super) scope_url: &'a str,
}

struct Maker<'c, 'a> {
    config: &'c ElasticsearchConfig,
    signal: Signal,
    batch_id: u128,
    named: bool,
    own_ids_of_points: bool,
    now: u64,
    resource: Option<(Resource<'a>, &'a str)>,
    scope: Option<(Scope<'a>, &'a str)>,
    item: usize,
    part: usize,
    documents: Documents,
}

impl<'a> Maker<'_, 'a> {
    fn above(&self) -> Above<'a> {
        let (resource, resource_url) = self.resource.unwrap_or((Resource::parse(&[]), ""));
        let (scope, scope_url) = self.scope.unwrap_or((Scope::parse(&[]), ""));
        Above {
            resource,
            resource_url,
            scope,
            scope_url,
        }
    }

    fn target(&self, own: Attributes<'a>, is_event: bool, time: u64) -> Target {
        let above = self.above();
        let attributes = [own, above.scope.attributes, above.resource.attributes];
        target(self.config, self.signal, is_event, attributes, time)
    }

    /// Appends the two lines. An item without any time of its own is not named: equal ones may well be two.
    fn push(
        &mut self,
        target: &Target,
        timed: bool,
        dynamic_template: Option<(String, &str)>,
        document: &str,
    ) {
        let mut action = Object::new();
        action.text("_index", &target.index);
        if self.named && timed {
            let id = item_id(self.batch_id, self.item, self.part);
            action.text("_id", &format!("{id:032x}"));
        }
        if let Some((field, template)) = dynamic_template {
            let mut templates = Object::new();
            templates.text(&field, template);
            action.json("dynamic_templates", &templates.finish());
        }
        let mut line = Object::new();
        line.json(self.config.bulk_action.as_str(), &action.finish());
        let start = self.documents.lines.len();
        for part in [line.finish().as_str(), "\n", document, "\n"] {
            self.documents.lines.extend_from_slice(part.as_bytes());
        }
        self.documents.all.push(Document {
            item: self.item,
            lines: start..self.documents.lines.len(),
        });
        self.part += 1;
    }

    fn next(&mut self) {
        self.item += 1;
        self.part = 0;
    }

    /// The first time that is known, or now; and whether one is.
    fn time(&self, times: [u64; 2]) -> (u64, bool) {
        let known = times.into_iter().find(|time| *time != 0);
        (known.unwrap_or(self.now), known.is_some())
    }

    fn mode(&self) -> MappingMode {
        self.config.mapping.mode
    }

    fn event(&mut self, span: &Span<'a>, event: Event<'a>) {
        let (time, timed) = self.time([event.time_unix_nano, span.start_time_unix_nano]);
        let target = self.target(event.attributes, true, time);
        let mut document = Object::new();
        document.json("@timestamp", &moment(time));
        stream(&mut document, &target);
        document.id("trace_id", span.trace_id);
        document.id("span_id", span.span_id);
        document.text("event_name", event.name);
        attributes(&mut document, event.attributes);
        document.some_number("dropped_attributes_count", event.dropped_attributes_count);
        above(&mut document, &self.above());
        self.push(&target, timed, None, &document.finish());
    }
}

impl<'a> Visitor<'a> for Maker<'_, 'a> {
    fn resource(&mut self, resource: Resource<'a>, schema_url: &'a str) {
        self.resource = Some((resource, schema_url));
    }

    fn scope(&mut self, scope: Scope<'a>, schema_url: &'a str) {
        self.scope = Some((scope, schema_url));
    }

    fn log(&mut self, record: LogRecord<'a>) {
        let (time, timed) = self.time([record.time_unix_nano, record.observed_time_unix_nano]);
        let target = self.target(record.attributes, false, time);
        let document = match self.mode() {
            MappingMode::Otel => log(&record, time, &target, &self.above()),
            MappingMode::BodyMap => match record.body {
                Some(body @ AnyValue::KeyValueList(_)) => json::text(body),
                _ => {
                    self.documents.unfit.push(self.item);
                    self.next();
                    return;
                }
            },
            mode => schema::log(mode, &record, time, &target, &self.above()),
        };
        self.push(&target, timed, None, &document);
        self.next();
    }

    fn span(&mut self, span: Span<'a>) {
        let (time, timed) = self.time([span.start_time_unix_nano, span.end_time_unix_nano]);
        let target = self.target(span.attributes, false, time);
        let is_otel = matches!(self.mode(), MappingMode::Otel | MappingMode::BodyMap);
        let document = match is_otel {
            true => self::span(&span, time, &target, &self.above()),
            false => schema::span(self.mode(), &span, time, &target, &self.above()),
        };
        self.push(&target, timed, None, &document);
        if is_otel {
            for event in span.events {
                self.event(&span, event);
            }
        }
        self.next();
    }

    fn point(&mut self, metric: &Metric<'a>, kind: Kind, point: Point<'a>) {
        let (time, timed) = self.time([point.time_unix_nano(), point.start_time_unix_nano()]);
        let target = self.target(point.attributes(), false, time);
        if !matches!(self.mode(), MappingMode::Otel | MappingMode::BodyMap) {
            let document = schema::point(metric, kind, &point, time, &target, &self.above());
            self.push(&target, timed, None, &document);
            return self.next();
        }
        let (value, template) = measured(kind, &point);
        // Templates of fields are known to the templates that come with Elasticsearch only.
        let template = (!self.own_ids_of_points).then(|| (format!("metrics.{}", metric.name), template));
        let mut document = Object::new();
        document.json("@timestamp", &moment(time));
        stream(&mut document, &target);
        if point.start_time_unix_nano() != 0 {
            document.json("start_timestamp", &moment(point.start_time_unix_nano()));
        }
        document.some_text("unit", metric.unit);
        // Tells documents apart that have everything but the metric in common.
        let hash = xxhash_rust::xxh3::xxh3_64(metric.name.as_bytes());
        document.text("_metric_names_hash", &format!("{hash:016x}"));
        let mut metrics = Object::new();
        metrics.json(metric.name, &value);
        document.json("metrics", &metrics.finish());
        attributes(&mut document, point.attributes());
        above(&mut document, &self.above());
        self.push(&target, timed, template, &document.finish());
        self.next();
    }
}

/// The fields of a data stream by its attributes.
pub(super) fn stream(document: &mut Object, target: &Target) {
    if let Some((kind, dataset, namespace)) = &target.stream {
        let mut stream = Object::new();
        stream.text("type", kind);
        stream.text("dataset", dataset);
        stream.text("namespace", namespace);
        document.json("data_stream", &stream.finish());
    }
}

/// Attributes without those that were for routing.
fn attributes(document: &mut Object, attributes: Attributes<'_>) {
    let mut own = Object::new();
    json::members(attributes, |key, value| {
        if !ROUTING.contains(&key) {
            own.json(key, &json::text(value));
        }
    });
    document.json("attributes", &own.finish());
}

fn above(document: &mut Object, above: &Above<'_>) {
    let mut resource = Object::new();
    attributes(&mut resource, above.resource.attributes);
    resource.some_number(
        "dropped_attributes_count",
        above.resource.dropped_attributes_count,
    );
    resource.some_text("schema_url", above.resource_url);
    document.json("resource", &resource.finish());
    let mut scope = Object::new();
    scope.some_text("name", above.scope.name);
    scope.some_text("version", above.scope.version);
    if !above.scope.attributes.is_empty() {
        attributes(&mut scope, above.scope.attributes);
    }
    scope.some_number("dropped_attributes_count", above.scope.dropped_attributes_count);
    scope.some_text("schema_url", above.scope_url);
    document.json("scope", &scope.finish());
}

fn log(record: &LogRecord<'_>, time: u64, target: &Target, all_above: &Above<'_>) -> String {
    let mut document = Object::new();
    document.json("@timestamp", &moment(time));
    if record.observed_time_unix_nano != 0 {
        document.json("observed_timestamp", &moment(record.observed_time_unix_nano));
    }
    stream(&mut document, target);
    document.some_text("severity_text", record.severity_text);
    if record.severity_number != 0 {
        document.plain("severity_number", record.severity_number);
    }
    document.id("trace_id", record.trace_id);
    document.id("span_id", record.span_id);
    document.some_number("trace_flags", record.flags);
    document.some_text("event_name", record.event_name);
    attributes(&mut document, record.attributes);
    document.some_number("dropped_attributes_count", record.dropped_attributes_count);
    if let Some(body) = record.body {
        document.json("body", &self::body(body));
    }
    above(&mut document, all_above);
    document.finish()
}

/// Text below `text`, everything else below `structured`, which must be an object.
fn body(value: AnyValue<'_>) -> String {
    let mut body = Object::new();
    match value {
        AnyValue::String(text) => body.text("text", text),
        AnyValue::KeyValueList(_) => body.json("structured", &json::text(value)),
        AnyValue::Array(_) => {
            let mut array = Object::new();
            array.json("value", &json::text(value));
            body.json("structured", &array.finish());
        }
        AnyValue::Empty => {}
        // Base64 without quotes, numbers and truths as people read them.
        other => body.text("text", cupola_telemetry::json::plain(other).trim_matches('"')),
    }
    body.finish()
}

const KINDS: [&str; 6] = [
    "Unspecified",
    "Internal",
    "Server",
    "Client",
    "Producer",
    "Consumer",
];
const STATUSES: [&str; 3] = ["Unset", "Ok", "Error"];

/// The Collector's name of a number; the number itself if it has none.
pub(crate) fn kind_name(number: i32) -> String {
    let known = usize::try_from(number).ok().and_then(|index| KINDS.get(index));
    known.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

pub(super) fn status_name(number: i32) -> String {
    let known = usize::try_from(number).ok().and_then(|index| STATUSES.get(index));
    known.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

fn span(span: &Span<'_>, time: u64, target: &Target, all_above: &Above<'_>) -> String {
    let mut document = Object::new();
    document.json("@timestamp", &moment(time));
    stream(&mut document, target);
    document.id("trace_id", span.trace_id);
    document.id("span_id", span.span_id);
    document.some_text("trace_state", span.trace_state);
    document.id("parent_span_id", span.parent_span_id);
    document.some_text("name", span.name);
    document.text("kind", &kind_name(span.kind));
    document.plain(
        "duration",
        span.end_time_unix_nano
            .saturating_sub(span.start_time_unix_nano)
            .min(i64::MAX as u64),
    );
    document.some_number("trace_flags", span.flags);
    attributes(&mut document, span.attributes);
    document.some_number("dropped_attributes_count", span.dropped_attributes_count);
    document.some_number("dropped_events_count", span.dropped_events_count);
    document.some_number("dropped_links_count", span.dropped_links_count);
    let links = array(span.links, |text, link| {
        let mut object = Object::new();
        object.id("trace_id", link.trace_id);
        object.id("span_id", link.span_id);
        object.some_text("trace_state", link.trace_state);
        attributes(&mut object, link.attributes);
        object.some_number("dropped_attributes_count", link.dropped_attributes_count);
        text.push_str(&object.finish());
    });
    document.json("links", &links);
    let mut status = Object::new();
    let (message, code) = span
        .status
        .map_or(("", 0), |status| (status.message, status.code));
    status.some_text("message", message);
    status.text("code", &status_name(code));
    document.json("status", &status.finish());
    above(&mut document, all_above);
    document.finish()
}
