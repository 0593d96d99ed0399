//! Fields of spans and events, written as attributes while they are visited.

use std::cell::Cell;
use std::error::Error;
use std::fmt::{self, Debug, Write as _};

use cupola_sdk_core::attributes::Attributes;
use cupola_sdk_core::span::{SpanKind, Status};
use cupola_sdk_core::value::Value;
use tracing::field::{Field, Visit};

use super::callsites::{Callsite, Role};

/// Where visited fields go.
pub(crate) struct Fields<'f> {
    pub(crate) callsite: &'f Callsite,
    pub(crate) attributes: &'f mut Attributes,
    /// The message of an event.
    pub(crate) body: &'f mut String,
    pub(crate) found: Found,
}

/// What fields said that is no attribute.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) name: Option<String>,
    pub(crate) kind: Option<SpanKind>,
    pub(crate) has_ok: bool,
    pub(crate) has_error: bool,
    pub(crate) description: Option<String>,
    pub(crate) failure: Option<Failure>,
    /// What the crate `log` says of where its record is from.
    pub(crate) log: Option<Box<LogPlace>>,
}

#[derive(Debug, Default)]
pub(crate) struct LogPlace {
    pub(crate) target: String,
    pub(crate) module: String,
    pub(crate) file: String,
    pub(crate) line: Option<u32>,
}

/// An error that was a field.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    /// Empty if it is not known.
    pub(crate) kind: String,
    pub(crate) message: String,
    /// With its causes, if it has any.
    pub(crate) chain: Option<String>,
}

impl Found {
    /// The status that fields ask for.
    pub(crate) fn status(&mut self) -> Option<Status> {
        if self.has_ok {
            return Some(Status::Ok);
        }
        let description = self.description.take();
        (self.has_error || description.is_some()).then(|| Status::Error {
            description: description.unwrap_or_default(),
        })
    }

    fn log(&mut self) -> &mut LogPlace {
        self.log.get_or_insert_default()
    }
}

impl Fields<'_> {
    #[inline]
    fn set(&mut self, field: &Field, value: Value<'_>) {
        match self.callsite.role(field) {
            Role::Attribute => self.attributes.set(field.name(), value),
            role => self.set_special(field, role, value),
        }
    }

    #[cold]
    fn set_special(&mut self, field: &Field, role: Role, value: Value<'_>) {
        let text = match value {
            Value::String(text) => text,
            Value::Int(number) if role == Role::LogLine => {
                self.found.log().line = u32::try_from(number).ok();
                return;
            }
            Value::Int(number) if role == Role::Message => {
                let _ = write!(self.body, "{number}");
                return;
            }
            other => {
                self.attributes.set(field.name(), other);
                return;
            }
        };
        match role {
            Role::Message => self.body.push_str(text),
            Role::OtelName => self.found.name = Some(text.to_owned()),
            Role::OtelKind => self.found.kind = span_kind(text).or(self.found.kind),
            Role::OtelStatusCode if text.eq_ignore_ascii_case("ok") => self.found.has_ok = true,
            Role::OtelStatusCode if text.eq_ignore_ascii_case("error") => self.found.has_error = true,
            Role::OtelStatusCode => {}
            Role::OtelStatusDescription => self.found.description = Some(text.to_owned()),
            Role::LogTarget => text.clone_into(&mut self.found.log().target),
            Role::LogModule => text.clone_into(&mut self.found.log().module),
            Role::LogFile => text.clone_into(&mut self.found.log().file),
            Role::Error => {
                self.attributes.set(field.name(), text);
                self.found.failure.get_or_insert_with(|| Failure {
                    message: text.to_owned(),
                    ..Failure::default()
                });
            }
            Role::Attribute | Role::LogLine => self.attributes.set(field.name(), text),
        }
    }

    /// What is written with `write`, as text.
    fn set_text(&mut self, field: &Field, write: fmt::Arguments<'_>) {
        with_text(|text| {
            // Of a value that cannot be written, what there is.
            let _ = text.write_fmt(write);
            self.set(field, Value::String(text));
        });
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Value::Double(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.set(field, Value::Int(value)),
            // OTLP has no larger numbers.
            Err(_) => self.set_text(field, format_args!("{value}")),
        }
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        match i64::try_from(value) {
            Ok(value) => self.set(field, Value::Int(value)),
            Err(_) => self.set_text(field, format_args!("{value}")),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match i64::try_from(value) {
            Ok(value) => self.set(field, Value::Int(value)),
            Err(_) => self.set_text(field, format_args!("{value}")),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, Value::String(value));
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.set(field, Value::Bytes(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.set_text(field, format_args!("{value}"));
        self.found.failure = Some(Failure::of(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match self.callsite.role(field) {
            Role::Message => {
                let _ = write!(self.body, "{value:?}");
            }
            _ => self.set_text(field, format_args!("{value:?}")),
        }
    }
}

thread_local! {
    /// For values that are written as text first. Taken while it is used: what is written may make spans itself.
    static TEXT: Cell<String> = const { Cell::new(String::new()) };
}

/// Calls `with` with an empty text whose memory is kept.
fn with_text<T>(with: impl FnOnce(&mut String) -> T) -> T {
    const KEPT_BYTES_MAX: usize = 16 * 1024;
    let mut text = TEXT.try_with(Cell::take).unwrap_or_default();
    text.clear();
    let result = with(&mut text);
    if text.capacity() <= KEPT_BYTES_MAX {
        let _ = TEXT.try_with(|kept| kept.set(text));
    }
    result
}

fn span_kind(name: &str) -> Option<SpanKind> {
    let kinds = [
        ("internal", SpanKind::Internal),
        ("server", SpanKind::Server),
        ("client", SpanKind::Client),
        ("producer", SpanKind::Producer),
        ("consumer", SpanKind::Consumer),
    ];
    let known = kinds.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
    known.map(|(_, kind)| *kind)
}

/// Causes beyond this are not looked at: a chain that bites its own tail would have no end.
const CAUSES_MAX: usize = 32;

impl Failure {
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Failure {
        let kind = match error.is::<std::io::Error>() {
            true => "std::io::Error".to_owned(),
            false => type_name(error),
        };
        Failure {
            kind,
            ..Failure::of_borrowed(error)
        }
    }

    /// One whose type cannot be asked for.
    pub(crate) fn of_borrowed(error: &dyn Error) -> Failure {
        let first = error.source();
        let chain = first.is_some().then(|| {
            let mut chain = error.to_string();
            let mut next = first;
            for _ in 0..CAUSES_MAX {
                let Some(cause) = next else { break };
                let _ = write!(chain, "\ncaused by: {cause}");
                next = cause.source();
            }
            chain
        });
        Failure {
            kind: String::new(),
            message: error.to_string(),
            chain,
        }
    }
}

/// The name of its type, as far as `Debug` shows it: that is how derived ones begin.
fn type_name(error: &dyn Error) -> String {
    let mut beginning = Beginning::default();
    // Stopped as soon as the name is over.
    let _ = write!(beginning, "{error:?}");
    match beginning.0.starts_with(|first: char| first.is_ascii_uppercase()) {
        true => beginning.0,
        false => String::new(),
    }
}

/// Takes the letters and digits that come first.
#[derive(Default)]
struct Beginning(String);

impl fmt::Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const LENGTH_MAX: usize = 128;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let end = text.bytes().position(|byte| !is_name(byte));
        self.0.push_str(&text[..end.unwrap_or(text.len())]);
        match end.is_some() || self.0.len() > LENGTH_MAX {
            true => Err(fmt::Error),
            false => Ok(()),
        }
    }
}
