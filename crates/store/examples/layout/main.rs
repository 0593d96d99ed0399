//! Measures the physical layout and its alternatives on generated telemetry, on one core:
//! `cargo run --release -p cupola-store --example layout [items]`.
//!
//! Figures are the best of several rounds. MB are 10^6 bytes of uncompressed OTLP, or of Parquet where it says so.

mod maps;

use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema};
use cupola_generator::{Generator, GeneratorConfig};
use cupola_store::columns::{SealContext, SealError, SealedChunks, seal};
use cupola_store::schema::{PromotionProfiles, Table};
use cupola_store::segment::{self, SegmentOptions, SegmentSource};
use cupola_store::series::SeriesRegistry;
use cupola_telemetry::{Batch, Signal};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

const ROUNDS: usize = 5;
/// Items of one generated batch: a few hundred kilobytes, as exporters send them.
const BATCH_ITEMS: usize = 1_000;
/// Payload sealed at a time, as the memtable does.
const SEAL_BYTES: usize = 4 << 20;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let items: usize = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(300_000);
    for signal in [Signal::Logs, Signal::Traces, Signal::Metrics] {
        let batches = generate(signal, items);
        let chunks = seal_speed(signal, &batches)?;
        write_speed(&batches, &chunks)?;
    }
    let logs = generate(Signal::Logs, items);
    let rows = sorted_rows(Table::Logs, &logs)?;
    encodings(&rows)?;
    maps::layouts(&logs)?;
    Ok(())
}

fn generate(signal: Signal, items: usize) -> Vec<Batch> {
    let mut generator = Generator::new(GeneratorConfig::default());
    (0..items / BATCH_ITEMS)
        .map(|_| generator.batch(signal, BATCH_ITEMS))
        .collect()
}

fn bytes_of(batches: &[Batch]) -> usize {
    batches.iter().map(|batch| batch.payload().len()).sum()
}

/// Seals in portions, as the memtable does.
fn seal_all(batches: &[Batch], profiles: &PromotionProfiles) -> Outcome<Vec<SealedChunks>> {
    let series = SeriesRegistry::default();
    let context = SealContext {
        received_unix_nano: 1,
        profiles,
        series: &series,
    };
    let per_batch = bytes_of(batches) / batches.len();
    let mut sealed = Vec::new();
    for portion in batches.chunks((SEAL_BYTES / per_batch).max(1)) {
        sealed.push(match seal(portion, &context) {
            Err(SealError::DaysNotLoaded { days }) => {
                for day in days {
                    series.load(day, &[])?;
                }
                seal(portion, &context)?
            }
            sealed => sealed?,
        });
    }
    Ok(sealed)
}

/// The shortest of several runs, in seconds.
fn best<T>(mut run: impl FnMut() -> Outcome<T>) -> Outcome<(f64, T)> {
    let mut shortest: Option<(f64, T)> = None;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let result = run()?;
        let seconds = started.elapsed().as_secs_f64();
        if shortest.as_ref().is_none_or(|(known, _)| seconds < *known) {
            shortest = Some((seconds, result));
        }
    }
    shortest.ok_or_else(|| "no rounds".into())
}

fn seal_speed(signal: Signal, batches: &[Batch]) -> Outcome<Vec<SealedChunks>> {
    let profiles = PromotionProfiles::default();
    seal_all(batches, &profiles)?;
    let (seconds, sealed) = best(|| seal_all(batches, &profiles))?;
    let items: usize = batches.iter().map(Batch::items).sum();
    println!(
        "{signal}: {items} items, {:.1} MB of OTLP, {:.0} bytes an item",
        mega(bytes_of(batches)),
        bytes_of(batches) as f64 / items as f64
    );
    println!(
        "  to columns:        {:>6.0} MB/s, {:>9.0} items/s",
        mega(bytes_of(batches)) / seconds,
        items as f64 / seconds
    );
    Ok(sealed)
}

fn write_all(sealed: &[SealedChunks], options: &SegmentOptions) -> Outcome<usize> {
    let mut bytes = 0;
    for table in Table::ALL {
        let chunks: Vec<RecordBatch> = sealed
            .iter()
            .flat_map(|sealed| &sealed.chunks)
            .filter(|chunk| chunk.table == table)
            .map(|chunk| chunk.batch.clone())
            .collect();
        bytes += segment::write(table, &chunks, options)?
            .iter()
            .map(|segment| segment.bytes.len())
            .sum::<usize>();
    }
    Ok(bytes)
}

fn write_speed(batches: &[Batch], sealed: &[SealedChunks]) -> Outcome<()> {
    let items: usize = batches.iter().map(Batch::items).sum();
    let options = SegmentOptions::default();
    let variants = [
        ("zstd 1, 128k rows", options.clone()),
        (
            "zstd 3, 128k rows",
            SegmentOptions {
                zstd_level: 3,
                ..options.clone()
            },
        ),
        (
            "zstd 1, 32k rows",
            SegmentOptions {
                row_group_rows_max: 32_768,
                ..options.clone()
            },
        ),
        (
            "zstd 1, 512k rows",
            SegmentOptions {
                row_group_rows_max: 524_288,
                ..options
            },
        ),
    ];
    for (name, options) in variants {
        let (seconds, bytes) = best(|| write_all(sealed, &options))?;
        println!(
            "  sort and write:    {:>6.0} MB/s, {:>9.0} items/s, {:>6.1} bytes an item ({name})",
            mega(bytes_of(batches)) / seconds,
            items as f64 / seconds,
            bytes as f64 / items as f64,
        );
    }
    let profiles = PromotionProfiles::default();
    seal_all(batches, &profiles)?;
    let options = SegmentOptions::default();
    let (seconds, _) = best(|| write_all(&seal_all(batches, &profiles)?, &options))?;
    println!(
        "  OTLP to Parquet:   {:>6.0} MB/s, {:>9.0} items/s",
        mega(bytes_of(batches)) / seconds,
        items as f64 / seconds
    );
    Ok(())
}

/// The rows of one segment, as one batch.
fn sorted_rows(table: Table, batches: &[Batch]) -> Outcome<RecordBatch> {
    let sealed = seal_all(batches, &PromotionProfiles::default())?;
    let chunks: Vec<RecordBatch> = sealed
        .iter()
        .flat_map(|sealed| &sealed.chunks)
        .map(|chunk| chunk.batch.clone())
        .collect();
    let segments = segment::write(table, &chunks, &SegmentOptions::default())?;
    let largest = segments
        .into_iter()
        .max_by_key(|segment| segment.meta.rows)
        .ok_or("no rows")?;
    let rows = segment::read(table, SegmentSource::Memory(largest.bytes))?;
    Ok(concat_batches(&rows[0].schema(), &rows)?)
}

fn base() -> Outcome<WriterPropertiesBuilder> {
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(131_072))
        .set_statistics_enabled(EnabledStatistics::Page))
}

/// Writes a batch several times: milliseconds and bytes.
fn parquet(rows: &RecordBatch, properties: &WriterProperties) -> Outcome<(f64, usize)> {
    let (seconds, bytes) = best(|| {
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties.clone()))?;
        for start in (0..rows.num_rows()).step_by(16_384) {
            writer.write(&rows.slice(start, 16_384.min(rows.num_rows() - start)))?;
        }
        Ok(writer.into_inner()?.len())
    })?;
    Ok((seconds * 1e3, bytes))
}

fn report(name: &str, rows: &RecordBatch, properties: WriterPropertiesBuilder) -> Outcome<()> {
    let (milliseconds, bytes) = parquet(rows, &properties.build())?;
    let per_row = 1e6 / rows.num_rows() as f64;
    println!(
        "  {name:<52} {:>6.1} ns a row, {:>6.2} bytes a row",
        milliseconds * per_row,
        bytes as f64 / rows.num_rows() as f64
    );
    Ok(())
}

fn only(rows: &RecordBatch, columns: &[&str]) -> Outcome<RecordBatch> {
    let indices = columns
        .iter()
        .map(|name| rows.schema().index_of(name))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(rows.project(&indices)?)
}

fn path(name: &str) -> ColumnPath {
    ColumnPath::from(vec![name.to_owned()])
}

fn encodings(rows: &RecordBatch) -> Outcome<()> {
    println!(
        "encodings, {} log rows sorted by service and time, column alone:",
        rows.num_rows()
    );
    let times = only(rows, &["timestamp"])?;
    report("timestamp: dictionary, then plain", &times, base()?)?;
    report("timestamp: plain", &times, base()?.set_dictionary_enabled(false))?;
    let delta = base()?.set_dictionary_enabled(false);
    report(
        "timestamp: delta",
        &times,
        delta.set_column_encoding(path("timestamp"), Encoding::DELTA_BINARY_PACKED),
    )?;
    let ids = only(rows, &["trace_id"])?;
    report("trace_id: dictionary, then plain", &ids, base()?)?;
    report("trace_id: plain", &ids, base()?.set_dictionary_enabled(false))?;
    let bloom = |builder: WriterPropertiesBuilder, name: &str| {
        builder
            .set_column_bloom_filter_enabled(path(name), true)
            .set_column_bloom_filter_fpp(path(name), 0.0006)
            .set_column_bloom_filter_max_ndv(path(name), 131_072)
    };
    report(
        "trace_id: plain, bloom filter",
        &ids,
        bloom(base()?.set_dictionary_enabled(false), "trace_id"),
    )?;
    let bodies = only(rows, &["body"])?;
    report("body: dictionary, then plain", &bodies, base()?)?;
    report("body: plain", &bodies, base()?.set_dictionary_enabled(false))?;
    let lengths = base()?.set_dictionary_enabled(false);
    report(
        "body: lengths as deltas",
        &bodies,
        lengths.set_column_encoding(path("body"), Encoding::DELTA_LENGTH_BYTE_ARRAY),
    )?;
    let prefixes = base()?.set_dictionary_enabled(false);
    report(
        "body: prefixes as deltas",
        &bodies,
        prefixes.set_column_encoding(path("body"), Encoding::DELTA_BYTE_ARRAY),
    )?;
    for field in rows.schema().fields() {
        if field.data_type() == &DataType::Utf8View && field.name().starts_with("attributes.") {
            let column = only(rows, &[field.name()])?;
            report(&format!("{}: dictionary", field.name()), &column, base()?)?;
            report(
                &format!("{}: dictionary, bloom filter", field.name()),
                &column,
                bloom(base()?, field.name()),
            )?;
        }
    }
    let services = only(rows, &["service_name"])?;
    report("service_name: view array", &services, base()?)?;
    let dictionary = cast(
        services.column(0),
        &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
    )?;
    let schema = Schema::new(vec![Field::new(
        "service_name",
        dictionary.data_type().clone(),
        true,
    )]);
    report(
        "service_name: dictionary array",
        &RecordBatch::try_new(Arc::new(schema), vec![dictionary])?,
        base()?,
    )?;
    report("all columns, pages of 20000 rows", rows, base()?)?;
    report(
        "all columns, pages of 4096 rows",
        rows,
        base()?.set_data_page_row_count_limit(4096),
    )?;
    report(
        "all columns, no page statistics",
        rows,
        base()?.set_statistics_enabled(EnabledStatistics::Chunk),
    )
}

fn mega(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
