//! The Parquet side of a scan: one file scan per part of the table.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::DateTime;
use cupola_store::Segment;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, ParquetSource,
};
use datafusion::execution::object_store::ObjectStoreUrl;
use object_store::ObjectMeta;

use super::indexes::Candidate;
use super::statistics;
use crate::adapter::AdapterFactory;

/// The scan of `segments`; rows with the newest times are offered first.
pub(super) fn file_scan(
    url: &ObjectStoreUrl,
    source: &ParquetSource,
    adapter: &AdapterFactory,
    segments: &[Candidate],
    schema: &SchemaRef,
    projection: Option<Vec<usize>>,
    partitions: usize,
) -> Result<FileScanConfig> {
    let mut newest_first: Vec<&Candidate> = segments.iter().collect();
    newest_first.sort_by_key(|(segment, _)| std::cmp::Reverse(segment.max_timestamp));
    let groups = partitions.clamp(1, segments.len().max(1));
    let mut file_groups = vec![Vec::new(); groups];
    for (index, (segment, selection)) in newest_first.into_iter().enumerate() {
        let file = file(segment, schema);
        file_groups[index % groups].push(match selection {
            Some(rows) => file.with_extension(ParquetRowSelection::new(rows.clone())),
            None => file,
        });
    }
    Ok(FileScanConfigBuilder::new(url.clone(), Arc::new(source.clone()))
        .with_file_groups(file_groups.into_iter().map(FileGroup::new).collect())
        .with_statistics(Statistics::new_unknown(schema))
        .with_expr_adapter(Some(Arc::new(adapter.clone())))
        .with_projection_indices(projection)?
        .build())
}

fn file(segment: &Segment, schema: &SchemaRef) -> PartitionedFile {
    let meta = ObjectMeta {
        location: segment.path.clone(),
        last_modified: DateTime::UNIX_EPOCH,
        size: segment.bytes,
        e_tag: None,
        version: None,
    };
    PartitionedFile::new_from_meta(meta).with_statistics(statistics::of_segment(segment, schema))
}
