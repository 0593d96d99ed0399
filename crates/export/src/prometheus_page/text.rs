//! The page: Prometheus text 0.0.4 and OpenMetrics 1.0.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>, <https://prometheus.io/docs/specs/om/open_metrics_spec/>

use std::fmt::Write as _;

use super::store::{Entry, Shown, Store};
use crate::prometheus::{Exemplar, Flat, Kind, Labels, Point, Value, flatten, number_text};

#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    pub(super) open_metrics: bool,
    pub(super) timestamps: bool,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self.open_metrics {
            true => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            false => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    pub(super) fn page(self, store: &Store) -> String {
        let mut out = String::new();
        for shown in store.families() {
            self.head(&mut out, shown);
            for (labels, entry) in &shown.series {
                self.entry(&mut out, shown, labels, entry);
            }
        }
        if self.open_metrics {
            out.push_str("# EOF\n");
        }
        out
    }

    /// OpenMetrics names a counter without `_total` and an info without `_info`.
    fn family_name(self, shown: &Shown) -> &str {
        let name = shown.family.name.as_str();
        let suffix = match shown.family.kind {
            Kind::Counter if self.open_metrics => "_total",
            Kind::Info if self.open_metrics => "_info",
            _ => return name,
        };
        name.strip_suffix(suffix).unwrap_or(name)
    }

    fn head(self, out: &mut String, shown: &Shown) {
        let name = self.family_name(shown);
        let kind = match shown.family.kind {
            Kind::Counter => "counter",
            Kind::Info if self.open_metrics => "info",
            Kind::Gauge | Kind::Info => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        if !shown.family.help.is_empty() {
            let _ = write!(out, "# HELP {name} ");
            escape(out, &shown.family.help, self.open_metrics);
            out.push('\n');
        }
        let _ = writeln!(out, "# TYPE {name} {kind}");
        let unit = &shown.family.unit;
        if self.open_metrics && !unit.is_empty() && name.ends_with(&format!("_{unit}")) {
            let _ = writeln!(out, "# UNIT {name} {unit}");
        }
    }

    fn entry(self, out: &mut String, shown: &Shown, labels: &Labels, entry: &Entry) {
        let value = match &entry.value {
            Value::Native(histogram) => Value::Histogram(histogram.to_classic()),
            value => value.clone(),
        };
        let point = Point {
            family: &shown.family,
            labels,
            value,
            timestamp_ms: entry.timestamp_ms,
            start_ms: 0,
            exemplars: entry.exemplars.clone(),
            stale: false,
            delta: false,
        };
        // What OpenMetrics calls the sample of a counter, whatever the family is called.
        let total = self.open_metrics && shown.family.kind == Kind::Counter;
        flatten(&point, &mut |flat: Flat<'_>| {
            let suffix = if total { "_total" } else { flat.suffix };
            let name = if total {
                self.family_name(shown)
            } else {
                &shown.family.name
            };
            let _ = write!(out, "{name}{suffix}");
            let extra = flat
                .extra
                .map(|(name, value)| (name, number_text(value, self.open_metrics)));
            write_labels(out, labels, extra);
            let _ = write!(out, " {}", number_text(flat.value, false));
            if self.timestamps {
                self.time(out, entry.timestamp_ms);
            }
            let bucket = shown.family.kind == Kind::Histogram && flat.suffix == "_bucket";
            if self.open_metrics && (bucket || total) {
                self.exemplar(out, flat.exemplars);
            }
            out.push('\n');
        });
    }

    /// The newest of those that belong to the sample.
    fn exemplar(self, out: &mut String, exemplars: &[Exemplar]) {
        let Some(exemplar) = exemplars.iter().max_by_key(|exemplar| exemplar.timestamp_ms) else {
            return;
        };
        out.push_str(" # ");
        if exemplar.labels.is_empty() {
            out.push_str("{}");
        }
        write_labels(out, &exemplar.labels, None);
        let _ = write!(out, " {}", number_text(exemplar.value, false));
        if exemplar.timestamp_ms > 0 {
            self.time(out, exemplar.timestamp_ms);
        }
    }

    /// Milliseconds, or in OpenMetrics seconds.
    fn time(self, out: &mut String, timestamp_ms: i64) {
        let _ = match self.open_metrics {
            true => write!(
                out,
                " {}.{:03}",
                timestamp_ms.div_euclid(1000),
                timestamp_ms.rem_euclid(1000)
            ),
            false => write!(out, " {timestamp_ms}"),
        };
    }
}

/// Labels, and one more which takes the place of any of its name.
fn write_labels(out: &mut String, labels: &Labels, extra: Option<(&str, String)>) {
    let mut separator = '{';
    let extra_name = extra.as_ref().map(|(name, _)| *name);
    let own = labels.iter().filter(|(name, _)| Some(*name) != extra_name);
    for (name, value) in own.chain(extra.as_ref().map(|(name, value)| (*name, value.as_str()))) {
        out.push(separator);
        out.push_str(name);
        out.push_str("=\"");
        escape(out, value, true);
        out.push('"');
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            letter => out.push(letter),
        }
    }
}
