//! Spans, log records and metrics as text that is the same in each run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::decoded::{CapturedAttributes, CapturedLog, CapturedSpan};
use super::metrics::{CapturedBuckets, CapturedKind, CapturedMeasure, CapturedMetric};

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

pub(super) fn metrics(metrics: &[CapturedMetric]) -> String {
    let mut out = String::new();
    for metric in metrics {
        let kind = match metric.kind {
            CapturedKind::Gauge => "gauge",
            CapturedKind::Counter => "counter",
            CapturedKind::UpDownCounter => "up_down_counter",
            CapturedKind::Histogram => "histogram",
            CapturedKind::ExponentialHistogram => "exponential_histogram",
        };
        let _ = writeln!(
            out,
            "{}",
            format!("{kind} {:?} {}", metric.name, metric.unit).trim_end()
        );
        for point in &metric.points {
            indent(&mut out, 1);
            write_measure(&mut out, &point.value);
            write_attributes(&mut out, &point.attributes);
            out.push('\n');
            for exemplar in &point.exemplars {
                indent(&mut out, 2);
                let _ = write!(out, "exemplar {:?}", exemplar.value);
                if !exemplar.span_id.is_empty() {
                    let _ = write!(out, " in {}-{}", exemplar.trace_id, exemplar.span_id);
                }
                write_attributes(&mut out, &exemplar.attributes);
                out.push('\n');
            }
        }
    }
    out
}

fn write_measure(out: &mut String, value: &CapturedMeasure) {
    // Writing into a text does not fail.
    let _ = match value {
        CapturedMeasure::Int(value) => write!(out, "{value}"),
        CapturedMeasure::Double(value) => write!(out, "{value:?}"),
        CapturedMeasure::Histogram {
            count,
            sum,
            min,
            max,
            bounds,
            buckets,
        } => {
            write_ends(out, *count, [*sum, *min, *max]);
            // Those that have something, each with its upper bound.
            for (at, bucket) in buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
                let _ = match bounds.get(at) {
                    Some(bound) => write!(out, " <={bound:?}:{bucket}"),
                    None => write!(out, " more:{bucket}"),
                };
            }
            Ok(())
        }
        CapturedMeasure::ExponentialHistogram {
            count,
            sum,
            min,
            max,
            scale,
            zero_count,
            positive,
            negative,
        } => {
            write_ends(out, *count, [*sum, *min, *max]);
            let _ = write!(out, " scale={scale} zero={zero_count}");
            write_buckets(out, "positive", positive);
            write_buckets(out, "negative", negative);
            Ok(())
        }
    };
}

fn write_ends(out: &mut String, count: u64, numbers: [Option<f64>; 3]) {
    let _ = write!(out, "count={count}");
    for (name, number) in ["sum", "min", "max"].into_iter().zip(numbers) {
        if let Some(number) = number {
            let _ = write!(out, " {name}={number:?}");
        }
    }
}

fn write_buckets(out: &mut String, name: &str, buckets: &CapturedBuckets) {
    if !buckets.counts.is_empty() {
        let _ = write!(out, " {name}={}:{:?}", buckets.offset, buckets.counts);
    }
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
