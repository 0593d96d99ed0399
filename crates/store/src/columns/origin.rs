//! Columns of resource and scope: one value for each run of rows, and the assembly of a chunk.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, UInt32Type};
use bytes::Bytes;
use cupola_telemetry::view::{Resource, Scope};

use super::attributes::{FinishedSet, SetBuilder};
use super::buffers::{Arena, NumberColumn, TextColumn};
use super::{NESTED_BYTES_MAX, SealError, SealedChunk};
use crate::schema::{self, AttributeSet, PromotedColumn, PromotionProfile, Table};

/// Resource and scope of the rows of a chunk.
pub(crate) struct OriginBuilder<'a> {
    resource: SetBuilder<'a>,
    scope: SetBuilder<'a>,
    scope_name: TextColumn,
    scope_version: TextColumn,
    resource_dropped: NumberColumn<UInt32Type>,
    scope_dropped: NumberColumn<UInt32Type>,
    resource_schema_url: TextColumn,
    scope_schema_url: TextColumn,
    entity_refs: EntityRefs,
}

/// Raw bytes, by runs of rows.
#[derive(Default)]
struct EntityRefs {
    runs: Vec<(Vec<u8>, usize)>,
    any: bool,
    bytes: usize,
}

impl<'a> OriginBuilder<'a> {
    pub(crate) fn new(profile: &'a PromotionProfile) -> OriginBuilder<'a> {
        OriginBuilder {
            resource: SetBuilder::new(AttributeSet::Resource, profile),
            scope: SetBuilder::new(AttributeSet::Scope, profile),
            scope_name: TextColumn::default(),
            scope_version: TextColumn::default(),
            resource_dropped: NumberColumn::default(),
            scope_dropped: NumberColumn::default(),
            resource_schema_url: TextColumn::default(),
            scope_schema_url: TextColumn::default(),
            entity_refs: EntityRefs::default(),
        }
    }

    /// The resource of `rows` rows from `row` on.
    pub(crate) fn push_resource(
        &mut self,
        arena: &mut Arena<'a>,
        resource: &Resource<'a>,
        schema_url: &'a str,
        row: usize,
        rows: usize,
    ) {
        if rows == 0 {
            return;
        }
        self.resource.push_run(arena, resource.attributes, row, rows);
        self.resource_dropped
            .push_run(resource.dropped_attributes_count, rows);
        self.resource_schema_url.run_or_null(arena, schema_url, rows);
        self.entity_refs.push(resource, rows);
    }

    /// The scope of `rows` rows from `row` on.
    pub(crate) fn push_scope(
        &mut self,
        arena: &mut Arena<'a>,
        scope: &Scope<'a>,
        schema_url: &'a str,
        row: usize,
        rows: usize,
    ) {
        if rows == 0 {
            return;
        }
        self.scope.push_run(arena, scope.attributes, row, rows);
        self.scope_name.run_or_null(arena, scope.name, rows);
        self.scope_version.run_or_null(arena, scope.version, rows);
        self.scope_dropped.push_run(scope.dropped_attributes_count, rows);
        self.scope_schema_url.run_or_null(arena, schema_url, rows);
    }

    /// The largest nested text column.
    pub(crate) fn nested_bytes(&self) -> usize {
        self.resource
            .rest_bytes()
            .max(self.scope.rest_bytes())
            .max(self.entity_refs.bytes)
    }

    /// Adds the columns to those of the rows.
    pub(crate) fn finish(self, chunk: &mut ChunkColumns) {
        let rows = chunk.rows;
        let entity_refs = self.entity_refs.finish(rows);
        let buffers = chunk.buffers.clone();
        chunk.add("scope_name", self.scope_name.finish(&buffers));
        chunk.add("scope_version", self.scope_version.finish(&buffers));
        chunk.add(
            "resource_dropped_attributes_count",
            self.resource_dropped.finish(),
        );
        chunk.add("scope_dropped_attributes_count", self.scope_dropped.finish());
        chunk.add("resource_schema_url", self.resource_schema_url.finish(&buffers));
        chunk.add("scope_schema_url", self.scope_schema_url.finish(&buffers));
        chunk.add("resource_entity_refs", entity_refs);
        chunk.add_set(self.resource.finish(&buffers, rows));
        chunk.add_set(self.scope.finish(&buffers, rows));
    }
}

impl EntityRefs {
    fn push(&mut self, resource: &Resource<'_>, rows: usize) {
        let raw = if resource.entity_refs.is_empty() {
            Vec::new()
        } else {
            entity_refs_bytes(resource)
        };
        self.any |= !raw.is_empty();
        self.bytes = self.bytes.saturating_add(raw.len().saturating_mul(rows));
        match self.runs.last_mut() {
            Some((last, length)) if *last == raw => *length += rows,
            _ => self.runs.push((raw, rows)),
        }
    }

    fn finish(self, rows: usize) -> ArrayRef {
        if !self.any {
            return new_null_array(&DataType::Binary, rows);
        }
        let values = self
            .runs
            .iter()
            .flat_map(|(raw, rows)| std::iter::repeat_n(raw, *rows));
        std::sync::Arc::new(BinaryArray::from_iter(
            values.map(|raw| (!raw.is_empty()).then_some(raw)),
        ))
    }
}

/// The entity references as they are in the message `Resource`: field 3, each with tag and length.
pub(crate) fn entity_refs_bytes(resource: &Resource<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for raw in resource.entity_refs.raw_messages() {
        // Field 3, length-delimited.
        bytes.push(3 << 3 | 2);
        let mut length = raw.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(raw);
    }
    bytes
}

/// The finished columns of a chunk, by name, until they are put in order.
pub(crate) struct ChunkColumns {
    table: Table,
    pub(crate) rows: usize,
    pub(crate) buffers: std::sync::Arc<[arrow::buffer::Buffer]>,
    buffer_bytes: usize,
    columns: Vec<(String, ArrayRef)>,
    promoted: Vec<PromotedColumn>,
}

impl ChunkColumns {
    pub(crate) fn new(table: Table, rows: usize, arena: Arena<'_>, payload: Bytes) -> ChunkColumns {
        let buffers = arena.finish(payload);
        let buffer_bytes = buffers.iter().map(|buffer| buffer.len()).sum();
        ChunkColumns {
            table,
            rows,
            buffers,
            buffer_bytes,
            columns: Vec::new(),
            promoted: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, name: &str, column: ArrayRef) {
        self.columns.push((name.to_owned(), column));
    }

    pub(crate) fn add_set(&mut self, set: FinishedSet) {
        for (promoted, column) in set.promoted {
            self.columns.push((promoted.name(), column));
            self.promoted.push(promoted);
        }
        self.columns.push((set.set.column().to_owned(), set.map));
    }

    /// The chunk in the column order of its table.
    pub(crate) fn finish(mut self) -> Result<SealedChunk, SealError> {
        let table = self.table;
        self.promoted.sort();
        let schema = schema::physical(table, &self.promoted);
        let columns: Vec<ArrayRef> = schema
            .fields()
            .iter()
            .map(
                |field| match self.columns.iter().find(|(name, _)| name == field.name()) {
                    Some((_, column)) => column.clone(),
                    // `service_name` when no resource has one.
                    None => new_null_array(field.data_type(), self.rows),
                },
            )
            .collect();
        let memory_bytes = self.buffer_bytes + columns.iter().map(own_bytes).sum::<usize>();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(|source| SealError::Arrow { table, source })?;
        Ok(SealedChunk {
            table,
            batch,
            memory_bytes,
        })
    }
}

/// Memory of a column without the buffers it shares with the others.
fn own_bytes(column: &ArrayRef) -> usize {
    match column.as_string_view_opt() {
        Some(text) => text.views().inner().len() + text.nulls().map_or(0, |nulls| nulls.buffer().len()),
        None => column.get_buffer_memory_size(),
    }
}

/// Refuses text that 32-bit offsets cannot address.
pub(crate) fn check_nested(bytes: usize) -> Result<(), SealError> {
    if bytes > NESTED_BYTES_MAX {
        return Err(SealError::TooLarge {
            bytes,
            bytes_max: NESTED_BYTES_MAX,
        });
    }
    Ok(())
}
