//! Logs, exemplars and span links name spans that exist, and times agree.

use std::collections::{HashMap, HashSet};

use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use crate::{generator, metrics, records, spans};

#[test]
fn spans_have_their_parents_and_lie_within_their_trace() {
    let mut generator = generator(11);
    let spans: Vec<_> = (0..20).flat_map(|_| spans(&generator.traces(500))).collect();
    assert_eq!(spans.len(), 10_000);
    let ids: HashSet<_> = spans
        .iter()
        .map(|(_, span)| (span.trace_id.clone(), span.span_id.clone()))
        .collect();
    assert_eq!(ids.len(), spans.len(), "span ids are unique");
    let mut services_of: HashMap<_, HashSet<_>> = HashMap::new();
    for (service, span) in &spans {
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        if !span.parent_span_id.is_empty() {
            assert!(ids.contains(&(span.trace_id.clone(), span.parent_span_id.clone())));
        }
        services_of
            .entry(span.trace_id.clone())
            .or_default()
            .insert(service.clone());
    }
    let across = services_of.values().filter(|services| services.len() > 1).count();
    assert!(
        across * 2 > services_of.len(),
        "{across} of {} traces cross services",
        services_of.len()
    );
    let links: Vec<_> = spans.iter().flat_map(|(_, span)| &span.links).collect();
    assert!(!links.is_empty());
    for link in links {
        assert!(ids.contains(&(link.trace_id.clone(), link.span_id.clone())));
    }
}

#[test]
fn logs_lie_within_the_spans_they_name() {
    let mut generator = generator(12);
    let logs = records(&generator.logs(2_000));
    // As many spans again cover the same time; some more for the traces that are open at its end.
    let spans: HashMap<_, _> = spans(&generator.traces(3_000))
        .into_iter()
        .map(|(service, span)| ((span.trace_id.clone(), span.span_id.clone()), (service, span)))
        .collect();
    let mut traced = 0;
    for (service, record) in logs.iter().filter(|(_, record)| !record.trace_id.is_empty()) {
        let (of, span) = &spans[&(record.trace_id.clone(), record.span_id.clone())];
        assert_eq!(of, service);
        let within = span.start_time_unix_nano..=span.end_time_unix_nano;
        assert!(within.contains(&record.time_unix_nano));
        traced += 1;
    }
    assert!((1_300..1_500).contains(&traced), "{traced} of {}", logs.len());
}

#[test]
fn exemplars_name_traces_that_exist() {
    let mut generator = generator(13);
    let series = generator.series();
    let points = metrics(&generator.points(series));
    // One sweep lasts 15 seconds, in which 15,000 spans start.
    let traces: HashSet<_> = spans(&generator.traces(17_000))
        .into_iter()
        .map(|(_, span)| span.trace_id)
        .collect();
    let mut exemplars = 0;
    let metrics = points
        .resource_metrics
        .iter()
        .flat_map(|resource| &resource.scope_metrics);
    for metric in metrics.flat_map(|scope| &scope.metrics) {
        let of_metric: Vec<_> = match metric.data.as_ref().unwrap() {
            Data::Histogram(data) => data
                .data_points
                .iter()
                .flat_map(|point| &point.exemplars)
                .collect(),
            Data::ExponentialHistogram(data) => data
                .data_points
                .iter()
                .flat_map(|point| &point.exemplars)
                .collect(),
            _ => continue,
        };
        exemplars += of_metric.len();
        assert!(
            of_metric
                .iter()
                .all(|exemplar| traces.contains(&exemplar.trace_id))
        );
    }
    assert!(exemplars > 50, "{exemplars}");
}
