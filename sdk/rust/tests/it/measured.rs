//! What was measured, as tests look at it.

use std::collections::BTreeMap;

use cupola_sdk::testing::Capture;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message as _;

/// A series of a histogram.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) unit: String,
    /// As text, whatever they are.
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) count: u64,
}

/// The series of a histogram as they were last told, in the order of their attributes.
pub(crate) fn histogram(capture: &Capture, name: &str) -> Vec<Series> {
    let mut latest = BTreeMap::new();
    for batch in capture.batches() {
        if batch.signal().as_str() != "metrics" {
            continue;
        }
        let request = ExportMetricsServiceRequest::decode(batch.payload().as_ref()).unwrap();
        let scopes = request
            .resource_metrics
            .into_iter()
            .flat_map(|all| all.scope_metrics);
        for metric in scopes.flat_map(|all| all.metrics) {
            let Some(Data::Histogram(histogram)) = metric.data else {
                continue;
            };
            if metric.name != name {
                continue;
            }
            for point in histogram.data_points {
                let pairs = point.attributes.into_iter();
                let attributes: BTreeMap<String, String> = pairs
                    .map(|pair| (pair.key, text(pair.value.and_then(|value| value.value))))
                    .collect();
                let series = Series {
                    unit: metric.unit.clone(),
                    attributes: attributes.clone(),
                    count: point.count,
                };
                latest.insert(attributes, series);
            }
        }
    }
    latest.into_values().collect()
}

fn text(value: Option<Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
