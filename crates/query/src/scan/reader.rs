//! Reading segments: a cache of file metadata across queries, bounded in bytes, and a reader that uses it.
//!
//! Segments never change, so a cached footer is valid for as long as the path is. Footers are kept with one added
//! entry that names the segment: that is how the expression adapter, which is given schemas alone, knows which file
//! it is at.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cupola_telemetry::memory::{MemoryBudget, Reservation};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, MetadataFetch};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{
    FileMetaData, KeyValue, PageIndexPolicy, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataReader,
};

use crate::adapter::SEGMENT_PATH_KEY;

/// Bytes from the end of a file read at once, in the hope that they hold the footer.
const FOOTER_READ_BYTES: usize = 64 << 10;

/// Parsed footers and page indexes, least recently used out first.
pub(crate) struct MetadataCache {
    bytes_max: usize,
    entries: Mutex<Entries>,
}

struct Entries {
    by_path: HashMap<Path, Entry>,
    clock: u64,
    reservation: Reservation,
}

struct Entry {
    metadata: Arc<ParquetMetaData>,
    bytes: usize,
    used_at: u64,
}

impl MetadataCache {
    pub(crate) fn new(bytes_max: usize, memory: &MemoryBudget) -> MetadataCache {
        let entries = Entries {
            by_path: HashMap::new(),
            clock: 0,
            reservation: memory.reservation(),
        };
        MetadataCache {
            bytes_max,
            entries: Mutex::new(entries),
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.lock().reservation.bytes()
    }

    /// What is known without reading.
    pub(crate) fn get(&self, path: &Path) -> Option<Arc<ParquetMetaData>> {
        let mut entries = self.entries.lock();
        entries.clock += 1;
        let now = entries.clock;
        let entry = entries.by_path.get_mut(path)?;
        entry.used_at = now;
        Some(Arc::clone(&entry.metadata))
    }

    /// Keeps metadata unless there is no memory for it.
    fn put(&self, path: &Path, metadata: &Arc<ParquetMetaData>) {
        let bytes = metadata.memory_size();
        let mut entries = self.entries.lock();
        entries.remove(path);
        while entries.reservation.bytes() + bytes > self.bytes_max && entries.remove_oldest() {}
        if bytes > self.bytes_max || !entries.reservation.try_grow(bytes) {
            return;
        }
        entries.clock += 1;
        let entry = Entry {
            metadata: Arc::clone(metadata),
            bytes,
            used_at: entries.clock,
        };
        entries.by_path.insert(path.clone(), entry);
    }
}

impl Entries {
    fn remove(&mut self, path: &Path) {
        if let Some(entry) = self.by_path.remove(path) {
            self.reservation.shrink(entry.bytes);
        }
    }

    fn remove_oldest(&mut self) -> bool {
        let oldest = self
            .by_path
            .iter()
            .min_by_key(|(_, entry)| entry.used_at)
            .map(|(path, _)| path.clone());
        match oldest {
            Some(path) => {
                self.remove(&path);
                true
            }
            None => false,
        }
    }
}

impl fmt::Debug for MetadataCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataCache")
            .field("bytes_max", &self.bytes_max)
            .finish_non_exhaustive()
    }
}

/// Makes readers of segments.
#[derive(Debug, Clone)]
pub(crate) struct SegmentReaderFactory {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) cache: Arc<MetadataCache>,
}

impl SegmentReaderFactory {
    /// Footer and page index of a segment.
    pub(crate) async fn metadata(&self, path: &Path, bytes: u64) -> ParquetResult<Arc<ParquetMetaData>> {
        let mut reader = SegmentReader {
            store: Arc::clone(&self.store),
            cache: Arc::clone(&self.cache),
            path: path.clone(),
            bytes,
            bytes_scanned: Count::new(),
        };
        reader.get_metadata(None).await
    }
}

impl ParquetFileReaderFactory for SegmentReaderFactory {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> datafusion::common::Result<Box<dyn AsyncFileReader + Send>> {
        Ok(Box::new(SegmentReader {
            store: Arc::clone(&self.store),
            cache: Arc::clone(&self.cache),
            path: file.object_meta.location,
            bytes: file.object_meta.size,
            bytes_scanned: MetricBuilder::new(metrics).counter("bytes_scanned", partition),
        }))
    }
}

#[derive(Clone)]
struct SegmentReader {
    store: Arc<dyn ObjectStore>,
    cache: Arc<MetadataCache>,
    path: Path,
    bytes: u64,
    bytes_scanned: Count,
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for SegmentReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.bytes_scanned.add((range.end - range.start) as usize);
        async move { self.store.get_range(&self.path, range).await.map_err(external) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        self.bytes_scanned.add(bytes as usize);
        async move { self.store.get_ranges(&self.path, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            match self.cache.get(&self.path) {
                Some(cached) => Ok(cached),
                None => {
                    let metadata = Arc::new(self.load().await?);
                    self.cache.put(&self.path, &metadata);
                    Ok(metadata)
                }
            }
        }
        .boxed()
    }
}

impl SegmentReader {
    /// The footer and the page index: whoever reads single rows needs to know where pages begin.
    async fn load(&self) -> ParquetResult<ParquetMetaData> {
        let reader = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .with_prefetch_hint(Some(FOOTER_READ_BYTES));
        let metadata = reader.load_and_finish(Fetch(self), self.bytes).await?;
        Ok(name_segment(metadata, &self.path))
    }
}

struct Fetch<'a>(&'a SegmentReader);

impl MetadataFetch for Fetch<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            self.0
                .store
                .get_range(&self.0.path, range)
                .await
                .map_err(external)
        }
        .boxed()
    }
}

/// The same metadata with the path of the segment among its key-value pairs.
fn name_segment(metadata: ParquetMetaData, path: &Path) -> ParquetMetaData {
    let file = metadata.file_metadata();
    let mut pairs = file.key_value_metadata().cloned().unwrap_or_default();
    pairs.push(KeyValue::new(SEGMENT_PATH_KEY.to_owned(), path.to_string()));
    let named = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        Some(pairs),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    let mut parts = metadata.into_builder();
    let row_groups = parts.take_row_groups();
    let column_index = parts.take_column_index();
    let offset_index = parts.take_offset_index();
    ParquetMetaDataBuilder::new(named)
        .set_row_groups(row_groups)
        .set_column_index(column_index)
        .set_offset_index(offset_index)
        .build()
}
