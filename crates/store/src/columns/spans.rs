//! Spans to rows of the table `spans`, events and links nested.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Int8Type, Int32Type, Int64Type, UInt32Type};
use cupola_telemetry::Batch;
use cupola_telemetry::view::{Attributes, Events, Links, Span, TracesData};

use super::attributes::SetBuilder;
use super::buffers::{Arena, IdColumn, TextColumn, TimeColumn, numbers, times};
use super::nested::{MapBuilder, NestedText, Offsets, struct_lists};
use super::origin::{ChunkColumns, OriginBuilder, check_nested};
use super::values::describe;
use super::{SealError, SealedChunk};
use crate::schema::{self, PromotionProfile, Table, source};

pub(super) fn seal(
    batch: &Batch,
    profile: &PromotionProfile,
    received_unix_nano: i64,
) -> Result<Option<SealedChunk>, SealError> {
    let payload = batch.payload();
    let mut arena = Arena::new(payload);
    let mut origin = OriginBuilder::new(profile);
    let mut spans = SpansBuilder::new(batch, profile, received_unix_nano);
    for resource_spans in TracesData::new(payload).resources() {
        let resource_row = spans.rows();
        for scope_spans in resource_spans.scopes() {
            let scope_row = spans.rows();
            for span in scope_spans.spans() {
                spans.push(&mut arena, &span);
            }
            let rows = spans.rows() - scope_row;
            origin.push_scope(
                &mut arena,
                &scope_spans.scope(),
                scope_spans.schema_url(),
                scope_row,
                rows,
            );
        }
        let rows = spans.rows() - resource_row;
        let resource = resource_spans.resource();
        origin.push_resource(
            &mut arena,
            &resource,
            resource_spans.schema_url(),
            resource_row,
            rows,
        );
    }
    if spans.rows() == 0 {
        return Ok(None);
    }
    check_nested(origin.nested_bytes().max(spans.nested_bytes()))?;
    let mut chunk = ChunkColumns::new(Table::Spans, spans.rows(), arena, payload.clone());
    spans.finish(&mut chunk);
    origin.finish(&mut chunk);
    chunk.finish().map(Some)
}

struct SpansBuilder<'a> {
    received_unix_nano: i64,
    timestamp: Vec<i64>,
    timestamp_source: Vec<i8>,
    end_timestamp: TimeColumn,
    duration: Vec<i64>,
    trace_id: IdColumn,
    span_id: IdColumn,
    parent_span_id: IdColumn,
    trace_state: TextColumn,
    name: TextColumn,
    kind: Vec<i32>,
    status_code: Vec<i32>,
    status_message: TextColumn,
    flags: Vec<u32>,
    dropped_attributes_count: Vec<u32>,
    dropped_events_count: Vec<u32>,
    dropped_links_count: Vec<u32>,
    events: EventsBuilder,
    links: LinksBuilder,
    attributes: SetBuilder<'a>,
}

impl<'a> SpansBuilder<'a> {
    fn new(batch: &Batch, profile: &'a PromotionProfile, received_unix_nano: i64) -> SpansBuilder<'a> {
        SpansBuilder {
            received_unix_nano,
            timestamp: Vec::new(),
            timestamp_source: Vec::new(),
            end_timestamp: TimeColumn::default(),
            duration: Vec::new(),
            trace_id: IdColumn::new(16),
            span_id: IdColumn::new(8),
            parent_span_id: IdColumn::new(8),
            trace_state: TextColumn::default(),
            name: TextColumn::default(),
            kind: Vec::new(),
            status_code: Vec::new(),
            status_message: TextColumn::default(),
            flags: Vec::new(),
            dropped_attributes_count: Vec::new(),
            dropped_events_count: Vec::new(),
            dropped_links_count: Vec::new(),
            events: EventsBuilder::default(),
            links: LinksBuilder::default(),
            attributes: SetBuilder::of_items(profile, batch.payload().len(), batch.items()),
        }
    }

    fn rows(&self) -> usize {
        self.timestamp.len()
    }

    fn nested_bytes(&self) -> usize {
        let nested = [
            self.attributes.rest_bytes(),
            self.events.names.bytes(),
            self.events.attributes.bytes(),
            self.links.trace_states.bytes(),
            self.links.attributes.bytes(),
        ];
        nested.into_iter().fold(0, usize::max)
    }

    fn push(&mut self, arena: &mut Arena<'a>, span: &Span<'a>) {
        let row = self.rows();
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        let (timestamp, source) = match (start, end) {
            (0, 0) => (self.received_unix_nano, source::RECEIVED),
            (0, end) => (end as i64, source::OBSERVED),
            (start, _) => (start as i64, source::SENT),
        };
        self.timestamp.push(timestamp);
        self.timestamp_source.push(source);
        self.end_timestamp.push_or_null(end);
        let duration = if start == 0 { 0 } else { end.saturating_sub(start) };
        self.duration.push(i64::try_from(duration).unwrap_or(i64::MAX));
        self.trace_id.push(span.trace_id);
        self.span_id.push(span.span_id);
        self.parent_span_id.push(span.parent_span_id);
        self.trace_state.push_or_null(arena, span.trace_state);
        self.name.push_or_null(arena, span.name);
        self.kind.push(span.kind);
        self.status_code.push(span.status.map_or(0, |status| status.code));
        self.status_message
            .push_or_null(arena, span.status.map_or("", |status| status.message));
        self.flags.push(span.flags);
        self.dropped_attributes_count.push(span.dropped_attributes_count);
        self.dropped_events_count.push(span.dropped_events_count);
        self.dropped_links_count.push(span.dropped_links_count);
        self.events.push(span.events);
        self.links.push(span.links);
        self.attributes.push_row(arena, span.attributes, row);
    }

    fn finish(self, chunk: &mut ChunkColumns) {
        let buffers = chunk.buffers.clone();
        chunk.add("timestamp", times(self.timestamp));
        chunk.add("timestamp_source", numbers::<Int8Type>(self.timestamp_source));
        chunk.add("end_timestamp", self.end_timestamp.finish());
        chunk.add("duration", numbers::<Int64Type>(self.duration));
        chunk.add("trace_id", self.trace_id.finish());
        chunk.add("span_id", self.span_id.finish());
        chunk.add("parent_span_id", self.parent_span_id.finish());
        chunk.add("trace_state", self.trace_state.finish(&buffers));
        chunk.add("name", self.name.finish(&buffers));
        chunk.add("kind", numbers::<Int32Type>(self.kind));
        chunk.add("status_code", numbers::<Int32Type>(self.status_code));
        chunk.add("status_message", self.status_message.finish(&buffers));
        chunk.add("flags", numbers::<UInt32Type>(self.flags));
        chunk.add(
            "dropped_attributes_count",
            numbers::<UInt32Type>(self.dropped_attributes_count),
        );
        chunk.add(
            "dropped_events_count",
            numbers::<UInt32Type>(self.dropped_events_count),
        );
        chunk.add(
            "dropped_links_count",
            numbers::<UInt32Type>(self.dropped_links_count),
        );
        chunk.add("events", self.events.finish());
        chunk.add("links", self.links.finish());
        chunk.add_set(self.attributes.finish(&buffers, chunk.rows));
    }
}

/// Appends all attributes to a map as one row.
pub(super) fn push_map(map: &mut MapBuilder, attributes: Attributes<'_>, scratch: &mut String) {
    for attribute in attributes {
        let (value_type, text) = describe(attribute.value, scratch);
        map.append(attribute.key, value_type, text);
    }
    map.finish_row();
}

#[derive(Default)]
struct EventsBuilder {
    offsets: Offsets,
    timestamps: TimeColumn,
    names: NestedText,
    dropped: Vec<u32>,
    attributes: MapBuilder,
    scratch: String,
}

impl EventsBuilder {
    fn push(&mut self, events: Events<'_>) {
        for event in events {
            self.timestamps.push_or_null(event.time_unix_nano);
            self.names.push_or_null(event.name);
            self.dropped.push(event.dropped_attributes_count);
            push_map(&mut self.attributes, event.attributes, &mut self.scratch);
        }
        self.offsets.push(self.dropped.len());
    }

    fn finish(self) -> ArrayRef {
        let columns: Vec<ArrayRef> = vec![
            self.timestamps.finish(),
            Arc::new(self.names.finish()),
            numbers::<UInt32Type>(self.dropped),
            Arc::new(self.attributes.finish()),
        ];
        struct_lists(schema::event_fields(), columns, self.offsets)
    }
}

struct LinksBuilder {
    offsets: Offsets,
    trace_ids: IdColumn,
    span_ids: IdColumn,
    trace_states: NestedText,
    flags: Vec<u32>,
    dropped: Vec<u32>,
    attributes: MapBuilder,
    scratch: String,
}

impl Default for LinksBuilder {
    fn default() -> LinksBuilder {
        LinksBuilder {
            offsets: Offsets::default(),
            trace_ids: IdColumn::new(16),
            span_ids: IdColumn::new(8),
            trace_states: NestedText::default(),
            flags: Vec::new(),
            dropped: Vec::new(),
            attributes: MapBuilder::default(),
            scratch: String::new(),
        }
    }
}

impl LinksBuilder {
    fn push(&mut self, links: Links<'_>) {
        for link in links {
            self.trace_ids.push(link.trace_id);
            self.span_ids.push(link.span_id);
            self.trace_states.push_or_null(link.trace_state);
            self.flags.push(link.flags);
            self.dropped.push(link.dropped_attributes_count);
            push_map(&mut self.attributes, link.attributes, &mut self.scratch);
        }
        self.offsets.push(self.flags.len());
    }

    fn finish(self) -> ArrayRef {
        let columns: Vec<ArrayRef> = vec![
            self.trace_ids.finish(),
            self.span_ids.finish(),
            Arc::new(self.trace_states.finish()),
            numbers::<UInt32Type>(self.flags),
            numbers::<UInt32Type>(self.dropped),
            Arc::new(self.attributes.finish()),
        ];
        struct_lists(schema::link_fields(), columns, self.offsets)
    }
}
