//! Evaluating what has been compiled, for one item of one batch.

use cupola_telemetry::edit::{Map, Place, Value as Telemetry};
use smallvec::SmallVec;

use super::ast::{CompareOperator, MathOperator};
use super::compare::{calculate, compare};
use super::env::Env;
use super::error::Fault;
use super::functions::{Arguments, Body};
use super::path::Path;
use super::value::Value;

/// Arguments that need no allocation.
const ARGUMENTS_INLINE: usize = 4;

/// What a statement sees while it runs.
pub(super) struct Run<'p, 'a> {
    pub(super) place: &'p mut Place<'a>,
    pub(super) cache: &'p mut Map<'a>,
    pub(super) env: &'a dyn Env,
    /// Of an event in its span, or a point in its metric.
    pub(super) part_index: usize,
    /// Points of the metric that statements have run over, as they left them.
    pub(super) points_done: &'p [Vec<u8>],
    /// What may still be appended to the batch.
    pub(super) room: &'p mut usize,
}

impl Run<'_, '_> {
    /// Has an item follow those of the scope.
    pub(super) fn append_item(&mut self, item: Vec<u8>) -> Result<(), Fault> {
        match self.room.checked_sub(item.len()) {
            Some(room) => {
                *self.room = room;
                self.place.append_item(item);
                Ok(())
            }
            None => {
                // Each of the others would be made only to see that it does not fit either.
                *self.room = 0;
                self.check_room()
            }
        }
    }

    /// Whether anything can still be appended, for those to whom it is much work to make it.
    pub(super) fn check_room(&self) -> Result<(), Fault> {
        match *self.room {
            0 => Err(Fault::new(
                "there are too many new metrics; a condition must keep them from being copied again",
            )),
            _ => Ok(()),
        }
    }
}

/// An expression that comes to a value.
#[derive(Debug)]
pub(super) enum Evaluator {
    Nil,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    Path(Path),
    Call(Call),
    /// A list or a map of nothing but literals, encoded.
    Ready(Vec<u8>),
    List(Vec<Evaluator>),
    Map(Vec<(String, Evaluator)>),
    Math(Box<Evaluator>, Vec<(MathOperator, Evaluator)>),
}

/// A converter with its arguments and the keys into what it gives.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) body: Body,
    pub(super) arguments: Vec<Evaluator>,
    pub(super) keys: Vec<Evaluator>,
}

/// An expression that is true or false.
#[derive(Debug)]
pub(super) enum Condition {
    Constant(bool),
    Call(Call),
    Compare(CompareOperator, Box<[Evaluator; 2]>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
}

impl Evaluator {
    /// The text that this is, if it is a literal.
    #[inline]
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The same, ready if it is a list or a map of nothing but literals.
    pub(super) fn made_ready(self) -> Self {
        match self.literal() {
            Some(value @ (Telemetry::Array(_) | Telemetry::Map(_))) => Self::Ready(value.encode()),
            _ => self,
        }
    }

    fn literal(&self) -> Option<Telemetry<'_>> {
        Some(match self {
            Self::Nil => Telemetry::Empty,
            Self::Bool(value) => Telemetry::Bool(*value),
            Self::Int(value) => Telemetry::Int(*value),
            Self::Double(value) => Telemetry::Double(*value),
            Self::Text(text) => Telemetry::from(text.as_str()),
            Self::Bytes(bytes) => Telemetry::Bytes(bytes.as_slice().into()),
            Self::Ready(encoded) => Telemetry::decode(encoded),
            Self::List(items) => {
                let items: Option<Vec<_>> = items.iter().map(Self::literal).collect();
                Telemetry::Array(items?.into_iter().collect())
            }
            Self::Map(pairs) => {
                let mut map = Map::new();
                for (key, value) in pairs {
                    map.set(key.as_str().into(), value.literal()?);
                }
                Telemetry::Map(map)
            }
            Self::Path(_) | Self::Call(_) | Self::Math(..) => return None,
        })
    }

    #[inline]
    pub(super) fn value<'a>(&'a self, run: &Run<'_, 'a>) -> Result<Value<'a>, Fault> {
        Ok(match self {
            Self::Path(path) => return path.get(run),
            Self::Text(text) => Value::text(text.as_str()),
            Self::Nil => Value::Nil,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Double(value) => Value::Double(*value),
            Self::Bytes(bytes) => Value::Bytes(bytes.as_slice().into()),
            Self::Call(call) => return call.value(run),
            Self::Ready(encoded) => Telemetry::decode(encoded).into(),
            Self::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push(item.value(run)?.into_telemetry()?);
                }
                Value::List(list.into_iter().collect())
            }
            Self::Map(pairs) => {
                let mut map = Map::new();
                for (key, value) in pairs {
                    map.set(key.as_str().into(), value.value(run)?.into_telemetry()?);
                }
                Value::Map(map)
            }
            Self::Math(first, rest) => {
                let mut value = first.value(run)?;
                for (operator, operand) in rest {
                    value = calculate(*operator, &value, &operand.value(run)?)?;
                }
                value
            }
        })
    }
}

impl Call {
    fn value<'a>(&'a self, run: &Run<'_, 'a>) -> Result<Value<'a>, Fault> {
        let mut values: SmallVec<[Value<'a>; ARGUMENTS_INLINE]> = SmallVec::new();
        for argument in &self.arguments {
            values.push(argument.value(run)?);
        }
        let mut arguments = Arguments::new(&mut values, run.env);
        let mut value = match &self.body {
            Body::Pure(body) => body(&mut arguments)?,
            Body::IsRootSpan => Value::Bool(is_root_span(run)),
            Body::HasAttributeOnPoint => Value::Bool(has_attribute_on_point(run, &mut arguments)?),
        };
        for key in &self.keys {
            value = value.index_of_result(&key.value(run)?)?;
        }
        Ok(value)
    }
}

impl Condition {
    pub(super) fn holds<'a>(&'a self, run: &Run<'_, 'a>) -> Result<bool, Fault> {
        match self {
            Self::Constant(value) => Ok(*value),
            Self::Compare(operator, sides) => {
                let [left, right] = &**sides;
                Ok(compare(*operator, &left.value(run)?, &right.value(run)?))
            }
            Self::Call(call) => call.value(run)?.as_bool(),
            Self::Not(inner) => Ok(!inner.holds(run)?),
            Self::And(all) => {
                for condition in all {
                    if !condition.holds(run)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(any) => {
                for condition in any {
                    if condition.holds(run)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

/// Whether the span has no parent.
fn is_root_span(run: &Run<'_, '_>) -> bool {
    const PARENT_SPAN_ID: u32 = 4;
    let parent = run.place.item.bytes(PARENT_SPAN_ID).unwrap_or_default();
    parent.iter().all(|byte| *byte == 0)
}

/// Whether any point of the metric has an attribute, with a value if one is given.
fn has_attribute_on_point<'a>(run: &Run<'_, 'a>, arguments: &mut Arguments<'_, 'a>) -> Result<bool, Fault> {
    use cupola_telemetry::edit::{Message, MetricKind};
    let number = match run.place.metric_kind() {
        None => return Ok(false),
        Some(MetricKind::Histogram) => 9,
        Some(MetricKind::ExponentialHistogram) => 1,
        Some(_) => 7,
    };
    let value = arguments.take(1);
    let key = arguments.get(0).as_str()?;
    let mut values = run
        .place
        .points_now()
        .filter_map(|point| Message::new(point).attribute(number, key));
    Ok(match value {
        Value::Nil => values.next().is_some(),
        Value::String(text) => values.any(|value| matches!(value, Telemetry::String(found) if found == text)),
        other => {
            return Err(Fault::of(format_args!(
                "expected a string, found {}",
                other.kind()
            )));
        }
    })
}
