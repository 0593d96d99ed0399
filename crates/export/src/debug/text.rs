//! Parts of the text that all signals and verbosities share.

use std::fmt::Write as _;

use chrono::DateTime;
use cupola_telemetry::view::{AnyValue, Attributes, Resource, Scope};
use cupola_telemetry::{Batch, Signal, json};

/// One line that says what is in a batch.
pub(super) fn summary(batch: &Batch) -> String {
    let items = batch.items();
    match batch.signal() {
        Signal::Logs => {
            let resources = batch.logs().resources().len();
            format!("Logs\t{{\"resource logs\": {resources}, \"log records\": {items}}}\n")
        }
        Signal::Traces => {
            let resources = batch.traces().resources().len();
            format!("Traces\t{{\"resource spans\": {resources}, \"spans\": {items}}}\n")
        }
        Signal::Metrics => {
            let resources = batch.metrics().resources();
            let scopes = resources.flat_map(|resource| resource.scopes());
            let metrics: usize = scopes.map(|scope| scope.metrics().len()).sum();
            let resources = resources.len();
            format!(
                "Metrics\t{{\"resource metrics\": {resources}, \"metrics\": {metrics}, \"data points\": {items}}}\n"
            )
        }
    }
}

/// A value with its type: `Str(text)`.
pub(super) fn typed(value: AnyValue<'_>) -> String {
    match value {
        AnyValue::Empty => "Empty()".to_owned(),
        AnyValue::String(text) => format!("Str({text})"),
        AnyValue::Bool(value) => format!("Bool({value})"),
        AnyValue::Int(value) => format!("Int({value})"),
        AnyValue::Double(value) => format!("Double({value})"),
        AnyValue::Array(_) => format!("Slice({})", json::plain(value)),
        AnyValue::KeyValueList(_) => format!("Map({})", json::plain(value)),
        AnyValue::Bytes(_) => format!("Bytes({})", json::plain(value).trim_matches('"')),
        AnyValue::StringIndex(index) => format!("StrIndex({index})"),
    }
}

/// A value on a line of others.
pub(super) fn bare(value: AnyValue<'_>) -> String {
    match value {
        AnyValue::String(text) => text.to_owned(),
        value => json::plain(value),
    }
}

/// ` key=value` for each attribute.
pub(super) fn pairs(out: &mut String, attributes: Attributes<'_>) {
    for attribute in attributes {
        let _ = write!(out, " {}={}", attribute.key, bare(attribute.value));
    }
}

/// A heading and a line for each attribute; nothing without attributes.
pub(super) fn list(out: &mut String, heading: &str, indent: &str, attributes: Attributes<'_>) {
    if attributes.is_empty() {
        return;
    }
    let _ = writeln!(out, "{heading}");
    for attribute in attributes {
        let _ = writeln!(out, "{indent}-> {}: {}", attribute.key, typed(attribute.value));
    }
}

pub(super) fn resource(
    out: &mut String,
    heading: &str,
    number: usize,
    resource: Resource<'_>,
    schema_url: &str,
) {
    let _ = writeln!(out, "{heading} #{number}\nResource SchemaURL: {schema_url}");
    list(out, "Resource attributes:", "     ", resource.attributes);
}

pub(super) fn scope(out: &mut String, heading: &str, number: usize, scope: Scope<'_>, schema_url: &str) {
    let _ = writeln!(out, "{heading} #{number}\n{heading} SchemaURL: {schema_url}");
    let _ = writeln!(out, "InstrumentationScope {} {}", scope.name, scope.version);
    list(out, "InstrumentationScope attributes:", "     ", scope.attributes);
}

/// A moment as the Collector prints it: `2020-02-11 20:26:13.000000789 +0000 UTC`.
pub(super) fn moment(nanos: u64) -> String {
    let moment = DateTime::from_timestamp((nanos / 1_000_000_000) as i64, (nanos % 1_000_000_000) as u32);
    let text = moment
        .unwrap_or_default()
        .format("%Y-%m-%d %H:%M:%S%.9f")
        .to_string();
    // Zeros at the end of a fraction are not printed, and no fraction of zeros.
    format!("{} +0000 UTC", text.trim_end_matches('0').trim_end_matches('.'))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
