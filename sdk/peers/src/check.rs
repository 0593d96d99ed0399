//! What was exported held against what was said.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

use cupola_telemetry::Batch;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::items::{self, Of, of_logs, of_metrics, of_spans};
use crate::said::Said;
use crate::say::METER;

/// Clocks are read at different moments, and not all to the nanosecond.
const SLACK_NANOS: u64 = 50_000_000;
/// Panics with the first item that is not as it was said.
pub(crate) fn check(said: &Said, exported: &[Batch]) {
    let logs = items::logs(exported);
    logs.iter().for_each(|log| check_resource(&log.resource));
    same("log records", of_logs(said.logs.clone()), logs, log_key, same_log);
    let spans = items::spans(exported);
    spans.iter().for_each(|span| check_resource(&span.resource));
    same(
        "spans",
        of_spans(said.traces.clone()),
        spans,
        |span| span.item.span_id.clone(),
        same_span,
    );
    let metrics = items::metrics(exported)
        .into_iter()
        .filter(|metric| metric.scope_name() == METER);
    let name = |metric: &Of<Metric>| metric.item.name.clone();
    same(
        "metrics",
        of_metrics(said.metrics.clone()),
        metrics.collect(),
        name,
        same_metric,
    );
}

/// What the configuration says of the application, and that the SDK says who it is.
fn check_resource(resource: &Option<Resource>) {
    let attributes = &resource.as_ref().expect("a resource").attributes;
    for (key, wanted) in [
        ("service.name", "shop"),
        ("service.version", "1.2.3"),
        ("deployment.environment.name", "test"),
        ("team", "préisen"),
        ("telemetry.sdk.language", "rust"),
    ] {
        let found = attributes.iter().find(|attribute| attribute.key == key);
        let found = found
            .and_then(|attribute| attribute.value.as_ref())
            .and_then(|value| value.value.as_ref());
        assert_eq!(found, Some(&Value::StringValue(wanted.to_owned())), "{key}");
    }
}

/// Everything that was said is there, and nothing else, and each as `same` wants it: the former is what was said.
fn same<T: Debug, K: Eq + Hash + Debug>(
    what: &str,
    said: impl Iterator<Item = Of<T>>,
    exported: Vec<Of<T>>,
    key: impl Fn(&Of<T>) -> K,
    same: impl Fn(&T, &T),
) {
    let mut by_key: HashMap<K, Vec<Of<T>>> = HashMap::new();
    for item in exported {
        by_key.entry(key(&item)).or_default().push(item);
    }
    let mut count = 0;
    for said in said {
        let found = by_key.remove(&key(&said)).unwrap_or_default();
        let [exported] = &found[..] else {
            panic!("{what}: {} are there of {said:#?}", found.len());
        };
        assert_eq!(exported.scope_name(), said.scope_name(), "{said:#?}");
        same(&said.item, &exported.item);
        count += 1;
    }
    assert!(by_key.is_empty(), "nobody said these {what}: {by_key:#?}");
    assert!(count > 0, "no {what}");
}

/// Each log record has a number of its own among its attributes, but those that the SDK makes itself, which have the time in which
/// they may have been made and their span.
fn log_key(log: &Of<LogRecord>) -> String {
    let number = log.item.attributes.iter().find(|attribute| attribute.key == "n");
    format!(
        "{:?} {:?}",
        number.and_then(|number| number.value.as_ref()),
        log.item.span_id
    )
}

fn within(what: &str, time: u64, from: u64, to: u64) {
    assert!(
        from.saturating_sub(SLACK_NANOS) <= time && time <= to + SLACK_NANOS,
        "{what}: {time} is not between {from} and {to}"
    );
}

fn same_log(said: &LogRecord, exported: &LogRecord) {
    let (from, to) = (said.time_unix_nano, said.observed_time_unix_nano);
    if exported.time_unix_nano != from {
        // Nobody gave it a time.
        within("a log record", exported.time_unix_nano, from, to);
        assert_eq!(exported.time_unix_nano, exported.observed_time_unix_nano);
    }
    within("an observation", exported.observed_time_unix_nano, 0, to);
    let (mut said, mut exported) = (said.clone(), exported.clone());
    for log in [&mut said, &mut exported] {
        (log.time_unix_nano, log.observed_time_unix_nano) = (0, 0);
        in_order(&mut log.attributes);
    }
    equal(&said, &exported);
}

fn same_span(said: &Span, exported: &Span) {
    let (from, to) = (said.start_time_unix_nano, said.end_time_unix_nano);
    let (start, end) = (exported.start_time_unix_nano, exported.end_time_unix_nano);
    within("the start of a span", start, from, to);
    within("the end of a span", end, start, to);
    let (mut said, mut exported) = (said.clone(), exported.clone());
    for event in &mut exported.events {
        within("an event", event.time_unix_nano, start, end);
        event.time_unix_nano = 0;
    }
    for span in [&mut said, &mut exported] {
        (span.start_time_unix_nano, span.end_time_unix_nano) = (0, 0);
        in_order(&mut span.attributes);
        span.events
            .iter_mut()
            .for_each(|event| in_order(&mut event.attributes));
        span.links
            .iter_mut()
            .for_each(|link| in_order(&mut link.attributes));
        span.status.get_or_insert_default();
    }
    equal(&said, &exported);
}

fn same_metric(said: &Metric, exported: &Metric) {
    let (mut said, mut exported) = (said.clone(), exported.clone());
    for metric in [&mut said, &mut exported] {
        match metric.data.as_mut().expect("a metric has data") {
            metric::Data::Gauge(data) => data.data_points.iter_mut().for_each(number_without_time),
            metric::Data::Sum(data) => data.data_points.iter_mut().for_each(number_without_time),
            metric::Data::Histogram(data) => data.data_points.iter_mut().for_each(|point| {
                (point.time_unix_nano, point.start_time_unix_nano) = (0, 0);
                in_order(&mut point.attributes);
                point.exemplars.clear();
            }),
            other => panic!("nobody said {other:?}"),
        }
        sort_points(metric);
    }
    equal(&said, &exported);
}

fn number_without_time(point: &mut opentelemetry_proto::tonic::metrics::v1::NumberDataPoint) {
    (point.time_unix_nano, point.start_time_unix_nano) = (0, 0);
    in_order(&mut point.attributes);
    point.exemplars.clear();
}

fn sort_points(metric: &mut Metric) {
    match metric.data.as_mut() {
        Some(metric::Data::Gauge(data)) => {
            data.data_points
                .sort_by_key(|point| format!("{:?}", point.attributes));
        }
        Some(metric::Data::Sum(data)) => {
            data.data_points
                .sort_by_key(|point| format!("{:?}", point.attributes));
        }
        Some(metric::Data::Histogram(data)) => {
            data.data_points
                .sort_by_key(|point| format!("{:?}", point.attributes));
        }
        _ => {}
    }
}

/// As text, in which NaN is NaN and zero has its sign.
fn equal<T: Debug>(said: &T, exported: &T) {
    let (said, exported) = (format!("{said:#?}"), format!("{exported:#?}"));
    if said == exported {
        return;
    }
    let mut lines = said.lines().zip(exported.lines());
    let different = lines
        .position(|(said, exported)| said != exported)
        .unwrap_or_default();
    let around = |text: &str| {
        let lines = text.lines().skip(different.saturating_sub(12)).take(24);
        lines
            .map(|line| line.chars().take(300).collect::<String>() + "\n")
            .collect::<String>()
    };
    panic!("said\n{}\nexported\n{}", around(&said), around(&exported));
}

/// Attributes have no order that counts; neither have those within.
fn in_order(attributes: &mut [KeyValue]) {
    attributes.sort_by(|one, other| one.key.cmp(&other.key));
    for attribute in attributes {
        if let Some(AnyValue {
            value: Some(Value::KvlistValue(map)),
        }) = &mut attribute.value
        {
            in_order(&mut map.values);
        }
    }
}
