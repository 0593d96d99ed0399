//! An OpenTelemetry Collector, over all three protocols: what comes out of it is what was exported.

use std::time::Duration;

use cupola_peers::collector::Collector;
use cupola_peers::far_end::FarEnd;
use cupola_peers::{free_port, peer_or_skip};
use cupola_sdk_peers::items::{assert_same, texts};
use cupola_telemetry::{Batch, Signal};

use crate::application::run;

const PATIENCE: Duration = Duration::from_secs(60);

/// One that passes everything on to a far end.
pub(crate) fn configuration(grpc: u16, http: u16, far_end: &FarEnd) -> String {
    let to = far_end.url();
    format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: 127.0.0.1:{grpc}}}, http: {{endpoint: 127.0.0.1:{http}}}}}}}}}
exporters: {{otlphttp: {{endpoint: {to}, compression: none, encoding: proto}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlphttp]}}
    logs: {{receivers: [otlp], exporters: [otlphttp]}}
    metrics: {{receivers: [otlp], exporters: [otlphttp]}}
"
    )
}

#[test]
fn over_each_protocol_everything_comes_out_of_a_collector_as_it_was_exported() {
    let (grpc, http, far_end) = (free_port(), free_port(), FarEnd::start());
    let collector = peer_or_skip!(Collector::start(&configuration(grpc, http, &far_end)));
    let backends = [
        format!(
            "{{backend_type: otlp, name: grpc, config: {{endpoint: http://127.0.0.1:{grpc}, protocol: grpc}}}}"
        ),
        format!(
            "{{backend_type: otlp, name: protobuf, config: {{endpoint: http://127.0.0.1:{http}, compression: gzip}}}}"
        ),
        format!(
            "{{backend_type: otlp, name: json, config: {{endpoint: http://127.0.0.1:{http}, protocol: http/json, \
             compression: zstd}}}}"
        ),
    ];
    let ran = run(200, &backends);
    let exported = ran.checked();
    let three_times: Vec<Batch> = std::iter::repeat_n(&exported, 3).flatten().cloned().collect();
    check(&far_end, &three_times, &collector);
}

pub(crate) fn check(far_end: &FarEnd, exported: &[Batch], collector: &Collector) {
    for signal in Signal::ALL {
        let count = |batches: &[Batch]| texts(batches, signal).len();
        let wanted = count(exported);
        let has_come = far_end.wait(PATIENCE, |batches, _| count(batches) >= wanted);
        assert!(
            has_come,
            "{signal}: {} of {wanted}: {}",
            count(&far_end.batches()),
            collector.output()
        );
        assert_same(
            signal.as_str(),
            &texts(&far_end.batches(), signal),
            &texts(exported, signal),
        );
    }
}
