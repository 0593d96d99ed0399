//! A record as one JSON object: the members that every backend for lines has, always all of them.

use cupola_sdk_core::resource::Resource;
use cupola_telemetry::json::{write_plain, write_string};
use cupola_telemetry::time::to_rfc3339;
use cupola_telemetry::view;

use super::Line;

/// The attributes of a resource as an object.
pub(super) fn resource(resource: &Resource) -> String {
    let mut out = String::new();
    let attributes = view::Resource::parse(&resource.message).attributes;
    object(&mut out, attributes.iter().map(|pair| (pair.key, pair.value)));
    out
}

pub(super) fn write(out: &mut String, line: &Line<'_>, resource: &str) {
    let record = line.record;
    let severity = record.severity;
    out.push_str("{\"timestamp\":");
    write_string(out, &to_rfc3339(record.unix_nano));
    out.push_str(",\"severity_text\":");
    write_string(out, severity.name());
    out.push_str(",\"severity_number\":");
    out.push_str(&severity.number().to_string());
    out.push_str(",\"body\":");
    write_string(out, line.body);
    let span = record.span.filter(|span| span.is_valid());
    out.push_str(",\"trace_id\":");
    write_string(
        out,
        &span.map_or_else(String::new, |span| span.trace_id.to_string()),
    );
    out.push_str(",\"span_id\":");
    write_string(
        out,
        &span.map_or_else(String::new, |span| span.span_id.to_string()),
    );
    out.push_str(",\"resource\":");
    out.push_str(resource);
    out.push_str(",\"attributes\":");
    object(out, record.attributes().iter());
    out.push('}');
}

fn object<'p>(out: &mut String, pairs: impl Iterator<Item = (&'p str, view::AnyValue<'p>)>) {
    out.push('{');
    for (index, (key, value)) in pairs.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(out, key);
        out.push(':');
        write_plain(out, value);
    }
    out.push('}');
}
