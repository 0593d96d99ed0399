//! Every field of log records and spans.

use std::fmt::Write as _;

use cupola_telemetry::view::{LogRecord, Span};
use cupola_telemetry::{Batch, Signal};

use super::text::{hex, list, moment, resource, scope, typed};

pub(super) fn write(out: &mut String, batch: &Batch) {
    match batch.signal() {
        Signal::Logs => logs(out, batch),
        Signal::Traces => traces(out, batch),
        Signal::Metrics => super::metrics::write(out, batch),
    }
}

fn logs(out: &mut String, batch: &Batch) {
    for (number, logs) in batch.logs().resources().enumerate() {
        resource(out, "ResourceLog", number, logs.resource(), logs.schema_url());
        for (number, logs) in logs.scopes().enumerate() {
            scope(out, "ScopeLogs", number, logs.scope(), logs.schema_url());
            for (number, item) in logs.records().enumerate() {
                record(out, number, item);
            }
        }
    }
}

fn record(out: &mut String, number: usize, record: LogRecord<'_>) {
    let _ = writeln!(out, "LogRecord #{number}");
    let _ = writeln!(
        out,
        "ObservedTimestamp: {}",
        moment(record.observed_time_unix_nano)
    );
    let _ = writeln!(out, "Timestamp: {}", moment(record.time_unix_nano));
    let _ = writeln!(out, "SeverityText: {}", record.severity_text);
    let _ = writeln!(out, "SeverityNumber: {}", severity(record.severity_number));
    if !record.event_name.is_empty() {
        let _ = writeln!(out, "EventName: {}", record.event_name);
    }
    let _ = writeln!(out, "Body: {}", typed(record.body.unwrap_or_default()));
    list(out, "Attributes:", "     ", record.attributes);
    let _ = writeln!(out, "Trace ID: {}", hex(record.trace_id));
    let _ = writeln!(out, "Span ID: {}", hex(record.span_id));
    let _ = writeln!(out, "Flags: {}", record.flags);
}

/// `Info(9)`, `Info2(10)`.
fn severity(number: i32) -> String {
    const NAMES: [&str; 6] = ["Trace", "Debug", "Info", "Warn", "Error", "Fatal"];
    let place = usize::try_from(number - 1).ok();
    let name = place.and_then(|place| NAMES.get(place / 4).map(|name| (*name, place % 4 + 1)));
    match name {
        None => format!("Unspecified({number})"),
        Some((name, 1)) => format!("{name}({number})"),
        Some((name, step)) => format!("{name}{step}({number})"),
    }
}

fn traces(out: &mut String, batch: &Batch) {
    for (number, spans) in batch.traces().resources().enumerate() {
        resource(out, "ResourceSpans", number, spans.resource(), spans.schema_url());
        for (number, spans) in spans.scopes().enumerate() {
            scope(out, "ScopeSpans", number, spans.scope(), spans.schema_url());
            for (number, item) in spans.spans().enumerate() {
                span(out, number, item);
            }
        }
    }
}

fn span(out: &mut String, number: usize, span: Span<'_>) {
    let kinds = [
        "Unspecified",
        "Internal",
        "Server",
        "Client",
        "Producer",
        "Consumer",
    ];
    let kind = usize::try_from(span.kind)
        .ok()
        .and_then(|kind| kinds.get(kind))
        .unwrap_or(&"");
    let (code, message) = span
        .status
        .map_or((0, ""), |status| (status.code, status.message));
    let code = match code {
        0 => "Unset",
        1 => "Ok",
        2 => "Error",
        _ => "",
    };
    let _ = writeln!(out, "Span #{number}");
    let fields = [
        ("Trace ID       ", hex(span.trace_id)),
        ("Parent ID      ", hex(span.parent_span_id)),
        ("ID             ", hex(span.span_id)),
        ("Name           ", span.name.to_owned()),
        ("Kind           ", (*kind).to_owned()),
        ("TraceState     ", span.trace_state.to_owned()),
        ("Start time     ", moment(span.start_time_unix_nano)),
        ("End time       ", moment(span.end_time_unix_nano)),
        ("Status code    ", code.to_owned()),
        ("Status message ", message.to_owned()),
    ];
    for (name, value) in fields {
        if name != "TraceState     " || !value.is_empty() {
            let _ = writeln!(out, "    {name}: {value}");
        }
    }
    list(out, "Attributes:", "     ", span.attributes);
    parts(out, span);
}

/// Events and links.
fn parts(out: &mut String, span: Span<'_>) {
    for (number, event) in span.events.enumerate() {
        if number == 0 {
            out.push_str("Events:\n");
        }
        let _ = writeln!(out, "SpanEvent #{number}\n     -> Name: {}", event.name);
        let _ = writeln!(out, "     -> Timestamp: {}", moment(event.time_unix_nano));
        let _ = writeln!(
            out,
            "     -> DroppedAttributesCount: {}",
            event.dropped_attributes_count
        );
        list(out, "     -> Attributes::", "          ", event.attributes);
    }
    for (number, link) in span.links.enumerate() {
        if number == 0 {
            out.push_str("Links:\n");
        }
        let _ = writeln!(
            out,
            "SpanLink #{number}\n     -> Trace ID: {}",
            hex(link.trace_id)
        );
        let _ = writeln!(
            out,
            "     -> ID: {}\n     -> TraceState: {}",
            hex(link.span_id),
            link.trace_state
        );
        let _ = writeln!(
            out,
            "     -> DroppedAttributesCount: {}",
            link.dropped_attributes_count
        );
        list(out, "     -> Attributes::", "          ", link.attributes);
    }
}
