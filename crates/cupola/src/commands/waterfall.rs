//! A trace drawn in the terminal: one line a span, indented below its parent, with a bar where it lies in time; logs
//! below the span they were written in. Pure: text in, text out.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use cupola_api::{LogRecord, Span, Trace};
use cupola_telemetry::time::{from_rfc3339, to_rfc3339};

use crate::terminal::{Paint, counted, cut, printable};

/// Part of the width that bars take.
const BAR_PERCENT: usize = 38;
const BAR_WIDTH_MIN: usize = 12;
const DURATION_WIDTH: usize = 9;
/// Deeper spans are not indented further, so that their names can still be read.
const INDENT_LEVELS_MAX: usize = 20;
const LOGS_PER_SPAN_MAX: usize = 20;

pub(crate) fn render(trace: &Trace, width: usize, paint: Paint, attributes: bool) -> String {
    let drawing = Drawing::new(trace, width, paint, attributes);
    let mut out = String::new();
    drawing.head(&mut out);
    for (span, depth) in drawing.ordered() {
        drawing.span(&mut out, span, depth);
    }
    for log in trace
        .logs
        .iter()
        .filter(|log| !drawing.by_id.contains_key(log.span_id.as_str()))
    {
        drawing.log(&mut out, log, 0);
    }
    if trace.truncated {
        out.push_str(&paint.yellow("the trace has more spans or logs than are shown"));
        out.push('\n');
    }
    out
}

struct Drawing<'t> {
    trace: &'t Trace,
    by_id: HashMap<&'t str, &'t Span>,
    start: u64,
    length: u64,
    bar: usize,
    label: usize,
    width: usize,
    paint: Paint,
    attributes: bool,
}

impl<'t> Drawing<'t> {
    fn new(trace: &'t Trace, width: usize, paint: Paint, attributes: bool) -> Self {
        let start = trace.spans.iter().map(start_of).min().unwrap_or(0);
        let end = trace.spans.iter().map(end_of).max().unwrap_or(0);
        let bar = (width * BAR_PERCENT / 100).max(BAR_WIDTH_MIN);
        Drawing {
            trace,
            by_id: trace
                .spans
                .iter()
                .map(|span| (span.span_id.as_str(), span))
                .collect(),
            start,
            length: end.saturating_sub(start).max(1),
            bar,
            label: width.saturating_sub(bar + DURATION_WIDTH + 3).max(20),
            width,
            paint,
            attributes,
        }
    }

    fn head(&self, out: &mut String) {
        let services: HashSet<&str> = self
            .trace
            .spans
            .iter()
            .map(|span| span.service_name.as_str())
            .collect();
        let errors = self
            .trace
            .spans
            .iter()
            .filter(|span| span.status_code == "error")
            .count();
        let started = to_rfc3339(self.start);
        let mut facts = format!(
            "{} · {} · {} · {}",
            started,
            counted(self.trace.spans.len(), "span"),
            counted(services.len(), "service"),
            duration(self.length)
        );
        if errors > 0 {
            let _ = write!(facts, " · {}", self.paint.red(&format!("{errors} failed")));
        }
        let _ = writeln!(out, "{} {facts}", self.paint.bold(&self.trace.trace_id));
    }

    /// Spans depth first, children by start; a span whose parent is not there stands at the top.
    fn ordered(&self) -> Vec<(&'t Span, usize)> {
        let mut children: HashMap<&str, Vec<&Span>> = HashMap::new();
        for span in &self.trace.spans {
            let parent = span.parent_span_id.as_str();
            let known = self.by_id.contains_key(parent) && parent != span.span_id;
            children
                .entry(if known { parent } else { "" })
                .or_default()
                .push(span);
        }
        children
            .values_mut()
            .for_each(|siblings| siblings.sort_by_key(|span| start_of(span)));
        let mut ordered = Vec::with_capacity(self.trace.spans.len());
        let mut seen = HashSet::new();
        let mut waiting: Vec<(&Span, usize)> = children
            .get("")
            .into_iter()
            .flatten()
            .rev()
            .map(|span| (*span, 0))
            .collect();
        while let Some((span, depth)) = waiting.pop() {
            // Ids that repeat, by mistake or malice, must not send us round in circles.
            if !seen.insert(std::ptr::from_ref(span)) {
                continue;
            }
            ordered.push((span, depth));
            let below = children.get(span.span_id.as_str()).into_iter().flatten().rev();
            waiting.extend(
                below
                    .filter(|_| !span.span_id.is_empty())
                    .map(|child| (*child, depth + 1)),
            );
        }
        // Parents that are each other's parents are reached from nowhere.
        ordered.extend(
            self.trace
                .spans
                .iter()
                .filter(|span| seen.insert(std::ptr::from_ref(*span)))
                .map(|span| (span, 0)),
        );
        ordered
    }

    fn span(&self, out: &mut String, span: &Span, depth: usize) {
        let indent = "  ".repeat(depth.min(INDENT_LEVELS_MAX));
        let failed = span.status_code == "error";
        let service = printable(&span.service_name);
        let mark = if failed { "✗ " } else { "" };
        let name = cut(
            &printable(&span.name),
            self.label
                .saturating_sub(indent.len() + service.chars().count() + 3),
        );
        let used = indent.len() + service.chars().count() + 1 + mark.chars().count() + name.chars().count();
        let padding = " ".repeat(self.label.saturating_sub(used));
        let shown = if failed {
            self.paint.red(&format!("{mark}{name}"))
        } else {
            name
        };
        let took = duration(end_of(span).saturating_sub(start_of(span)));
        let _ = writeln!(
            out,
            "{indent}{} {shown}{padding} {took:>DURATION_WIDTH$} {}",
            self.paint.of_name(&service),
            self.bar_of(span, failed)
        );
        self.details(out, span, depth);
    }

    fn details(&self, out: &mut String, span: &Span, depth: usize) {
        let indent = "  ".repeat(depth.min(INDENT_LEVELS_MAX) + 1);
        if !span.status_message.is_empty() {
            let message = cut(
                &printable(&span.status_message),
                self.width.saturating_sub(indent.len()),
            );
            let _ = writeln!(out, "{indent}{}", self.paint.red(&message));
        }
        if self.attributes {
            for (key, value) in &span.attributes {
                let line = printable(&format!("{key} = {}", plain(value)));
                let _ = writeln!(
                    out,
                    "{indent}{}",
                    self.paint
                        .dim(&cut(&line, self.width.saturating_sub(indent.len())))
                );
            }
        }
        for event in &span.events {
            let kind = event
                .attributes
                .get("exception.type")
                .map(plain)
                .unwrap_or_default();
            let message = event
                .attributes
                .get("exception.message")
                .map(plain)
                .unwrap_or_default();
            let line = printable(format!("• {} {kind} {message}", event.name).trim_end());
            let _ = writeln!(
                out,
                "{indent}{}",
                self.paint
                    .yellow(&cut(&line, self.width.saturating_sub(indent.len())))
            );
        }
        let mut logs = self
            .trace
            .logs
            .iter()
            .filter(|log| log.span_id == span.span_id && !span.span_id.is_empty());
        logs.by_ref()
            .take(LOGS_PER_SPAN_MAX)
            .for_each(|log| self.log(out, log, depth + 1));
        let more = logs.count();
        if more > 0 {
            let line = format!("… and {more} more {}", if more == 1 { "log" } else { "logs" });
            let _ = writeln!(out, "{indent}{}", self.paint.dim(&line));
        }
    }

    fn log(&self, out: &mut String, log: &LogRecord, depth: usize) {
        let indent = "  ".repeat(depth.min(INDENT_LEVELS_MAX + 1));
        let line = printable(&format!("› {} {}", log.level, plain(&log.body)));
        let line = cut(&line, self.width.saturating_sub(indent.len()));
        let shown = match log.level.as_str() {
            "error" | "fatal" => self.paint.red(&line),
            "warn" => self.paint.yellow(&line),
            _ => self.paint.dim(&line),
        };
        let _ = writeln!(out, "{indent}{shown}");
    }

    fn bar_of(&self, span: &Span, failed: bool) -> String {
        let cells = |nanos: u64| (u128::from(nanos) * self.bar as u128 / u128::from(self.length)) as usize;
        let from = cells(start_of(span).saturating_sub(self.start)).min(self.bar - 1);
        let to = cells(end_of(span).saturating_sub(self.start)).clamp(from + 1, self.bar);
        let bar = "▇".repeat(to - from);
        let painted = if failed {
            self.paint.red(&bar)
        } else {
            self.paint.of_name_bar(&span.service_name, &bar)
        };
        format!("{}{painted}", " ".repeat(from))
    }
}

fn start_of(span: &Span) -> u64 {
    from_rfc3339(&span.timestamp).unwrap_or(0)
}

fn end_of(span: &Span) -> u64 {
    start_of(span).saturating_add(span.duration_ns.max(0) as u64)
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Three figures and a unit.
pub(crate) fn duration(nanos: u64) -> String {
    let (value, unit) = match nanos {
        0..1_000 => return format!("{nanos}ns"),
        1_000..1_000_000 => (nanos as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (nanos as f64 / 1e6, "ms"),
        _ => (nanos as f64 / 1e9, "s"),
    };
    match value {
        value if value >= 100.0 => format!("{value:.0}{unit}"),
        value if value >= 10.0 => format!("{value:.1}{unit}"),
        value => format!("{value:.2}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, service: &str, name: &str, start_ms: u64, duration_ms: i64) -> Span {
        Span {
            timestamp: cupola_telemetry::time::to_rfc3339(1_700_000_000_000_000_000 + start_ms * 1_000_000),
            duration_ns: duration_ms * 1_000_000,
            span_id: id.to_owned(),
            parent_span_id: parent.to_owned(),
            service_name: service.to_owned(),
            name: name.to_owned(),
            ..Span::default()
        }
    }

    #[test]
    fn spans_stand_below_their_parents_with_bars_in_time() {
        let mut failed = span("c", "b", "db", "INSERT", 40, 60);
        failed.status_code = "error".to_owned();
        failed.status_message = "deadlock".to_owned();
        let log = LogRecord {
            span_id: "b".to_owned(),
            level: "warn".to_owned(),
            body: "slow\x1b[2J".into(),
            ..LogRecord::default()
        };
        let trace = Trace {
            trace_id: "t".to_owned(),
            spans: vec![
                failed,
                span("a", "", "web", "GET /", 0, 100),
                span("b", "a", "orders", "POST /orders", 20, 80),
            ],
            logs: vec![log],
            truncated: false,
        };
        let drawn = render(&trace, 80, Paint(false), false);
        let expected = "\
t 2023-11-14T22:13:20Z · 3 spans · 3 services · 100ms · 1 failed
web GET /                                  100ms ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇
  orders POST /orders                     80.0ms       ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇
    › warn slow\u{fffd}[2J
    db ✗ INSERT                           60.0ms             ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇
      deadlock
";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn logs_that_are_left_out_are_counted() {
        let log = LogRecord {
            span_id: "a".to_owned(),
            body: "again".into(),
            ..LogRecord::default()
        };
        let mut trace = Trace {
            spans: vec![span("a", "", "web", "GET /", 0, 1)],
            logs: vec![log.clone(); LOGS_PER_SPAN_MAX],
            ..Trace::default()
        };
        assert!(!render(&trace, 80, Paint(false), false).contains("more"));
        trace.logs.extend([log.clone(), log]);
        let drawn = render(&trace, 80, Paint(false), false);
        assert!(drawn.ends_with("  … and 2 more logs\n"), "{drawn}");
    }

    #[test]
    fn parents_that_are_missing_or_circular_lose_nothing() {
        let trace = Trace {
            spans: vec![
                span("a", "b", "x", "one", 0, 1),
                span("b", "a", "x", "two", 0, 1),
                span("c", "gone", "x", "three", 0, 1),
                span("c", "gone", "x", "same id", 0, 1),
            ],
            ..Trace::default()
        };
        let drawn = render(&trace, 80, Paint(false), false);
        assert!(
            ["one", "two", "three", "same id"]
                .iter()
                .all(|name| drawn.contains(name)),
            "{drawn}"
        );
    }

    #[test]
    fn durations_have_three_figures() {
        assert_eq!(
            ["999ns", "1.00µs", "15.0ms", "2.50s"],
            [999, 1_000, 15_000_000, 2_500_000_000].map(duration)
        );
    }
}
