//! Rows of the table `logs` back to log records.

use arrow::array::{Array, PrimitiveArray, RecordBatch};
use arrow::datatypes::{Int8Type, Int32Type, UInt32Type};
use cupola_telemetry::encode::{LogRecord, LogsEncoder};
use cupola_telemetry::{Batch, TenantId};

use super::ReadbackError;
use super::columns::{Columns, Ids, Text, Times};
use super::origin::{OriginReader, group_by, rows};
use super::values::{SetReader, encoded_value};
use crate::schema::{AttributeSet, source};

/// One batch with all log records of the rows.
pub fn logs(batches: &[RecordBatch], tenant: TenantId) -> Result<Batch, ReadbackError> {
    let origins = batches
        .iter()
        .map(OriginReader::new)
        .collect::<Result<Vec<_>, _>>()?;
    let readers = batches
        .iter()
        .map(LogsReader::new)
        .collect::<Result<Vec<_>, _>>()?;
    let mut encoder = LogsEncoder::new();
    let resources = group_by(
        rows(batches),
        |row| row,
        |(batch, row)| origins[batch].resource_key(row),
    )?;
    for resource in resources {
        let (batch, row) = resource.first;
        let mut resource_logs = encoder.resource_logs();
        origins[batch].write_resource(row, resource_logs.resource())?;
        resource_logs.schema_url(origins[batch].resource_schema_url(row));
        for scope in group_by(
            resource.members,
            |row| row,
            |(batch, row)| origins[batch].scope_key(row),
        )? {
            let (batch, row) = scope.first;
            let mut scope_logs = resource_logs.scope_logs();
            origins[batch].write_scope(row, scope_logs.scope())?;
            scope_logs.schema_url(origins[batch].scope_schema_url(row));
            for (batch, row) in scope.members {
                readers[batch].write(row, scope_logs.record())?;
            }
        }
    }
    Ok(encoder.finish(tenant))
}

struct LogsReader<'a> {
    timestamp: Times<'a>,
    timestamp_source: &'a PrimitiveArray<Int8Type>,
    observed_timestamp: Times<'a>,
    severity_number: &'a PrimitiveArray<Int32Type>,
    severity_text: Text<'a>,
    body: Text<'a>,
    body_type: &'a PrimitiveArray<Int8Type>,
    event_name: Text<'a>,
    trace_id: Ids<'a>,
    span_id: Ids<'a>,
    flags: &'a PrimitiveArray<UInt32Type>,
    dropped_attributes_count: &'a PrimitiveArray<UInt32Type>,
    attributes: SetReader<'a>,
}

impl<'a> LogsReader<'a> {
    fn new(batch: &'a RecordBatch) -> Result<LogsReader<'a>, ReadbackError> {
        let columns = Columns(batch);
        Ok(LogsReader {
            timestamp: columns.times("timestamp")?,
            timestamp_source: columns.numbers("timestamp_source")?,
            observed_timestamp: columns.times("observed_timestamp")?,
            severity_number: columns.numbers("severity_number")?,
            severity_text: columns.text("severity_text")?,
            body: columns.text("body")?,
            body_type: columns.numbers("body_type")?,
            event_name: columns.text("event_name")?,
            trace_id: columns.ids("trace_id")?,
            span_id: columns.ids("span_id")?,
            flags: columns.numbers("flags")?,
            dropped_attributes_count: columns.numbers("dropped_attributes_count")?,
            attributes: SetReader::new(batch, AttributeSet::Item)?,
        })
    }

    fn write(&self, row: usize, mut record: LogRecord<'_>) -> Result<(), ReadbackError> {
        if self.timestamp_source.value(row) == source::SENT {
            record.time_unix_nano(self.timestamp.get(row));
        }
        record
            .observed_time_unix_nano(self.observed_timestamp.get(row))
            .severity_number(self.severity_number.value(row))
            .severity_text(self.severity_text.get(row));
        if self.body_type.is_valid(row) {
            record.body_raw(&encoded_value(
                "body",
                self.body_type.value(row),
                self.body.get(row),
            )?);
        }
        self.attributes.entries(row, |key, value| {
            record.attribute_with(key, |any_value| any_value.raw(value));
        })?;
        record
            .dropped_attributes_count(self.dropped_attributes_count.value(row))
            .flags(self.flags.value(row))
            .trace_id(self.trace_id.get(row))
            .span_id(self.span_id.get(row))
            .event_name(self.event_name.get(row));
        Ok(())
    }
}
