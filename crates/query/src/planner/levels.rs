//! `ORDER BY level` orders by severity.

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Sort};
use datafusion::optimizer::AnalyzerRule;

use super::comparisons::level_rank;
use crate::tables::metadata;

#[derive(Debug)]
pub(crate) struct LevelOrder;

impl AnalyzerRule for LevelOrder {
    fn name(&self) -> &str {
        "order_levels_by_severity"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            let LogicalPlan::Sort(Sort {
                mut expr,
                input,
                fetch,
            }) = plan
            else {
                return Ok(Transformed::no(plan));
            };
            let mut changed = false;
            for sort in &mut expr {
                if let Expr::Column(_) = &sort.expr
                    && let Ok((_, field)) = sort.expr.to_field(input.schema().as_ref())
                    && metadata::is_level(&field)
                {
                    sort.expr = level_rank(sort.expr.clone());
                    changed = true;
                }
            }
            let plan = LogicalPlan::Sort(Sort { expr, input, fetch });
            Ok(if changed {
                Transformed::yes(plan)
            } else {
                Transformed::no(plan)
            })
        })
        .data()
    }
}
