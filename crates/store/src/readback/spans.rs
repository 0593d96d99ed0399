//! Rows of the table `spans` back to spans.

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, PrimitiveArray, RecordBatch, StringArray, StructArray,
};
use arrow::datatypes::{Int8Type, Int32Type, TimestampNanosecondType, UInt32Type};
use cupola_telemetry::encode::{Span, TracesEncoder};
use cupola_telemetry::{Batch, TenantId};

use super::ReadbackError;
use super::columns::{Columns, Ids, Text, Times, wrong};
use super::origin::{OriginReader, group_by, rows};
use super::values::{SetReader, map_entries};
use crate::schema::{AttributeSet, source};

/// One batch with all spans of the rows.
pub fn traces(batches: &[RecordBatch], tenant: TenantId) -> Result<Batch, ReadbackError> {
    let origins = batches
        .iter()
        .map(OriginReader::new)
        .collect::<Result<Vec<_>, _>>()?;
    let readers = batches
        .iter()
        .map(SpansReader::new)
        .collect::<Result<Vec<_>, _>>()?;
    let mut encoder = TracesEncoder::new();
    let resources = group_by(
        rows(batches),
        |row| row,
        |(batch, row)| origins[batch].resource_key(row),
    )?;
    for resource in resources {
        let (batch, row) = resource.first;
        let mut resource_spans = encoder.resource_spans();
        origins[batch].write_resource(row, resource_spans.resource())?;
        resource_spans.schema_url(origins[batch].resource_schema_url(row));
        for scope in group_by(
            resource.members,
            |row| row,
            |(batch, row)| origins[batch].scope_key(row),
        )? {
            let (batch, row) = scope.first;
            let mut scope_spans = resource_spans.scope_spans();
            origins[batch].write_scope(row, scope_spans.scope())?;
            scope_spans.schema_url(origins[batch].scope_schema_url(row));
            for (batch, row) in scope.members {
                readers[batch].write(row, scope_spans.span())?;
            }
        }
    }
    Ok(encoder.finish(tenant))
}

struct SpansReader<'a> {
    timestamp: Times<'a>,
    timestamp_source: &'a PrimitiveArray<Int8Type>,
    end_timestamp: Times<'a>,
    trace_id: Ids<'a>,
    span_id: Ids<'a>,
    parent_span_id: Ids<'a>,
    trace_state: Text<'a>,
    name: Text<'a>,
    kind: &'a PrimitiveArray<Int32Type>,
    status_code: &'a PrimitiveArray<Int32Type>,
    status_message: Text<'a>,
    flags: &'a PrimitiveArray<UInt32Type>,
    dropped_attributes_count: &'a PrimitiveArray<UInt32Type>,
    dropped_events_count: &'a PrimitiveArray<UInt32Type>,
    dropped_links_count: &'a PrimitiveArray<UInt32Type>,
    events: &'a ListArray,
    links: &'a ListArray,
    attributes: SetReader<'a>,
}

impl<'a> SpansReader<'a> {
    fn new(batch: &'a RecordBatch) -> Result<SpansReader<'a>, ReadbackError> {
        let columns = Columns(batch);
        Ok(SpansReader {
            timestamp: columns.times("timestamp")?,
            timestamp_source: columns.numbers("timestamp_source")?,
            end_timestamp: columns.times("end_timestamp")?,
            trace_id: columns.ids("trace_id")?,
            span_id: columns.ids("span_id")?,
            parent_span_id: columns.ids("parent_span_id")?,
            trace_state: columns.text("trace_state")?,
            name: columns.text("name")?,
            kind: columns.numbers("kind")?,
            status_code: columns.numbers("status_code")?,
            status_message: columns.text("status_message")?,
            flags: columns.numbers("flags")?,
            dropped_attributes_count: columns.numbers("dropped_attributes_count")?,
            dropped_events_count: columns.numbers("dropped_events_count")?,
            dropped_links_count: columns.numbers("dropped_links_count")?,
            events: columns.lists("events")?,
            links: columns.lists("links")?,
            attributes: SetReader::new(batch, AttributeSet::Item)?,
        })
    }

    fn write(&self, row: usize, mut span: Span<'_>) -> Result<(), ReadbackError> {
        span.trace_id(self.trace_id.get(row))
            .span_id(self.span_id.get(row))
            .trace_state(self.trace_state.get(row))
            .parent_span_id(self.parent_span_id.get(row))
            .name(self.name.get(row))
            .kind(self.kind.value(row));
        if self.timestamp_source.value(row) == source::SENT {
            span.start_time_unix_nano(self.timestamp.get(row));
        }
        span.end_time_unix_nano(self.end_timestamp.get(row));
        self.attributes.entries(row, |key, value| {
            span.attribute_with(key, |any_value| any_value.raw(value));
        })?;
        span.dropped_attributes_count(self.dropped_attributes_count.value(row));
        write_events(&self.events.value(row), &mut span)?;
        span.dropped_events_count(self.dropped_events_count.value(row));
        write_links(&self.links.value(row), &mut span)?;
        span.dropped_links_count(self.dropped_links_count.value(row))
            .flags(self.flags.value(row));
        let (code, message) = (self.status_code.value(row), self.status_message.get(row));
        if code != 0 || !message.is_empty() {
            span.status().message(message).code(code);
        }
        Ok(())
    }
}

/// The columns of list elements, by name.
struct Elements<'a>(&'a StructArray);

impl<'a> Elements<'a> {
    fn new(elements: &'a ArrayRef, column: &str) -> Result<Elements<'a>, ReadbackError> {
        elements
            .as_struct_opt()
            .map(Elements)
            .ok_or_else(|| wrong(column, Some(elements)))
    }

    fn array(&self, name: &str) -> Result<&'a ArrayRef, ReadbackError> {
        self.0.column_by_name(name).ok_or_else(|| wrong(name, None))
    }

    fn text(&self, name: &str) -> Result<&'a StringArray, ReadbackError> {
        let array = self.array(name)?;
        array
            .as_string_opt::<i32>()
            .ok_or_else(|| wrong(name, Some(array)))
    }

    fn counts(&self, name: &str) -> Result<&'a PrimitiveArray<UInt32Type>, ReadbackError> {
        let array = self.array(name)?;
        array.as_primitive_opt().ok_or_else(|| wrong(name, Some(array)))
    }

    fn ids(&self, name: &str) -> Result<Ids<'a>, ReadbackError> {
        let array = self.array(name)?;
        array
            .as_fixed_size_binary_opt()
            .map(Ids)
            .ok_or_else(|| wrong(name, Some(array)))
    }

    fn map(&self) -> Result<&'a arrow::array::MapArray, ReadbackError> {
        let array = self.array("attributes")?;
        array.as_map_opt().ok_or_else(|| wrong("attributes", Some(array)))
    }
}

fn text_of(array: &StringArray, row: usize) -> &str {
    if array.is_valid(row) { array.value(row) } else { "" }
}

fn write_events(elements: &ArrayRef, span: &mut Span<'_>) -> Result<(), ReadbackError> {
    if elements.is_empty() {
        return Ok(());
    }
    let elements = Elements::new(elements, "events")?;
    let timestamps = elements.array("timestamp")?;
    let timestamps = timestamps
        .as_primitive_opt::<TimestampNanosecondType>()
        .map(Times)
        .ok_or_else(|| wrong("events.timestamp", Some(timestamps)))?;
    let (names, dropped) = (
        elements.text("name")?,
        elements.counts("dropped_attributes_count")?,
    );
    let attributes = elements.map()?;
    for row in 0..names.len() {
        let mut event = span.event();
        event
            .time_unix_nano(timestamps.get(row))
            .name(text_of(names, row));
        map_entries(attributes, row, |key, value| {
            event.attribute_with(key, |any_value| any_value.raw(value));
        })?;
        event.dropped_attributes_count(dropped.value(row));
    }
    Ok(())
}

fn write_links(elements: &ArrayRef, span: &mut Span<'_>) -> Result<(), ReadbackError> {
    if elements.is_empty() {
        return Ok(());
    }
    let elements = Elements::new(elements, "links")?;
    let (trace_ids, span_ids) = (elements.ids("trace_id")?, elements.ids("span_id")?);
    let (trace_states, flags) = (elements.text("trace_state")?, elements.counts("flags")?);
    let (dropped, attributes) = (elements.counts("dropped_attributes_count")?, elements.map()?);
    for row in 0..flags.len() {
        let mut link = span.link();
        link.trace_id(trace_ids.get(row))
            .span_id(span_ids.get(row))
            .trace_state(text_of(trace_states, row));
        map_entries(attributes, row, |key, value| {
            link.attribute_with(key, |any_value| any_value.raw(value));
        })?;
        link.dropped_attributes_count(dropped.value(row))
            .flags(flags.value(row));
    }
    Ok(())
}
