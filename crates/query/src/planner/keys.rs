//! Which types the values of an attribute key have in a snapshot.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use cupola_store::Snapshot;
use cupola_store::schema::{AttributeSet, Table, TypeMask, ValueType};
use parking_lot::Mutex;

use crate::functions::attributes::{AttributeKind, MapParts};
use crate::tables::{METRICS, logical_table};

/// Answers for one snapshot; each key is looked up once.
pub(crate) struct KeyTypes {
    snapshot: Arc<Snapshot>,
    known: Mutex<HashMap<(Table, AttributeSet, String), TypeMask>>,
}

impl KeyTypes {
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> KeyTypes {
        KeyTypes {
            snapshot,
            known: Mutex::default(),
        }
    }

    /// The type of `key` in the set `set` of a logical table.
    pub(crate) fn kind(&self, table: &str, set: &str, key: &str) -> AttributeKind {
        let Some(set) = AttributeSet::parse(set) else {
            return AttributeKind::String;
        };
        let tables: Vec<Table> = match table {
            METRICS => vec![Table::Series],
            _ => logical_table(table)
                .map(|table| table.parts.iter().map(|part| part.table).collect())
                .unwrap_or_default(),
        };
        let types = tables.into_iter().fold(TypeMask::default(), |types, table| {
            types.union(self.types(table, set, key))
        });
        AttributeKind::decide(types)
    }

    fn types(&self, table: Table, set: AttributeSet, key: &str) -> TypeMask {
        let known = (table, set, key.to_owned());
        if let Some(types) = self.known.lock().get(&known) {
            return *types;
        }
        let snapshot = self.snapshot.table(table);
        let mut types = TypeMask::default();
        for segment in &snapshot.segments {
            types = types.union(segment.meta.rest_types(set, key));
            if let Some(promoted) = segment.meta.promoted_type(set, key) {
                types.insert(promoted);
            }
        }
        for chunk in &snapshot.chunks {
            types = types.union(types_in_chunk(chunk, set, key));
        }
        self.known.lock().insert(known, types);
        types
    }
}

fn types_in_chunk(chunk: &RecordBatch, set: AttributeSet, key: &str) -> TypeMask {
    let mut types = TypeMask::default();
    if let Some(column) = chunk.column_by_name(&set.promoted_column(key))
        && column.null_count() < column.len()
        && let Some(promoted) = ValueType::of_column(column.data_type())
    {
        types.insert(promoted);
    }
    let map = chunk
        .column_by_name(set.column())
        .and_then(|column| column.as_map_opt());
    let Some((map, parts)) = map.and_then(|map| Some((map, MapParts::new(map)?))) else {
        return types;
    };
    // Only the entries of this chunk: the arrays may be slices of larger ones.
    let offsets = map.value_offsets();
    let entries = offsets.first().map_or(0, |at| *at as usize)..offsets.last().map_or(0, |at| *at as usize);
    for entry in entries {
        if parts.keys.value(entry) == key
            && let Some(value_type) = ValueType::from_tag(parts.tags.value(entry))
        {
            types.insert(value_type);
        }
    }
    types
}

impl fmt::Debug for KeyTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyTypes")
            .field("snapshot", &self.snapshot.version())
            .finish_non_exhaustive()
    }
}
