//! Segments as the engine itself needs them: bytes for merging, rows of the small series table.

use std::sync::Arc;

use arrow::array::RecordBatch;
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::error::StoreError;
use crate::segment::{SegmentError, SegmentSource};
use crate::version::Segment;

use super::Engine;

/// All rows of a segment.
pub(crate) async fn read_segment(
    objects: &Arc<dyn ObjectStore>,
    segment: &Segment,
) -> Result<Vec<RecordBatch>, StoreError> {
    let get = async { objects.get(&segment.path).await?.bytes().await };
    let data = get.await.map_err(|source| unreadable(&segment.path, source))?;
    let read = move || {
        let rows = ParquetRecordBatchReaderBuilder::try_new(data)?.build()?;
        rows.map(|batch| batch.map_err(ParquetError::from))
            .collect::<Result<Vec<_>, _>>()
    };
    let rows = tokio::task::spawn_blocking(read)
        .await
        .map_err(|_| StoreError::Background)?;
    rows.map_err(|source| StoreError::Segment {
        table: segment.table,
        source: SegmentError::Parquet {
            table: segment.table,
            source,
        },
    })
}

/// A segment to be merged: its file where there is one, its bytes otherwise.
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
