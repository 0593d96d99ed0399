//! Comparisons with constants, made on what is stored: ids on their bytes, names on their numbers, levels on severity.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, InListExpr, IsNotNullExpr, IsNullExpr, Literal, in_list,
};

use super::columns::literal;
use super::{Adapter, Expression};
use crate::functions::ids::id_bytes;
use crate::functions::level::{
    LEVEL_WIDTH, LevelRank, NamedNumber, SEVERITY_ERROR, SEVERITY_INFO, SEVERITY_MAX, STATUS_ERROR,
};
use crate::functions::support::literal_text;
use crate::tables::ColumnSource;

/// The text of a literal expression.
pub(super) fn literal_str(expression: &Expression) -> Option<&str> {
    literal_text(expression.downcast_ref::<Literal>()?.value())
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

impl Adapter {
    /// `column op constant`, in either order, where a comparison of what is stored means the same.
    pub(super) fn comparison(&self, binary: &BinaryExpr) -> Result<Option<Expression>> {
        if !is_comparison(*binary.op()) {
            return Ok(None);
        }
        let flipped = binary.left().downcast_ref::<Literal>().is_some();
        let (column, constant, op) = match flipped {
            true => (binary.right(), binary.left(), binary.op().swap()),
            false => (binary.left(), binary.right(), Some(*binary.op())),
        };
        let (Some(op), Some(constant)) = (op, constant.downcast_ref::<Literal>()) else {
            return Ok(None);
        };
        if let Some(call) = ScalarFunctionExpr::try_downcast_func::<LevelRank>(column.as_ref()) {
            let source = call.args().first().and_then(|level| self.source(level));
            return Ok(match source {
                Some(ColumnSource::Named(name, NamedNumber::StatusLevel)) => {
                    self.status_comparison(name, op, constant.value())
                }
                Some(ColumnSource::Named(name, NamedNumber::Level)) => {
                    self.severity_comparison(name, op, constant.value())
                }
                _ => None,
            });
        }
        let Some(source) = self.source(column) else {
            return Ok(None);
        };
        let Some((name, value)) = stored_constant(source, op, constant.value()) else {
            return Ok(None);
        };
        // A number that the column cannot hold has to be compared as text: it may be the text of none.
        Ok(self.physical_column(name).and_then(|(column, data_type)| {
            let value = value.cast_to(data_type).ok().filter(|value| !value.is_null())?;
            Some(Arc::new(BinaryExpr::new(column, op, literal(value))) as Expression)
        }))
    }

    /// `level_rank(level) op constant` of log records, as comparisons of the severity number: these are what statistics
    /// are of. Where there is no level it is false and not null, which only a result and no filter can tell.
    fn severity_comparison(&self, name: &str, op: Operator, constant: &ScalarValue) -> Option<Expression> {
        let ScalarValue::Int32(Some(constant)) = constant else {
            return None;
        };
        let (column, found) = self.physical_column(name)?;
        if *found != DataType::Int32 {
            return None;
        }
        // The severities from which the rank is at least `least`.
        let from = |least: i32| match least {
            ..=1 => 1,
            least if least > SEVERITY_MAX => SEVERITY_MAX + 1,
            least => (least - 2) / LEVEL_WIDTH * LEVEL_WIDTH + LEVEL_WIDTH + 1,
        };
        let next = from(constant.saturating_add(1));
        let (low, high) = match op {
            Operator::GtEq => (from(*constant), SEVERITY_MAX + 1),
            Operator::Gt => (next, SEVERITY_MAX + 1),
            Operator::Lt => (1, from(*constant)),
            Operator::LtEq => (1, next),
            Operator::Eq => (from(*constant), next),
            _ => return None,
        };
        let compare = |op, bound| -> Expression {
            let bound = literal(ScalarValue::Int32(Some(bound)));
            Arc::new(BinaryExpr::new(Arc::clone(&column), op, bound))
        };
        Some(Arc::new(BinaryExpr::new(
            compare(Operator::GtEq, low),
            Operator::And,
            compare(Operator::Lt, high),
        )))
    }

    /// `level_rank(level) op constant` of spans, whose level is one of two.
    fn status_comparison(&self, name: &str, op: Operator, constant: &ScalarValue) -> Option<Expression> {
        let ScalarValue::Int32(Some(constant)) = constant else {
            return None;
        };
        let holds = |severity: i32| match op {
            Operator::Eq => Some(severity == *constant),
            Operator::NotEq => Some(severity != *constant),
            Operator::Lt => Some(severity < *constant),
            Operator::LtEq => Some(severity <= *constant),
            Operator::Gt => Some(severity > *constant),
            Operator::GtEq => Some(severity >= *constant),
            _ => None,
        };
        let (column, _) = self.physical_column(name)?;
        let error = literal(ScalarValue::Int32(Some(STATUS_ERROR)));
        match (holds(SEVERITY_ERROR)?, holds(SEVERITY_INFO)?) {
            (true, false) => Some(Arc::new(BinaryExpr::new(column, Operator::Eq, error))),
            (false, true) => Some(Arc::new(BinaryExpr::new(column, Operator::NotEq, error))),
            (always, _) => Some(literal(ScalarValue::Boolean(Some(always)))),
        }
    }

    /// `id IN ('…', …)` on bytes. Texts that are no id equal none.
    pub(super) fn membership(&self, list: &InListExpr) -> Result<Option<Expression>> {
        let Some(ColumnSource::Id(name, length)) = self.source(list.expr()) else {
            return Ok(None);
        };
        let Some((column, DataType::FixedSizeBinary(width))) = self.physical_column(name) else {
            return Ok(None);
        };
        let mut ids = Vec::with_capacity(list.len());
        for element in list.list() {
            let Some(text) = literal_str(element) else {
                return Ok(None);
            };
            if let Some(bytes) = id_bytes(text, *length) {
                ids.push(literal(ScalarValue::FixedSizeBinary(*width, Some(bytes))));
            }
        }
        if ids.is_empty() {
            return Ok(None);
        }
        Ok(Some(in_list(column, ids, &list.negated(), &self.physical)?))
    }

    /// `id IS [NOT] NULL` without making texts.
    pub(super) fn presence(&self, argument: &Expression, is_null: bool) -> Result<Option<Expression>> {
        let Some(ColumnSource::Id(name, _)) = self.source(argument) else {
            return Ok(None);
        };
        Ok(self.physical_column(name).map(|(column, _)| match is_null {
            true => Arc::new(IsNullExpr::new(column)) as Expression,
            false => Arc::new(IsNotNullExpr::new(column)),
        }))
    }
}

/// The stored form of a constant and the column to compare it with; `None` when texts have to be compared.
fn stored_constant<'a>(
    source: &'a ColumnSource,
    op: Operator,
    constant: &ScalarValue,
) -> Option<(&'a str, ScalarValue)> {
    let text = literal_text(constant)?;
    match source {
        // Lower-case hexadecimal sorts as the bytes do; upper case is another text and no id.
        ColumnSource::Id(name, length) => {
            let bytes =
                id_bytes(text, *length).filter(|_| !text.bytes().any(|byte| byte.is_ascii_uppercase()))?;
            let width = i32::try_from(*length).ok()?;
            Some((name, ScalarValue::FixedSizeBinary(width, Some(bytes))))
        }
        ColumnSource::Named(name, names) if matches!(op, Operator::Eq | Operator::NotEq) => {
            Some((name, ScalarValue::Int64(Some(names.number(text)?))))
        }
        _ => None,
    }
}
