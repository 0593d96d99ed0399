//! What a reader sees: all tables of one tenant at one moment. Holding a snapshot keeps its rows and files.
//!
//! Refuses: reading files. The query crate does that.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::TimestampNanosecondType;
use cupola_telemetry::TenantId;

use crate::memtable::Sealed;
use crate::schema::{AttributeSet, KeyStatistics, Table, TypeMask};
use crate::version::Segment;

/// All tables of one tenant at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) tenant: TenantId,
    pub(crate) version: u64,
    pub(crate) tables: Arc<[TableSnapshot; Table::ALL.len()]>,
}

/// The rows of one table: each is in exactly one chunk or segment.
#[derive(Debug, Clone, Default)]
pub struct TableSnapshot {
    /// Rows in memory, in the physical layout, in the order they came. Promoted columns differ from chunk to chunk.
    pub chunks: Vec<RecordBatch>,
    /// Ordered by smallest timestamp.
    pub segments: Vec<Arc<Segment>>,
    /// What the chunks count in the memory budget.
    pub(crate) memory: Vec<Arc<Sealed>>,
}

impl TableSnapshot {
    pub fn rows(&self) -> u64 {
        let chunks: u64 = self.chunks.iter().map(|chunk| chunk.num_rows() as u64).sum();
        chunks + self.segments.iter().map(|segment| segment.rows).sum::<u64>()
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.segments.is_empty()
    }
}

/// One attribute key of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeKey {
    pub set: AttributeSet,
    pub key: String,
    /// The types its values have.
    pub types: TypeMask,
    /// How many values.
    pub rows: u64,
}

impl Snapshot {
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The manifest the segments are from.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn table(&self, table: Table) -> &TableSnapshot {
        &self.tables[table as usize]
    }

    /// The attribute keys of a table, by set and name: exact in memory, in segments up to the bound of listed keys.
    pub fn attribute_keys(&self, table: Table) -> Vec<AttributeKey> {
        self.attribute_keys_within(table, None, None)
    }

    /// The same of the segments and chunks of rows in memory that have rows from `from` (within) to `to` (not within),
    /// both in nanoseconds since 1970: keys of other rows of theirs are among them.
    pub fn attribute_keys_within(
        &self,
        table: Table,
        from: Option<i64>,
        to: Option<i64>,
    ) -> Vec<AttributeKey> {
        let is_within =
            |least: i64, most: i64| from.is_none_or(|from| most >= from) && to.is_none_or(|to| least < to);
        let snapshot = self.table(table);
        let mut found: BTreeMap<(AttributeSet, String), (TypeMask, u64)> = BTreeMap::new();
        let mut note = |set: AttributeSet, key: &str, types: TypeMask, rows: u64| {
            let known = found.entry((set, key.to_owned())).or_default();
            known.0 = known.0.union(types);
            known.1 += rows;
        };
        let segments = snapshot.segments.iter();
        for segment in segments.filter(|segment| is_within(segment.min_timestamp, segment.max_timestamp)) {
            for keys in &segment.meta.attributes {
                for promoted in &keys.promoted {
                    let mut types = TypeMask::default();
                    types.insert(promoted.value_type);
                    note(keys.set, &promoted.key, types, promoted.rows);
                }
                for rest in &keys.rest {
                    note(keys.set, &rest.key, rest.types, rest.rows);
                }
            }
        }
        let chunks = snapshot.chunks.iter().filter(|chunk| {
            // Without times that can be read nothing is left out.
            times_of(chunk).is_none_or(|(least, most)| is_within(least, most))
        });
        let statistics = KeyStatistics::of(&chunks.cloned().collect::<Vec<_>>());
        for set in AttributeSet::ALL {
            for (key, counts) in statistics.set(set).iter() {
                note(set, key, counts.rest.union(counts.promoted), counts.total());
            }
        }
        found
            .into_iter()
            .map(|((set, key), (types, rows))| AttributeKey {
                set,
                key,
                types,
                rows,
            })
            .collect()
    }
}

/// The least and the greatest timestamp of a chunk.
fn times_of(chunk: &RecordBatch) -> Option<(i64, i64)> {
    let times = chunk
        .column_by_name("timestamp")?
        .as_primitive_opt::<TimestampNanosecondType>()?;
    min(times).zip(max(times))
}
