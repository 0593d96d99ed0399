//! Plans `attributes['key']`, `attributes->'key'`, `attributes->>'key'` and the same on any JSON text; and, because this
//! is where operators have not been given types yet, the comparisons of `comparisons`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, Operator, ScalarUDF, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::KeyTypes;
use super::comparisons::rewrite_comparison;
use crate::functions::attributes::{Attribute, AttributeKind};
use crate::functions::json::JsonGet;
use crate::functions::support::literal_text;
use crate::tables::metadata;

/// Plans expressions against the keys of one snapshot.
#[derive(Debug)]
pub(crate) struct AttributePlanner {
    keys: Arc<KeyTypes>,
    attribute: Arc<ScalarUDF>,
    json_get: Arc<ScalarUDF>,
    json_get_text: Arc<ScalarUDF>,
}

impl AttributePlanner {
    pub(crate) fn new(keys: Arc<KeyTypes>) -> AttributePlanner {
        AttributePlanner {
            keys,
            attribute: Arc::new(ScalarUDF::from(Attribute)),
            json_get: Arc::new(ScalarUDF::from(JsonGet::new(false))),
            json_get_text: Arc::new(ScalarUDF::from(JsonGet::new(true))),
        }
    }

    /// Member `key` of `value`; `None` when `value` is neither an attribute set nor JSON.
    fn member(&self, value: &Expr, key: &ScalarValue, as_text: bool, field: &Field) -> Option<Expr> {
        if let (Some((table, set)), Some(key)) = (metadata::attribute_set(field), literal_text(key)) {
            let kind = if as_text {
                AttributeKind::Text
            } else {
                self.keys.kind(table, set, key)
            };
            return Some(call(
                &self.attribute,
                vec![value.clone(), lit(key), lit(kind.as_str())],
            ));
        }
        let is_text = matches!(
            field.data_type(),
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8
        );
        let function = if as_text {
            &self.json_get_text
        } else {
            &self.json_get
        };
        is_text.then(|| call(function, vec![value.clone(), Expr::Literal(key.clone(), None)]))
    }
}

fn call(function: &Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), args))
}

impl ExprPlanner for AttributePlanner {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let key = match &access.field_access {
            GetFieldAccess::NamedStructField { name } => name,
            GetFieldAccess::ListIndex { key } => match key.as_ref() {
                Expr::Literal(key, _) => key,
                _ => return Ok(PlannerResult::Original(access)),
            },
            GetFieldAccess::ListRange { .. } => return Ok(PlannerResult::Original(access)),
        };
        let Ok((_, field)) = access.expr.to_field(schema) else {
            return Ok(PlannerResult::Original(access));
        };
        if !metadata::is_json(&field) {
            return Ok(PlannerResult::Original(access));
        }
        match self.member(&access.expr, key, false, &field) {
            Some(planned) => Ok(PlannerResult::Planned(planned)),
            None => Ok(PlannerResult::Original(access)),
        }
    }

    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let as_text = match expr.op {
            BinaryOperator::Arrow => false,
            BinaryOperator::LongArrow => true,
            _ => {
                let rewritten = match comparison_operator(&expr.op) {
                    Some(op) => rewrite_comparison(&expr.left, op, &expr.right, schema)?,
                    None => None,
                };
                return Ok(match rewritten {
                    Some(planned) => PlannerResult::Planned(planned),
                    None => PlannerResult::Original(expr),
                });
            }
        };
        let (Expr::Literal(key, _), Ok((_, field))) = (&expr.right, expr.left.to_field(schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        match self.member(&expr.left, key, as_text, &field) {
            Some(planned) => Ok(PlannerResult::Planned(planned)),
            None => Ok(PlannerResult::Original(expr)),
        }
    }
}

fn comparison_operator(op: &BinaryOperator) -> Option<Operator> {
    match op {
        BinaryOperator::Eq => Some(Operator::Eq),
        BinaryOperator::NotEq => Some(Operator::NotEq),
        BinaryOperator::Lt => Some(Operator::Lt),
        BinaryOperator::LtEq => Some(Operator::LtEq),
        BinaryOperator::Gt => Some(Operator::Gt),
        BinaryOperator::GtEq => Some(Operator::GtEq),
        _ => None,
    }
}
