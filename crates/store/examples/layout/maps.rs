//! Attributes as a map: a type tag and text, or one leaf for each type.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::Array;
use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int8Builder, Int64Builder, MapArray, RecordBatch,
    StringBuilder, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use cupola_telemetry::Batch;
use cupola_telemetry::view::{AnyValue, LogsData};

use super::{Outcome, base, report};

/// All attributes of log records as maps: tag and text, or one leaf for each type.
pub(crate) fn layouts(batches: &[Batch]) -> Outcome<()> {
    println!("attributes of log records as a map, none promoted:");
    let started = Instant::now();
    let tagged = tagged_map(batches)?;
    println!(
        "  tag and text: built in {:.0} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    let started = Instant::now();
    let typed = typed_map(batches)?;
    println!(
        "  one leaf a type: built in {:.0} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    report("tag and text", &tagged, base()?)?;
    report("one leaf a type", &typed, base()?)
}

fn each_attribute(batches: &[Batch], mut each: impl FnMut(&str, AnyValue<'_>), mut row: impl FnMut()) {
    for batch in batches {
        for resource in LogsData::new(batch.payload()).resources() {
            for record in resource.scopes().flat_map(|scope| scope.records()) {
                record
                    .attributes
                    .for_each(|attribute| each(attribute.key, attribute.value));
                row();
            }
        }
    }
}

fn map(keys: ArrayRef, values: ArrayRef, offsets: Vec<i32>) -> Outcome<RecordBatch> {
    let entries = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", values.data_type().clone(), false),
    ]);
    let field = Arc::new(Field::new("key_value", DataType::Struct(entries.clone()), false));
    let entries = StructArray::new(entries, vec![keys, values], None);
    let map = MapArray::new(field, OffsetBuffer::new(offsets.into()), entries, None, false);
    let schema = Schema::new(vec![Field::new("attributes", map.data_type().clone(), false)]);
    Ok(RecordBatch::try_new(Arc::new(schema), vec![Arc::new(map)])?)
}

fn tagged_map(batches: &[Batch]) -> Outcome<RecordBatch> {
    let (mut keys, mut tags, mut texts) = (StringBuilder::new(), Int8Builder::new(), StringBuilder::new());
    let ends = std::cell::RefCell::new(vec![0_i32]);
    let count = std::cell::Cell::new(0_i32);
    each_attribute(
        batches,
        |key, value| {
            keys.append_value(key);
            let (tag, text) = match value {
                AnyValue::String(text) => (1, text.to_owned()),
                AnyValue::Bool(value) => (2, value.to_string()),
                AnyValue::Int(value) => (3, value.to_string()),
                AnyValue::Double(value) => (4, value.to_string()),
                _ => (0, String::new()),
            };
            tags.append_value(tag);
            texts.append_value(text);
            count.set(count.get() + 1);
        },
        || ends.borrow_mut().push(count.get()),
    );
    let fields = Fields::from(vec![
        Field::new("type", DataType::Int8, false),
        Field::new("value", DataType::Utf8, false),
    ]);
    let values = StructArray::new(
        fields,
        vec![Arc::new(tags.finish()), Arc::new(texts.finish())],
        None,
    );
    map(Arc::new(keys.finish()), Arc::new(values), ends.into_inner())
}

fn typed_map(batches: &[Batch]) -> Outcome<RecordBatch> {
    let (mut keys, mut texts, mut bools) =
        (StringBuilder::new(), StringBuilder::new(), BooleanBuilder::new());
    let (mut integers, mut doubles, mut others) =
        (Int64Builder::new(), Float64Builder::new(), StringBuilder::new());
    let ends = std::cell::RefCell::new(vec![0_i32]);
    let count = std::cell::Cell::new(0_i32);
    each_attribute(
        batches,
        |key, value| {
            keys.append_value(key);
            texts.append_option(if let AnyValue::String(text) = value {
                Some(text)
            } else {
                None
            });
            bools.append_option(if let AnyValue::Bool(value) = value {
                Some(value)
            } else {
                None
            });
            integers.append_option(if let AnyValue::Int(value) = value {
                Some(value)
            } else {
                None
            });
            doubles.append_option(if let AnyValue::Double(value) = value {
                Some(value)
            } else {
                None
            });
            others.append_null();
            count.set(count.get() + 1);
        },
        || ends.borrow_mut().push(count.get()),
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(texts.finish()),
        Arc::new(bools.finish()),
        Arc::new(integers.finish()),
        Arc::new(doubles.finish()),
        Arc::new(others.finish()),
    ];
    let names = ["string", "bool", "int", "double", "other"];
    let fields: Fields = names
        .iter()
        .zip(&columns)
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    map(
        Arc::new(keys.finish()),
        Arc::new(StructArray::new(fields, columns, None)),
        ends.into_inner(),
    )
}
