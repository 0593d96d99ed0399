//! What a rule may ask of a span: the same of one that starts and of one that has ended.

use cupola_telemetry::view::{self, AnyValue};

use super::Question;
use crate::rate_limit::TENANT;
use crate::recorder::Scope;
use crate::span::SpanKind;
use crate::value::Value;
use crate::wildcard;

/// A pattern of whole texts: `*` stands for any characters, `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    pub fn new(pattern: impl Into<String>) -> Pattern {
        Pattern(pattern.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn fits(&self, text: &str) -> bool {
        wildcard::matches(&self.0, text)
    }
}

/// Something that is so of a span, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Name(Pattern),
    Kind(SpanKind),
    /// The name of its instrumentation scope.
    Scope(Pattern),
    /// `http.route`, or `url.path` where there is no route: a sampler is asked before most frameworks know one.
    Route(Pattern),
    /// `tenant.id`, of the baggage or of the span.
    Tenant(Pattern),
    /// An attribute of that key, as a text; of an array, any of its elements. A sampler sees those of the start alone.
    Attribute {
        key: String,
        value: Pattern,
    },
}

impl Condition {
    /// Whether it asks for an attribute.
    fn is_of_attribute(&self) -> bool {
        match self {
            Condition::Name(_) | Condition::Kind(_) | Condition::Scope(_) => false,
            Condition::Route(_) | Condition::Tenant(_) | Condition::Attribute { .. } => true,
        }
    }
}

/// Whether any of them asks for an attribute.
pub(crate) fn ask_for_attributes(conditions: &[Condition]) -> bool {
    conditions.iter().any(Condition::is_of_attribute)
}

/// A span as conditions look at it.
pub(crate) trait Subject {
    fn name(&self) -> &str;

    /// By OTLP's number.
    fn kind(&self) -> i32;

    fn scope(&self) -> Scope;

    fn tenant_of_baggage(&self) -> Option<&str>;

    /// Whether an attribute fits; `None` if there is none of this key.
    fn attribute_fits(&self, key: &str, pattern: &Pattern) -> Option<bool>;
}

/// Whether all of them are so. Of none, they are.
pub(crate) fn all_hold(conditions: &[Condition], subject: &impl Subject) -> bool {
    conditions.iter().all(|condition| holds(condition, subject))
}

fn holds(condition: &Condition, subject: &impl Subject) -> bool {
    match condition {
        Condition::Name(pattern) => pattern.fits(subject.name()),
        Condition::Kind(kind) => *kind as i32 == subject.kind(),
        Condition::Scope(pattern) => pattern.fits(subject.scope().name()),
        Condition::Route(pattern) => subject
            .attribute_fits("http.route", pattern)
            .or_else(|| subject.attribute_fits("url.path", pattern))
            .unwrap_or(false),
        Condition::Tenant(pattern) => match subject.tenant_of_baggage() {
            Some(tenant) => pattern.fits(tenant),
            None => subject.attribute_fits(TENANT, pattern).unwrap_or(false),
        },
        Condition::Attribute { key, value } => subject.attribute_fits(key, value).unwrap_or(false),
    }
}

impl Subject for Question<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn kind(&self) -> i32 {
        self.kind as i32
    }

    fn scope(&self) -> Scope {
        self.scope
    }

    fn tenant_of_baggage(&self) -> Option<&str> {
        self.baggage.get(TENANT)
    }

    fn attribute_fits(&self, key: &str, pattern: &Pattern) -> Option<bool> {
        // Of a key that stands twice, the later value counts.
        let (_, value) = self.attributes.iter().rev().find(|(known, _)| *known == key)?;
        Some(value_fits(value, pattern))
    }
}

fn value_fits(value: &Value<'_>, pattern: &Pattern) -> bool {
    any_text(value, &|text| pattern.fits(text))
}

/// Whether a value, or any element of an array, fits as a text.
pub(super) fn any_text(value: &Value<'_>, fits: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => fits(text),
        Value::Bool(value) => fits(truth(*value)),
        Value::Int(value) => fits(&value.to_string()),
        Value::Double(value) => fits(&value.to_string()),
        Value::Array(values) => values.iter().any(|value| any_text(value, fits)),
        Value::Empty | Value::Bytes(_) | Value::Map(_) => false,
    }
}

/// A span that has ended, with its scope.
pub(crate) struct Ended<'s> {
    pub(crate) scope: Scope,
    pub(crate) span: view::Span<'s>,
}

impl Subject for Ended<'_> {
    fn name(&self) -> &str {
        self.span.name
    }

    fn kind(&self) -> i32 {
        self.span.kind
    }

    fn scope(&self) -> Scope {
        self.scope
    }

    fn tenant_of_baggage(&self) -> Option<&str> {
        // It has become an attribute.
        None
    }

    fn attribute_fits(&self, key: &str, pattern: &Pattern) -> Option<bool> {
        Some(any_value_fits(self.span.attributes.get(key)?, pattern))
    }
}

fn any_value_fits(value: AnyValue<'_>, pattern: &Pattern) -> bool {
    match value {
        AnyValue::String(text) => pattern.fits(text),
        AnyValue::Bool(value) => pattern.fits(truth(value)),
        AnyValue::Int(value) => pattern.fits(&value.to_string()),
        AnyValue::Double(value) => pattern.fits(&value.to_string()),
        AnyValue::Array(mut values) => values.any(|value| any_value_fits(value, pattern)),
        AnyValue::Empty | AnyValue::Bytes(_) | AnyValue::KeyValueList(_) | AnyValue::StringIndex(_) => false,
    }
}

fn truth(value: bool) -> &'static str {
    match value {
        true => "true",
        false => "false",
    }
}
