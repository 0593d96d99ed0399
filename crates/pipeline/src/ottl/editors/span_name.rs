//! `set_semconv_span_name`: the name that the semantic conventions give a span, by its attributes.
//!
//! <https://opentelemetry.io/docs/specs/semconv/>

use cupola_telemetry::edit::{Map, Place};

use super::{Definition, Editor};
use crate::ottl::context::Context;
use crate::ottl::functions::{Kind, optional, required};
use crate::ottl::value::Value;

/// Minor versions of the conventions 1.x that the function knows.
const MINOR_VERSIONS: std::ops::RangeInclusive<u32> = 37..=43;

const NAME: u32 = 5;
const KIND: u32 = 6;
const ATTRIBUTES: u32 = 9;

const SERVER: u64 = 2;
const CLIENT: u64 = 3;
const PRODUCER: u64 = 4;
const CONSUMER: u64 = 5;

pub(super) const TABLE: &[Definition] = &[Definition {
    name: "set_semconv_span_name",
    parameters: &[
        required("semconv_version", Kind::Text),
        optional("original_span_name_attribute", Kind::Text),
    ],
    context: Some(Context::Span),
    make: |bound| {
        let version = bound.text(0).unwrap_or_default();
        if !is_known(version) {
            let problem = format!("{version:?} is not known; there are 1.37.0 to 1.43.0");
            return Err(bound.refuse(0, problem));
        }
        let attribute = bound.text(1);
        if attribute == Some("") {
            return Err(bound.refuse(1, "it is the name of an attribute".to_owned()));
        }
        Ok(Editor::SpanName(attribute.map(str::to_owned)))
    },
}];

fn is_known(version: &str) -> bool {
    let numbers: Option<Vec<u32>> = version
        .trim_start_matches('v')
        .split('.')
        .map(|number| number.parse().ok())
        .collect();
    match numbers.as_deref() {
        Some([1, minor]) => MINOR_VERSIONS.contains(minor),
        Some([1, minor, patch]) => {
            MINOR_VERSIONS.contains(minor) && (*patch == 0 || minor < MINOR_VERSIONS.end())
        }
        _ => false,
    }
}

/// Names the span, and keeps the name that it had as an attribute.
pub(super) fn set(place: &mut Place<'_>, attribute: Option<&str>) {
    let span = &mut place.item;
    let Some(new) = name(span.number(KIND).unwrap_or(0), &span.map(ATTRIBUTES)) else {
        return;
    };
    let old = span.text(NAME).into_owned();
    if old == new {
        return;
    }
    span.set_text(NAME, new.into());
    if let Some(attribute) = attribute {
        span.map_mut(ATTRIBUTES)
            .set(attribute.to_owned().into(), old.into());
    }
}

fn name(kind: u64, attributes: &Map<'_>) -> Option<String> {
    match kind {
        SERVER => http(attributes, "http.route")
            .or_else(|| rpc(attributes))
            .or_else(|| messaging(attributes)),
        CLIENT => http(attributes, "url.template")
            .or_else(|| rpc(attributes))
            .or_else(|| database(attributes))
            .or_else(|| messaging(attributes)),
        PRODUCER | CONSUMER => messaging(attributes),
        _ => None,
    }
}

/// The attribute as text, by its name or an older one.
fn text(attributes: &Map<'_>, names: &[&str]) -> Option<String> {
    let value = names.iter().find_map(|name| attributes.get(name))?;
    Some(Value::from(value).to_text().unwrap_or_default().into_owned())
}

fn http(attributes: &Map<'_>, subject: &str) -> Option<String> {
    let method = text(attributes, &["http.request.method", "http.method"])?;
    let name = match text(attributes, &[subject]) {
        Some(subject) => format!("{method} {subject}"),
        None => method,
    };
    not_empty(name)
}

fn rpc(attributes: &Map<'_>) -> Option<String> {
    let system = text(attributes, &["rpc.system.name", "rpc.system"])?;
    let method = text(attributes, &["rpc.method", "rpc.grpc.method"]);
    let service = text(attributes, &["rpc.service", "rpc.grpc.service"]);
    not_empty(match (service, method) {
        (Some(service), Some(method)) => format!("{service}/{method}"),
        (None, Some(method)) => method,
        (Some(service), None) => format!("{service}/*"),
        (None, None) => system,
    })
}

fn database(attributes: &Map<'_>) -> Option<String> {
    let system = text(attributes, &["db.system.name", "db.system"])?;
    if let Some(summary) = text(attributes, &["db.query.summary"]) {
        return not_empty(summary);
    }
    let operation = text(attributes, &["db.operation.name", "db.operation"]).unwrap_or_default();
    let target = database_target(attributes).unwrap_or_default();
    not_empty(match (operation.is_empty(), target.is_empty()) {
        (false, false) => format!("{operation} {target}"),
        (false, true) => operation,
        (true, false) => target,
        (true, true) => system,
    })
}

fn database_target(attributes: &Map<'_>) -> Option<String> {
    let namespace = text(attributes, &["db.namespace", "db.name"]).and_then(not_empty);
    let inner =
        text(attributes, &["db.collection.name"]).or_else(|| text(attributes, &["db.stored_procedure.name"]));
    match (namespace, inner) {
        (Some(namespace), Some(inner)) => return Some(format!("{namespace}.{inner}")),
        (None, Some(only)) | (Some(only), None) => return Some(only),
        (None, None) => {}
    }
    let address = text(attributes, &["server.address"])?;
    Some(match text(attributes, &["server.port"]) {
        Some(port) => format!("{address}:{port}"),
        None => address,
    })
}

fn messaging(attributes: &Map<'_>) -> Option<String> {
    let system = text(attributes, &["messaging.system"])?;
    let operation = text(attributes, &["messaging.operation.name", "messaging.operation"]);
    let destination = destination(attributes).and_then(not_empty);
    not_empty(match (operation, destination) {
        (Some(operation), Some(destination)) => format!("{operation} {destination}"),
        (None, Some(only)) | (Some(only), None) => only,
        (None, None) => system,
    })
}

fn destination(attributes: &Map<'_>) -> Option<String> {
    let is_true = |name| attributes.get(name) == Some(cupola_telemetry::edit::Value::Bool(true));
    if is_true("messaging.destination.temporary") {
        return Some("(temporary)".to_owned());
    }
    if is_true("messaging.destination.anonymous") {
        return Some("(anonymous)".to_owned());
    }
    text(attributes, &["messaging.destination.template"]).or_else(|| {
        text(
            attributes,
            &["messaging.destination.name", "messaging.destination"],
        )
    })
}

fn not_empty(name: String) -> Option<String> {
    Some(name).filter(|name| !name.is_empty())
}
