//! Log records to rows of the table `logs`.

use arrow::datatypes::{Int8Type, Int32Type, UInt32Type};
use cupola_telemetry::Batch;
use cupola_telemetry::view::{AnyValue, LogRecord, LogsData};

use super::attributes::SetBuilder;
use super::buffers::{Arena, IdColumn, NumberColumn, TextColumn, TimeColumn, numbers, times};
use super::origin::{ChunkColumns, OriginBuilder, check_nested};
use super::values::describe;
use super::{SealError, SealedChunk};
use crate::schema::{PromotionProfile, Table, ValueType, source};

pub(super) fn seal(
    batch: &Batch,
    profile: &PromotionProfile,
    received_unix_nano: i64,
) -> Result<Option<SealedChunk>, SealError> {
    let payload = batch.payload();
    let mut arena = Arena::new(payload);
    let mut origin = OriginBuilder::new(profile);
    let mut records = LogsBuilder::new(batch, profile, received_unix_nano);
    for resource_logs in LogsData::new(payload).resources() {
        let resource_row = records.rows();
        for scope_logs in resource_logs.scopes() {
            let scope_row = records.rows();
            for record in scope_logs.records() {
                records.push(&mut arena, &record);
            }
            let rows = records.rows() - scope_row;
            origin.push_scope(
                &mut arena,
                &scope_logs.scope(),
                scope_logs.schema_url(),
                scope_row,
                rows,
            );
        }
        let rows = records.rows() - resource_row;
        let resource = resource_logs.resource();
        origin.push_resource(
            &mut arena,
            &resource,
            resource_logs.schema_url(),
            resource_row,
            rows,
        );
    }
    if records.rows() == 0 {
        return Ok(None);
    }
    check_nested(origin.nested_bytes().max(records.attributes.rest_bytes()))?;
    let mut chunk = ChunkColumns::new(Table::Logs, records.rows(), arena, payload.clone());
    records.finish(&mut chunk);
    origin.finish(&mut chunk);
    chunk.finish().map(Some)
}

struct LogsBuilder<'a> {
    received_unix_nano: i64,
    timestamp: Vec<i64>,
    timestamp_source: Vec<i8>,
    observed_timestamp: TimeColumn,
    severity_number: Vec<i32>,
    severity_text: TextColumn,
    body: TextColumn,
    body_type: NumberColumn<Int8Type>,
    event_name: TextColumn,
    trace_id: IdColumn,
    span_id: IdColumn,
    flags: Vec<u32>,
    dropped_attributes_count: Vec<u32>,
    attributes: SetBuilder<'a>,
    scratch: String,
}

impl<'a> LogsBuilder<'a> {
    fn new(batch: &Batch, profile: &'a PromotionProfile, received_unix_nano: i64) -> LogsBuilder<'a> {
        LogsBuilder {
            received_unix_nano,
            timestamp: Vec::new(),
            timestamp_source: Vec::new(),
            observed_timestamp: TimeColumn::default(),
            severity_number: Vec::new(),
            severity_text: TextColumn::default(),
            body: TextColumn::default(),
            body_type: NumberColumn::default(),
            event_name: TextColumn::default(),
            trace_id: IdColumn::new(16),
            span_id: IdColumn::new(8),
            flags: Vec::new(),
            dropped_attributes_count: Vec::new(),
            attributes: SetBuilder::of_items(profile, batch.payload().len(), batch.items()),
            scratch: String::new(),
        }
    }

    fn rows(&self) -> usize {
        self.timestamp.len()
    }

    fn push(&mut self, arena: &mut Arena<'a>, record: &LogRecord<'a>) {
        let row = self.rows();
        let (timestamp, source) = match (record.time_unix_nano, record.observed_time_unix_nano) {
            (0, 0) => (self.received_unix_nano, source::RECEIVED),
            (0, observed) => (observed as i64, source::OBSERVED),
            (sent, _) => (sent as i64, source::SENT),
        };
        self.timestamp.push(timestamp);
        self.timestamp_source.push(source);
        self.observed_timestamp
            .push_or_null(record.observed_time_unix_nano);
        self.severity_number.push(record.severity_number);
        self.severity_text.push_or_null(arena, record.severity_text);
        self.push_body(arena, record.body);
        self.event_name.push_or_null(arena, record.event_name);
        self.trace_id.push(record.trace_id);
        self.span_id.push(record.span_id);
        self.flags.push(record.flags);
        self.dropped_attributes_count
            .push(record.dropped_attributes_count);
        self.attributes.push_row(arena, record.attributes, row);
    }

    fn push_body(&mut self, arena: &mut Arena<'a>, body: Option<AnyValue<'a>>) {
        match body {
            None => {
                self.body.push_nulls(1);
                self.body_type.push_nulls(1);
            }
            // Not null when empty: the tag says that there is text.
            Some(AnyValue::String(text)) => {
                self.body.push(arena.view(text));
                self.body_type.push(ValueType::String.tag());
            }
            Some(value) => {
                let (value_type, text) = describe(value, &mut self.scratch);
                self.body.push(arena.view(text));
                self.body_type.push(value_type.tag());
            }
        }
    }

    fn finish(self, chunk: &mut ChunkColumns) {
        let buffers = chunk.buffers.clone();
        chunk.add("timestamp", times(self.timestamp));
        chunk.add("timestamp_source", numbers::<Int8Type>(self.timestamp_source));
        chunk.add("observed_timestamp", self.observed_timestamp.finish());
        chunk.add("severity_number", numbers::<Int32Type>(self.severity_number));
        chunk.add("severity_text", self.severity_text.finish(&buffers));
        chunk.add("body", self.body.finish(&buffers));
        chunk.add("body_type", self.body_type.finish());
        chunk.add("event_name", self.event_name.finish(&buffers));
        chunk.add("trace_id", self.trace_id.finish());
        chunk.add("span_id", self.span_id.finish());
        chunk.add("flags", numbers::<UInt32Type>(self.flags));
        chunk.add(
            "dropped_attributes_count",
            numbers::<UInt32Type>(self.dropped_attributes_count),
        );
        chunk.add_set(self.attributes.finish(&buffers, chunk.rows));
    }
}
