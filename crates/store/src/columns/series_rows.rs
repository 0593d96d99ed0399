//! Rows of the table `series`: one for each series first seen.

use arrow::array::{BooleanArray, BooleanBufferBuilder};
use arrow::datatypes::{Int8Type, Int32Type, UInt64Type};
use cupola_telemetry::view::Attributes;

use super::attributes::SetBuilder;
use super::buffers::{Arena, TextColumn, numbers, times};
use super::metrics::Header;
use super::origin::{ChunkColumns, OriginBuilder};
use crate::schema::PromotionProfile;
use crate::series::{DAY_NANOS, day_of_series};

/// Rows of the table `series`.
pub(super) struct SeriesBuilder<'a> {
    series_id: Vec<u64>,
    timestamp: Vec<i64>,
    name: TextColumn,
    unit: TextColumn,
    description: TextColumn,
    kind: Vec<i8>,
    temporality: Vec<i32>,
    is_monotonic: BooleanBufferBuilder,
    metadata: TextColumn,
    origin: OriginBuilder<'a>,
    attributes: SetBuilder<'a>,
}

impl<'a> SeriesBuilder<'a> {
    pub(super) fn new(
        profile: &'a PromotionProfile,
        payload_bytes: usize,
        points: usize,
    ) -> SeriesBuilder<'a> {
        SeriesBuilder {
            series_id: Vec::new(),
            timestamp: Vec::new(),
            name: TextColumn::default(),
            unit: TextColumn::default(),
            description: TextColumn::default(),
            kind: Vec::new(),
            temporality: Vec::new(),
            is_monotonic: BooleanBufferBuilder::new(0),
            metadata: TextColumn::default(),
            origin: OriginBuilder::new(profile),
            attributes: SetBuilder::of_items(profile, payload_bytes, points),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.series_id.len()
    }

    pub(super) fn nested_bytes(&self) -> usize {
        self.origin.nested_bytes().max(self.attributes.rest_bytes())
    }

    #[cold]
    pub(super) fn push(
        &mut self,
        arena: &mut Arena<'a>,
        id: u64,
        header: &Header<'a, '_>,
        attributes: Attributes<'a>,
    ) {
        let row = self.rows();
        self.series_id.push(id);
        self.timestamp
            .push(i64::from(day_of_series(id)).saturating_mul(DAY_NANOS));
        self.name.push_or_null(arena, header.metric.name);
        self.unit.push_or_null(arena, header.metric.unit);
        self.description.push_or_null(arena, header.metric.description);
        self.kind.push(header.kind);
        self.temporality.push(header.temporality);
        self.is_monotonic.append(header.is_monotonic);
        self.metadata.push_or_null(arena, &header.metadata);
        let origin = &header.origin;
        self.origin
            .push_scope(arena, &origin.scope, origin.scope_schema_url, row, 1);
        self.origin
            .push_resource(arena, &origin.resource, origin.resource_schema_url, row, 1);
        self.attributes.push_row(arena, attributes, row);
    }

    pub(super) fn finish(mut self, chunk: &mut ChunkColumns) {
        let buffers = chunk.buffers.clone();
        chunk.add("series_id", numbers::<UInt64Type>(self.series_id));
        chunk.add("timestamp", times(self.timestamp));
        chunk.add("name", self.name.finish(&buffers));
        chunk.add("unit", self.unit.finish(&buffers));
        chunk.add("description", self.description.finish(&buffers));
        chunk.add("type", numbers::<Int8Type>(self.kind));
        chunk.add("temporality", numbers::<Int32Type>(self.temporality));
        let monotonic = BooleanArray::new(self.is_monotonic.finish(), None);
        chunk.add("is_monotonic", std::sync::Arc::new(monotonic));
        chunk.add("metadata", self.metadata.finish(&buffers));
        self.origin.finish(chunk);
        chunk.add_set(self.attributes.finish(&buffers, chunk.rows));
    }
}
