//! Comparisons and arithmetic, by the tables of the language.

use std::cmp::Ordering;
use std::collections::HashMap;

use cupola_telemetry::edit::Map;

use super::ast::{CompareOperator, MathOperator};
use super::error::Fault;
use super::value::Value;

/// Compares; values that cannot be compared are not equal, and neither is less.
#[inline]
pub(super) fn compare(operator: CompareOperator, left: &Value<'_>, right: &Value<'_>) -> bool {
    use CompareOperator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    match operator {
        Equal => equal(left, right),
        NotEqual => !equal(left, right),
        Less => order(left, right) == Some(Ordering::Less),
        Greater => order(left, right) == Some(Ordering::Greater),
        LessOrEqual => order(left, right).is_some_and(Ordering::is_le),
        GreaterOrEqual => order(left, right).is_some_and(Ordering::is_ge),
    }
}

pub(super) fn equal(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Nil, Value::Nil) => true,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(&a.into(), &b.into()))
        }
        (Value::Map(a), Value::Map(b)) => a.len() == b.len() && equal_maps(a, b),
        (Value::Other(a), Value::Other(b)) => a == b,
        _ => order(left, right) == Some(Ordering::Equal),
    }
}

/// The order of pairs is of no meaning. Both may be long, so that keys are not looked for one by one.
fn equal_maps(a: &Map<'_>, b: &Map<'_>) -> bool {
    let mut values = HashMap::with_capacity(b.len());
    for (key, value) in b.iter() {
        values.entry(key).or_insert(value);
    }
    a.iter().all(|(key, a)| match values.get(&key) {
        Some(b) => same(&a.into(), &b.clone().into()),
        None => false,
    })
}

/// Whether values within lists and maps are equal: numbers only to those of their type.
fn same(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Int(_), Value::Double(_)) | (Value::Double(_), Value::Int(_)) => false,
        _ => equal(left, right),
    }
}

/// The order of values that have one.
pub(super) fn order(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Nil, Value::Nil) => Some(Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Double(b)) => (*a as f64).partial_cmp(b),
        (Value::Double(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Calculates. Integers wrap around, as Go's do.
pub(super) fn calculate<'a>(
    operator: MathOperator,
    left: &Value<'a>,
    right: &Value<'a>,
) -> Result<Value<'a>, Fault> {
    use MathOperator::{Add, Divide, Multiply, Subtract};
    let too_long = || Fault::new("the duration does not fit 64 bits");
    Ok(match (left, operator, right) {
        (Value::Int(a), Add, Value::Int(b)) => Value::Int(a.wrapping_add(*b)),
        (Value::Int(a), Subtract, Value::Int(b)) => Value::Int(a.wrapping_sub(*b)),
        (Value::Int(a), Multiply, Value::Int(b)) => Value::Int(a.wrapping_mul(*b)),
        (Value::Int(_), Divide, Value::Int(0)) => return Err(Fault::new("division by zero")),
        (Value::Int(a), Divide, Value::Int(b)) => Value::Int(a.wrapping_div(*b)),
        (Value::Double(a), Add, Value::Double(b)) => Value::Double(a + b),
        (Value::Double(a), Subtract, Value::Double(b)) => Value::Double(a - b),
        (Value::Double(a), Multiply, Value::Double(b)) => Value::Double(a * b),
        (Value::Double(_), Divide, Value::Double(0.0)) => return Err(Fault::new("division by zero")),
        (Value::Double(a), Divide, Value::Double(b)) => Value::Double(a / b),
        (Value::Int(a), _, Value::Double(_)) => return calculate(operator, &Value::Double(*a as f64), right),
        (Value::Double(_), _, Value::Int(b)) => return calculate(operator, left, &Value::Double(*b as f64)),
        (Value::Time(a), Subtract, Value::Time(b)) => {
            let difference = a.checked_sub(*b).and_then(|nanos| i64::try_from(nanos).ok());
            Value::Duration(difference.ok_or_else(too_long)?)
        }
        (Value::Time(a), Add, Value::Duration(b)) | (Value::Duration(b), Add, Value::Time(a)) => {
            Value::Time(a.saturating_add(i128::from(*b)))
        }
        (Value::Time(a), Subtract, Value::Duration(b)) => Value::Time(a.saturating_sub(i128::from(*b))),
        (Value::Duration(a), Add, Value::Duration(b)) => {
            Value::Duration(a.checked_add(*b).ok_or_else(too_long)?)
        }
        (Value::Duration(a), Subtract, Value::Duration(b)) => {
            Value::Duration(a.checked_sub(*b).ok_or_else(too_long)?)
        }
        _ => {
            return Err(Fault::of(format_args!(
                "cannot calculate with {} and {}",
                left.kind(),
                right.kind()
            )));
        }
    })
}
