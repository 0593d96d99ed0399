//! Names of column types as the JSON answer gives them.

use arrow::datatypes::{DataType, Field};
use cupola_query::is_json;

/// The name of a column type: `int64`, `text`, `timestamp`, `list<text>`, `struct<name text, …>`,
/// `json`.
pub(crate) fn type_name(field: &Field) -> String {
    if is_json(field) {
        return "json".to_owned();
    }
    match field.data_type() {
        DataType::Null => "null".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "binary".to_owned()
        }
        DataType::Timestamp(_, _) => "timestamp".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time".to_owned(),
        DataType::Duration(_) => "duration".to_owned(),
        DataType::Interval(_) => "interval".to_owned(),
        DataType::Decimal32(_, _)
        | DataType::Decimal64(_, _)
        | DataType::Decimal128(_, _)
        | DataType::Decimal256(_, _) => "decimal".to_owned(),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => format!("list<{}>", type_name(field)),
        DataType::Struct(fields) => {
            let members: Vec<String> = fields
                .iter()
                .map(|field| format!("{} {}", field.name(), type_name(field)))
                .collect();
            format!("struct<{}>", members.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                format!("map<{}, {}>", type_name(&fields[0]), type_name(&fields[1]))
            }
            _ => "map".to_owned(),
        },
        DataType::Dictionary(_, value) => type_name(&Field::new("", value.as_ref().clone(), true)),
        DataType::RunEndEncoded(_, value) => type_name(value),
        // int8 … uint64, float16 … float64 are named as Arrow names them, in lower case.
        other => other.to_string().to_lowercase(),
    }
}
