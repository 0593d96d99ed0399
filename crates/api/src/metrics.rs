//! The Prometheus text exposition format (version 0.0.4), and the trait by which the binary supplies what to expose.
//! Refuses to write a document Prometheus would not read: names are checked and escaped, families are written once.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::fmt::Write as _;

/// Supplies the metrics of the process whenever `/metrics` is read.
pub trait MetricsSource: Send + Sync + 'static {
    fn collect(&self, out: &mut PrometheusText);
}

impl<F: Fn(&mut PrometheusText) + Send + Sync + 'static> MetricsSource for F {
    fn collect(&self, out: &mut PrometheusText) {
        self(out);
    }
}

/// Media type of the document.
pub const PROMETHEUS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

impl MetricKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A document being written, family by family.
#[derive(Debug, Default)]
pub struct PrometheusText {
    text: String,
    families: Vec<String>,
}

impl PrometheusText {
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a counter family. The name gets the `_total` that the conventions ask for when it lacks it.
    pub fn counter(&mut self, name: &str, help: &str) -> MetricFamily<'_> {
        let total = if name.ends_with("_total") {
            name.to_owned()
        } else {
            format!("{name}_total")
        };
        self.family(&total, help, MetricKind::Counter)
    }

    pub fn gauge(&mut self, name: &str, help: &str) -> MetricFamily<'_> {
        self.family(name, help, MetricKind::Gauge)
    }

    pub fn histogram(&mut self, name: &str, help: &str) -> MetricFamily<'_> {
        self.family(name, help, MetricKind::Histogram)
    }

    /// The finished document.
    pub fn finish(self) -> String {
        self.text
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricKind) -> MetricFamily<'_> {
        let name = sanitize(name, true);
        // A second HELP or TYPE for one name makes the whole page unreadable to Prometheus.
        if !self.families.contains(&name) {
            let help = help.replace('\\', "\\\\").replace('\n', "\\n");
            let _ = write!(
                self.text,
                "# HELP {name} {help}\n# TYPE {name} {}\n",
                kind.as_str()
            );
            self.families.push(name.clone());
        }
        MetricFamily { document: self, name }
    }
}

/// Adds samples to one family.
#[derive(Debug)]
pub struct MetricFamily<'a> {
    document: &'a mut PrometheusText,
    name: String,
}

impl MetricFamily<'_> {
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    /// A sample without labels.
    pub fn value(&mut self, value: f64) -> &mut Self {
        self.sample(&[], value)
    }

    /// One histogram: `buckets` are (upper bound, observations at or under it), cumulative and without `+Inf`.
    pub fn observe(
        &mut self,
        labels: &[(&str, &str)],
        buckets: &[(f64, u64)],
        sum: f64,
        count: u64,
    ) -> &mut Self {
        for (bound, cumulative) in buckets {
            self.line("_bucket", labels, Some(&number(*bound)), *cumulative as f64);
        }
        self.line("_bucket", labels, Some("+Inf"), count as f64);
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, count as f64);
        self
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<&str>, value: f64) {
        let text = &mut self.document.text;
        let _ = write!(text, "{}{suffix}", self.name);
        let bound = bound.map(|bound| ("le", bound));
        for (index, (label, content)) in labels.iter().copied().chain(bound).enumerate() {
            text.push(if index == 0 { '{' } else { ',' });
            let content = content
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(text, "{}=\"{content}\"", sanitize(label, false));
        }
        if !labels.is_empty() || bound.is_some() {
            text.push('}');
        }
        let _ = writeln!(text, " {}", number(value));
    }
}

fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 {
            "+Inf".to_owned()
        } else {
            "-Inf".to_owned()
        };
    }
    format!("{value}")
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*` for metrics, without the colon for labels; anything else becomes `_`.
fn sanitize(name: &str, colon: bool) -> String {
    let mut out = String::with_capacity(name.len() + 1);
    for (index, character) in name.chars().enumerate() {
        let valid = character.is_ascii_alphanumeric() || character == '_' || (colon && character == ':');
        if index == 0 && character.is_ascii_digit() {
            out.push('_');
        }
        out.push(if valid { character } else { '_' });
    }
    if out.is_empty() { "_".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_in_the_exposition_format() {
        let mut out = PrometheusText::new();
        out.counter(
            "cupola_receiver_accepted",
            "Items taken.\nAll of them, \\ included.",
        )
        .sample(&[("signal", "logs"), ("tenant", "a\"b\\c\nd")], 3.0);
        out.gauge("process_resident_memory_bytes", "Resident memory.")
            .value(1.5e9);
        out.histogram("cupola_request_duration_seconds", "Time.").observe(
            &[("route", "/x")],
            &[(0.1, 1), (1.0, 2)],
            1.25,
            3,
        );
        out.counter("cupola_receiver_accepted_total", "Again.")
            .sample(&[("signal", "traces")], 4.0);
        let expected = "\
# HELP cupola_receiver_accepted_total Items taken.\\nAll of them, \\\\ included.
# TYPE cupola_receiver_accepted_total counter
cupola_receiver_accepted_total{signal=\"logs\",tenant=\"a\\\"b\\\\c\\nd\"} 3
# HELP process_resident_memory_bytes Resident memory.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1500000000
# HELP cupola_request_duration_seconds Time.
# TYPE cupola_request_duration_seconds histogram
cupola_request_duration_seconds_bucket{route=\"/x\",le=\"0.1\"} 1
cupola_request_duration_seconds_bucket{route=\"/x\",le=\"1\"} 2
cupola_request_duration_seconds_bucket{route=\"/x\",le=\"+Inf\"} 3
cupola_request_duration_seconds_sum{route=\"/x\"} 1.25
cupola_request_duration_seconds_count{route=\"/x\"} 3
cupola_receiver_accepted_total{signal=\"traces\"} 4
";
        assert_eq!(out.finish(), expected);
    }

    #[test]
    fn names_prometheus_would_refuse_are_mended() {
        assert_eq!(sanitize("http.server-duration", true), "http_server_duration");
        assert_eq!(sanitize("9lives", false), "_9lives");
        assert_eq!(sanitize("a:b", false), "a_b");
        assert_eq!(number(f64::NEG_INFINITY), "-Inf");
    }
}
