//! A normal form of OTLP requests: one message for each item with everything that surrounds it, in a fixed order.
//! Two requests with the same normal form say the same.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, Metric};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Status;
use prost::Message;

fn attributes(attributes: &mut [KeyValue]) {
    for attribute in attributes.iter_mut() {
        attribute.value.get_or_insert_with(AnyValue::default);
    }
    attributes.sort_by_cached_key(|attribute| (attribute.key.clone(), attribute.encode_to_vec()));
}

fn resource(given: Option<Resource>) -> Resource {
    let mut resource = given.unwrap_or_default();
    attributes(&mut resource.attributes);
    resource
}

fn scope(given: Option<InstrumentationScope>) -> InstrumentationScope {
    let mut scope = given.unwrap_or_default();
    attributes(&mut scope.attributes);
    scope
}

/// The items of a logs request.
pub(crate) fn logs(payload: &[u8]) -> Vec<String> {
    let request = ExportLogsServiceRequest::decode(payload).unwrap();
    let mut items = Vec::new();
    for group in request.resource_logs {
        let resource = resource(group.resource);
        for scope_logs in group.scope_logs {
            let scope = scope(scope_logs.scope);
            for mut record in scope_logs.log_records {
                attributes(&mut record.attributes);
                items.push(format!(
                    "{resource:?} {:?} {scope:?} {:?} {record:?}",
                    group.schema_url, scope_logs.schema_url
                ));
            }
        }
    }
    items.sort();
    items
}

/// The items of a traces request.
pub(crate) fn traces(payload: &[u8]) -> Vec<String> {
    let request = ExportTraceServiceRequest::decode(payload).unwrap();
    let mut items = Vec::new();
    for group in request.resource_spans {
        let resource = resource(group.resource);
        for scope_spans in group.scope_spans {
            let scope = scope(scope_spans.scope);
            for mut span in scope_spans.spans {
                attributes(&mut span.attributes);
                span.events
                    .iter_mut()
                    .for_each(|event| attributes(&mut event.attributes));
                span.links
                    .iter_mut()
                    .for_each(|link| attributes(&mut link.attributes));
                span.status = span.status.filter(|status| *status != Status::default());
                items.push(format!(
                    "{resource:?} {:?} {scope:?} {:?} {span:?}",
                    group.schema_url, scope_spans.schema_url
                ));
            }
        }
    }
    items.sort();
    items
}

/// The items of a metrics request.
pub(crate) fn metrics(payload: &[u8]) -> Vec<String> {
    let request = ExportMetricsServiceRequest::decode(payload).unwrap();
    let mut items = Vec::new();
    for group in request.resource_metrics {
        let resource = resource(group.resource);
        for scope_metrics in group.scope_metrics {
            let scope = scope(scope_metrics.scope);
            for metric in scope_metrics.metrics {
                for metric in points(metric) {
                    items.push(format!(
                        "{resource:?} {:?} {scope:?} {:?} {metric:?}",
                        group.schema_url, scope_metrics.schema_url
                    ));
                }
            }
        }
    }
    items.sort();
    items
}

fn exemplars(exemplars: &mut [Exemplar]) {
    exemplars
        .iter_mut()
        .for_each(|exemplar| attributes(&mut exemplar.filtered_attributes));
    exemplars.sort_by_cached_key(|exemplar| format!("{exemplar:?}"));
}

/// One metric for each of its points.
fn points(mut metric: Metric) -> Vec<Metric> {
    attributes(&mut metric.metadata);
    let Some(data) = metric.data.take() else {
        return Vec::new();
    };
    macro_rules! split {
        ($variant:ident, $value:expr, $($exemplars:ident)?) => {{
            let mut value = $value;
            let points = std::mem::take(&mut value.data_points);
            points
                .into_iter()
                .map(|mut point| {
                    attributes(&mut point.attributes);
                    $(exemplars(&mut point.$exemplars);)?
                    let mut value = value.clone();
                    value.data_points = vec![point];
                    Metric { data: Some(Data::$variant(value)), ..metric.clone() }
                })
                .collect()
        }};
    }
    match data {
        Data::Gauge(gauge) => split!(Gauge, gauge, exemplars),
        Data::Sum(sum) => split!(Sum, sum, exemplars),
        Data::Histogram(histogram) => split!(Histogram, histogram, exemplars),
        Data::ExponentialHistogram(histogram) => split!(ExponentialHistogram, histogram, exemplars),
        Data::Summary(summary) => split!(Summary, summary,),
    }
}
