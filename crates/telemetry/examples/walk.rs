//! Measures one core: validation, a full walk over views, JSON both ways, and prost beside them.
//!
//! `cargo run --release -p cupola-telemetry --example walk`. Each figure is the best of several runs over the
//! same payload, in MB of protobuf a second (JSON reading too: MB of the protobuf it stands for).

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cupola_telemetry::{Batch, Signal, TenantId, encode, view};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

const MEASURE_FOR: Duration = Duration::from_millis(400);

fn main() {
    println!(
        "{:8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "bytes", "validate", "rewrite", "walk", "prost", "to json", "json"
    );
    for batch in [logs(5_000), traces(5_000), metrics(10_000)] {
        let payload = batch.payload().clone();
        let json = batch.to_json().into_bytes();
        let unpolished = with_a_repeated_scalar(&payload);
        let figures = [
            rate(&payload, || decode(batch.signal(), payload.clone()).items()),
            rate(&payload, || decode(batch.signal(), unpolished.clone()).items()),
            rate(&payload, || walk(&batch)),
            rate(&payload, || decode_with_prost(batch.signal(), &payload)),
            rate(&payload, || batch.to_json().len()),
            rate(&payload, || read_json(batch.signal(), &json).items()),
        ];
        print!("{:8} {:>9}", batch.signal(), payload.len());
        figures.iter().for_each(|figure| print!(" {figure:>9.0}"));
        println!();
    }
}

/// MB a second of the quickest run.
fn rate(payload: &Bytes, mut run: impl FnMut() -> usize) -> f64 {
    let mut best = Duration::MAX;
    let began = Instant::now();
    while began.elapsed() < MEASURE_FOR {
        let start = Instant::now();
        black_box(run());
        best = best.min(start.elapsed());
    }
    payload.len() as f64 / best.as_secs_f64() / 1e6
}

fn decode(signal: Signal, payload: Bytes) -> Batch {
    Batch::decode_protobuf(signal, TenantId::default_tenant(), payload).expect("the payload is valid")
}

fn read_json(signal: Signal, body: &[u8]) -> Batch {
    Batch::decode_json(signal, TenantId::default_tenant(), body).expect("the body is valid")
}

fn decode_with_prost(signal: Signal, payload: &Bytes) -> usize {
    let payload = payload.as_ref();
    let decoded = match signal {
        Signal::Logs => ExportLogsServiceRequest::decode(payload).map(|r| black_box(r).resource_logs.len()),
        Signal::Traces => {
            ExportTraceServiceRequest::decode(payload).map(|r| black_box(r).resource_spans.len())
        }
        Signal::Metrics => {
            ExportMetricsServiceRequest::decode(payload).map(|r| black_box(r).resource_metrics.len())
        }
    };
    decoded.expect("the payload is valid")
}

/// The payload with one more resource whose schema URL stands twice: valid, not canonical.
fn with_a_repeated_scalar(payload: &Bytes) -> Bytes {
    [payload.as_ref(), &[0x0a, 6, 0x1a, 1, b'a', 0x1a, 1, b'b']]
        .concat()
        .into()
}

/// Looks at every field of every message, and at every attribute.
fn walk(batch: &Batch) -> usize {
    match batch.signal() {
        Signal::Logs => batch
            .logs()
            .resources()
            .map(|r| attributes(r.resource().attributes) + r.scopes().map(scope_logs).sum::<usize>())
            .sum(),
        Signal::Traces => batch
            .traces()
            .resources()
            .map(|r| attributes(r.resource().attributes) + r.scopes().map(scope_spans).sum::<usize>())
            .sum(),
        Signal::Metrics => batch
            .metrics()
            .resources()
            .map(|r| attributes(r.resource().attributes) + r.scopes().map(scope_metrics).sum::<usize>())
            .sum(),
    }
}

fn attributes(attributes: view::Attributes<'_>) -> usize {
    attributes
        .map(|pair| pair.key.len() + any_value(pair.value))
        .sum()
}

fn any_value(value: view::AnyValue<'_>) -> usize {
    match value {
        view::AnyValue::String(text) => text.len(),
        view::AnyValue::Array(values) => values.map(any_value).sum(),
        view::AnyValue::KeyValueList(pairs) => attributes(pairs),
        view::AnyValue::Bytes(bytes) => bytes.len(),
        other => {
            black_box(other);
            1
        }
    }
}

fn scope_logs(scope: view::ScopeLogs<'_>) -> usize {
    let record = |record: view::LogRecord<'_>| {
        let record = black_box(record);
        record.body.map_or(0, any_value) + attributes(record.attributes)
    };
    attributes(scope.scope().attributes) + scope.records().map(record).sum::<usize>()
}

fn scope_spans(scope: view::ScopeSpans<'_>) -> usize {
    let span = |span: view::Span<'_>| {
        let span = black_box(span);
        attributes(span.attributes)
            + span
                .events
                .map(|event| attributes(black_box(event).attributes))
                .sum::<usize>()
            + span
                .links
                .map(|link| attributes(black_box(link).attributes))
                .sum::<usize>()
    };
    attributes(scope.scope().attributes) + scope.spans().map(span).sum::<usize>()
}

fn scope_metrics(scope: view::ScopeMetrics<'_>) -> usize {
    attributes(scope.scope().attributes) + scope.metrics().map(metric).sum::<usize>()
}

fn metric(metric: view::Metric<'_>) -> usize {
    match black_box(metric).data() {
        Some(view::MetricData::Gauge(points) | view::MetricData::Sum { points, .. }) => {
            points.map(|point| attributes(black_box(point).attributes)).sum()
        }
        Some(view::MetricData::Histogram { points, .. }) => points
            .map(|point| {
                let point = black_box(point);
                attributes(point.attributes)
                    + point.bucket_counts.sum::<u64>() as usize
                    + point.explicit_bounds.count()
            })
            .sum(),
        _ => 0,
    }
}

/// Attributes as instrumentation gives them: mostly short texts, some numbers.
macro_rules! write_attributes {
    ($out:expr, $number:expr) => {
        $out.attribute("http.request.method", "GET")
            .attribute("http.route", "/api/v1/carts/{id}")
            .attribute("http.response.status_code", 200 + ($number % 5) as i64)
            .attribute("server.address", "cart.shop.svc.cluster.local")
            .attribute("user.id", format!("user-{}", $number * 7919 % 10_000).as_str())
            .attribute(
                "url.full",
                format!("https://shop.example/api/v1/carts/{}", $number).as_str(),
            )
            .attribute("retry", false)
            .attribute("duration_ms", $number as f64 * 0.37)
            .attribute("thread.name", "worker-3")
            .attribute("code.function.name", "shop::cart::handle_add_item")
    };
}

fn write_resource(mut resource: encode::Resource<'_>) {
    resource
        .attribute("service.name", "cart")
        .attribute("service.version", "1.4.2")
        .attribute("k8s.pod.name", "cart-7d9c6b5f4-x2x7k")
        .attribute("host.name", "node-17");
}

fn logs(count: usize) -> Batch {
    let mut encoder = encode::LogsEncoder::new();
    {
        let mut resource = encoder.resource_logs();
        write_resource(resource.resource());
        let mut scope = resource.scope_logs();
        scope.scope().name("shop::cart");
        for number in 0..count {
            let mut record = scope.record();
            record
                .time_unix_nano(1_700_000_000_000_000_000 + number as u64)
                .observed_time_unix_nano(1_700_000_000_000_000_100 + number as u64)
                .severity_number(9)
                .severity_text("INFO")
                .body(format!("added item {number} to the cart of the customer, now computing shipping costs and taxes for the order").as_str())
                .trace_id(&(number as u128).to_be_bytes())
                .span_id(&(number as u64).to_be_bytes());
            write_attributes!(record, number);
        }
    }
    encoder.finish(TenantId::default_tenant())
}

fn traces(count: usize) -> Batch {
    let mut encoder = encode::TracesEncoder::new();
    {
        let mut resource = encoder.resource_spans();
        write_resource(resource.resource());
        let mut scope = resource.scope_spans();
        scope.scope().name("shop::cart");
        for number in 0..count {
            let mut span = scope.span();
            span.trace_id(&(number as u128).to_be_bytes())
                .span_id(&(number as u64).to_be_bytes())
                .parent_span_id(&(number as u64 + 1).to_be_bytes())
                .name("GET /api/v1/carts/{id}")
                .kind(2)
                .start_time_unix_nano(1_700_000_000_000_000_000 + number as u64)
                .end_time_unix_nano(1_700_000_000_000_500_000 + number as u64);
            write_attributes!(span, number);
            span.event()
                .time_unix_nano(1_700_000_000_000_300_000)
                .name("cache miss")
                .attribute("cache.key", "cart");
            span.status().code(1);
        }
    }
    encoder.finish(TenantId::default_tenant())
}

fn metrics(count: usize) -> Batch {
    let mut encoder = encode::MetricsEncoder::new();
    {
        let mut resource = encoder.resource_metrics();
        write_resource(resource.resource());
        let mut scope = resource.scope_metrics();
        scope.scope().name("shop::cart");
        for number in 0..count / 10 {
            let mut metric = scope.metric();
            metric
                .name("http.server.active_requests")
                .unit("{request}")
                .description("Requests under way.");
            let mut sum = metric.sum();
            sum.aggregation_temporality(2);
            for point in 0..8 {
                let mut out = sum.point();
                out.start_time_unix_nano(1)
                    .time_unix_nano(1_700_000_000_000_000_000)
                    .value(point as i64);
                write_attributes!(out, number);
            }
        }
        let mut metric = scope.metric();
        let mut histogram = metric.histogram();
        for number in 0..count / 5 {
            let mut point = histogram.point();
            point
                .start_time_unix_nano(1)
                .time_unix_nano(1_700_000_000_000_000_000)
                .count(100)
                .sum(3.7);
            point
                .bucket_counts((0..15).map(|bucket| bucket * 3))
                .explicit_bounds((1..15).map(f64::from));
            write_attributes!(point, number);
        }
    }
    encoder.finish(TenantId::default_tenant())
}
