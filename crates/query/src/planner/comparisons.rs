//! Comparisons that mean more than their types say:
//!
//! - levels compare by severity: `level >= 'warn'` is `level_rank(level) >= 13`. A level is four severity numbers, so
//!   `= 'warn'` is 13 to 16. Records without severity have no level: no comparison is true for them;
//! - durations, in nanoseconds, compare with intervals: `duration > interval '1 second'`;
//! - ids compare whatever the case they are written in.

use std::sync::Arc;

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, ScalarUDF, binary_expr, lit};

use crate::functions::level::{LEVEL_WIDTH, LevelRank, level_floor};
use crate::functions::support::literal_text;
use crate::tables::metadata;

const DAY_NANOS: i128 = 86_400_000_000_000;

/// The comparisons in expressions that were not planned from SQL text, or whose constants came later as parameters.
#[derive(Debug)]
pub(crate) struct ComparisonRewrite;

impl FunctionRewrite for ComparisonRewrite {
    fn name(&self) -> &str {
        "compare_levels_durations_ids"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _config: &ConfigOptions) -> Result<Transformed<Expr>> {
        let rewritten = match &expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => rewrite_comparison(left, *op, right, schema)?,
            Expr::Between(between) => {
                let low = rewrite_comparison(&between.expr, Operator::GtEq, &between.low, schema)?;
                let high = rewrite_comparison(&between.expr, Operator::LtEq, &between.high, schema)?;
                let both = low.zip(high).map(|(low, high)| low.and(high));
                both.map(|both| {
                    if between.negated {
                        Expr::Not(Box::new(both))
                    } else {
                        both
                    }
                })
            }
            Expr::InList(list) => rewrite_membership(list, schema)?,
            _ => None,
        };
        Ok(match rewritten {
            Some(rewritten) => Transformed::yes(rewritten),
            None => Transformed::no(expr),
        })
    }
}

/// What `left op right` is planned as, if it is one of these.
pub(super) fn rewrite_comparison(
    left: &Expr,
    op: Operator,
    right: &Expr,
    schema: &DFSchema,
) -> Result<Option<Expr>> {
    if !matches!(
        op,
        Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
    ) {
        return Ok(None);
    }
    let (column, op, constant) = match (left, right) {
        (Expr::Literal(_, _), Expr::Literal(_, _)) => return Ok(None),
        (column, Expr::Literal(constant, _)) => (column, op, constant),
        (Expr::Literal(constant, _), column) => match op.swap() {
            Some(op) => (column, op, constant),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    // Functions over such columns are no longer what the column is.
    if !matches!(column, Expr::Column(_) | Expr::Alias(_)) {
        return Ok(None);
    }
    let Ok((_, field)) = column.to_field(schema) else {
        return Ok(None);
    };
    if metadata::is_level(&field) {
        return match literal_text(constant) {
            Some(name) => compare_level(column, op, name).map(Some),
            None => Ok(None),
        };
    }
    if metadata::is_nanoseconds(&field) {
        return Ok(nanoseconds(constant)?.map(|nanos| binary_expr(column.clone(), op, lit(nanos))));
    }
    if metadata::is_id(&field) {
        let upper = literal_text(constant).filter(|text| text.bytes().any(|byte| byte.is_ascii_uppercase()));
        return Ok(upper.map(|text| binary_expr(column.clone(), op, lit(text.to_ascii_lowercase()))));
    }
    Ok(None)
}

/// What `level IN ('warn', …)` and `trace_id IN ('…', …)` are planned as: what `=` means, for each.
fn rewrite_membership(list: &InList, schema: &DFSchema) -> Result<Option<Expr>> {
    let op = if list.negated {
        Operator::NotEq
    } else {
        Operator::Eq
    };
    let mut terms = Vec::with_capacity(list.list.len());
    let mut any = false;
    for element in &list.list {
        // Nothing else is like null in a list.
        let Expr::Literal(value, _) = element else {
            return Ok(None);
        };
        if value.is_null() {
            return Ok(None);
        }
        let rewritten = rewrite_comparison(&list.expr, op, element, schema)?;
        any |= rewritten.is_some();
        terms.push(rewritten.unwrap_or_else(|| binary_expr((*list.expr).clone(), op, element.clone())));
    }
    if !any {
        return Ok(None);
    }
    Ok(if list.negated {
        conjunction(terms)
    } else {
        disjunction(terms)
    })
}

fn compare_level(column: &Expr, op: Operator, name: &str) -> Result<Expr> {
    let Some(floor) = level_floor(name) else {
        return plan_err!("there is no level '{name}': levels are trace, debug, info, warn, error, fatal");
    };
    let next = floor + LEVEL_WIDTH;
    let rank = level_rank(column.clone());
    let at_least = |least: i32| rank.clone().gt_eq(lit(least));
    let below = |most: i32| rank.clone().lt(lit(most));
    Ok(match op {
        Operator::Eq => at_least(floor).and(below(next)),
        Operator::NotEq => at_least(1).and(below(floor).or(at_least(next))),
        Operator::Lt => at_least(1).and(below(floor)),
        Operator::LtEq => at_least(1).and(below(next)),
        Operator::Gt => at_least(next),
        _ => at_least(floor),
    })
}

pub(super) fn level_rank(column: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::new(ScalarUDF::from(LevelRank)),
        vec![column],
    ))
}

/// The length of an interval or duration constant; months have none.
fn nanoseconds(constant: &ScalarValue) -> Result<Option<i64>> {
    let nanos = match constant {
        ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano {
            months,
            days,
            nanoseconds,
        })) => {
            if *months != 0 {
                return plan_err!(
                    "a duration compares with an interval of days or less: months have no fixed length"
                );
            }
            i128::from(*days) * DAY_NANOS + i128::from(*nanoseconds)
        }
        ScalarValue::IntervalDayTime(Some(interval)) => {
            i128::from(interval.days) * DAY_NANOS + i128::from(interval.milliseconds) * 1_000_000
        }
        ScalarValue::DurationSecond(Some(count)) => i128::from(*count) * 1_000_000_000,
        ScalarValue::DurationMillisecond(Some(count)) => i128::from(*count) * 1_000_000,
        ScalarValue::DurationMicrosecond(Some(count)) => i128::from(*count) * 1_000,
        ScalarValue::DurationNanosecond(Some(count)) => i128::from(*count),
        _ => return Ok(None),
    };
    Ok(Some(i64::try_from(nanos).unwrap_or(if nanos < 0 {
        i64::MIN
    } else {
        i64::MAX
    })))
}
