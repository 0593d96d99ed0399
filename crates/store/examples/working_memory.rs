//! How much memory writing and merging segments take besides their input, and how much is reserved for it:
//! `cargo run --release -p cupola-store --example working_memory`. Bytes are counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use cupola_generator::{Generator, GeneratorConfig};
use cupola_store::columns::{SealContext, SealError, seal};
use cupola_store::schema::{PromotionProfiles, Table};
use cupola_store::segment::{self, EncodedSegment, SegmentOptions, SegmentSource};
use cupola_store::series::SeriesRegistry;
use cupola_telemetry::Signal;

/// Items of one generated batch.
const BATCH_ITEMS: usize = 1_000;
const MIB: f64 = 1_048_576.0;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: hands everything to the system's allocator and counts beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Bytes that `work` held at most, besides what was held before.
fn peak_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = work();
    (PEAK.load(Ordering::Relaxed) - before, result)
}

fn main() -> Outcome<()> {
    for signal in Signal::ALL {
        println!("{signal}");
        for items in [20_000, 60_000, 200_000] {
            write(signal, items)?;
        }
        for (files, items) in [
            (4, 20_000),
            (16, 2_000),
            (16, 20_000),
            (32, 20_000),
            (8, 60_000),
            (1, 200_000),
        ] {
            merge(signal, files, items)?;
        }
    }
    Ok(())
}

/// Rows by table.
type Tables = Vec<(Table, Vec<RecordBatch>)>;

/// The chunks of a generation, and what they hold.
fn chunks(generator: &mut Generator, signal: Signal, items: usize) -> Outcome<(Tables, usize)> {
    let (profiles, series) = (PromotionProfiles::default(), SeriesRegistry::default());
    let context = SealContext {
        received_unix_nano: 1,
        profiles: &profiles,
        series: &series,
    };
    let batches: Vec<_> = (0..items / BATCH_ITEMS)
        .map(|_| generator.batch(signal, BATCH_ITEMS))
        .collect();
    let mut tables = Tables::new();
    let mut held = 0;
    for portion in batches.chunks(8) {
        let sealed = match seal(portion, &context) {
            Err(SealError::DaysNotLoaded { days }) => {
                for day in days {
                    series.load(day, &[])?;
                }
                seal(portion, &context)?
            }
            sealed => sealed?,
        };
        for chunk in sealed.chunks {
            held += chunk.memory_bytes;
            match tables.iter_mut().find(|(table, _)| *table == chunk.table) {
                Some((_, rows)) => rows.push(chunk.batch),
                None => tables.push((chunk.table, vec![chunk.batch])),
            }
        }
    }
    Ok((tables, held))
}

fn write(signal: Signal, items: usize) -> Outcome<()> {
    let mut generator = Generator::new(GeneratorConfig::default());
    let (tables, held) = chunks(&mut generator, signal, items)?;
    for (table, rows) in &tables {
        let reserved = segment::write_memory(*table, rows);
        let (peak, written) = peak_of(|| segment::write(*table, rows, &SegmentOptions::default()));
        let bytes: usize = written?.iter().map(|segment| segment.bytes.len()).sum();
        report(
            &format!(
                "write {table} of {items} items, {:.1} MiB in memory",
                held as f64 / MIB
            ),
            peak,
            reserved,
            bytes,
        );
    }
    Ok(())
}

fn merge(signal: Signal, files: usize, items: usize) -> Outcome<()> {
    let mut generator = Generator::new(GeneratorConfig::default());
    let mut tables: Vec<(Table, Vec<EncodedSegment>)> = Vec::new();
    for _ in 0..files {
        for (table, rows) in chunks(&mut generator, signal, items)?.0 {
            let mut written = segment::write(table, &rows, &SegmentOptions::default())?;
            match tables.iter_mut().find(|(known, _)| *known == table) {
                Some((_, segments)) => segments.append(&mut written),
                None => tables.push((table, written)),
            }
        }
    }
    for (table, segments) in &tables {
        let metas: Vec<_> = segments.iter().map(|segment| &segment.meta).collect();
        let reserved = segment::merge_memory(*table, &metas, &SegmentOptions::default());
        let mut inputs = Vec::new();
        for segment in segments {
            // As from a local disk: the bytes of the file are not in memory.
            let mut file = tempfile::tempfile()?;
            std::io::Write::write_all(&mut file, &segment.bytes)?;
            inputs.push((SegmentSource::File(file), &segment.meta));
        }
        let count = inputs.len();
        let (peak, merged) = peak_of(|| segment::merge(*table, inputs, None, &SegmentOptions::default()));
        let bytes: usize = merged?.iter().map(|segment| segment.bytes.len()).sum();
        report(
            &format!("merge {table}, {count} files of {items} items"),
            peak,
            reserved,
            bytes,
        );
    }
    Ok(())
}

fn report(what: &str, peak: usize, reserved: usize, output: usize) {
    println!(
        "  {what:<60} peak {:>7.1} MiB, reserved {:>7.1} MiB ({:.2} of the peak), output {:>6.1} MiB",
        peak as f64 / MIB,
        reserved as f64 / MIB,
        reserved as f64 / peak as f64,
        output as f64 / MIB
    );
}
