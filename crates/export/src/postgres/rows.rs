//! Items as rows: one cell for each field of their table. Owns what a field holds; how it is stored is `copy`'s.
//!
//! What a column cannot say is in `details`: the type of a body that is not text (it is stored as JSON), counts of dropped
//! parts, what else a resource has. Of several values of one key JSONB keeps the last. Times beyond what BIGINT counts
//! (after 2262) have no nanoseconds; an item without any time is stored under the moment it was sent at.

use std::borrow::Cow;

use cupola_telemetry::json::plain;
use cupola_telemetry::view::{AnyValue, LogRecord, Metric, NumberValue, Resource, Scope, Span};
use cupola_telemetry::{Batch, json};

use super::copy::{Cell, Rows};
use super::nested::{event, exemplar, histogram, link, some_attributes};
use super::table::Table;
use crate::items::{Kind, Point, Visitor, batch_id, item_id, walk};
use crate::object::{Object, array, hex};

/// A batch as rows.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) rows: Rows,
    /// The item of each row.
    pub(super) items: Vec<usize>,
    /// The time of each row, in nanoseconds since the epoch.
    pub(super) times: Vec<u64>,
    /// Items with a value that their column cannot hold.
    pub(super) unfit: Vec<usize>,
    /// Whether any item carries a time of its own.
    pub(super) timed: bool,
}

/// The items of `batch` as rows of `table`. `now` stands in for times that are missing.
pub(super) fn encode(batch: &Batch, table: &Table, now: u64) -> Encoded {
    let mut encoder = Encoder {
        table,
        batch_id: batch_id(batch),
        tenant: batch.tenant().as_str(),
        now,
        resource: String::new(),
        resource_details: None,
        scope: None,
        item: 0,
        encoded: Encoded::default(),
    };
    walk(batch, &mut encoder);
    encoder.encoded
}

/// Takes its `resource` and `scope` out while it writes a row of them.
struct Encoder<'t> {
    table: &'t Table,
    batch_id: u128,
    tenant: &'t str,
    now: u64,
    /// JSON of what the items stand under.
    resource: String,
    resource_details: Option<String>,
    scope: Option<String>,
    item: usize,
    encoded: Encoded,
}

impl Encoder<'_> {
    /// The time an item is stored under, from the times that it has.
    fn time(&mut self, times: [u64; 2]) -> u64 {
        let known = times.into_iter().find(|time| *time != 0);
        self.encoded.timed |= known.is_some();
        known.unwrap_or(self.now)
    }

    fn row<const N: usize>(&mut self, time: u64, mut cells: [Cell<'_>; N]) {
        cells[0] = Cell::Uuid(item_id(self.batch_id, self.item, 0));
        cells[1] = Cell::Time(time);
        let columns = self.table.columns.iter().map(|(index, stored)| {
            let cell = cells
                .get_mut(*index)
                .map(|cell| std::mem::replace(cell, Cell::Null));
            (*stored, cell.unwrap_or(Cell::Null))
        });
        let encoded = &mut self.encoded;
        match encoded.rows.push(self.table.columns.len(), columns) {
            Ok(()) => {
                encoded.items.push(self.item);
                encoded.times.push(time);
            }
            Err(_) => encoded.unfit.push(self.item),
        }
        self.item += 1;
    }

    /// `details` of an item, after those of its resource.
    fn details(&self, write: impl FnOnce(&mut Object)) -> Cell<'static> {
        let mut object = Object::new();
        if let Some(resource) = &self.resource_details {
            object.json("resource", resource);
        }
        write(&mut object);
        match object.is_empty() {
            true => Cell::Null,
            false => Cell::Json(Cow::Owned(object.finish())),
        }
    }
}

impl<'a> Visitor<'a> for Encoder<'_> {
    fn resource(&mut self, resource: Resource<'a>, schema_url: &'a str) {
        self.resource = plain(AnyValue::KeyValueList(resource.attributes));
        let mut details = Object::new();
        details.some_text("schema_url", schema_url);
        details.some_number("dropped_attributes_count", resource.dropped_attributes_count);
        if !resource.entity_refs.is_empty() {
            let refs = array(resource.entity_refs, |text, entity| {
                let mut object = Object::new();
                object.some_text("schema_url", entity.schema_url);
                object.text("type", entity.r#type);
                object.json("id_keys", &array(entity.id_keys, json::write_string));
                object.json(
                    "description_keys",
                    &array(entity.description_keys, json::write_string),
                );
                text.push_str(&object.finish());
            });
            details.json("entity_refs", &refs);
        }
        self.resource_details = (!details.is_empty()).then(|| details.finish());
    }

    fn scope(&mut self, scope: Scope<'a>, schema_url: &'a str) {
        let mut object = Object::new();
        object.some_text("name", scope.name);
        object.some_text("version", scope.version);
        some_attributes(&mut object, "attributes", scope.attributes);
        object.some_number("dropped_attributes_count", scope.dropped_attributes_count);
        object.some_text("schema_url", schema_url);
        self.scope = (!object.is_empty()).then(|| object.finish());
    }

    fn log(&mut self, record: LogRecord<'a>) {
        let time = self.time([record.time_unix_nano, record.observed_time_unix_nano]);
        let body = record.body;
        let details = self.details(|details| {
            if let Some(kind) = body.and_then(kind_of) {
                details.text("body_type", kind);
            }
            details.some_number("dropped_attributes_count", record.dropped_attributes_count);
        });
        let (resource, scope) = (std::mem::take(&mut self.resource), self.scope.take());
        let tenant = self.tenant;
        self.row(
            time,
            [
                Cell::Null,
                Cell::Null,
                some_text(record.severity_text),
                Cell::Int(record.severity_number.into()),
                body.map_or(Cell::Null, |body| match body {
                    AnyValue::String(text) => Cell::Text(text.into()),
                    other => Cell::Text(plain(other).into()),
                }),
                id(record.trace_id),
                id(record.span_id),
                Cell::Json(resource.as_str().into()),
                attributes(record.attributes),
                nanos(record.time_unix_nano),
                nanos(record.observed_time_unix_nano),
                Cell::Text(tenant.into()),
                some_text(record.event_name),
                Cell::Int(record.flags.into()),
                some_json(scope.as_deref()),
                details,
            ],
        );
        (self.resource, self.scope) = (resource, scope);
    }

    fn span(&mut self, span: Span<'a>) {
        let time = self.time([span.start_time_unix_nano, span.end_time_unix_nano]);
        let details = self.details(|details| {
            details.some_number("dropped_attributes_count", span.dropped_attributes_count);
            details.some_number("dropped_events_count", span.dropped_events_count);
            details.some_number("dropped_links_count", span.dropped_links_count);
        });
        let (resource, scope) = (std::mem::take(&mut self.resource), self.scope.take());
        let tenant = self.tenant;
        let end = span.end_time_unix_nano;
        let duration = i128::from(end) - i128::from(span.start_time_unix_nano);
        let status = span.status;
        self.row(
            time,
            [
                Cell::Null,
                Cell::Null,
                some_time(end),
                i64::try_from(duration).map_or(Cell::Null, Cell::Int),
                id(span.trace_id),
                id(span.span_id),
                id(span.parent_span_id),
                some_text(span.trace_state),
                Cell::Text(span.name.into()),
                Cell::Text(named(&KINDS, span.kind)),
                Cell::Text(named(&STATUSES, status.map_or(0, |status| status.code))),
                status.map_or(Cell::Null, |status| some_text(status.message)),
                Cell::Json(resource.as_str().into()),
                attributes(span.attributes),
                Cell::Json(array(span.events, event).into()),
                Cell::Json(array(span.links, link).into()),
                nanos(span.start_time_unix_nano),
                nanos(end),
                Cell::Text(tenant.into()),
                Cell::Int(span.flags.into()),
                some_json(scope.as_deref()),
                details,
            ],
        );
        (self.resource, self.scope) = (resource, scope);
    }

    fn point(&mut self, metric: &Metric<'a>, kind: Kind, point: Point<'a>) {
        let time = self.time([point.time_unix_nano(), point.start_time_unix_nano()]);
        let details = self.details(|details| some_attributes(details, "metadata", metric.metadata));
        let (resource, scope) = (std::mem::take(&mut self.resource), self.scope.take());
        let tenant = self.tenant;
        let value = match point {
            Point::Number(point) => point.value,
            _ => None,
        };
        let exemplars = point.exemplars().filter(|exemplars| !exemplars.is_empty());
        self.row(
            time,
            [
                Cell::Null,
                Cell::Null,
                some_time(point.start_time_unix_nano()),
                Cell::Text(metric.name.into()),
                some_text(metric.description),
                some_text(metric.unit),
                Cell::Text(kind.name.into()),
                kind.temporality
                    .map_or(Cell::Null, |number| Cell::Text(named(&TEMPORALITIES, number))),
                kind.monotonic.map_or(Cell::Null, Cell::Bool),
                value.map_or(Cell::Null, |value| Cell::Double(value.as_f64())),
                match value {
                    Some(NumberValue::Int(value)) => Cell::Int(value),
                    _ => Cell::Null,
                },
                histogram(point).map_or(Cell::Null, |json| Cell::Json(json.into())),
                Cell::Json(resource.as_str().into()),
                attributes(point.attributes()),
                exemplars.map_or(Cell::Null, |exemplars| {
                    Cell::Json(array(exemplars, exemplar).into())
                }),
                nanos(point.time_unix_nano()),
                nanos(point.start_time_unix_nano()),
                Cell::Text(tenant.into()),
                Cell::Int(point.flags().into()),
                some_json(scope.as_deref()),
                details,
            ],
        );
        (self.resource, self.scope) = (resource, scope);
    }
}

const KINDS: [&str; 6] = [
    "unspecified",
    "internal",
    "server",
    "client",
    "producer",
    "consumer",
];
const STATUSES: [&str; 3] = ["unset", "ok", "error"];
const TEMPORALITIES: [&str; 3] = ["unspecified", "delta", "cumulative"];

/// The name of a number; the number itself if it is none that we know.
fn named(names: &[&'static str], number: i32) -> Cow<'static, str> {
    let known = usize::try_from(number).ok().and_then(|index| names.get(index));
    known.map_or_else(|| number.to_string().into(), |name| Cow::Borrowed(*name))
}

/// The type of a body that is not text.
fn kind_of(body: AnyValue<'_>) -> Option<&'static str> {
    Some(match body {
        AnyValue::String(_) => return None,
        AnyValue::Empty => "empty",
        AnyValue::Bool(_) => "bool",
        AnyValue::Int(_) => "int",
        AnyValue::Double(_) => "double",
        AnyValue::Array(_) => "array",
        AnyValue::KeyValueList(_) => "map",
        AnyValue::Bytes(_) => "bytes",
        AnyValue::StringIndex(_) => "string_index",
    })
}

fn some_text(text: &str) -> Cell<'_> {
    match text {
        "" => Cell::Null,
        text => Cell::Text(text.into()),
    }
}

fn some_time(nanos: u64) -> Cell<'static> {
    match nanos {
        0 => Cell::Null,
        nanos => Cell::Time(nanos),
    }
}

fn some_json(json: Option<&str>) -> Cell<'_> {
    json.map_or(Cell::Null, |json| Cell::Json(json.into()))
}

fn nanos(nanos: u64) -> Cell<'static> {
    i64::try_from(nanos).map_or(Cell::Null, Cell::Int)
}

fn id(id: &[u8]) -> Cell<'static> {
    match id {
        [] => Cell::Null,
        id => Cell::Text(hex(id).into()),
    }
}

fn attributes(attributes: cupola_telemetry::view::Attributes<'_>) -> Cell<'static> {
    Cell::Json(plain(AnyValue::KeyValueList(attributes)).into())
}

#[cfg(test)]
mod tests {
    use cupola_generator::{Generator, GeneratorConfig};
    use cupola_telemetry::Signal;

    use super::super::table::{Column, fields};
    use super::*;

    #[test]
    fn every_field_has_its_cell() {
        let mut generator = Generator::new(GeneratorConfig::default());
        for signal in Signal::ALL {
            let batch = generator.batch(signal, 50);
            let columns = fields(signal).iter().map(|field| Column {
                name: field.name.to_owned(),
                kind: field.made_as().to_owned(),
                optional: false,
            });
            let columns: Vec<Column> = columns.collect();
            let table = Table::new(signal, "t", &columns, false).unwrap();
            assert_eq!(table.columns.len(), fields(signal).len());
            let encoded = encode(&batch, &table, 7);
            // A cell of another type than its column would not fit.
            assert_eq!(encoded.unfit, Vec::<usize>::new(), "{signal}");
            assert_eq!(encoded.rows.len(), batch.items());
            assert!(encoded.timed);
            // Equal batches give equal rows, and so equal names.
            let again = encode(&batch, &table, 8);
            assert_eq!(again.rows.copy(0..50), encoded.rows.copy(0..50));
        }
    }
}
