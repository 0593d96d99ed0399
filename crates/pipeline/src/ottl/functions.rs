//! Converters: functions from values to a value. One table a topic, in files of their own.
//!
//! A converter that needs a pattern or a mode is made once with the literal that it is given, and refuses it then.

mod collections;
mod format;
mod grok;
mod hash;
mod ids;
mod log_formats;
mod murmur3;
mod network;
mod parse;
mod parse_csv;
mod parse_url;
mod severity;
mod strings;
pub(super) mod time;
mod types;
mod xml;

use std::fmt;

pub(super) use types::double_like;

use super::context::Context;
use super::env::Env;
use super::error::Fault;
use super::value::Value;

/// A function that depends on nothing but its arguments and the environment.
pub(super) type Pure =
    Box<dyn for<'s, 'a> Fn(&mut Arguments<'s, 'a>) -> Result<Value<'a>, Fault> + Send + Sync>;

/// What a call does.
pub(super) enum Body {
    Pure(Pure),
    IsRootSpan,
    HasAttributeOnPoint,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pure(_) => "Pure",
            Self::IsRootSpan => "IsRootSpan",
            Self::HasAttributeOnPoint => "HasAttributeOnPoint",
        })
    }
}

/// Values of the arguments of a call, in the order of the parameters; nil where an optional one is not given.
pub(super) struct Arguments<'s, 'a> {
    values: &'s mut [Value<'a>],
    pub(super) env: &'a dyn Env,
}

impl<'s, 'a> Arguments<'s, 'a> {
    pub(super) fn new(values: &'s mut [Value<'a>], env: &'a dyn Env) -> Self {
        Self { values, env }
    }

    pub(super) fn get(&self, index: usize) -> &Value<'a> {
        const NIL: &Value<'static> = &Value::Nil;
        self.values.get(index).unwrap_or(NIL)
    }

    /// The value itself, in whose place nil stays behind.
    pub(super) fn take(&mut self, index: usize) -> Value<'a> {
        self.values.get_mut(index).map(std::mem::take).unwrap_or_default()
    }
}

/// What an argument must be when the statement is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any expression.
    Value,
    /// A text in quotes.
    Text,
    /// A text in quotes, which is made ready once, or any expression.
    Pattern,
    /// A list of texts in quotes, which are made ready once, or any expression.
    Networks,
    /// A whole number.
    Int,
    /// A number, with a fraction or without.
    Double,
    /// A list of them.
    Doubles,
    /// `true` or `false`.
    Bool,
    /// A list of texts in quotes.
    Texts,
    /// A list of expressions.
    Values,
    /// A path that can be changed.
    Target,
    /// The name of a converter.
    Function,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) optional: bool,
}

pub(super) const fn required(name: &'static str, kind: Kind) -> Parameter {
    Parameter {
        name,
        kind,
        optional: false,
    }
}

pub(super) const fn optional(name: &'static str, kind: Kind) -> Parameter {
    Parameter {
        name,
        kind,
        optional: true,
    }
}

const fn value(name: &'static str) -> Parameter {
    required(name, Kind::Value)
}

/// The parameter of most converters.
const TARGET: &[Parameter] = &[value("target")];

/// A literal argument.
#[derive(Clone, Debug)]
pub(super) enum Constant {
    Text(String),
    Int(i64),
    Double(f64),
    Doubles(Vec<f64>),
    Bool(bool),
    Texts(Vec<String>),
}

/// The literals among the arguments of a call, by parameter.
#[derive(Debug, Default)]
pub(super) struct Constants(pub(super) Vec<Option<Constant>>);

impl Constants {
    pub(super) fn text(&self, index: usize) -> Option<&str> {
        match self.0.get(index) {
            Some(Some(Constant::Text(text))) => Some(text),
            _ => None,
        }
    }

    pub(super) fn int(&self, index: usize) -> Option<i64> {
        match self.0.get(index) {
            Some(Some(Constant::Int(value))) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn double(&self, index: usize) -> Option<f64> {
        match self.0.get(index) {
            Some(Some(Constant::Double(value))) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn doubles(&self, index: usize) -> Option<&[f64]> {
        match self.0.get(index) {
            Some(Some(Constant::Doubles(values))) => Some(values),
            _ => None,
        }
    }

    pub(super) fn bool(&self, index: usize) -> Option<bool> {
        match self.0.get(index) {
            Some(Some(Constant::Bool(value))) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn texts(&self, index: usize) -> Option<&[String]> {
        match self.0.get(index) {
            Some(Some(Constant::Texts(texts))) => Some(texts),
            _ => None,
        }
    }
}

/// A parameter by its place, and what is wrong with the literal that it was given.
pub(super) type Refused = (usize, String);

pub(super) type Made = Result<Body, Refused>;

pub(super) struct Converter {
    pub(super) name: &'static str,
    pub(super) parameters: &'static [Parameter],
    /// The only context that it works in.
    pub(super) context: Option<Context>,
    pub(super) make: fn(&Constants) -> Made,
}

const fn converter(
    name: &'static str,
    parameters: &'static [Parameter],
    make: fn(&Constants) -> Made,
) -> Converter {
    Converter {
        name,
        parameters,
        context: None,
        make,
    }
}

/// What a converter is that is ready as it stands.
fn plain(body: for<'s, 'a> fn(&mut Arguments<'s, 'a>) -> Result<Value<'a>, Fault>) -> Made {
    Ok(Body::Pure(Box::new(body)))
}

/// What a converter is that was made for its literals.
fn made(
    body: impl for<'s, 'a> Fn(&mut Arguments<'s, 'a>) -> Result<Value<'a>, Fault> + Send + Sync + 'static,
) -> Made {
    Ok(Body::Pure(Box::new(body)))
}

const TABLES: [&[Converter]; 12] = [
    types::TABLE,
    strings::TABLE,
    collections::TABLE,
    parse::TABLE,
    xml::TABLE,
    severity::TABLE,
    log_formats::TABLE,
    grok::TABLE,
    network::TABLE,
    hash::TABLE,
    time::TABLE,
    ids::TABLE,
];

/// Every converter.
pub(super) fn all() -> impl Iterator<Item = &'static Converter> {
    TABLES.into_iter().flatten()
}

pub(super) fn find(name: &str) -> Option<&'static Converter> {
    all().find(|converter| converter.name == name)
}
