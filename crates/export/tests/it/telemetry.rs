//! Telemetry to be sent to stores and read back: generated, and values that are hard to keep.

use cupola_generator::{Generator, GeneratorConfig};
use cupola_telemetry::encode::{LogsEncoder, MetricsEncoder, TracesEncoder};
use cupola_telemetry::view::AnyValue;
use cupola_telemetry::{Batch, Signal, TenantId};

/// 2026-01-01T00:00:00.123456789Z
pub(crate) const TIME: u64 = 1_767_225_600_123_456_789;

pub(crate) fn generated(signal: Signal, items: usize) -> Batch {
    Generator::new(GeneratorConfig::default()).batch(signal, items)
}

/// Attributes of every type, and keys that stores are particular about.
macro_rules! nasty_attributes {
    ($builder:expr) => {
        $builder
            .attribute("http", "both a value")
            .attribute("http.method", "and a folder")
            .attribute("", "no key")
            .attribute("nul\0key", "nul\0value \\u0000 \u{7}\"")
            .attribute("bytes", AnyValue::Bytes(&[0, 255, 16]))
            .attribute("nan", f64::NAN)
            .attribute("infinite", f64::NEG_INFINITY)
            .attribute("tiny", 5e-324)
            .attribute("huge", f64::MAX)
            .attribute("least", i64::MIN)
            .attribute("most", i64::MAX)
            .attribute("yes", true)
            .attribute("nothing", AnyValue::Empty)
            .attribute_with("nested", |value| {
                let mut array = value.array();
                array.push(1_i64).push("two");
                array.value().array().push(3.5);
                let mut element = array.value();
                let mut map = element.key_value_list();
                map.attribute("a.b", "c").attribute("empty", AnyValue::Empty);
            })
    };
}

pub(crate) fn nasty(signal: Signal) -> Batch {
    let tenant = TenantId::parse("tenant-1").unwrap();
    match signal {
        Signal::Logs => nasty_logs(tenant),
        Signal::Traces => nasty_traces(tenant),
        Signal::Metrics => nasty_metrics(tenant),
    }
}

fn nasty_logs(tenant: TenantId) -> Batch {
    let mut logs = LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        resource
            .resource()
            .attribute("service.name", "cart")
            .dropped_attributes_count(2);
        resource.schema_url("https://example.com/resource");
        let mut scope = resource.scope_logs();
        scope.scope().name("lib\0").version("1").attribute("k", 1_i64);
        scope.schema_url("https://example.com/scope");
        nasty_attributes!(
            scope
                .record()
                .time_unix_nano(TIME)
                .body("nul \0 it's")
                .severity_text("INFO")
        )
        .severity_number(9)
        .trace_id(&[0xab; 16])
        .span_id(&[0xcd; 8])
        .flags(u32::MAX)
        .event_name("happened")
        .dropped_attributes_count(7);
        scope
            .record()
            .time_unix_nano(u64::MAX)
            .severity_number(999)
            .body(i64::MIN);
        scope.record().observed_time_unix_nano(TIME + 1).body("");
        scope
            .record()
            .time_unix_nano(TIME + 2)
            .body(AnyValue::Bytes(b"\x01\x02"));
        scope
            .record()
            .time_unix_nano(1)
            .body_with()
            .key_value_list()
            .attribute("a", 1_i64)
            .attribute("n", f64::INFINITY);
        for _ in 0..2 {
            scope.record().time_unix_nano(TIME).body("truly equal");
        }
        scope.record().time_unix_nano(TIME);
    }
    {
        let mut resource = logs.resource_logs();
        let mut scope = resource.scope_logs();
        scope.record().time_unix_nano(TIME).body("without a resource");
    }
    logs.finish(tenant)
}

fn nasty_traces(tenant: TenantId) -> Batch {
    let mut traces = TracesEncoder::new();
    {
        let mut resource = traces.resource_spans();
        resource.resource().attribute("service.name", "cart");
        let mut scope = resource.scope_spans();
        {
            let mut span = scope.span();
            nasty_attributes!(
                span.name("GET /\0")
                    .start_time_unix_nano(TIME)
                    .end_time_unix_nano(TIME + 5)
            )
            .trace_id(&[1; 16])
            .span_id(&[2; 8])
            .parent_span_id(&[3; 8])
            .trace_state("a=b")
            .kind(2)
            .flags(257);
            span.event()
                .time_unix_nano(u64::MAX)
                .name("e\0")
                .attribute("x", f64::NAN);
            span.link()
                .trace_id(&[4; 16])
                .span_id(&[5; 8])
                .trace_state("t")
                .attribute("y", 1_i64)
                .flags(3);
            span.status().code(2).message("bad\0");
            span.dropped_events_count(1)
                .dropped_links_count(2)
                .dropped_attributes_count(3);
        }
        scope
            .span()
            .name("backwards")
            .kind(77)
            .start_time_unix_nano(TIME)
            .end_time_unix_nano(TIME - 9);
        scope
            .span()
            .name("endless")
            .start_time_unix_nano(TIME)
            .end_time_unix_nano(u64::MAX)
            .status()
            .code(-4);
        scope.span().name("").start_time_unix_nano(TIME);
    }
    traces.finish(tenant)
}

fn nasty_metrics(tenant: TenantId) -> Batch {
    let mut metrics = MetricsEncoder::new();
    {
        let mut resource = metrics.resource_metrics();
        resource.resource().attribute("service.name", "cart");
        let mut scope = resource.scope_metrics();
        {
            let mut metric = scope.metric();
            metric.name("g\0").description("d").unit("By");
            let mut gauge = metric.gauge();
            gauge.point().time_unix_nano(TIME).value(f64::NAN);
            gauge.point().time_unix_nano(TIME).value(i64::MAX).flags(1);
            gauge.point().time_unix_nano(TIME);
            nasty_attributes!(
                gauge
                    .point()
                    .time_unix_nano(TIME)
                    .start_time_unix_nano(TIME - 1)
                    .value(-0.5)
            );
        }
        {
            let mut metric = scope.metric();
            metric.name("s");
            let mut sum = metric.sum();
            sum.aggregation_temporality(9).is_monotonic(true);
            let mut point = sum.point();
            point.time_unix_nano(TIME).value(3_i64);
            point
                .exemplar()
                .time_unix_nano(TIME)
                .value(f64::INFINITY)
                .trace_id(&[1; 16])
                .span_id(&[2; 8])
                .filtered_attribute("f", "v");
        }
        {
            let mut metric = scope.metric();
            metric.name("h");
            let mut histogram = metric.histogram();
            histogram.aggregation_temporality(1);
            let mut point = histogram.point();
            point
                .time_unix_nano(TIME)
                .count(u64::MAX)
                .sum(f64::NAN)
                .min(-1.0)
                .max(f64::INFINITY);
            point
                .bucket_counts([1, u64::MAX, 0])
                .explicit_bounds([0.5, f64::MAX]);
        }
        {
            let mut metric = scope.metric();
            metric.name("e");
            let mut histogram = metric.exponential_histogram();
            histogram.aggregation_temporality(2);
            let mut point = histogram.point();
            point
                .time_unix_nano(TIME)
                .count(3)
                .scale(-4)
                .zero_count(1)
                .zero_threshold(1e-9)
                .sum(2.0);
            point.positive().offset(-3).bucket_counts([1, 1]);
            point.negative().offset(2);
        }
        {
            let mut metric = scope.metric();
            metric.name("q");
            let mut summary = metric.summary();
            let mut point = summary.point();
            point.time_unix_nano(TIME).count(2).sum(4.0);
            point.quantile_value().quantile(0.5).value(f64::NAN);
            point.quantile_value().quantile(1.0).value(3.0);
        }
    }
    metrics.finish(tenant)
}
