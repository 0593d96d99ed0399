//! Resource and scope of rows, and rows grouped by them.

use arrow::array::{Array, BinaryArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::UInt32Type;
use cupola_telemetry::encode;
use hashbrown::HashMap;

use super::ReadbackError;
use super::columns::{Columns, Text};
use super::values::SetReader;
use crate::schema::AttributeSet;

/// A row: which batch, which row in it.
pub(super) type Row = (usize, usize);

/// Rows of one resource, or of one scope, with what they have in common.
pub(super) struct Group<T> {
    pub(super) members: Vec<T>,
    /// A row of the group.
    pub(super) first: Row,
}

/// Resource and scope columns of a batch.
pub(super) struct OriginReader<'a> {
    resource: SetReader<'a>,
    resource_dropped: &'a PrimitiveArray<UInt32Type>,
    resource_schema_url: Text<'a>,
    entity_refs: &'a BinaryArray,
    scope: SetReader<'a>,
    scope_name: Text<'a>,
    scope_version: Text<'a>,
    scope_dropped: &'a PrimitiveArray<UInt32Type>,
    scope_schema_url: Text<'a>,
}

impl<'a> OriginReader<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<OriginReader<'a>, ReadbackError> {
        let columns = Columns(batch);
        Ok(OriginReader {
            resource: SetReader::new(batch, AttributeSet::Resource)?,
            resource_dropped: columns.numbers("resource_dropped_attributes_count")?,
            resource_schema_url: columns.text("resource_schema_url")?,
            entity_refs: columns.binary("resource_entity_refs")?,
            scope: SetReader::new(batch, AttributeSet::Scope)?,
            scope_name: columns.text("scope_name")?,
            scope_version: columns.text("scope_version")?,
            scope_dropped: columns.numbers("scope_dropped_attributes_count")?,
            scope_schema_url: columns.text("scope_schema_url")?,
        })
    }

    pub(super) fn resource_schema_url(&self, row: usize) -> &'a str {
        self.resource_schema_url.get(row)
    }

    pub(super) fn scope_schema_url(&self, row: usize) -> &'a str {
        self.scope_schema_url.get(row)
    }

    pub(super) fn write_resource(
        &self,
        row: usize,
        mut resource: encode::Resource<'_>,
    ) -> Result<(), ReadbackError> {
        self.resource.entries(row, |key, value| {
            resource.attribute_with(key, |any_value| any_value.raw(value));
        })?;
        resource.dropped_attributes_count(self.resource_dropped.value(row));
        for raw in entity_refs(self.entity_refs, row) {
            resource.entity_ref_raw(raw);
        }
        Ok(())
    }

    pub(super) fn write_scope(&self, row: usize, mut scope: encode::Scope<'_>) -> Result<(), ReadbackError> {
        scope
            .name(self.scope_name.get(row))
            .version(self.scope_version.get(row));
        self.scope.entries(row, |key, value| {
            scope.attribute_with(key, |any_value| any_value.raw(value));
        })?;
        scope.dropped_attributes_count(self.scope_dropped.value(row));
        Ok(())
    }

    /// Equal bytes for equal resources.
    pub(super) fn resource_key(&self, row: usize) -> Result<Vec<u8>, ReadbackError> {
        let mut key = Vec::new();
        set_key(&mut key, &self.resource, row)?;
        key.extend_from_slice(&self.resource_dropped.value(row).to_le_bytes());
        part(&mut key, self.resource_schema_url(row).as_bytes());
        if self.entity_refs.is_valid(row) {
            key.extend_from_slice(self.entity_refs.value(row));
        }
        Ok(key)
    }

    /// Equal bytes for equal scopes.
    pub(super) fn scope_key(&self, row: usize) -> Result<Vec<u8>, ReadbackError> {
        let mut key = Vec::new();
        set_key(&mut key, &self.scope, row)?;
        key.extend_from_slice(&self.scope_dropped.value(row).to_le_bytes());
        part(&mut key, self.scope_schema_url(row).as_bytes());
        part(&mut key, self.scope_name.get(row).as_bytes());
        part(&mut key, self.scope_version.get(row).as_bytes());
        Ok(key)
    }
}

fn set_key(key: &mut Vec<u8>, set: &SetReader<'_>, row: usize) -> Result<(), ReadbackError> {
    let mut entries: Vec<(String, Vec<u8>)> = Vec::new();
    set.entries(row, |name, value| {
        entries.push((name.to_owned(), value.to_owned()))
    })?;
    // Promoted columns and the map may hold the same attributes in other orders.
    entries.sort();
    key.extend_from_slice(&(entries.len() as u64).to_le_bytes());
    for (name, value) in entries {
        part(key, name.as_bytes());
        part(key, &value);
    }
    Ok(())
}

pub(super) fn part(key: &mut Vec<u8>, bytes: &[u8]) {
    key.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    key.extend_from_slice(bytes);
}

/// The messages of field 3 of a resource, from the bytes `columns::origin` kept.
fn entity_refs(column: &BinaryArray, row: usize) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    let mut rest: &[u8] = if column.is_valid(row) {
        column.value(row)
    } else {
        &[]
    };
    while let Some((_tag, after_tag)) = rest.split_first() {
        let (mut length, mut shift, mut after) = (0_usize, 0_u32, after_tag);
        while let Some((byte, next)) = after.split_first() {
            length |= ((byte & 0x7f) as usize).checked_shl(shift).unwrap_or(0);
            shift += 7;
            after = next;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let end = length.min(after.len());
        messages.push(&after[..end]);
        rest = &after[end..];
    }
    messages
}

/// Puts items with equal keys together, in the order the keys first appear.
pub(super) fn group_by<T: Copy>(
    items: impl IntoIterator<Item = T>,
    row_of: impl Fn(T) -> Row,
    key_of: impl Fn(T) -> Result<Vec<u8>, ReadbackError>,
) -> Result<Vec<Group<T>>, ReadbackError> {
    let mut groups: Vec<Group<T>> = Vec::new();
    let mut index: HashMap<Vec<u8>, usize> = HashMap::new();
    for item in items {
        let key = key_of(item)?;
        match index.get(&key) {
            Some(group) => groups[*group].members.push(item),
            None => {
                index.insert(key, groups.len());
                groups.push(Group {
                    members: vec![item],
                    first: row_of(item),
                });
            }
        }
    }
    Ok(groups)
}

/// All rows of some batches.
pub(super) fn rows(batches: &[RecordBatch]) -> impl Iterator<Item = Row> {
    batches
        .iter()
        .enumerate()
        .flat_map(|(index, batch)| (0..batch.num_rows()).map(move |row| (index, row)))
}
