//! Through a real OpenTelemetry Collector: what the API's providers and the layer of `tracing` record comes out of it as it was
//! exported.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cupola_export::otlp::{OtlpConfig, Protocol};
use cupola_peers::collector::Collector;
use cupola_peers::{free_port, peer_or_skip, wait_until};
use cupola_sdk::Context;
use cupola_sdk::console::ConsoleHandle;
use cupola_sdk::core::backend::{Backend, Custom, CustomBackend, CustomError, Destination};
use cupola_sdk::core::resource::OwnedValue;
use cupola_sdk::core::{Sdk, Settings, Surroundings};
use cupola_sdk::layer::{self, FilterHandle, Filters, LayerOptions};
use cupola_sdk::opentelemetry::{LoggerProvider, MeterProvider, TracerProvider};
use cupola_telemetry::Signal;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{Status, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tracing_subscriber::layer::SubscriberExt as _;

/// Long enough for anything that happens at all.
const LONG: Duration = Duration::from_secs(60);

/// Requests that have arrived, each with its signal.
#[derive(Clone, Default)]
struct Arrived(Arc<Mutex<Vec<(Signal, Bytes)>>>);

impl CustomBackend for Arrived {
    fn export(&self, batch: &cupola_telemetry::Batch) -> Result<(), CustomError> {
        self.add(batch.signal(), batch.payload().clone());
        Ok(())
    }
}

impl Arrived {
    fn add(&self, signal: Signal, payload: Bytes) {
        self.0.lock().unwrap().push((signal, payload));
    }

    /// What there is of a signal, item by item with its resource and scope, in an order of its own.
    fn items(&self, signal: Signal) -> Vec<String> {
        let payloads = self.0.lock().unwrap().clone();
        let mut items = Vec::new();
        for (_, payload) in payloads.into_iter().filter(|(of, _)| *of == signal) {
            match signal {
                Signal::Traces => spans(&payload, &mut items),
                Signal::Logs => logs(&payload, &mut items),
                Signal::Metrics => metrics(&payload, &mut items),
            }
        }
        items.sort();
        items
    }
}

fn spans(payload: &[u8], items: &mut Vec<String>) {
    let request = ExportTraceServiceRequest::decode(payload).unwrap();
    for resource in request.resource_spans {
        for scope in resource.scope_spans {
            for mut span in scope.spans {
                // The Collector always has one.
                span.status.get_or_insert_default();
                let (of, schema) = (&scope.scope, &scope.schema_url);
                items.push(format!("{:?} {of:?} {schema} {span:#?}", resource.resource));
            }
        }
    }
}

fn logs(payload: &[u8], items: &mut Vec<String>) {
    let request = ExportLogsServiceRequest::decode(payload).unwrap();
    for resource in request.resource_logs {
        for scope in resource.scope_logs {
            for record in scope.log_records {
                let (of, schema) = (&scope.scope, &scope.schema_url);
                items.push(format!("{:?} {of:?} {schema} {record:#?}", resource.resource));
            }
        }
    }
}

fn metrics(payload: &[u8], items: &mut Vec<String>) {
    let request = ExportMetricsServiceRequest::decode(payload).unwrap();
    for resource in request.resource_metrics {
        for scope in resource.scope_metrics {
            for metric in scope.metrics {
                let (of, schema) = (&scope.scope, &scope.schema_url);
                items.push(format!("{:?} {of:?} {schema} {metric:#?}", resource.resource));
            }
        }
    }
}

/// Takes what an exporter of OTLP over HTTP sends, for as long as the process lives. The port that it listens on.
fn far_end(arrived: &Arrived) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let arrived = arrived.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let arrived = arrived.clone();
            std::thread::spawn(move || serve(stream, &arrived));
        }
    });
    port
}

/// Answers the requests of one connection, until it ends.
fn serve(stream: TcpStream, arrived: &Arrived) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let (mut signal, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            let path = line.strip_prefix("post /v1/");
            let name = path.and_then(|path| path.split(' ').next());
            signal = signal
                .or(name.and_then(|name| Signal::ALL.into_iter().find(|signal| signal.as_str() == name)));
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        arrived.add(signal.expect("a path of OTLP"), body.into());
        writer.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n",
        )?;
    }
}

fn configuration(receiver: u16, far_end: u16) -> String {
    format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: 127.0.0.1:{receiver}}}}}}}}}
exporters: {{otlphttp: {{endpoint: http://127.0.0.1:{far_end}, compression: none, encoding: proto}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlphttp]}}
    logs: {{receivers: [otlp], exporters: [otlphttp]}}
    metrics: {{receivers: [otlp], exporters: [otlphttp]}}
"
    )
}

/// Everything that an application can say, in all its types.
fn say(sdk: &Sdk) {
    let filter = FilterHandle::new(Filters::parse("trace").unwrap());
    let layer = layer::layer(
        sdk.clone(),
        LayerOptions::default(),
        ConsoleHandle::new(None),
        filter,
    );
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let tracer = TracerProvider::new(sdk.clone()).tracer("shop");
    let logger = LoggerProvider::new(sdk.clone()).logger("appender");
    let meter = MeterProvider::new(sdk.clone()).meter("shop");
    let around = Context::root()
        .with_member("tenant.id", "north")
        .unwrap()
        .with_attribute("task.id", 7i64);
    let attributes = || {
        vec![
            KeyValue::new("text", "grüße"),
            KeyValue::new("int", i64::MIN),
            KeyValue::new("double", 0.1),
            KeyValue::new("truth", false),
            KeyValue::new("list", Value::Array(Array::String(vec!["a".into(), "".into()]))),
            KeyValue::new("empty", ""),
        ]
    };
    around.run(|| {
        tracing::info_span!("request", otel.kind = "server", user = "alice").in_scope(|| {
            tracer.in_span("order", |context| {
                let span = context.span();
                span.set_attributes(attributes());
                span.add_event("packed", attributes());
                span.add_link(span.span_context().clone(), attributes());
                span.record_error(&std::fmt::Error);
                span.set_status(Status::error("no paper"));
                tracing::warn!(n = 1, bytes = &[0u8, 255][..], "nearly empty");
                let mut record = logger.create_log_record();
                record.set_severity_number(Severity::Fatal3);
                record.set_event_name("ordered");
                record.set_target("shop::orders");
                record.set_body(AnyValue::from_iter([
                    ("list", AnyValue::from_iter([1, 2])),
                    ("bytes", AnyValue::from(&[0u8, 255][..])),
                ]));
                record.add_attribute(
                    "nested",
                    AnyValue::from_iter([("a", AnyValue::from_iter([("b", true)]))]),
                );
                logger.emit(record);
                meter
                    .u64_counter("orders")
                    .with_unit("{order}")
                    .build()
                    .add(3, &attributes());
                meter.f64_histogram("paper").build().record(0.3, &attributes());
                meter.i64_up_down_counter("waiting").build().add(-3, &[]);
            });
        });
    });
}

#[test]
fn what_is_recorded_comes_out_of_a_collector_as_it_was_exported() {
    let (sent, arrived) = (Arrived::default(), Arrived::default());
    let port = free_port();
    let collector = peer_or_skip!(Collector::start(&configuration(port, far_end(&arrived))));
    let otlp = OtlpConfig::new(Protocol::Grpc, format!("http://127.0.0.1:{port}"));
    let mut settings = Settings {
        backends: vec![
            Backend::new("otlp", Destination::Otlp(otlp)),
            Backend::new("kept", Destination::Custom(Custom(Arc::new(sent.clone())))),
        ],
        // They change from one collection to the next.
        self_metrics: false,
        ..Settings::default()
    };
    settings.resource.attributes = vec![("service.name".to_owned(), OwnedValue::String("shop".to_owned()))];
    let sdk = Sdk::new(settings, Surroundings::default());
    say(&sdk);
    assert!(sdk.shutdown(LONG), "{:?}\n{}", sdk.health(), collector.output());
    for (signal, items) in [(Signal::Traces, 2), (Signal::Logs, 2), (Signal::Metrics, 3)] {
        let wanted = sent.items(signal);
        assert_eq!(wanted.len(), items, "{signal}");
        let is_there = wait_until(LONG, || arrived.items(signal).len() >= items);
        assert!(is_there, "{signal}: {}", collector.output());
        assert_eq!(arrived.items(signal).join("\n"), wanted.join("\n"));
    }
}
