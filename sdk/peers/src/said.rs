//! What was said, as it is to arrive, in files that the application leaves for the test. Times are bounds: `time` and what comes
//! after it, such as the end of a span or the time of observation, are those between which it happened.

use std::path::Path;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) logs: ExportLogsServiceRequest,
    pub(crate) traces: ExportTraceServiceRequest,
    pub(crate) metrics: ExportMetricsServiceRequest,
}

fn scope(name: &str) -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: name.to_owned(),
        ..InstrumentationScope::default()
    })
}

impl Said {
    pub(crate) fn log(&mut self, of: &str, record: LogRecord) {
        self.logs.resource_logs.push(ResourceLogs {
            scope_logs: vec![ScopeLogs {
                scope: scope(of),
                log_records: vec![record],
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        });
    }

    pub(crate) fn span(&mut self, of: &str, span: Span) {
        self.traces.resource_spans.push(ResourceSpans {
            scope_spans: vec![ScopeSpans {
                scope: scope(of),
                spans: vec![span],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        });
    }

    pub(crate) fn metric(&mut self, of: &str, metric: Metric) {
        self.metrics.resource_metrics.push(ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                scope: scope(of),
                metrics: vec![metric],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        });
    }

    pub(crate) fn write(&self, directory: &Path) {
        std::fs::write(directory.join("said.logs"), self.logs.encode_to_vec()).unwrap();
        std::fs::write(directory.join("said.traces"), self.traces.encode_to_vec()).unwrap();
        std::fs::write(directory.join("said.metrics"), self.metrics.encode_to_vec()).unwrap();
    }

    pub(crate) fn read(directory: &Path) -> Said {
        let read = |name: &str| bytes(&directory.join(name));
        Said {
            logs: ExportLogsServiceRequest::decode(&*read("said.logs")).unwrap(),
            traces: ExportTraceServiceRequest::decode(&*read("said.traces")).unwrap(),
            metrics: ExportMetricsServiceRequest::decode(&*read("said.metrics")).unwrap(),
        }
    }
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
