//! What is printed, and how often.

use std::sync::Arc;

use cupola_telemetry::TenantId;
use cupola_telemetry::encode::{LogsEncoder, MetricsEncoder, TracesEncoder};

use super::*;

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn printed(verbosity: Verbosity, batch: Batch) -> String {
    let out = Shared::default();
    let config = DebugConfig {
        verbosity,
        ..DebugConfig::default()
    };
    let sink = DebugSink::with_writer(config, Box::new(out.clone()));
    assert_eq!(sink.send(batch).await, Ok(Accepted::all()));
    String::from_utf8(out.0.lock().clone()).unwrap()
}

fn logs() -> Batch {
    let mut logs = LogsEncoder::new();
    {
        let mut resource = logs.resource_logs();
        resource.resource().attribute("service.name", "cart");
        let mut scope = resource.scope_logs();
        scope.scope().name("lib").version("1");
        let mut record = scope.record();
        record
            .time_unix_nano(1_581_452_773_000_000_789)
            .severity_number(10)
            .severity_text("Info")
            .body("hello");
        record.attribute("n", 5_i64).trace_id(&[0xab; 16]);
    }
    logs.finish(TenantId::default_tenant())
}

#[tokio::test]
async fn logs_are_printed_as_the_collector_prints_them() {
    let basic = "Logs\t{\"resource logs\": 1, \"log records\": 1}\n";
    assert_eq!(printed(Verbosity::Basic, logs()).await, basic);
    let normal = printed(Verbosity::Normal, logs()).await;
    assert_eq!(
        normal,
        format!("{basic}ResourceLog #0 service.name=cart\nScopeLog #0 lib@1\nhello n=5\n")
    );
    let detailed = printed(Verbosity::Detailed, logs()).await;
    let expected = "ResourceLog #0
Resource SchemaURL: 
Resource attributes:
     -> service.name: Str(cart)
ScopeLogs #0
ScopeLogs SchemaURL: 
InstrumentationScope lib 1
LogRecord #0
ObservedTimestamp: 1970-01-01 00:00:00 +0000 UTC
Timestamp: 2020-02-11 20:26:13.000000789 +0000 UTC
SeverityText: Info
SeverityNumber: Info2(10)
Body: Str(hello)
Attributes:
     -> n: Int(5)
Trace ID: abababababababababababababababab
Span ID: 
Flags: 0
";
    assert_eq!(detailed, format!("{basic}{expected}"));
}

#[tokio::test]
async fn spans_and_points_are_printed_with_their_parts() {
    let mut traces = TracesEncoder::new();
    {
        let mut resource = traces.resource_spans();
        let mut scope = resource.scope_spans();
        let mut span = scope.span();
        span.name("GET /").kind(2).span_id(&[1; 8]).trace_id(&[2; 16]);
        span.event().name("retry").attribute("try", 2_i64);
        span.link().span_id(&[3; 8]);
    }
    let batch = traces.finish(TenantId::default_tenant());
    let detailed = printed(Verbosity::Detailed, batch.clone()).await;
    for part in [
        "    Kind           : Server\n",
        "     -> Name: retry\n",
        "          -> try: Int(2)\n",
        "SpanLink #0\n",
    ] {
        assert!(detailed.contains(part), "{part:?} is missing from {detailed}");
    }
    assert!(printed(Verbosity::Normal, batch).await.contains("GET / 0202"));

    let mut metrics = MetricsEncoder::new();
    {
        let mut resource = metrics.resource_metrics();
        let mut scope = resource.scope_metrics();
        let mut metric = scope.metric();
        metric.name("calls");
        let mut sum = metric.sum();
        sum.is_monotonic(true)
            .aggregation_temporality(2)
            .point()
            .value(3_i64)
            .attribute("a", "b");
    }
    let batch = metrics.finish(TenantId::default_tenant());
    let detailed = printed(Verbosity::Detailed, batch.clone()).await;
    for part in [
        "     -> IsMonotonic: true\n",
        "AggregationTemporality: Cumulative\n",
        "Value: 3\n",
    ] {
        assert!(detailed.contains(part), "{part:?} is missing from {detailed}");
    }
    assert!(
        printed(Verbosity::Normal, batch)
            .await
            .ends_with("calls{a=b} 3\n")
    );
}

#[tokio::test]
async fn generated_telemetry_of_every_kind_is_printed() {
    let mut generator = cupola_generator::Generator::new(cupola_generator::GeneratorConfig::default());
    for signal in Signal::ALL {
        for verbosity in [Verbosity::Normal, Verbosity::Detailed] {
            let batch = generator.batch(signal, 200);
            assert!(printed(verbosity, batch).await.lines().count() > 200);
        }
    }
}

#[test]
fn sampling_shows_the_first_and_then_one_in_so_many_in_each_second() {
    let config = DebugConfig {
        sampling_initial: 2,
        sampling_thereafter: 3,
        ..DebugConfig::default()
    };
    let (mut window, start) = (Window::default(), Instant::now());
    let mut shown = |seconds: u64| -> Vec<bool> {
        (0..8)
            .map(|_| window.shows(&config, start + Duration::from_secs(seconds)))
            .collect()
    };
    assert_eq!(shown(0), [true, true, false, false, true, false, false, true]);
    assert_eq!(shown(1)[..3], [true, true, false]);
    let none = DebugConfig {
        sampling_initial: 0,
        sampling_thereafter: 0,
        ..DebugConfig::default()
    };
    assert!(!Window::default().shows(&none, start));
    let read: DebugConfig =
        serde_json::from_str(r#"{"verbosity": "detailed", "sampling_initial": 5}"#).unwrap();
    assert_eq!(
        (read.verbosity, read.sampling_thereafter),
        (Verbosity::Detailed, 1)
    );
}
