//! The memtable side of a scan: chunks filtered and projected where they are.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions::core::file_row_index::FileRowIndexFunc;
use datafusion::functions::core::input_file_name::InputFileNameFunc;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;
use datafusion::physical_plan::metrics::BaselineMetrics;

use crate::adapter::AdapterFactory;

/// Chunks of one part.
#[derive(Debug, Clone)]
pub(crate) struct ChunkPart {
    pub(crate) adapter: AdapterFactory,
    pub(crate) chunks: Vec<RecordBatch>,
}

impl ChunkPart {
    pub(crate) fn rows(&self) -> usize {
        self.chunks.iter().map(RecordBatch::num_rows).sum()
    }
}

/// One chunk by its place: its part and its number in it.
pub(crate) type ChunkPlace = (usize, usize);

/// Every chunk of `parts`, newest first within its part, dealt to `partitions`.
pub(crate) fn deal(parts: &[ChunkPart], partitions: usize) -> Vec<Vec<ChunkPlace>> {
    let mut dealt = vec![Vec::new(); partitions];
    let places = parts
        .iter()
        .enumerate()
        .flat_map(|(part, chunks)| (0..chunks.chunks.len()).rev().map(move |chunk| (part, chunk)));
    for (index, place) in places.enumerate() {
        dealt[index % partitions].push(place);
    }
    dealt
}

/// The name of a chunk within a scan, as a file has its path.
pub(crate) fn chunk_name(part: usize, chunk: usize) -> String {
    format!("memory:{part}:{chunk}")
}

/// The column that row numbers of a chunk are put in where they are asked for.
const ROW: &str = "__cupola_chunk_row";

/// Everything needed to turn chunks into output.
pub(crate) struct ChunkScan {
    pub(crate) logical: SchemaRef,
    pub(crate) output: SchemaRef,
    pub(crate) projection: ProjectionExprs,
    pub(crate) predicate: Option<Arc<dyn PhysicalExpr>>,
    pub(crate) rows_max: usize,
    pub(crate) fetch: Option<usize>,
    pub(crate) metrics: BaselineMetrics,
}

impl ChunkScan {
    /// Output of the chunks at `work`, one item a slice: an empty batch where no row of a slice passes, so that a scan
    /// that finds nothing gives way to others all the same.
    pub(crate) fn run(
        self,
        parts: Vec<ChunkPart>,
        work: Vec<ChunkPlace>,
    ) -> impl Iterator<Item = Result<RecordBatch>> {
        let mut left = self.fetch.unwrap_or(usize::MAX);
        let mut work = work.into_iter();
        let mut current: Option<ChunkReader> = None;
        std::iter::from_fn(move || {
            loop {
                if left == 0 {
                    return None;
                }
                let reader = match &mut current {
                    Some(reader) => reader,
                    None => {
                        let (part, chunk) = work.next()?;
                        match self.open(&parts[part], chunk, &chunk_name(part, chunk)) {
                            Ok(reader) => current.insert(reader),
                            Err(error) => return Some(Err(error)),
                        }
                    }
                };
                let timer = self.metrics.elapsed_compute().timer();
                let next = reader.next(&self);
                timer.done();
                match next {
                    Ok(Some(batch)) if batch.num_rows() == 0 => return Some(Ok(batch)),
                    Ok(Some(batch)) => {
                        let batch = batch.slice(0, batch.num_rows().min(left));
                        left -= batch.num_rows();
                        self.metrics.record_output(batch.num_rows());
                        return Some(Ok(batch));
                    }
                    Ok(None) => current = None,
                    Err(error) => return Some(Err(error)),
                }
            }
        })
    }

    fn open(&self, part: &ChunkPart, number: usize, name: &str) -> Result<ChunkReader> {
        let chunk = &part.chunks[number];
        let adapter = part.adapter.create(Arc::clone(&self.logical), chunk.schema())?;
        let predicate = match &self.predicate {
            Some(predicate) => {
                let predicate = adapter.rewrite(Arc::clone(predicate))?;
                let (columns, schema) = columns_of(std::iter::once(&predicate), chunk)?;
                Some((reassign_expr_columns(predicate, &schema)?, columns))
            }
            None => None,
        };
        let expressions: Vec<Arc<dyn PhysicalExpr>> = self
            .projection
            .expr_iter()
            .map(|expression| adapter.rewrite(expression))
            .collect::<Result<_>>()?;
        let (columns, schema) = columns_of(expressions.iter(), chunk)?;
        let mut rows = None;
        let mut placed = Vec::with_capacity(expressions.len());
        for expression in expressions {
            let expression = reassign_expr_columns(expression, &schema)?;
            placed.push(put_place(expression, name, columns.len(), &mut rows)?);
        }
        Ok(ChunkReader {
            chunk: chunk.clone(),
            predicate,
            expressions: placed,
            columns,
            rows,
            at: 0,
        })
    }
}

/// Replaces the functions that say where a row is: the file by `name`, the row by column `at`.
fn put_place(
    expression: Arc<dyn PhysicalExpr>,
    name: &str,
    at: usize,
    rows: &mut Option<SchemaRef>,
) -> Result<Arc<dyn PhysicalExpr>> {
    let replaced = expression.transform_down(|node| {
        if ScalarFunctionExpr::try_downcast_func::<InputFileNameFunc>(node.as_ref()).is_some() {
            let name = Literal::new(ScalarValue::Utf8(Some(name.to_owned())));
            return Ok(Transformed::yes(Arc::new(name) as Arc<dyn PhysicalExpr>));
        }
        if ScalarFunctionExpr::try_downcast_func::<FileRowIndexFunc>(node.as_ref()).is_some() {
            *rows = Some(Arc::new(Schema::new(vec![Field::new(
                ROW,
                DataType::Int64,
                false,
            )])));
            return Ok(Transformed::yes(Arc::new(Column::new(ROW, at))));
        }
        Ok(Transformed::no(node))
    });
    replaced.data()
}

/// The columns that expressions over `chunk` need, and their schema.
fn columns_of<'a>(
    expressions: impl Iterator<Item = &'a Arc<dyn PhysicalExpr>>,
    chunk: &RecordBatch,
) -> Result<(Vec<usize>, SchemaRef)> {
    let columns: BTreeSet<usize> = expressions
        .flat_map(collect_columns)
        .map(|column| column.index())
        .collect();
    let columns: Vec<usize> = columns.into_iter().collect();
    let schema = Arc::new(chunk.schema().project(&columns)?);
    Ok((columns, schema))
}

struct ChunkReader {
    chunk: RecordBatch,
    predicate: Option<(Arc<dyn PhysicalExpr>, Vec<usize>)>,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    columns: Vec<usize>,
    /// The schema of the row numbers, where they are asked for.
    rows: Option<SchemaRef>,
    at: usize,
}

impl ChunkReader {
    /// The next slice, filtered and projected; `None` at the end.
    fn next(&mut self, scan: &ChunkScan) -> Result<Option<RecordBatch>> {
        let rows = scan.rows_max.min(self.chunk.num_rows() - self.at);
        if rows == 0 {
            return Ok(None);
        }
        let slice = self.chunk.slice(self.at, rows);
        let mut needed = slice.project(&self.columns)?;
        if let Some(schema) = &self.rows {
            needed = with_row_numbers(&needed, self.at, schema)?;
        }
        self.at += rows;
        if let Some((predicate, columns)) = &self.predicate {
            let tested = slice.project(columns)?;
            let keep = predicate.evaluate(&tested)?.into_array(rows)?;
            let Some(keep) = keep.as_boolean_opt() else {
                return exec_err!("filter {predicate} is not a condition");
            };
            if keep.true_count() == 0 {
                return Ok(Some(RecordBatch::new_empty(Arc::clone(&scan.output))));
            }
            needed = filter_record_batch(&needed, keep)?;
        }
        let rows = needed.num_rows();
        let arrays = self
            .expressions
            .iter()
            .map(|expression| Ok(compacted(expression.evaluate(&needed)?.into_array(rows)?)))
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(RecordBatch::try_new_with_options(
            Arc::clone(&scan.output),
            arrays,
            &options,
        )?))
    }
}

/// The least that is worth a copy.
const COMPACT_BYTES_MIN: usize = 64 << 10;
/// How many times more than its own text an array may keep in memory.
const COMPACT_RATIO: usize = 8;

/// The array with its own text only, where that is a small part of what it refers to: text in memory refers to all the
/// payloads of its chunk, which every operator above would count, and keep, for each batch.
fn compacted(array: ArrayRef) -> ArrayRef {
    let Some(texts) = array.as_string_view_opt() else {
        return array;
    };
    let referred: usize = texts.data_buffers().iter().map(|buffer| buffer.len()).sum();
    if referred < COMPACT_BYTES_MIN || referred / COMPACT_RATIO < texts.total_buffer_bytes_used() {
        return array;
    }
    Arc::new(texts.gc())
}

/// The batch with one column more: the numbers of its rows from `first` on.
fn with_row_numbers(batch: &RecordBatch, first: usize, numbers: &SchemaRef) -> Result<RecordBatch> {
    let first = first as i64;
    let rows = Int64Array::from_iter_values(first..first + batch.num_rows() as i64);
    let fields: Vec<_> = batch
        .schema()
        .fields()
        .iter()
        .chain(numbers.fields())
        .cloned()
        .collect();
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(rows));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, StringViewArray};

    use super::*;

    #[test]
    fn few_texts_of_many_keep_their_own_bytes() {
        let long = "x".repeat(1000);
        let texts = StringViewArray::from_iter_values(vec![long.as_str(); 1000]);
        let few = compacted(Arc::new(texts.slice(10, 2)));
        assert_eq!(few.as_string_view().value(1), long);
        assert!(few.get_buffer_memory_size() < 4_000);
        // Most of them are not worth a copy.
        let most = compacted(Arc::new(texts.slice(10, 900)));
        assert!(most.get_buffer_memory_size() >= 1_000_000);
    }
}
