//! Records and spans as lines of text. Control characters are shown and not sent: a message must not move the cursor.

use std::fmt::Write as _;

use cupola_sdk_core::attributes::Attributes;
use cupola_sdk_core::log::Severity;
use cupola_sdk_core::span::{Span, Status};
use cupola_telemetry::json::write_plain;
use cupola_telemetry::time::to_rfc3339;
use cupola_telemetry::view::AnyValue;

use super::Line;
use crate::context::node::Node;

const DIM: &str = "\u{1b}[2m";
const BOLD: &str = "\u{1b}[1m";
const RESET: &str = "\u{1b}[0m";

/// A text on its way, and whether it has colours.
struct Painter<'p> {
    out: &'p mut String,
    is_coloured: bool,
}

impl Painter<'_> {
    fn paint(&mut self, colour: &str, write: impl FnOnce(&mut String)) {
        if self.is_coloured {
            self.out.push_str(colour);
        }
        write(self.out);
        if self.is_coloured {
            self.out.push_str(RESET);
        }
    }

    fn indent(&mut self, depth: usize) {
        // What is deeper stands where the deepest does: a line has an end.
        const DEPTH_SHOWN_MAX: usize = 32;
        if depth > 0 {
            self.paint(DIM, |out| {
                out.extend(std::iter::repeat_n("│ ", depth.min(DEPTH_SHOWN_MAX)))
            });
        }
    }

    fn fields<'f>(&mut self, fields: impl Iterator<Item = (&'f str, AnyValue<'f>)>) {
        for (key, value) in fields {
            self.out.push(' ');
            self.paint(DIM, |out| {
                escape(out, key);
                out.push('=');
            });
            write_value(self.out, value);
        }
    }
}

fn colour(severity: Severity) -> &'static str {
    match severity.number() {
        ..5 => "\u{1b}[35m",
        5..9 => "\u{1b}[34m",
        9..13 => "\u{1b}[32m",
        13..17 => "\u{1b}[33m",
        _ => "\u{1b}[31m",
    }
}

/// In columns: time, level, target, then the message and what it has as fields.
pub(super) fn pretty(out: &mut String, line: &Line<'_>, depth: usize, is_coloured: bool) {
    const TARGET_WIDTH: usize = 24;
    let mut painter = Painter { out, is_coloured };
    let record = line.record;
    painter.paint(DIM, |out| time(out, record.unix_nano));
    painter.out.push(' ');
    let severity = record.severity;
    painter.paint(colour(severity), |out| {
        let _ = write!(out, "{:<5}", severity.name());
    });
    painter.out.push(' ');
    painter.paint(DIM, |out| {
        let _ = write!(out, "{:<TARGET_WIDTH$}", line.target);
    });
    painter.out.push(' ');
    painter.indent(depth);
    painter.paint(BOLD, |out| escape(out, line.body));
    painter.fields(fields(line).filter(|(key, _)| *key != STACK_TRACE));
    if let Some(AnyValue::String(trace)) = record.attributes().get(STACK_TRACE) {
        for text in trace.lines() {
            painter.out.push_str("\n    ");
            escape(painter.out, text);
        }
    }
}

const STACK_TRACE: &str = "exception.stacktrace";

/// Time of day, level by its first letter, last part of the target, message, fields.
pub(super) fn compact(out: &mut String, line: &Line<'_>, depth: usize, is_coloured: bool) {
    let mut painter = Painter { out, is_coloured };
    let record = line.record;
    painter.paint(DIM, |out| out.push_str(&stamp(record.unix_nano).1));
    painter.out.push(' ');
    let severity = record.severity;
    painter.paint(colour(severity), |out| out.push_str(&severity.name()[..1]));
    painter.out.push(' ');
    painter.indent(depth);
    let last = line.target.rsplit("::").next().unwrap_or_default();
    painter.paint(DIM, |out| {
        escape(out, last);
        out.push(':');
    });
    painter.out.push(' ');
    escape(painter.out, line.body);
    painter.fields(fields(line));
}

/// `pid|time|level|module:function:line - message`, and the fields. The function is the span around it, as far as it is known.
pub(super) fn pattern(out: &mut String, line: &Line<'_>) {
    let record = line.record;
    let _ = write!(out, "{}|", std::process::id());
    time(out, record.unix_nano);
    let _ = write!(
        out,
        "|{}|{}:{}:{} - ",
        record.severity.name(),
        line.module.unwrap_or(line.target),
        line.node.map_or("", |node| node.name()),
        line.line.unwrap_or(0)
    );
    escape(out, line.body);
    let mut painter = Painter {
        out,
        is_coloured: false,
    };
    painter.fields(fields(line));
}

pub(super) fn span_started(out: &mut String, node: &Node, span: &Span, is_coloured: bool) {
    let mut painter = Painter { out, is_coloured };
    painter.paint(DIM, |out| time(out, span.start_unix_nano()));
    painter.out.push(' ');
    painter.indent(node.depth);
    painter.paint(BOLD, |out| {
        out.push_str("┌ ");
        escape(out, span.name());
    });
    painter.fields(shown(span.attributes()));
}

pub(super) fn span_ended(out: &mut String, node: &Node, span: &Span, unix_nano: u64, is_coloured: bool) {
    let mut painter = Painter { out, is_coloured };
    painter.paint(DIM, |out| time(out, unix_nano));
    painter.out.push(' ');
    painter.indent(node.depth);
    let took = unix_nano.saturating_sub(span.start_unix_nano());
    let took = std::time::Duration::from_nanos(took);
    painter.paint(BOLD, |out| {
        out.push_str("└ ");
        escape(out, span.name());
    });
    let _ = write!(painter.out, " {took:.2?}");
    if let Status::Error { description } = span.status() {
        painter.paint(colour(Severity::ERROR), |out| {
            out.push_str(" error ");
            escape(out, description);
        });
    }
}

/// What people are shown of its attributes.
fn fields<'l>(line: &'l Line<'_>) -> impl Iterator<Item = (&'l str, AnyValue<'l>)> {
    shown(line.record.attributes())
}

/// Without where it is and who does it.
fn shown(attributes: &Attributes) -> impl Iterator<Item = (&str, AnyValue<'_>)> {
    let is_shown = |key: &str| !key.starts_with("code.") && !key.starts_with("thread.");
    attributes.iter().filter(move |(key, _)| is_shown(key))
}

/// Date and time of day, UTC, in milliseconds: always as long.
fn time(out: &mut String, unix_nano: u64) {
    let (date, time) = stamp(unix_nano);
    out.extend([date.as_str(), " ", &time]);
}

fn stamp(unix_nano: u64) -> (String, String) {
    let stamp = to_rfc3339(unix_nano - unix_nano % 1_000_000);
    let stamp = stamp.trim_end_matches('Z');
    let (date, time) = stamp.split_once('T').unwrap_or((stamp, ""));
    let fraction = if time.contains('.') { "" } else { ".000" };
    (date.to_owned(), format!("{time}{fraction}"))
}

/// Texts with spaces or without anything are in quotation marks, so that one sees where they end.
fn write_value(out: &mut String, value: AnyValue<'_>) {
    match value {
        AnyValue::String(text) if text.is_empty() || text.contains([' ', '"', '=']) => {
            out.push('"');
            for part in text.split_inclusive('"') {
                escape(out, part.strip_suffix('"').unwrap_or(part));
                if part.ends_with('"') {
                    out.push_str("\\\"");
                }
            }
            out.push('"');
        }
        AnyValue::String(text) => escape(out, text),
        other => write_plain(out, other),
    }
}

fn escape(out: &mut String, text: &str) {
    if !text.contains(char::is_control) {
        out.push_str(text);
        return;
    }
    for character in text.chars() {
        match character {
            '\t' => out.push('\t'),
            control if control.is_control() => out.extend(control.escape_default()),
            other => out.push(other),
        }
    }
}
