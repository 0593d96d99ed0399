//! OTLP to columns, in one pass over the wire bytes: views are walked straight into column buffers, text columns point
//! into the payload itself.
//!
//! Refuses: sorting, files, and rows of more than one tenant or signal in a call.

mod attributes;
mod buffers;
mod logs;
mod metrics;
mod nested;
mod origin;
mod points;
mod projection;
mod series_rows;
mod spans;
mod values;

use arrow::array::RecordBatch;
use cupola_telemetry::{Batch, Signal};

pub(crate) use metrics::kind;
pub(crate) use nested::MapBuilder;
pub(crate) use projection::{Projection, project};
pub(crate) use values::describe;

use crate::schema::{KeyStatistics, PromotionProfiles, Table};
use crate::series::{Assignment, Day, SeriesRegistry};

/// What sealing needs besides the batches. One per tenant, kept for as long as the tenant is written to.
#[derive(Debug, Clone, Copy)]
pub struct SealContext<'a> {
    /// The time for items that carry none, nanoseconds since 1970.
    pub received_unix_nano: i64,
    pub profiles: &'a PromotionProfiles,
    pub series: &'a SeriesRegistry,
}

/// Rows of one table in the physical layout, in the order they came.
#[derive(Debug, Clone)]
pub struct SealedChunk {
    pub table: Table,
    pub batch: RecordBatch,
    /// Memory the rows hold. Columns share buffers, so the sizes Arrow reports would count them many times.
    pub memory_bytes: usize,
}

/// All rows of some batches.
#[derive(Debug, Clone, Default)]
pub struct SealedChunks {
    pub chunks: Vec<SealedChunk>,
}

impl SealedChunks {
    pub(crate) fn rows(&self) -> u64 {
        self.chunks
            .iter()
            .map(|chunk| chunk.batch.num_rows() as u64)
            .sum()
    }
}

/// Why batches could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Load these days into the registry ([`SeriesRegistry::load`], with no rows for a new day) and seal again.
    #[error("series of {} day(s) are not loaded", days.len())]
    DaysNotLoaded { days: Vec<Day> },
    #[error("could not build columns of table {table}")]
    Arrow {
        table: Table,
        source: arrow::error::ArrowError,
    },
    #[error("a batch of {bytes} bytes is too large to be sealed, at most {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
}

/// Bytes of payload, and items, made into one chunk at most, unless a single batch has more.
const CHUNK_BYTES_MAX: usize = 128 << 20;
const CHUNK_ITEMS_MAX: usize = 1 << 20;
/// Most text of one nested column of a chunk: its offsets have 31 bits.
pub(crate) const NESTED_BYTES_MAX: usize = 1 << 30;

/// Turns batches of one tenant and signal into columns.
pub fn seal(batches: &[Batch], context: &SealContext<'_>) -> Result<SealedChunks, SealError> {
    seal_into(batches, context, |chunks| chunks)
}

/// The same; `keep` puts the columns where they are seen, and only then do the series assigned for them count: nobody
/// may take a series for known whose row has not been kept.
pub(crate) fn seal_into<T>(
    batches: &[Batch],
    context: &SealContext<'_>,
    keep: impl FnOnce(SealedChunks) -> T,
) -> Result<T, SealError> {
    let mut sealed = SealedChunks::default();
    // One assignment over all groups: a series is assigned only when its row is part of what is returned.
    let metrics = batches.iter().any(|batch| batch.signal() == Signal::Metrics);
    let mut assignment = metrics.then(|| context.series.assign());
    for group in groups(batches) {
        let Some(batch) = Batch::concat(group) else {
            continue;
        };
        sealed
            .chunks
            .extend(seal_group(&batch, context, assignment.as_mut())?);
    }
    if let Some(assignment) = &assignment
        && !assignment.is_complete()
    {
        let days = assignment.missing();
        return Err(SealError::DaysNotLoaded { days });
    }
    for chunk in &sealed.chunks {
        if !chunk.table.attribute_sets().is_empty() {
            let statistics = KeyStatistics::of(std::slice::from_ref(&chunk.batch));
            context.profiles.learn(chunk.table, &statistics);
        }
    }
    let kept = keep(sealed);
    if let Some(assignment) = assignment {
        assignment.commit();
    }
    Ok(kept)
}

fn seal_group(
    batch: &Batch,
    context: &SealContext<'_>,
    assignment: Option<&mut Assignment<'_>>,
) -> Result<Vec<SealedChunk>, SealError> {
    let received_unix_nano = context.received_unix_nano;
    let chunk = match (batch.signal(), assignment) {
        (Signal::Logs, _) => {
            let profile = context.profiles.profile(Table::Logs);
            logs::seal(batch, &profile, received_unix_nano)?
        }
        (Signal::Traces, _) => {
            let profile = context.profiles.profile(Table::Spans);
            spans::seal(batch, &profile, received_unix_nano)?
        }
        (Signal::Metrics, Some(assignment)) => return metrics::seal(batch, context, assignment),
        (Signal::Metrics, None) => None,
    };
    Ok(chunk.into_iter().collect())
}

/// Runs of batches that make a chunk each.
fn groups(mut batches: &[Batch]) -> impl Iterator<Item = &[Batch]> {
    std::iter::from_fn(move || {
        let (mut bytes, mut items) = (0, 0);
        let fits = |batch: &&Batch| {
            let first = bytes == 0;
            bytes += batch.payload().len();
            items += batch.items();
            first || (bytes <= CHUNK_BYTES_MAX && items <= CHUNK_ITEMS_MAX)
        };
        let count = batches.iter().take_while(fits).count();
        let (group, rest) = batches.split_at(count);
        batches = rest;
        (!group.is_empty()).then_some(group)
    })
}
