//! `attribute(set, key, type)`: what `attributes['key']`, `attributes->'key'` and `attributes->>'key'` are planned as.
//!
//! Moved towards the scan, where it becomes a promoted column or a lookup in a map (`adapter`). What is evaluated here
//! is the rest: access to a set that went through a window or a `UNION`, from its JSON text.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, StringViewArray, StringViewBuilder,
};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExpressionPlacement, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
};
use serde_json::Value;

use super::AttributeKind;
use crate::functions::json::member;
use crate::functions::support::{ANY_ARGUMENTS, constant_text, literal_text, push_double, text_argument};

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Attribute;

impl ScalarUDFImpl for Attribute {
    fn name(&self) -> &str {
        "attribute"
    }

    fn signature(&self) -> &Signature {
        &ANY_ARGUMENTS
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        plan_err!("the type of attribute() depends on its third argument")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let text = |index: usize| {
            args.scalar_arguments
                .get(index)
                .copied()
                .flatten()
                .and_then(literal_text)
        };
        match (text(1), text(2).and_then(AttributeKind::parse)) {
            (Some(key), Some(kind)) => Ok(Arc::new(kind.field(key))),
            _ => plan_err!(
                "attribute() takes a set, a constant key and one of text, string, int, double, bool, json"
            ),
        }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [set, Expr::Literal(key, _), Expr::Literal(kind, _)] = args else {
            return plan_err!("attribute() takes three arguments");
        };
        let key = literal_text(key).unwrap_or_default();
        if literal_text(kind) == Some(AttributeKind::Text.as_str()) {
            return Ok(format!("{}->>'{key}'", set.schema_name()));
        }
        Ok(format!("{}['{key}']", set.schema_name()))
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        match args.first() {
            Some(ExpressionPlacement::Column | ExpressionPlacement::MoveTowardsLeafNodes) => {
                ExpressionPlacement::MoveTowardsLeafNodes
            }
            _ => ExpressionPlacement::KeepInPlace,
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let key = constant_text(&args, 1, "the key of an attribute")?;
        let kind = constant_text(&args, 2, "the type of an attribute")?;
        let Some(kind) = AttributeKind::parse(kind) else {
            return exec_err!("unknown attribute type {kind}");
        };
        let sets = text_argument(&args, 0)?;
        Ok(ColumnarValue::Array(from_json(&sets, key, kind)))
    }
}

/// The member `key` of each object, read in type `kind`.
fn from_json(sets: &StringViewArray, key: &str, kind: AttributeKind) -> ArrayRef {
    let values = sets.iter().map(|set| set.and_then(|set| member(set, key)));
    match kind {
        AttributeKind::Int => {
            let mut out = Int64Builder::with_capacity(sets.len());
            values.for_each(|value| out.append_option(value.and_then(|value| value.as_i64())));
            Arc::new(out.finish())
        }
        AttributeKind::Double => {
            let mut out = Float64Builder::with_capacity(sets.len());
            values.for_each(|value| out.append_option(value.and_then(|value| double(&value))));
            Arc::new(out.finish())
        }
        AttributeKind::Bool => {
            let mut out = BooleanBuilder::with_capacity(sets.len());
            values.for_each(|value| out.append_option(value.and_then(|value| value.as_bool())));
            Arc::new(out.finish())
        }
        AttributeKind::Json => {
            let mut out = StringViewBuilder::with_capacity(sets.len());
            values.for_each(|value| {
                out.append_option(
                    value
                        .filter(|value| value.is_array() || value.is_object())
                        .map(|v| v.to_string()),
                );
            });
            Arc::new(out.finish())
        }
        AttributeKind::Text | AttributeKind::String => {
            let mut out = StringViewBuilder::with_capacity(sets.len());
            values.for_each(|value| out.append_option(value.and_then(text)));
            Arc::new(out.finish())
        }
    }
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        Value::Number(number) if number.is_f64() => {
            let mut out = String::new();
            push_double(&mut out, number.as_f64()?);
            Some(out)
        }
        other => Some(other.to_string()),
    }
}
