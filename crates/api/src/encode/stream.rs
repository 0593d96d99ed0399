//! A whole answer as a sequence of byte chunks, in one of four formats. One record batch in, one chunk out: nothing is
//! collected, so a slow reader slows the query.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;

use super::json::{write_string, write_value};
use super::types::type_name;
use crate::model::{Column, SqlStats};

/// Rows turned into one chunk; larger batches are cut, so that one chunk stays small.
pub(crate) const CHUNK_ROWS_MAX: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Csv,
    Ndjson,
    Arrow,
}

impl Format {
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// Columns of a schema as the JSON answer names them.
pub(crate) fn columns(schema: &SchemaRef) -> Vec<Column> {
    let column = |field: &arrow::datatypes::FieldRef| Column {
        name: field.name().clone(),
        column_type: type_name(field),
    };
    schema.fields().iter().map(column).collect()
}

/// Writes one answer.
pub(crate) enum Encoder {
    Json { schema: SchemaRef, rows: u64 },
    Csv { schema: SchemaRef },
    Ndjson { schema: SchemaRef, keys: Vec<String> },
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl Encoder {
    pub(crate) fn new(format: Format, schema: &SchemaRef) -> Result<Self, ArrowError> {
        Ok(match format {
            Format::Json => Self::Json {
                schema: schema.clone(),
                rows: 0,
            },
            Format::Csv => Self::Csv {
                schema: schema.clone(),
            },
            Format::Ndjson => {
                let key = |field: &arrow::datatypes::FieldRef| {
                    let mut key = String::new();
                    write_string(&mut key, field.name());
                    key
                };
                let keys = schema.fields().iter().map(key).collect();
                Self::Ndjson {
                    schema: schema.clone(),
                    keys,
                }
            }
            Format::Arrow => Self::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema)?)),
        })
    }

    pub(crate) fn begin(&mut self) -> Vec<u8> {
        match self {
            Self::Json { schema, .. } => {
                let columns = serde_json::to_string(&columns(schema)).unwrap_or_else(|_| "[]".to_owned());
                format!("{{\"columns\":{columns},\"rows\":[").into_bytes()
            }
            Self::Csv { schema } => {
                let mut line = String::new();
                for (index, field) in schema.fields().iter().enumerate() {
                    if index > 0 {
                        line.push(',');
                    }
                    push_csv(&mut line, field.name());
                }
                line.push_str("\r\n");
                line.into_bytes()
            }
            Self::Ndjson { .. } => Vec::new(),
            Self::Arrow(writer) => std::mem::take(writer.get_mut()),
        }
    }

    pub(crate) fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        match self {
            Self::Json { schema, rows } => {
                let mut out = String::new();
                for row in 0..batch.num_rows() {
                    out.push(if *rows == 0 { '[' } else { ',' });
                    if *rows > 0 {
                        out.push('[');
                    }
                    *rows += 1;
                    for (index, (field, column)) in columns_of(schema, batch).enumerate() {
                        if index > 0 {
                            out.push(',');
                        }
                        write_value(&mut out, field, column, row);
                    }
                    out.push(']');
                }
                Ok(out.into_bytes())
            }
            Self::Csv { schema } => Ok(csv_rows(schema, batch)),
            Self::Ndjson { schema, keys } => {
                let mut out = String::new();
                for row in 0..batch.num_rows() {
                    for (index, (field, column)) in columns_of(schema, batch).enumerate() {
                        out.push(if index == 0 { '{' } else { ',' });
                        out.push_str(&keys[index]);
                        out.push(':');
                        write_value(&mut out, field, column, row);
                    }
                    out.push_str(if batch.num_columns() == 0 { "{}\n" } else { "}\n" });
                }
                Ok(out.into_bytes())
            }
            Self::Arrow(writer) => {
                writer.write(batch)?;
                Ok(std::mem::take(writer.get_mut()))
            }
        }
    }

    pub(crate) fn finish(&mut self, stats: &SqlStats) -> Result<Vec<u8>, ArrowError> {
        match self {
            Self::Json { .. } => {
                let stats = serde_json::to_string(stats).unwrap_or_else(|_| "null".to_owned());
                Ok(format!("],\"stats\":{stats}}}").into_bytes())
            }
            Self::Csv { .. } | Self::Ndjson { .. } => Ok(Vec::new()),
            Self::Arrow(writer) => {
                writer.finish()?;
                Ok(std::mem::take(writer.get_mut()))
            }
        }
    }
}

/// The fields of the answer, whose metadata a batch under way may have lost, with the batch's columns.
fn columns_of<'a>(
    schema: &'a SchemaRef,
    batch: &'a RecordBatch,
) -> impl Iterator<Item = (&'a Field, &'a ArrayRef)> {
    schema.fields().iter().map(AsRef::as_ref).zip(batch.columns())
}

/// RFC 4180: text as it is, null as nothing, all else as the JSON answer has it, without its quotes.
fn csv_rows(schema: &SchemaRef, batch: &RecordBatch) -> Vec<u8> {
    let mut out = String::new();
    let mut cell = String::new();
    for row in 0..batch.num_rows() {
        for (index, (field, column)) in columns_of(schema, batch).enumerate() {
            if index > 0 {
                out.push(',');
            }
            if column.is_null(row) || *column.data_type() == DataType::Null {
                continue;
            }
            cell.clear();
            write_value(&mut cell, field, column, row);
            match serde_json::from_str::<String>(&cell) {
                Ok(text) => push_csv(&mut out, &text),
                Err(_) => push_csv(&mut out, &cell),
            }
        }
        out.push_str("\r\n");
    }
    out.into_bytes()
}

fn push_csv(out: &mut String, text: &str) {
    // Quoted when empty too, so that the empty text differs from null.
    if !text.is_empty() && !text.contains(['"', ',', '\n', '\r']) {
        out.push_str(text);
        return;
    }
    out.push('"');
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringArray};
    use arrow::datatypes::Schema;
    use serde_json::json;

    use super::*;

    fn encode(format: Format) -> String {
        let schema = Arc::new(Schema::new(vec![
            Field::new("na,me", DataType::Utf8, true),
            Field::new("count", DataType::Int64, true),
            Field::new("share", DataType::Float64, true),
        ]));
        let batch = RecordBatch::try_new(
            schema.clone(),
            vec![
                Arc::new(StringArray::from(vec![Some("say \"hi\""), Some(""), None])),
                Arc::new(Int64Array::from(vec![Some(1), Some(i64::MAX), None])),
                Arc::new(Float64Array::from(vec![0.5, f64::NAN, 1.0])),
            ],
        )
        .unwrap();
        let mut encoder = Encoder::new(format, &schema).unwrap();
        let mut out = encoder.begin();
        out.extend(encoder.batch(&batch.slice(0, 2)).unwrap());
        out.extend(encoder.batch(&batch.slice(2, 1)).unwrap());
        out.extend(encoder.finish(&SqlStats::default()).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_one_document() {
        let answer: crate::model::SqlAnswer = serde_json::from_str(&encode(Format::Json)).unwrap();
        assert_eq!(answer.columns[1].column_type, "int64");
        assert_eq!(json!(answer.rows[1]), json!(["", "9223372036854775807", "NaN"]));
        assert_eq!(json!(answer.rows[2]), json!([null, null, 1.0]));
        assert!(answer.stats.is_some());
    }

    #[test]
    fn csv_quotes_what_must_be_quoted() {
        assert_eq!(
            encode(Format::Csv),
            "\"na,me\",count,share\r\n\"say \"\"hi\"\"\",1,0.5\r\n\"\",9223372036854775807,NaN\r\n,,1.0\r\n"
        );
    }

    #[test]
    fn ndjson_is_one_object_a_line() {
        assert_eq!(
            encode(Format::Ndjson),
            "{\"na,me\":\"say \\\"hi\\\"\",\"count\":1,\"share\":0.5}\n\
             {\"na,me\":\"\",\"count\":\"9223372036854775807\",\"share\":\"NaN\"}\n\
             {\"na,me\":null,\"count\":null,\"share\":1.0}\n"
        );
    }
}
