//! `/debug/tracez`: Cupola's own spans by name and latency, and samples of them.

use std::sync::Arc;

use axum::extract::{Query, State};
use cupola_telemetry::time::to_rfc3339;
use serde::Deserialize;

use super::Sources;
use super::html::{Cell, Page, link};
use crate::own::samples::{BOUNDARIES, NameSummary, SpanSample, Wanted};

/// What the links of the page ask for, as the Collector's page calls it. What cannot be read asks for nothing, as there.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    zspanname: Option<String>,
    ztype: Option<String>,
    zlatencybucket: Option<String>,
    /// An older name of `zlatencybucket`.
    zsubtype: Option<String>,
}

pub(super) async fn page(State(sources): State<Arc<Sources>>, Query(asked): Query<Asked>) -> Page {
    let mut page = Page::new("Trace Spans");
    let names: Vec<String> = BOUNDARIES
        .iter()
        .map(|bound| format!(">{}", short(*bound)))
        .collect();
    let mut columns = vec!["Span Name", "Running"];
    columns.extend(names.iter().map(String::as_str));
    columns.push("Errors");
    page.table(&columns, sources.samples.summary().iter().map(row));
    page.paragraph(
        "Spans of this process since its start, by latency; behind each number are up to ten of them, one a second at most.",
    );
    if let Some(name) = asked.zspanname.as_deref().filter(|name| !name.is_empty()) {
        let samples = sources.samples.of(name, asked.wanted());
        page.heading(&format!("Span Name: {name}"));
        page.paragraph(&format!("{} Requests", samples.len()));
        page.table(
            &[
                "When (UTC)",
                "Elapsed (s)",
                "Trace",
                "Span",
                "Parent",
                "Status",
                "Attributes",
            ],
            samples.iter().map(sample),
        );
    }
    page
}

impl Asked {
    fn wanted(&self) -> Wanted {
        let number = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<usize>().ok());
        match number(&self.ztype).unwrap_or(0) {
            1 => {
                let bucket = number(&self.zlatencybucket).or(number(&self.zsubtype));
                Wanted::Latency(bucket.unwrap_or(0))
            }
            2 => Wanted::Errors,
            _ => Wanted::Running,
        }
    }
}

fn row(of: &NameSummary) -> Vec<Cell> {
    let linked = |kind: &str, bucket: &str, number: u64| Cell::NumberLink {
        to: link(
            "tracez",
            &[
                ("zspanname", &of.name),
                ("ztype", kind),
                ("zlatencybucket", bucket),
            ],
        ),
        number,
    };
    let mut cells = vec![Cell::Text(of.name.clone()), linked("0", "0", of.running)];
    let buckets = of.latency.iter().enumerate();
    cells.extend(buckets.map(|(index, count)| linked("1", &index.to_string(), *count)));
    cells.push(linked("2", "0", of.errors));
    cells
}

fn sample(sample: &SpanSample) -> Vec<Cell> {
    let elapsed = sample.end.map_or("running".to_owned(), |end| {
        seconds(end.saturating_sub(sample.start))
    });
    let status = match sample.failed {
        true => Cell::Bad("Error".to_owned()),
        false => Cell::Text("Unset".to_owned()),
    };
    vec![
        Cell::Text(to_rfc3339(sample.start)),
        Cell::Text(elapsed),
        Cell::Text(hex(&sample.ids.0)),
        Cell::Text(hex(&sample.ids.1)),
        Cell::Text(sample.parent.map(|parent| hex(&parent)).unwrap_or_default()),
        status,
        Cell::Text(sample.attributes.clone()),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn seconds(nanos: u64) -> String {
    format!("{}.{:06}", nanos / 1_000_000_000, nanos % 1_000_000_000 / 1_000)
}

/// A bound of a bucket as the Collector's page writes it: `10µs`, `100s`.
fn short(nanos: u64) -> String {
    match nanos {
        0 => "0s".to_owned(),
        micros if nanos < 1_000_000 => format!("{}µs", micros / 1_000),
        millis if nanos < 1_000_000_000 => format!("{}ms", millis / 1_000_000),
        seconds => format!("{}s", seconds / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_named_and_times_shown_as_in_the_collector() {
        let names: Vec<String> = BOUNDARIES.iter().map(|bound| short(*bound)).collect();
        let expected = ["0s", "10µs", "100µs", "1ms", "10ms", "100ms", "1s", "10s", "100s"];
        assert_eq!(names, expected);
        assert_eq!(seconds(12_000_345_999), "12.000345");
    }

    #[test]
    fn links_ask_for_what_they_show() {
        let asked = |ztype: &str, bucket: &str| {
            let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Asked {
                ztype: text(ztype),
                zlatencybucket: text(bucket),
                ..Asked::default()
            }
            .wanted()
        };
        assert_eq!(asked("0", ""), Wanted::Running);
        assert_eq!(asked("1", "3"), Wanted::Latency(3));
        assert_eq!(asked("2", "0"), Wanted::Errors);
        assert_eq!(asked("many", "-1"), Wanted::Running);
        let older = Asked {
            ztype: Some("1".to_owned()),
            zsubtype: Some("4".to_owned()),
            ..Asked::default()
        };
        assert_eq!(older.wanted(), Wanted::Latency(4));
    }
}
