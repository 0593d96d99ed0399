//! How filters reach a scan: whether the Parquet reader evaluates them while decoding, decided per query, and which of
//! them it evaluates exactly.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::Schema;
use cupola_store::schema::AttributeSet;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, DynamicFilterPhysicalExpr, InListExpr, LikeExpr, Literal,
};
use datafusion::physical_expr::simplifier::PhysicalExprSimplifier;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, split_conjunction};
use datafusion::physical_expr_adapter::replace_columns_with_literals;

use crate::adapter::{SegmentsByPath, attribute_call};
use crate::functions::text::MatchWords;
use crate::tables::{ColumnSource, Part};

type Expression = Arc<dyn PhysicalExpr>;

/// Whether filters are worth evaluating while decoding: only where they are likely to be selective. Unselective ones
/// cost more by breaking decoding into short runs than they save.
pub(super) fn is_selective(filter: &Expression) -> bool {
    split_conjunction(filter).into_iter().any(|term| {
        let mut found = false;
        let _ = term.apply(|node| {
            found = found || is_selective_node(node);
            Ok(if found {
                TreeNodeRecursion::Stop
            } else {
                TreeNodeRecursion::Continue
            })
        });
        found
    })
}

fn is_selective_node(node: &Expression) -> bool {
    if node.downcast_ref::<DynamicFilterPhysicalExpr>().is_some()
        || node.downcast_ref::<LikeExpr>().is_some()
        || node
            .downcast_ref::<InListExpr>()
            .is_some_and(|list| !list.negated())
        || ScalarFunctionExpr::try_downcast_func::<MatchWords>(node.as_ref()).is_some()
    {
        return true;
    }
    let Some(binary) = node.downcast_ref::<BinaryExpr>() else {
        return false;
    };
    let is_attribute = |side: &Expression| attribute_call(side).is_some();
    match binary.op() {
        Operator::Eq | Operator::RegexMatch | Operator::RegexIMatch => true,
        Operator::Gt | Operator::GtEq | Operator::Lt | Operator::LtEq => {
            is_attribute(binary.left()) || is_attribute(binary.right())
        }
        _ => false,
    }
}

/// What a filter is for one part, whose constant columns are known.
pub(super) enum FilterForPart {
    /// No row of the part passes.
    Nothing,
    /// Every row passes.
    Everything,
    Filter(Expression),
}

/// Puts the constants of a part into a filter over the logical schema.
pub(super) fn for_part(filter: &Expression, part: &Part, schema: &Schema) -> Result<FilterForPart> {
    let constants: HashMap<&str, &ScalarValue> = part
        .columns
        .iter()
        .filter_map(|(name, source)| match source {
            ColumnSource::Literal(value) => Some((*name, value)),
            _ => None,
        })
        .collect();
    let mut names_constant = false;
    filter.apply(|node| {
        let column = node.downcast_ref::<Column>();
        names_constant |= column.is_some_and(|column| constants.contains_key(column.name()));
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !names_constant || contains_dynamic_filter(filter) {
        return Ok(FilterForPart::Filter(Arc::clone(filter)));
    }
    let replaced = replace_columns_with_literals(Arc::clone(filter), &constants)?;
    let simplified = PhysicalExprSimplifier::new(schema).simplify(replaced)?;
    Ok(match simplified.downcast_ref::<Literal>().map(Literal::value) {
        Some(ScalarValue::Boolean(Some(true))) => FilterForPart::Everything,
        Some(_) => FilterForPart::Nothing,
        None => FilterForPart::Filter(simplified),
    })
}

fn contains_dynamic_filter(filter: &Expression) -> bool {
    let mut found = false;
    let _ = filter.apply(|node| {
        found |= node.downcast_ref::<DynamicFilterPhysicalExpr>().is_some();
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// Whether the Parquet reader can evaluate the filter in every file. It cannot read maps and lists while filtering,
/// and leaves out what it cannot evaluate without a word.
pub(super) fn is_exact(filter: &Expression, part: &Part, segments: &SegmentsByPath) -> bool {
    let mut exact = true;
    let _ = filter.apply(|node| {
        if let Some(call) = attribute_call(node) {
            exact &= match part.columns.get(call.column) {
                Some(ColumnSource::Attributes(set)) => !any_in_map(*set, call.key, segments),
                _ => false,
            };
            return Ok(TreeNodeRecursion::Jump);
        }
        if let Some(column) = node.downcast_ref::<Column>() {
            exact &= !matches!(
                part.columns.get(column.name()),
                None | Some(ColumnSource::Attributes(_) | ColumnSource::List(_))
            );
        }
        Ok(TreeNodeRecursion::Continue)
    });
    exact
}

fn any_in_map(set: AttributeSet, key: &str, segments: &SegmentsByPath) -> bool {
    segments
        .values()
        .any(|segment| !segment.meta.rest_types(set, key).is_empty())
}
