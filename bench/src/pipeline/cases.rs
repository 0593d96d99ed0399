//! What is measured, as configuration that both collectors read.

use std::fmt::Write as _;

use cupola_telemetry::view::MetricData;
use cupola_telemetry::{Batch, Signal};

use super::client::Client;

/// One way of passing telemetry on.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Whether all items reach each destination, or only those of [`kept`].
    pub(super) keeps_all: bool,
    pub(super) destinations: usize,
    work: Work,
}

enum Work {
    Nothing,
    Rename,
    Filter,
    Durable,
}

pub(super) const CASES: [Case; 5] = [
    Case {
        name: "passthrough",
        keeps_all: true,
        destinations: 1,
        work: Work::Nothing,
    },
    Case {
        name: "rename",
        keeps_all: true,
        destinations: 1,
        work: Work::Rename,
    },
    Case {
        name: "filter",
        keeps_all: false,
        destinations: 1,
        work: Work::Filter,
    },
    Case {
        name: "fan-out",
        keeps_all: true,
        destinations: 2,
        work: Work::Nothing,
    },
    Case {
        name: "durable",
        keeps_all: true,
        destinations: 1,
        work: Work::Durable,
    },
];

impl Case {
    /// Items that each destination gets of what was acknowledged.
    pub(super) fn expected(&self, client: &Client) -> u64 {
        match self.keeps_all {
            true => client.items_acknowledged(),
            false => client.items_kept(),
        }
    }

    /// The file.
    pub(super) fn configuration(
        &self,
        signal: Signal,
        gzip: bool,
        listen: &str,
        destinations: &[String],
        directory: &str,
    ) -> String {
        let compression = if gzip { "gzip" } else { "none" };
        let mut text =
            format!("receivers:\n  otlp:\n    protocols:\n      grpc:\n        endpoint: {listen}\n");
        let processor = match self.work {
            Work::Rename => Some(("attributes", RENAME.to_owned())),
            Work::Filter => Some(("filter", filter(signal))),
            Work::Nothing | Work::Durable => None,
        };
        if let Some((name, settings)) = &processor {
            let _ = write!(text, "processors:\n  {name}:\n{settings}");
        }
        text.push_str("exporters:\n");
        for (index, destination) in destinations.iter().enumerate() {
            let _ = write!(
                text,
                "  otlp/{index}:\n    endpoint: {destination}\n    tls: {{insecure: true}}\n    compression: {compression}\n"
            );
            if matches!(self.work, Work::Durable) {
                text.push_str("    sending_queue: {storage: file_storage}\n");
            }
        }
        if matches!(self.work, Work::Durable) {
            let _ = write!(
                text,
                "extensions:\n  file_storage:\n    directory: {directory}\n    fsync: true\n"
            );
        }
        text.push_str("service:\n");
        if matches!(self.work, Work::Durable) {
            text.push_str("  extensions: [file_storage]\n");
        }
        let exporters: Vec<String> = (0..destinations.len())
            .map(|index| format!("otlp/{index}"))
            .collect();
        let processors = processor.map_or("", |(name, _)| name);
        let _ = write!(
            text,
            "  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}\n  pipelines:\n    {signal}:\n      receivers: [otlp]\n      \
             processors: [{processors}]\n      exporters: [{}]\n",
            exporters.join(", ")
        );
        text
    }
}

/// Renames an attribute that most items have.
const RENAME: &str = "    actions:\n      - {key: http.method, from_attribute: http.request.method, action: upsert}\n      \
                      - {key: http.request.method, action: delete}\n";

/// Drops what nearly everything is: logs that are no errors, spans that did not fail, points of most metrics.
fn filter(signal: Signal) -> String {
    let (section, context, condition) = match signal {
        Signal::Logs => ("logs", "log_record", "severity_number < SEVERITY_NUMBER_ERROR"),
        Signal::Traces => ("traces", "span", "status.code != STATUS_CODE_ERROR"),
        Signal::Metrics => ("metrics", "metric", "type != METRIC_DATA_TYPE_HISTOGRAM"),
    };
    format!("    error_mode: ignore\n    {section}:\n      {context}:\n        - \"{condition}\"\n")
}

/// How many items of a batch the case `filter` keeps.
pub(super) fn kept(batch: &Batch) -> u64 {
    let kept = match batch.signal() {
        Signal::Logs => {
            let records = batch.logs().resources().flat_map(|resource| resource.scopes());
            records
                .flat_map(|scope| scope.records())
                .filter(|record| record.severity_number >= 17)
                .count()
        }
        Signal::Traces => {
            let spans = batch.traces().resources().flat_map(|resource| resource.scopes());
            spans
                .flat_map(|scope| scope.spans())
                .filter(|span| span.status.is_some_and(|it| it.code == 2))
                .count()
        }
        Signal::Metrics => {
            let metrics = batch.metrics().resources().flat_map(|resource| resource.scopes());
            let points = metrics
                .flat_map(|scope| scope.metrics())
                .map(|metric| match metric.data() {
                    Some(MetricData::Histogram { points, .. }) => points.count(),
                    _ => 0,
                });
            points.sum()
        }
    };
    kept as u64
}
