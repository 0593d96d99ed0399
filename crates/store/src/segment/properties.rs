//! How columns are encoded in Parquet. The choices are measured by `examples/layout.rs`.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use hashbrown::HashSet;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use rustc_hash::FxBuildHasher;

use super::{SegmentError, SegmentOptions};
use crate::schema::{FORMAT_KEY, FORMAT_VERSION, TABLE_KEY, Table, column};

/// Wrong answers of a bloom filter; with split blocks this is 16 bits a value.
const BLOOM_FALSE_POSITIVES: f64 = 0.0006;
/// Rows of a text column looked at to decide whether a dictionary pays.
const DICTIONARY_SAMPLE_ROWS: usize = 2048;
/// Distinct values among the sampled, in percent, above which text is written without a dictionary.
const DICTIONARY_DISTINCT_PERCENT_MAX: usize = 60;
/// Rows of a page: the unit the page index can skip.
const PAGE_ROWS_MAX: usize = 16_384;

/// Bytes of a page of text or ids, before compression. Whoever reads a hundred rows here and there decodes a page of each
/// column for each of them.
const PAGE_BYTES_MAX: usize = 256 << 10;

/// Columns that are the same or nothing most of the time get statistics and a dictionary, ids and times neither.
pub(crate) fn properties(
    table: Table,
    schema: &Schema,
    sample: &RecordBatch,
    options: &SegmentOptions,
) -> Result<WriterProperties, SegmentError> {
    let level =
        ZstdLevel::try_new(options.zstd_level).map_err(|source| SegmentError::Parquet { table, source })?;
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(options.row_group_rows_max))
        .set_data_page_row_count_limit(PAGE_ROWS_MAX)
        .set_data_page_size_limit(PAGE_BYTES_MAX)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_created_by(concat!("cupola ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_sorting_columns(sorting_columns(table, schema))
        .set_key_value_metadata(Some(vec![
            KeyValue::new(FORMAT_KEY.to_owned(), FORMAT_VERSION.to_owned()),
            KeyValue::new(TABLE_KEY.to_owned(), table.as_str().to_owned()),
        ]));
    for (index, field) in schema.fields().iter().enumerate() {
        let path = ColumnPath::from(vec![field.name().clone()]);
        builder = match field.data_type() {
            DataType::FixedSizeBinary(_) => id_column(builder, path, field.name(), options),
            DataType::Timestamp(_, _) => delta_column(builder, path),
            DataType::Int64 if field.name() == "duration" => {
                builder.set_column_dictionary_enabled(path, false)
            }
            DataType::UInt64 if field.name() == column::SERIES_ID && table == Table::Series => {
                delta_column(builder, path)
            }
            DataType::Float64 if table == Table::Samples => {
                builder.set_column_dictionary_enabled(path, false)
            }
            DataType::Utf8View => text_column(builder, path, sample.column(index)),
            _ => builder,
        };
    }
    Ok(builder.build())
}

fn id_column(
    builder: WriterPropertiesBuilder,
    path: ColumnPath,
    name: &str,
    options: &SegmentOptions,
) -> WriterPropertiesBuilder {
    let builder = builder
        .set_column_dictionary_enabled(path.clone(), false)
        .set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
    if name != column::TRACE_ID {
        return builder;
    }
    builder
        .set_column_bloom_filter_enabled(path.clone(), true)
        .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_POSITIVES)
        .set_column_bloom_filter_max_ndv(path, options.row_group_rows_max as u64)
}

fn delta_column(builder: WriterPropertiesBuilder, path: ColumnPath) -> WriterPropertiesBuilder {
    builder
        .set_column_dictionary_enabled(path.clone(), false)
        .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
}

fn text_column(
    builder: WriterPropertiesBuilder,
    path: ColumnPath,
    array: &dyn Array,
) -> WriterPropertiesBuilder {
    if !mostly_distinct(array) {
        return builder;
    }
    builder
        .set_column_dictionary_enabled(path.clone(), false)
        .set_column_encoding(path, Encoding::DELTA_LENGTH_BYTE_ARRAY)
}

/// Whether a dictionary would hold nearly every value.
fn mostly_distinct(array: &dyn Array) -> bool {
    let Some(array) = array.as_string_view_opt() else {
        return false;
    };
    let step = array.len().div_ceil(DICTIONARY_SAMPLE_ROWS).max(1);
    let mut seen: HashSet<&str, FxBuildHasher> = HashSet::default();
    let mut sampled = 0;
    for row in (0..array.len()).step_by(step) {
        if array.is_valid(row) {
            sampled += 1;
            seen.insert(array.value(row));
        }
    }
    sampled >= 64 && seen.len() * 100 > sampled * DICTIONARY_DISTINCT_PERCENT_MAX
}

fn sorting_columns(table: Table, schema: &Schema) -> Option<Vec<SortingColumn>> {
    let sorted = [table.sort_column(), column::TIMESTAMP].map(|name| {
        // Before the first nested column, so that the index of the field is the index of the leaf.
        schema.index_of(name).ok().map(|index| SortingColumn {
            column_idx: index as i32,
            descending: false,
            nulls_first: true,
        })
    });
    sorted.into_iter().collect()
}
