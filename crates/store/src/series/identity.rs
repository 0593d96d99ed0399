//! What makes two points the same series, as a 128-bit digest: computed alike from views and from rows of the table.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int8Type, Int32Type, UInt32Type, UInt64Type};
use cupola_telemetry::view::Attributes;
use xxhash_rust::xxh3::Xxh3;

use super::SeriesError;
use crate::columns::describe;
use crate::schema::{AttributeSet, PromotedColumn, ValueType, map_parts, promoted_columns};
use crate::segment::write_value;

/// Everything of a series but its attributes.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct SeriesIdentity<'a> {
    pub(crate) name: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) description: &'a str,
    pub(crate) metadata: &'a str,
    pub(crate) kind: i8,
    pub(crate) temporality: i32,
    pub(crate) is_monotonic: bool,
    pub(crate) scope_name: &'a str,
    pub(crate) scope_version: &'a str,
    pub(crate) resource_schema_url: &'a str,
    pub(crate) scope_schema_url: &'a str,
    pub(crate) resource_dropped: u32,
    pub(crate) scope_dropped: u32,
    pub(crate) entity_refs: &'a [u8],
}

impl SeriesIdentity<'_> {
    /// The digest of everything but attributes.
    pub(crate) fn digest(&self) -> u128 {
        let mut hasher = Xxh3::new();
        let texts = [
            self.name,
            self.unit,
            self.description,
            self.metadata,
            self.scope_name,
            self.scope_version,
            self.resource_schema_url,
            self.scope_schema_url,
        ];
        for text in texts {
            part(&mut hasher, text.as_bytes());
        }
        part(&mut hasher, self.entity_refs);
        hasher.update(&[self.kind as u8, u8::from(self.is_monotonic)]);
        hasher.update(&self.temporality.to_le_bytes());
        hasher.update(&self.resource_dropped.to_le_bytes());
        hasher.update(&self.scope_dropped.to_le_bytes());
        hasher.digest128()
    }
}

/// The digest of a series from those of its parts.
pub(crate) fn combine(header: u128, resource: u128, scope: u128, attributes: u128) -> u128 {
    let mut hasher = Xxh3::new();
    for digest in [header, resource, scope, attributes] {
        hasher.update(&digest.to_le_bytes());
    }
    hasher.digest128()
}

fn part(hasher: &mut Xxh3, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// Digests attribute sets; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct AttributesDigest {
    entries: Vec<(String, i8, String)>,
    scratch: String,
}

impl AttributesDigest {
    /// The digest of attributes on the wire, whatever their order.
    pub(crate) fn of_view(&mut self, attributes: Attributes<'_>) -> u128 {
        self.entries.clear();
        for attribute in attributes {
            let (value_type, text) = describe(attribute.value, &mut self.scratch);
            self.entries
                .push((attribute.key.to_owned(), value_type.tag(), text.to_owned()));
        }
        self.finish()
    }

    fn finish(&mut self) -> u128 {
        self.entries.sort_unstable();
        let mut hasher = Xxh3::new();
        for (key, tag, text) in &self.entries {
            part(&mut hasher, key.as_bytes());
            hasher.update(&tag.to_le_bytes());
            part(&mut hasher, text.as_bytes());
        }
        hasher.digest128()
    }

    /// The digest of one row: promoted columns and map together.
    fn of_row(&mut self, set: &SetColumns<'_>, row: usize) -> u128 {
        self.entries.clear();
        for (column, array) in &set.promoted {
            if array.is_valid(row) {
                let mut text = String::new();
                write_value(array, row, column.value_type, &mut text);
                self.entries
                    .push((column.key.clone(), column.value_type.tag(), text));
            }
        }
        if let Some(map) = set.map.as_map_opt()
            && let Some((keys, tags, texts)) = map_parts(map)
        {
            let offsets = map.value_offsets();
            for index in offsets[row] as usize..offsets[row + 1] as usize {
                let entry = (
                    keys.value(index).to_owned(),
                    tags.value(index),
                    texts.value(index).to_owned(),
                );
                self.entries.push(entry);
            }
        }
        self.finish()
    }
}

struct SetColumns<'a> {
    promoted: Vec<(PromotedColumn, &'a ArrayRef)>,
    map: &'a ArrayRef,
}

/// Id and identity of each row of the series table.
pub(crate) fn identities(batch: &RecordBatch) -> Result<Vec<(u64, u128)>, SeriesError> {
    let promoted = promoted_columns(batch.schema_ref());
    let set_columns = |set: AttributeSet| -> Result<SetColumns<'_>, SeriesError> {
        let columns = promoted
            .iter()
            .filter(|column| column.set == set && column.value_type != ValueType::Empty);
        Ok(SetColumns {
            promoted: columns
                .filter_map(|column| Some((column.clone(), batch.column_by_name(&column.name())?)))
                .collect(),
            map: named(batch, set.column())?,
        })
    };
    let resource = set_columns(AttributeSet::Resource)?;
    let scope = set_columns(AttributeSet::Scope)?;
    let attributes = set_columns(AttributeSet::Item)?;
    let ids = named(batch, "series_id")?
        .as_primitive_opt::<UInt64Type>()
        .ok_or(SeriesError::Column { column: "series_id" })?;
    let headers = headers(batch)?;
    let mut digest = AttributesDigest::default();
    Ok(headers
        .into_iter()
        .enumerate()
        .map(|(row, header)| {
            let [resource, scope, attributes] =
                [&resource, &scope, &attributes].map(|set| digest.of_row(set, row));
            (ids.value(row), combine(header, resource, scope, attributes))
        })
        .collect())
}

fn headers(batch: &RecordBatch) -> Result<Vec<u128>, SeriesError> {
    let text = |column: &'static str| -> Result<Vec<&str>, SeriesError> {
        let array = named(batch, column)?
            .as_string_view_opt()
            .ok_or(SeriesError::Column { column })?;
        Ok(array.iter().map(Option::unwrap_or_default).collect())
    };
    let count = |column: &'static str| {
        named(batch, column)?
            .as_primitive_opt::<UInt32Type>()
            .ok_or(SeriesError::Column { column })
    };
    let [name, unit, description, metadata] = [
        text("name")?,
        text("unit")?,
        text("description")?,
        text("metadata")?,
    ];
    let [scope_name, scope_version] = [text("scope_name")?, text("scope_version")?];
    let [resource_url, scope_url] = [text("resource_schema_url")?, text("scope_schema_url")?];
    let resource_dropped = count("resource_dropped_attributes_count")?;
    let scope_dropped = count("scope_dropped_attributes_count")?;
    let kinds = named(batch, "type")?
        .as_primitive_opt::<Int8Type>()
        .ok_or(SeriesError::Column { column: "type" })?;
    let temporality = named(batch, "temporality")?
        .as_primitive_opt::<Int32Type>()
        .ok_or(SeriesError::Column {
            column: "temporality",
        })?;
    let monotonic = named(batch, "is_monotonic")?
        .as_boolean_opt()
        .ok_or(SeriesError::Column {
            column: "is_monotonic",
        })?;
    let entity_refs = named(batch, "resource_entity_refs")?;
    if entity_refs.data_type() != &DataType::Binary {
        return Err(SeriesError::Column {
            column: "resource_entity_refs",
        });
    }
    let entity_refs = entity_refs.as_binary::<i32>();
    let header = |row: usize| SeriesIdentity {
        name: name[row],
        unit: unit[row],
        description: description[row],
        metadata: metadata[row],
        kind: kinds.value(row),
        temporality: temporality.value(row),
        is_monotonic: monotonic.value(row),
        scope_name: scope_name[row],
        scope_version: scope_version[row],
        resource_schema_url: resource_url[row],
        scope_schema_url: scope_url[row],
        resource_dropped: resource_dropped.value(row),
        scope_dropped: scope_dropped.value(row),
        entity_refs: if entity_refs.is_valid(row) {
            entity_refs.value(row)
        } else {
            &[]
        },
    };
    Ok((0..batch.num_rows()).map(|row| header(row).digest()).collect())
}

fn named<'a>(batch: &'a RecordBatch, column: &'static str) -> Result<&'a ArrayRef, SeriesError> {
    batch.column_by_name(column).ok_or(SeriesError::Column { column })
}
