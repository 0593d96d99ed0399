//! Spans and log records as text that is the same in each run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::decoded::{CapturedAttributes, CapturedLog, CapturedSpan};

pub(super) fn render(spans: &[CapturedSpan], logs: &[CapturedLog]) -> String {
    let mut below: BTreeMap<&str, Vec<&CapturedSpan>> = BTreeMap::new();
    for span in spans {
        // Below one that has not been recorded here is below none.
        let is_known = spans.iter().any(|other| other.span_id == span.parent_span_id);
        let parent = if is_known {
            span.parent_span_id.as_str()
        } else {
            ""
        };
        below.entry(parent).or_default().push(span);
    }
    let mut out = String::new();
    tree(&mut out, "", 0, &below, logs);
    let known = |log: &&CapturedLog| spans.iter().any(|span| span.span_id == log.span_id);
    for log in logs.iter().filter(|log| !known(log)) {
        write_log(&mut out, log, 0);
    }
    out
}

fn tree(
    out: &mut String,
    parent: &str,
    depth: usize,
    below: &BTreeMap<&str, Vec<&CapturedSpan>>,
    logs: &[CapturedLog],
) {
    for span in below.get(parent).into_iter().flatten() {
        write_span(out, span, depth);
        for log in logs.iter().filter(|log| log.span_id == span.span_id) {
            write_log(out, log, depth + 1);
        }
        tree(out, &span.span_id, depth + 1, below, logs);
    }
}

fn write_span(out: &mut String, span: &CapturedSpan, depth: usize) {
    const KINDS: [&str; 6] = [
        "unspecified",
        "internal",
        "server",
        "client",
        "producer",
        "consumer",
    ];
    let kind = usize::try_from(span.kind).ok().and_then(|kind| KINDS.get(kind));
    indent(out, depth);
    let _ = write!(out, "span {:?} {}", span.name, kind.unwrap_or(&"?"));
    match span.status_code {
        1 => out.push_str(" ok"),
        2 => {
            let _ = write!(out, " error {:?}", span.status_message);
        }
        _ => {}
    }
    write_attributes(out, &span.attributes);
    out.push('\n');
    for event in &span.events {
        indent(out, depth + 1);
        let _ = write!(out, "event {:?}", event.name);
        write_attributes(out, &event.attributes);
        out.push('\n');
    }
    for link in &span.links {
        indent(out, depth + 1);
        let _ = write!(out, "link {}-{}", link.trace_id, link.span_id);
        write_attributes(out, &link.attributes);
        out.push('\n');
    }
}

fn write_log(out: &mut String, log: &CapturedLog, depth: usize) {
    indent(out, depth);
    let _ = write!(out, "{} {}", log.severity_text, log.body);
    write_attributes(out, &log.attributes);
    out.push('\n');
}

fn write_attributes(out: &mut String, attributes: &CapturedAttributes) {
    for (key, value) in attributes {
        if !key.starts_with("code.") && !key.starts_with("thread.") {
            let _ = write!(out, " {key}={value}");
        }
    }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}
