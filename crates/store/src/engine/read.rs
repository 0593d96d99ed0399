//! Segments as the engine itself needs them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;

use crate::error::StoreError;
use crate::schema::Table;
use crate::segment::{SegmentError, SegmentSource};

use super::Engine;

/// A segment to be read: its file where there is one, its bytes otherwise.
pub(super) async fn segment_source(
    objects: &Arc<dyn ObjectStore>,
    path: &Path,
) -> Result<SegmentSource, StoreError> {
    let found = objects
        .get(path)
        .await
        .map_err(|source| unreadable(path, source))?;
    match found.payload {
        GetResultPayload::File(file, _) => Ok(SegmentSource::File(file)),
        GetResultPayload::Stream(_) => {
            let data = found.bytes().await.map_err(|source| unreadable(path, source))?;
            Ok(SegmentSource::Memory(data))
        }
    }
}

/// Rows decoded at a time.
const READ_ROWS: usize = 8192;

/// Which columns to read, by name.
pub(super) type Columns<'a> = &'a dyn Fn(&str) -> bool;

/// Gives the rows of a segment to `take`, some thousand at a time, until it answers `false`. Of `columns` alone, or of
/// all without. Takes a whole core.
pub(super) fn visit(
    table: Table,
    source: SegmentSource,
    columns: Option<Columns<'_>>,
    mut take: impl FnMut(RecordBatch) -> bool,
) -> Result<(), StoreError> {
    let reader = match source {
        SegmentSource::Memory(bytes) => read_rows(bytes, columns),
        SegmentSource::File(file) => read_rows(file, columns),
    };
    let failed = |source| StoreError::Segment {
        table,
        source: SegmentError::Parquet { table, source },
    };
    for batch in reader.map_err(failed)? {
        if !take(batch.map_err(|source| failed(source.into()))?) {
            break;
        }
    }
    Ok(())
}

fn read_rows(
    file: impl ChunkReader + 'static,
    columns: Option<Columns<'_>>,
) -> Result<ParquetRecordBatchReader, ParquetError> {
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    if let Some(wanted) = columns {
        let fields = builder.schema().fields().iter().enumerate();
        let roots = fields.filter(|(_, field)| wanted(field.name()));
        let roots: Vec<usize> = roots.map(|(index, _)| index).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        builder = builder.with_projection(mask);
    }
    builder.with_batch_size(READ_ROWS).build()
}

impl Engine {
    /// Runs a merge: the only one, as whoever merges holds `maintenance`.
    pub(super) async fn merge_work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| StoreError::Background)
    }
}

/// Reads every page of a Parquet file and counts its rows. Takes a whole core.
pub(crate) fn count_rows(data: bytes::Bytes) -> Result<u64, ParquetError> {
    let mut rows = 0;
    for batch in ParquetRecordBatchReaderBuilder::try_new(data)?.build()? {
        rows += batch?.num_rows() as u64;
    }
    Ok(rows)
}

fn unreadable(path: &Path, source: object_store::Error) -> StoreError {
    StoreError::ObjectStore {
        action: "read",
        path: path.to_string(),
        source,
    }
}
