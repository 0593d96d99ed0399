//! The value of an expression for one entry.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::parser::{Node, Operator, Root};
use crate::operators::entry::Entry;
use crate::operators::value::{Fields, Value};

type Worked<'e> = Result<Cow<'e, Value>, String>;

/// A function by name, with as many arguments as it takes.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) arguments: usize,
    run: fn(&[Cow<'_, Value>]) -> Result<Value, String>,
}

const fn function(
    name: &'static str,
    arguments: usize,
    run: fn(&[Cow<'_, Value>]) -> Result<Value, String>,
) -> Function {
    Function { name, arguments, run }
}

pub(super) const FUNCTIONS: &[Function] = &[
    function("len", 1, |a| length(&a[0])),
    function("lower", 1, |a| Ok(a[0].as_text()?.to_lowercase().into())),
    function("upper", 1, |a| Ok(a[0].as_text()?.to_uppercase().into())),
    function("trim", 1, |a| Ok(a[0].as_text()?.trim().into())),
    function("trimPrefix", 2, |a| {
        let (text, prefix) = (a[0].as_text()?, a[1].as_text()?);
        Ok(text.strip_prefix(prefix).unwrap_or(text).into())
    }),
    function("trimSuffix", 2, |a| {
        let (text, suffix) = (a[0].as_text()?, a[1].as_text()?);
        Ok(text.strip_suffix(suffix).unwrap_or(text).into())
    }),
    function("hasPrefix", 2, |a| {
        Ok(Value::Bool(a[0].as_text()?.starts_with(a[1].as_text()?)))
    }),
    function("hasSuffix", 2, |a| {
        Ok(Value::Bool(a[0].as_text()?.ends_with(a[1].as_text()?)))
    }),
    function("replace", 3, |a| {
        Ok(a[0].as_text()?.replace(a[1].as_text()?, a[2].as_text()?).into())
    }),
    function("split", 2, |a| {
        let parts = a[0].as_text()?.split(a[1].as_text()?);
        Ok(Value::List(parts.map(Value::from).collect()))
    }),
    function("join", 2, |a| {
        let Value::List(items) = &*a[0] else {
            return Err(format!("join: expected a list, found {}", a[0].kind()));
        };
        let texts = items.iter().map(Value::as_text).collect::<Result<Vec<_>, _>>()?;
        Ok(texts.join(a[1].as_text()?).into())
    }),
    function("indexOf", 2, |a| {
        Ok(Value::Int(place(a[0].as_text()?.find(a[1].as_text()?))))
    }),
    function("lastIndexOf", 2, |a| {
        Ok(Value::Int(place(a[0].as_text()?.rfind(a[1].as_text()?))))
    }),
    function("int", 1, |a| to_int(&a[0])),
    function("float", 1, |a| match &*a[0] {
        Value::Int(value) => Ok(Value::Float(*value as f64)),
        Value::Float(value) => Ok(Value::Float(*value)),
        other => other
            .as_text()?
            .parse()
            .map(Value::Float)
            .map_err(|_| format!("float: {other} is no number")),
    }),
    function("string", 1, |a| Ok(a[0].to_string().into())),
    function("type", 1, |a| Ok(type_name(&a[0]).into())),
];

fn place(found: Option<usize>) -> i64 {
    found.map_or(-1, |at| at as i64)
}

fn length(value: &Value) -> Result<Value, String> {
    let length = match value {
        Value::Text(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(fields) => fields.len(),
        other => return Err(format!("{} has no length", other.kind())),
    };
    Ok(Value::Int(length as i64))
}

fn to_int(value: &Value) -> Result<Value, String> {
    match value {
        Value::Int(value) => Ok(Value::Int(*value)),
        Value::Float(value) => Ok(Value::Int(*value as i64)),
        other => other
            .as_text()?
            .parse()
            .map(Value::Int)
            .map_err(|_| format!("int: {other} is no whole number")),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float",
        Value::Text(_) => "string",
        Value::Bytes(_) | Value::List(_) => "array",
        Value::Map(_) => "map",
        Value::Time(_) => "time.Time",
    }
}

pub(super) fn value<'e>(node: &'e Node, entry: &'e Entry) -> Worked<'e> {
    Ok(match node {
        Node::Literal(value) => Cow::Borrowed(value),
        Node::Root(Root::Body) => Cow::Borrowed(&entry.body),
        Node::Root(Root::Attributes) => Cow::Owned(Value::Map(entry.attributes.clone())),
        Node::Root(Root::Resource) => Cow::Owned(Value::Map(entry.resource.clone())),
        Node::Root(Root::Timestamp) => Cow::Owned(entry.time.map_or(Value::Nil, Value::Time)),
        Node::List(items) => {
            let items = items.iter().map(|item| value(item, entry).map(Cow::into_owned));
            Cow::Owned(Value::List(items.collect::<Result<_, _>>()?))
        }
        Node::Member { of, key, optional } => member(of, key, *optional, entry)?,
        Node::Not(inner) => Cow::Owned(Value::Bool(!truth(inner, entry)?)),
        Node::Negative(inner) => Cow::Owned(match &*value(inner, entry)? {
            Value::Int(value) => Value::Int(value.wrapping_neg()),
            Value::Float(value) => Value::Float(-value),
            other => return Err(format!("`-` needs a number, found {}", other.kind())),
        }),
        Node::Matches { text, pattern } => {
            let text = value(text, entry)?;
            let text = text.as_text().map_err(|problem| format!("matches: {problem}"))?;
            Cow::Owned(Value::Bool(pattern.is_match(text)))
        }
        Node::Choice { condition, yes, no } => match truth(condition, entry)? {
            true => value(yes, entry)?,
            false => value(no, entry)?,
        },
        Node::Call { function, arguments } => {
            let arguments = arguments
                .iter()
                .map(|argument| value(argument, entry))
                .collect::<Result<Vec<_>, _>>()?;
            Cow::Owned((function.run)(&arguments)?)
        }
        Node::Binary {
            operator,
            left,
            right,
        } => binary(*operator, left, right, entry)?,
    })
}

fn truth(node: &Node, entry: &Entry) -> Result<bool, String> {
    match &*value(node, entry)? {
        Value::Bool(value) => Ok(*value),
        other => Err(format!("expected a boolean, found {}", other.kind())),
    }
}

fn member<'e>(of: &'e Node, key: &'e Node, optional: bool, entry: &'e Entry) -> Worked<'e> {
    let key = value(key, entry)?;
    // Without a copy of all attributes for one of them.
    let fields: Option<&Fields> = match of {
        Node::Root(Root::Attributes) => Some(&entry.attributes),
        Node::Root(Root::Resource) => Some(&entry.resource),
        _ => None,
    };
    if let Some(fields) = fields {
        return Ok(Cow::Borrowed(fields.get(key.as_text()?).unwrap_or(&Value::Nil)));
    }
    match value(of, entry)? {
        Cow::Borrowed(of) => Ok(Cow::Borrowed(member_of(of, &key, optional)?)),
        Cow::Owned(of) => Ok(Cow::Owned(member_of(&of, &key, optional)?.clone())),
    }
}

fn member_of<'v>(of: &'v Value, key: &Value, optional: bool) -> Result<&'v Value, String> {
    match (of, key) {
        (Value::Map(fields), key) => Ok(fields.get(key.as_text()?).unwrap_or(&Value::Nil)),
        (Value::List(items), Value::Int(index)) => {
            let at = if *index < 0 {
                items.len() as i64 + index
            } else {
                *index
            };
            let found = usize::try_from(at).ok().and_then(|at| items.get(at));
            found.ok_or_else(|| format!("there is no item {index} in a list of {}", items.len()))
        }
        (Value::Nil, _) if optional => Ok(&Value::Nil),
        (other, key) => Err(format!("{} has no member {key}", other.kind())),
    }
}

fn binary<'e>(operator: Operator, left: &'e Node, right: &'e Node, entry: &'e Entry) -> Worked<'e> {
    let boolean = |value| Ok(Cow::Owned(Value::Bool(value)));
    match operator {
        Operator::Or => return boolean(truth(left, entry)? || truth(right, entry)?),
        Operator::And => return boolean(truth(left, entry)? && truth(right, entry)?),
        Operator::Otherwise => {
            let first = value(left, entry)?;
            return match *first {
                Value::Nil => value(right, entry),
                _ => Ok(first),
            };
        }
        _ => {}
    }
    let (left, right) = (value(left, entry)?, value(right, entry)?);
    let ordered =
        || order(&left, &right).ok_or_else(|| format!("{} and {} have no order", left.kind(), right.kind()));
    let texts = || Ok::<_, String>((left.as_text()?, right.as_text()?));
    let result = match operator {
        Operator::Equal => equal(&left, &right),
        Operator::Unequal => !equal(&left, &right),
        Operator::Less => ordered()? == Ordering::Less,
        Operator::LessOrEqual => ordered()? != Ordering::Greater,
        Operator::Greater => ordered()? == Ordering::Greater,
        Operator::GreaterOrEqual => ordered()? != Ordering::Less,
        Operator::In => match &*right {
            Value::List(items) => items.iter().any(|item| equal(item, &left)),
            Value::Map(fields) => fields.get(left.as_text()?).is_some(),
            Value::Nil => false,
            other => return Err(format!("`in` needs a list or a map, found {}", other.kind())),
        },
        Operator::Contains => texts().map(|(text, part)| text.contains(part))?,
        Operator::StartsWith => texts().map(|(text, part)| text.starts_with(part))?,
        Operator::EndsWith => texts().map(|(text, part)| text.ends_with(part))?,
        _ => return arithmetic(operator, &left, &right).map(Cow::Owned),
    };
    boolean(result)
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Int(left), Value::Float(right)) | (Value::Float(right), Value::Int(left)) => {
            *left as f64 == *right
        }
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        _ => left == right,
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Int(left), Value::Float(right)) => (*left as f64).partial_cmp(right),
        (Value::Float(left), Value::Int(right)) => left.partial_cmp(&(*right as f64)),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Time(left), Value::Time(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn arithmetic(operator: Operator, left: &Value, right: &Value) -> Result<Value, String> {
    let float = |value: &Value| match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    };
    if let (Operator::Add, Value::Text(left), Value::Text(right)) = (operator, left, right) {
        return Ok(Value::Text(format!("{left}{right}")));
    }
    if let (Value::Int(left), Value::Int(right)) = (left, right) {
        match operator {
            Operator::Add => return Ok(Value::Int(left.wrapping_add(*right))),
            Operator::Subtract => return Ok(Value::Int(left.wrapping_sub(*right))),
            Operator::Multiply => return Ok(Value::Int(left.wrapping_mul(*right))),
            Operator::Remainder => {
                return left
                    .checked_rem(*right)
                    .map(Value::Int)
                    .ok_or_else(|| "division by zero".to_owned());
            }
            _ => {}
        }
    }
    let (Some(a), Some(b)) = (float(left), float(right)) else {
        return Err(format!(
            "cannot calculate with {} and {}",
            left.kind(),
            right.kind()
        ));
    };
    match operator {
        Operator::Add => Ok(Value::Float(a + b)),
        Operator::Subtract => Ok(Value::Float(a - b)),
        Operator::Multiply => Ok(Value::Float(a * b)),
        Operator::Divide => Ok(Value::Float(a / b)),
        Operator::Power => Ok(Value::Float(a.powf(b))),
        _ => Err("`%` needs whole numbers".to_owned()),
    }
}
