//! Where late materialisation applies: a top-n sort directly over a table, filtered or not, that gives columns the sort
//! and the filter do not need.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::source::DataSourceExec;
use datafusion::functions::core::file_row_index::FileRowIndexFunc;
use datafusion::functions::core::input_file_name::InputFileNameFunc;
use datafusion::logical_expr::{ScalarUDF, ScalarUDFImpl};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;

use super::bound::{Bound, Pages};
use super::exec::{LateMaterializeExec, Locate, Materialize};
use crate::scan::{SnapshotSource, snapshot_source};

/// The children that find rows have fewer columns than the ones they replace.
const RECOMPUTE: ReplaceChildrenOptions = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
/// More rows than this are read at once.
const LATE_ROWS_MAX: usize = 10_000;

/// Names of the columns that say where a row is.
pub(super) const FILE_COLUMN: &str = "__cupola_file";
pub(super) const ROW_COLUMN: &str = "__cupola_row";

#[derive(Debug)]
pub(crate) struct LateMaterialization;

impl PhysicalOptimizerRule for LateMaterialization {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let config = Arc::new(config.clone());
        plan.transform_down(|node| {
            Ok(match materialize_late(&node, &config)? {
                Some(late) => Transformed::new(late, true, TreeNodeRecursion::Jump),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "late_materialization"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What is spread over more partitions, to filter a single file on several threads.
fn spread(plan: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
    plan.downcast_ref::<RepartitionExec>()
        .map_or(plan, RepartitionExec::input)
}

/// The plan under a top-n sort.
struct Scan {
    source: SnapshotSource,
    filter: Option<FilterExec>,
}

impl Scan {
    fn under(sort: &SortExec) -> Option<Scan> {
        let input = spread(sort.input());
        if let Some(source) = snapshot_source(input) {
            return Some(Scan {
                source: source.clone(),
                filter: None,
            });
        }
        let filter = input.downcast_ref::<FilterExec>()?;
        let source = snapshot_source(spread(filter.input()))?.clone();
        Some(Scan {
            source,
            filter: Some(filter.clone()),
        })
    }

    /// Which columns of the source the filter gives, in order.
    fn kept(&self) -> Option<Vec<usize>> {
        let projection = self.filter.as_ref()?.projection().as_ref()?;
        Some(projection.to_vec())
    }

    /// The columns of the source that sort and filter need.
    fn needed(&self, sort: &SortExec) -> BTreeSet<usize> {
        let kept = self.kept();
        let of_source = |index: usize| {
            kept.as_ref()
                .and_then(|kept| kept.get(index).copied())
                .unwrap_or(index)
        };
        let mut needed: BTreeSet<usize> = sort
            .expr()
            .iter()
            .flat_map(|sort| collect_columns(&sort.expr))
            .map(|column| of_source(column.index()))
            .collect();
        if let Some(filter) = &self.filter {
            needed.extend(
                collect_columns(filter.predicate())
                    .into_iter()
                    .map(|column| column.index()),
            );
        }
        needed
    }

    /// The same plan with constants for columns that are not needed, and two columns more that say where a row is.
    fn locating(
        &self,
        needed: &BTreeSet<usize>,
        newest: Option<&Bound>,
        config: &Arc<ConfigOptions>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let mut expressions = Vec::new();
        for (index, field) in self.source.output.fields().iter().enumerate() {
            let expression: Arc<dyn PhysicalExpr> = match needed.contains(&index) {
                true => Arc::new(Column::new(field.name(), index)),
                false => Arc::new(Literal::new(ScalarValue::try_new_null(field.data_type())?)),
            };
            expressions.push(ProjectionExpr::new(expression, field.name()));
        }
        expressions.push(place(
            InputFileNameFunc::new(),
            DataType::Utf8,
            FILE_COLUMN,
            config,
        ));
        expressions.push(place(
            FileRowIndexFunc::new(),
            DataType::Int64,
            ROW_COLUMN,
            config,
        ));
        let columns = expressions.len();
        let narrowed = match newest {
            Some(newest) => self.source.narrowed(Arc::clone(&newest.condition), config)?,
            None => None,
        };
        let source = narrowed.as_ref().unwrap_or(&self.source);
        let Some(source) = source.projected(&ProjectionExprs::new(expressions))? else {
            return Ok(None);
        };
        let plan: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(source);
        let Some(filter) = &self.filter else {
            return Ok(Some(plan));
        };
        let mut builder = FilterExecBuilder::new(Arc::clone(filter.predicate()), plan);
        if let Some(mut kept) = self.kept() {
            kept.extend([columns - 2, columns - 1]);
            builder = builder.apply_projection(Some(kept))?;
        }
        Ok(Some(Arc::new(builder.build()?)))
    }
}

fn place(
    function: impl ScalarUDFImpl + 'static,
    data_type: DataType,
    name: &str,
    config: &Arc<ConfigOptions>,
) -> ProjectionExpr {
    let field = Arc::new(Field::new(name, data_type, true));
    let function = Arc::new(ScalarUDF::from(function));
    let call = ScalarFunctionExpr::new(
        function.name(),
        Arc::clone(&function),
        vec![],
        field,
        Arc::clone(config),
    );
    ProjectionExpr::new(Arc::new(call), name)
}

/// The sort at `node`: itself, or merged from several partitions.
fn top_sort(node: &Arc<dyn ExecutionPlan>) -> Option<(&SortExec, usize)> {
    if let Some(merge) = node.downcast_ref::<SortPreservingMergeExec>() {
        let sort = merge.input().downcast_ref::<SortExec>()?;
        return Some((sort, merge.fetch()?));
    }
    let sort = node.downcast_ref::<SortExec>()?;
    let is_whole =
        !sort.preserve_partitioning() || sort.input().properties().partitioning.partition_count() == 1;
    is_whole.then_some((sort, sort.fetch()?))
}

fn materialize_late(
    node: &Arc<dyn ExecutionPlan>,
    config: &Arc<ConfigOptions>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some((sort, fetch)) = top_sort(node).filter(|(_, fetch)| *fetch <= LATE_ROWS_MAX) else {
        return Ok(None);
    };
    let Some(scan) = Scan::under(sort) else {
        return Ok(None);
    };
    let needed = scan.needed(sort);
    if needed.len() == scan.source.output.fields().len() {
        return Ok(None);
    }
    let pages = Pages::of(&scan.source, sort.expr());
    let certain = pages.as_ref().and_then(|pages| pages.of_first(fetch));
    let certain = certain.filter(|_| scan.filter.is_none());
    let attempts = match (&certain, &pages) {
        (None, Some(pages)) => pages.attempts(fetch),
        _ => Vec::new(),
    };
    let Some(input) = scan.locating(&needed, certain.as_ref(), config)? else {
        return Ok(None);
    };
    let mut locates = Vec::new();
    for bound in attempts {
        if let Some(input) = scan.locating(&needed, Some(&bound), config)? {
            locates.push(Locate {
                plan: newest(input, sort.expr(), fetch),
                oldest: Some(bound.oldest),
            });
        }
    }
    let located: Arc<dyn ExecutionPlan> = Arc::new(sort.clone()).replace_children(vec![input], RECOMPUTE)?;
    let plan = match node.downcast_ref::<SortPreservingMergeExec>() {
        Some(merge) => Arc::new(merge.clone()).replace_children(vec![located], RECOMPUTE)?,
        None => located,
    };
    locates.push(Locate { plan, oldest: None });
    let materialize = Materialize {
        kept: scan.kept(),
        source: scan.source,
        order: sort.expr().clone(),
        fetch,
    };
    Ok(Some(Arc::new(LateMaterializeExec::new(
        locates,
        materialize,
        node.schema(),
    ))))
}

/// A top-n sort of its own: what it learns of the rows must not leave any out of the next attempt.
fn newest(input: Arc<dyn ExecutionPlan>, order: &LexOrdering, fetch: usize) -> Arc<dyn ExecutionPlan> {
    let spread = input.properties().partitioning.partition_count() > 1;
    let sort = SortExec::new(order.clone(), input)
        .with_fetch(Some(fetch))
        .with_preserve_partitioning(spread);
    match spread {
        true => Arc::new(SortPreservingMergeExec::new(order.clone(), Arc::new(sort)).with_fetch(Some(fetch))),
        false => Arc::new(sort),
    }
}
