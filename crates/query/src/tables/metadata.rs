//! What the planner needs to know about a column beyond its type, kept in Arrow field metadata so that it survives
//! aliases, subqueries and common table expressions.

use arrow::datatypes::{DataType, Field};

/// The text is JSON: rendered as a value, not as a string.
const TYPE: &str = "cupola.type";
const JSON: &str = "json";
/// The text is severity levels: compares by severity.
const LEVEL: &str = "level";
/// The number is nanoseconds: compares with intervals.
const NANOSECONDS: &str = "nanoseconds";
/// The text is an id in lower-case hexadecimal.
const ID: &str = "id";
/// The text is an attribute set; the value is `<logical table>/<set>`.
const ATTRIBUTES: &str = "cupola.attributes";

pub(crate) fn mark_json(field: Field) -> Field {
    mark(field, TYPE, JSON)
}

pub(crate) fn mark_level(field: Field) -> Field {
    mark(field, TYPE, LEVEL)
}

pub(crate) fn mark_nanoseconds(field: Field) -> Field {
    mark(field, TYPE, NANOSECONDS)
}

pub(crate) fn mark_id(field: Field) -> Field {
    mark(field, TYPE, ID)
}

pub(crate) fn mark_attributes(field: Field, table: &str) -> Field {
    let set = format!("{table}/{}", field.name());
    mark(mark_json(field), ATTRIBUTES, &set)
}

fn mark(field: Field, key: &str, value: &str) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(key.to_owned(), value.to_owned());
    field.with_metadata(metadata)
}

/// Whether the column holds JSON text. A function can give a column of another type with the metadata of its argument.
pub fn is_json(field: &Field) -> bool {
    let is_text = matches!(
        field.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    );
    is_text && has_type(field, JSON)
}

pub(crate) fn is_level(field: &Field) -> bool {
    has_type(field, LEVEL)
}

pub(crate) fn is_nanoseconds(field: &Field) -> bool {
    has_type(field, NANOSECONDS)
}

pub(crate) fn is_id(field: &Field) -> bool {
    has_type(field, ID)
}

/// The logical table and set column of an attribute set.
pub(crate) fn attribute_set(field: &Field) -> Option<(&str, &str)> {
    field.metadata().get(ATTRIBUTES)?.split_once('/')
}

fn has_type(field: &Field, wanted: &str) -> bool {
    field.metadata().get(TYPE).is_some_and(|found| found == wanted)
}
