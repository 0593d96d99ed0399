//! What comes in goes out: OTLP through real sockets, a pipeline and OTLP again, in-process and through the
//! OpenTelemetry Collector.

use std::sync::Arc;
use std::time::Duration;

use cupola_config::{Node, Problems};
use cupola_generator::{Generator, GeneratorConfig};
use cupola_peers::collector::Collector;
use cupola_peers::{free_port, peer_or_skip};
use cupola_pipeline::graph::{Pipelines, Plan};
use cupola_pipeline::receivers::otlp::{GrpcConfig, OtlpReceiver, OtlpReceiverConfig, RunningReceiver};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;

use super::bench_components::context;
use crate::support::Capture;

const SEED: u64 = 7;

/// The far end: takes everything and remembers it.
async fn far_end() -> (Arc<Capture>, RunningReceiver, u16) {
    let capture = Arc::new(Capture::default());
    let config = OtlpReceiverConfig {
        grpc: Some(GrpcConfig {
            endpoint: ([127, 0, 0, 1], 0).into(),
            message_bytes_max: 64 << 20,
            ..GrpcConfig::default()
        }),
        http: None,
        ..OtlpReceiverConfig::default()
    };
    let receiver = OtlpReceiver::start(config, capture.clone(), MemoryBudget::unlimited())
        .await
        .unwrap();
    let port = receiver.grpc_addr.unwrap().port();
    (capture, receiver, port)
}

async fn pipelines(text: &str) -> Pipelines {
    let mut problems = Problems::new();
    let root = Node::parse("test.yaml", text).unwrap();
    let plan = Plan::read(&root, &cupola_pipeline::components::registry(), &mut problems);
    let plan = plan.unwrap_or_else(|| panic!("{:#?}", problems.into_sorted()));
    Pipelines::start(plan, context()).await.unwrap()
}

fn generated() -> Vec<Batch> {
    let mut generator = Generator::new(GeneratorConfig {
        seed: SEED,
        ..GeneratorConfig::default()
    });
    let mut batches = Vec::new();
    for _ in 0..4 {
        batches.extend([generator.logs(300), generator.traces(300), generator.points(300)]);
    }
    batches
}

/// Sends everything to an address, as a client does.
async fn send_all(port: u16, compression: &str, batches: &[Batch]) {
    use cupola_export::otlp::{OtlpConfig, OtlpSink, Protocol};
    let mut config = OtlpConfig::new(Protocol::Grpc, format!("http://127.0.0.1:{port}"));
    config.compression = compression.parse().unwrap();
    let sink = OtlpSink::new(config).unwrap();
    for batch in batches {
        use cupola_export::Sink as _;
        sink.send(batch.clone()).await.unwrap();
    }
}

async fn wait_for(capture: &Capture, items: usize) -> Vec<Batch> {
    let all = async {
        loop {
            let batches = capture.batches();
            if batches.iter().map(Batch::items).sum::<usize>() >= items {
                return batches;
            }
            capture.entered.notified().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .expect("everything arrives")
}

/// All resources with what they have, in an order of their own: destinations are sent to by several workers.
fn contents(batches: &[Batch], signal: Signal) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    for batch in batches.iter().filter(|batch| batch.signal() == signal) {
        let payload = batch.payload().as_ref();
        match signal {
            Signal::Logs => {
                let request = ExportLogsServiceRequest::decode(payload).unwrap();
                parts.extend(request.resource_logs.iter().map(Message::encode_to_vec));
            }
            Signal::Traces => {
                let mut request = ExportTraceServiceRequest::decode(payload).unwrap();
                request.resource_spans.iter_mut().for_each(with_status);
                parts.extend(request.resource_spans.iter().map(Message::encode_to_vec));
            }
            Signal::Metrics => {
                let mut request = ExportMetricsServiceRequest::decode(payload).unwrap();
                request.resource_metrics.iter_mut().for_each(with_both_sides);
                parts.extend(request.resource_metrics.iter().map(Message::encode_to_vec));
            }
        }
    }
    parts.sort();
    parts
}

fn assert_equal(sent: &[Batch], arrived: &[Batch]) {
    for signal in Signal::ALL {
        let (sent, arrived) = (contents(sent, signal), contents(arrived, signal));
        assert_eq!(
            sent.len(),
            arrived.len(),
            "{signal}: as many resources, seed {SEED}"
        );
        for (index, (sent, arrived)) in sent.iter().zip(&arrived).enumerate() {
            if sent == arrived {
                continue;
            }
            let (sent, arrived) = (readable(sent, signal), readable(arrived, signal));
            let mut lines = sent
                .lines()
                .zip(arrived.lines())
                .skip_while(|(one, other)| one == other);
            panic!(
                "{signal}: resource {index} differs, seed {SEED}: {:?}",
                lines.next()
            );
        }
    }
}

/// The Collector gives every span a status, an empty one too.
fn with_status(resource: &mut ResourceSpans) {
    for span in resource.scope_spans.iter_mut().flat_map(|scope| &mut scope.spans) {
        span.status.get_or_insert_default();
    }
}

/// The Collector gives an exponential histogram the buckets of both signs, empty ones too.
fn with_both_sides(resource: &mut ResourceMetrics) {
    for metric in resource
        .scope_metrics
        .iter_mut()
        .flat_map(|scope| &mut scope.metrics)
    {
        if let Some(Data::ExponentialHistogram(histogram)) = &mut metric.data {
            for point in &mut histogram.data_points {
                point.positive.get_or_insert_default();
                point.negative.get_or_insert_default();
            }
        }
    }
}

/// A resource with what it has, line by line.
fn readable(bytes: &[u8], signal: Signal) -> String {
    match signal {
        Signal::Logs => format!("{:#?}", ResourceLogs::decode(bytes).unwrap()),
        Signal::Traces => format!("{:#?}", ResourceSpans::decode(bytes).unwrap()),
        Signal::Metrics => format!("{:#?}", ResourceMetrics::decode(bytes).unwrap()),
    }
}

fn configuration(listen: u16, to: u16, compression: &str, processors: &str) -> String {
    let mut text = format!(
        "receivers:\n  otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{listen}', max_recv_msg_size_mib: 64}}}}}}\n\
         processors:\n  batch: {{timeout: 1ms}}\n  attributes: {{actions: [{{key: no.such.key, action: delete}}]}}\n\
         exporters:\n  otlp: {{endpoint: '127.0.0.1:{to}', tls: {{insecure: true}}, compression: {compression}}}\n\
         service:\n  pipelines:\n"
    );
    for signal in Signal::ALL {
        text.push_str(&format!(
            "    {signal}: {{receivers: [otlp], processors: [{processors}], exporters: [otlp]}}\n"
        ));
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn otlp_goes_through_a_pipeline_unchanged() {
    for (compression, processors) in [("none", ""), ("gzip", "batch"), ("zstd", "attributes, batch")] {
        let (capture, receiver, to) = far_end().await;
        let listen = free_port();
        let pipelines = pipelines(&configuration(listen, to, compression, processors)).await;
        let sent = generated();
        send_all(listen, compression, &sent).await;
        let arrived = wait_for(&capture, sent.iter().map(Batch::items).sum()).await;
        assert_equal(&sent, &arrived);
        pipelines.shutdown().await;
        receiver.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collector_understands_us_and_we_understand_it() {
    let (capture, receiver, to) = far_end().await;
    let (first, middle, last) = (free_port(), free_port(), free_port());
    let text = configuration(middle, last, "gzip", "batch");
    let collector = tokio::task::spawn_blocking(move || Collector::start(&text))
        .await
        .unwrap();
    let _collector = peer_or_skip!(collector);
    let before = pipelines(&configuration(first, middle, "zstd", "batch")).await;
    let after = pipelines(&configuration(last, to, "none", "")).await;
    let sent = generated();
    send_all(first, "gzip", &sent).await;
    let arrived = wait_for(&capture, sent.iter().map(Batch::items).sum()).await;
    assert_equal(&sent, &arrived);
    before.shutdown().await;
    after.shutdown().await;
    receiver.shutdown().await;
}
