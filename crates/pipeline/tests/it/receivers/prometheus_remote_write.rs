//! The receiver of remote writes, fed by hand and by Prometheus itself.

use std::sync::Arc;
use std::time::Duration;

use cupola_export::{Accepted, SendError};
use cupola_peers::peer_or_skip;
use cupola_pipeline::receivers::prometheus_remote_write::{
    RemoteWriteReceiver, RemoteWriteReceiverConfig, RunningRemoteWrite,
};
use prost::Message;
use serde_json::{Value, json};

use super::metrics::{Samples, points, samples};
use super::prometheus_server::PrometheusServer;
use super::{post, retryable, sink, snappy};
use crate::support::{Answer, Capture};

/// The messages of both versions, independent of what the receiver reads them with.
mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub(super) timeseries: Vec<TimeSeries>,
        #[prost(message, repeated, tag = "3")]
        pub(super) metadata: Vec<MetricMetadata>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub(super) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(super) exemplars: Vec<Exemplar>,
        #[prost(message, repeated, tag = "4")]
        pub(super) histograms: Vec<Histogram>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct MetricMetadata {
        #[prost(int32, tag = "1")]
        pub(super) kind: i32,
        #[prost(string, tag = "2")]
        pub(super) name: String,
        #[prost(string, tag = "4")]
        pub(super) help: String,
        #[prost(string, tag = "5")]
        pub(super) unit: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Label {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) value: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Sample {
        #[prost(double, tag = "1")]
        pub(super) value: f64,
        #[prost(int64, tag = "2")]
        pub(super) timestamp: i64,
        #[prost(int64, tag = "3")]
        pub(super) start: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Exemplar {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<Label>,
        #[prost(double, tag = "2")]
        pub(super) value: f64,
        #[prost(int64, tag = "3")]
        pub(super) timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Histogram {
        #[prost(uint64, tag = "1")]
        pub(super) count: u64,
        #[prost(double, tag = "3")]
        pub(super) sum: f64,
        #[prost(sint32, tag = "4")]
        pub(super) schema: i32,
        #[prost(double, tag = "5")]
        pub(super) zero_threshold: f64,
        #[prost(uint64, tag = "6")]
        pub(super) zero_count: u64,
        #[prost(message, repeated, tag = "8")]
        pub(super) negative_spans: Vec<Span>,
        #[prost(sint64, repeated, tag = "9")]
        pub(super) negative_deltas: Vec<i64>,
        #[prost(message, repeated, tag = "11")]
        pub(super) positive_spans: Vec<Span>,
        #[prost(sint64, repeated, tag = "12")]
        pub(super) positive_deltas: Vec<i64>,
        #[prost(int64, tag = "15")]
        pub(super) timestamp: i64,
        #[prost(double, repeated, tag = "16")]
        pub(super) custom_values: Vec<f64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Span {
        #[prost(sint32, tag = "1")]
        pub(super) offset: i32,
        #[prost(uint32, tag = "2")]
        pub(super) length: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Request2 {
        #[prost(string, repeated, tag = "4")]
        pub(super) symbols: Vec<String>,
        #[prost(message, repeated, tag = "5")]
        pub(super) timeseries: Vec<TimeSeries2>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TimeSeries2 {
        #[prost(uint32, repeated, tag = "1")]
        pub(super) labels: Vec<u32>,
        #[prost(message, repeated, tag = "2")]
        pub(super) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(super) histograms: Vec<Histogram>,
        #[prost(message, repeated, tag = "4")]
        pub(super) exemplars: Vec<Exemplar2>,
        #[prost(message, optional, tag = "5")]
        pub(super) metadata: Option<Metadata2>,
        #[prost(int64, tag = "6")]
        pub(super) created: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Exemplar2 {
        #[prost(uint32, repeated, tag = "1")]
        pub(super) labels: Vec<u32>,
        #[prost(double, tag = "2")]
        pub(super) value: f64,
        #[prost(int64, tag = "3")]
        pub(super) timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Metadata2 {
        #[prost(int32, tag = "1")]
        pub(super) kind: i32,
        #[prost(uint32, tag = "3")]
        pub(super) help: u32,
        #[prost(uint32, tag = "4")]
        pub(super) unit: u32,
    }
}

use proto::*;

const V1: (&str, &str) = ("content-type", "application/x-protobuf");
const V2: (&str, &str) = (
    "content-type",
    "application/x-protobuf;proto=io.prometheus.write.v2.Request",
);
const SNAPPY: (&str, &str) = ("content-encoding", "snappy");
const STALE: u64 = 0x7ff0_0000_0000_0002;

struct Write {
    running: RunningRemoteWrite,
    sink: Arc<Capture>,
}

impl Write {
    async fn start() -> Write {
        let config =
            cupola_config::yaml::from_str::<RemoteWriteReceiverConfig>("endpoint: 127.0.0.1:0").unwrap();
        let (sink, memory) = sink();
        let running = RemoteWriteReceiver::start(config, sink.clone(), memory)
            .await
            .unwrap();
        Write { running, sink }
    }

    fn url(&self) -> String {
        format!("http://{}/api/v1/write", self.running.addr)
    }

    async fn send(&self, version: (&str, &str), message: &impl Message) -> Answer {
        post(self.url(), &[version, SNAPPY], snappy(&message.encode_to_vec())).await
    }

    fn points(&self) -> Vec<Value> {
        self.sink.drain().iter().flat_map(points).collect()
    }
}

fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
    let label = |(name, value): &(&str, &str)| Label {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    pairs.iter().map(label).collect()
}

fn series(pairs: &[(&str, &str)], values: &[(f64, i64)]) -> TimeSeries {
    let sample = |(value, timestamp): &(f64, i64)| Sample {
        value: *value,
        timestamp: *timestamp,
        start: 0,
    };
    TimeSeries {
        labels: labels(pairs),
        samples: values.iter().map(sample).collect(),
        ..TimeSeries::default()
    }
}

/// The fields of `expected` as they are in `actual`.
fn assert_has(actual: &Value, expected: &Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&actual[key], value, "{key} of {actual:#}");
    }
}

#[tokio::test]
async fn samples_of_version_1_arrive_each_with_its_type() {
    let write = Write::start().await;
    let own = [("job", "shop/cart"), ("instance", "10.0.0.1:80")];
    let with = |more: &[(&'static str, &'static str)]| [&own[..], more].concat();
    let request = WriteRequest {
        timeseries: vec![
            series(
                &with(&[("__name__", "requests_total"), ("code", "200")]),
                &[(1.0, 1000), (3.0, 2000)],
            ),
            series(&with(&[("__name__", "temperature")]), &[(-0.5, 1000)]),
            series(
                &with(&[("__name__", "latency_bucket"), ("le", "+Inf")]),
                &[(7.0, 1000)],
            ),
            series(
                &with(&[("__name__", "described")]),
                &[(9.0, 1000), (f64::from_bits(STALE), 2000)],
            ),
            series(
                &with(&[("__name__", "target_info"), ("host_name", "a")]),
                &[(1.0, 1000)],
            ),
        ],
        metadata: vec![MetricMetadata {
            kind: 1,
            name: "described".to_owned(),
            help: "What it is.".to_owned(),
            unit: "bytes".to_owned(),
        }],
    };
    let answer = write.send(V1, &request).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(
        answer.header("x-prometheus-remote-write-samples-written"),
        Some("7")
    );
    let points = write.points();
    let resource = json!({"service.namespace": "shop", "service.name": "cart",
        "service.instance.id": "10.0.0.1:80", "host_name": "a"});
    let expected = [
        json!({"name": "described", "kind": "counter", "value": 9.0, "time": 1_000_000_000u64, "flags": 0,
            "help": "What it is.", "unit": "bytes"}),
        json!({"name": "described", "kind": "counter", "value": null, "time": 2_000_000_000u64, "flags": 1}),
        json!({"name": "latency_bucket", "kind": "counter", "value": 7.0, "attributes": {"le": "+Inf"}}),
        json!({"name": "requests_total", "kind": "counter", "value": 1.0, "attributes": {"code": "200"}}),
        json!({"name": "requests_total", "kind": "counter", "value": 3.0, "time": 2_000_000_000u64}),
        json!({"name": "temperature", "kind": "gauge", "value": -0.5, "attributes": {}}),
    ];
    assert_eq!(points.len(), expected.len(), "{points:#?}");
    for (actual, expected) in points.iter().zip(&expected) {
        assert_has(actual, expected);
        assert_eq!(actual["resource"], resource);
    }
    // A later request of the same target has the same resource.
    let later = WriteRequest {
        timeseries: vec![series(&with(&[("__name__", "temperature")]), &[(1.0, 3000)])],
        metadata: Vec::new(),
    };
    assert_eq!(write.send(V1, &later).await.status, 204);
    assert_eq!(write.points()[0]["resource"], resource);
}

/// Symbols and the numbers that stand for them.
struct Table(Vec<String>);

impl Table {
    fn refer(&mut self, text: &str) -> u32 {
        let at = self.0.iter().position(|known| known == text).unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        });
        at as u32
    }

    fn labels(&mut self, pairs: &[(&str, &str)]) -> Vec<u32> {
        pairs
            .iter()
            .flat_map(|(name, value)| [self.refer(name), self.refer(value)])
            .collect()
    }
}

fn native() -> Histogram {
    Histogram {
        count: 12,
        sum: 18.5,
        schema: 1,
        zero_threshold: 0.001,
        zero_count: 2,
        positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 2, length: 1 }],
        positive_deltas: vec![1, 2, -1],
        negative_spans: vec![Span {
            offset: -3,
            length: 1,
        }],
        negative_deltas: vec![4],
        timestamp: 5000,
        ..Histogram::default()
    }
}

#[tokio::test]
async fn version_2_arrives_with_types_exemplars_and_native_histograms() {
    let write = Write::start().await;
    let mut table = Table(vec![String::new()]);
    let custom = Histogram {
        count: 5,
        sum: 9.0,
        schema: -53,
        positive_spans: vec![Span { offset: 1, length: 2 }],
        positive_deltas: vec![2, 1],
        custom_values: vec![0.5, 1.0],
        timestamp: 5000,
        ..Histogram::default()
    };
    let trace = "0102030405060708090a0b0c0d0e0f10";
    let mut one = |name: &str, kind, histograms, created| TimeSeries2 {
        labels: table.labels(&[("__name__", name), ("job", "cart"), ("otel_scope_name", "lib")]),
        metadata: Some(Metadata2 {
            kind,
            help: table.refer("Helps."),
            unit: table.refer("s"),
        }),
        histograms,
        created,
        ..TimeSeries2::default()
    };
    let mut counter = one("hits", 1, Vec::new(), 500);
    counter.samples = vec![Sample {
        value: 4.0,
        timestamp: 1000,
        start: 0,
    }];
    let mut newer = one("later", 1, Vec::new(), 0);
    newer.samples = vec![Sample {
        value: 4.0,
        timestamp: 1000,
        start: 700,
    }];
    let series = vec![
        one("h_custom", 3, vec![custom], 0),
        one("h_native", 3, vec![native()], 0),
        counter.clone(),
        newer,
    ];
    let mut request = Request2 {
        symbols: Vec::new(),
        timeseries: series,
    };
    let exemplar = Exemplar2 {
        labels: table.labels(&[("trace_id", trace), ("user", "7")]),
        value: 0.25,
        timestamp: 900,
    };
    // Prometheus sends them by themselves.
    request.timeseries.push(TimeSeries2 {
        samples: Vec::new(),
        exemplars: vec![exemplar],
        ..counter
    });
    request.symbols = table.0;
    let answer = write.send(V2, &request).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    let counts = ["samples", "histograms", "exemplars"].map(|kind| {
        answer
            .header(&format!("x-prometheus-remote-write-{kind}-written"))
            .unwrap()
            .to_owned()
    });
    assert_eq!(counts, ["2", "2", "1"]);
    let points = write.points();
    let expected = [
        json!({"name": "h_custom", "kind": "histogram", "count": 5, "sum": 9.0, "bounds": [0.5, 1.0], "counts": [0, 2, 3]}),
        json!({"name": "h_native", "kind": "exponential", "count": 12, "sum": 18.5, "scale": 1, "zero": [2, 0.001],
            "positive": [-1, [1, 3, 0, 0, 2]], "negative": [-4, [4]], "time": 5_000_000_000u64}),
        json!({"name": "hits", "kind": "counter", "start": 500_000_000u64, "exemplars": [
            {"value": 0.25, "time": 900_000_000u64, "trace": trace, "attributes": {"user": "7"}}]}),
        json!({"name": "later", "start": 700_000_000u64}),
    ];
    assert_eq!(points.len(), expected.len());
    for (actual, expected) in points.iter().zip(&expected) {
        assert_has(actual, expected);
        assert_has(
            actual,
            &json!({"help": "Helps.", "unit": "s", "scope": "lib", "resource": {"service.name": "cart"}}),
        );
    }
}

#[tokio::test]
async fn a_series_that_cannot_be_read_does_not_take_the_others_with_it() {
    let write = Write::start().await;
    let mut spans = native();
    spans.positive_spans[1].offset = i32::MAX;
    let mut broken = series(&[("__name__", "h")], &[]);
    broken.histograms = vec![spans];
    let good = series(&[("__name__", "good")], &[(1.0, 1000)]);
    for bad in [
        broken,
        series(&[("job", "nameless")], &[(1.0, 1)]),
        series(&[("__name__", "a"), ("b", "1"), ("b", "2")], &[(1.0, 1)]),
    ] {
        let request = WriteRequest {
            timeseries: vec![bad, good.clone()],
            metadata: Vec::new(),
        };
        let answer = write.send(V1, &request).await;
        assert_eq!(answer.status, 400);
        assert_eq!(
            answer.header("x-prometheus-remote-write-samples-written"),
            Some("1")
        );
        assert_eq!(write.points().len(), 1);
    }
    // An exemplar whose sample came in another request is counted.
    let mut alone = series(&[("__name__", "alone")], &[]);
    alone.exemplars = vec![Exemplar {
        value: 1.0,
        ..Exemplar::default()
    }];
    let request = WriteRequest {
        timeseries: vec![alone],
        metadata: Vec::new(),
    };
    assert_eq!(write.send(V1, &request).await.status, 204);
    let mut samples = Vec::new();
    write.running.collect(&mut samples);
    let count = |name: &str| samples.iter().find(|sample| sample.name == name).unwrap().value;
    assert_eq!(count("cupola_receiver_exemplars_dropped_total"), 1.0);
    assert_eq!(count("otelcol_receiver_accepted_metric_points"), 3.0);
    assert_eq!(count("otelcol_receiver_failed_metric_points"), 3.0);
}

#[tokio::test]
async fn refusals_say_whether_to_come_again() {
    let write = Write::start().await;
    let request = WriteRequest {
        timeseries: vec![series(&[("__name__", "a")], &[(1.0, 1)])],
        metadata: Vec::new(),
    };
    write.sink.answer(Err(retryable()));
    let answer = write.send(V1, &request).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("3")));
    write.sink.answer(Err(SendError::permanent("no")));
    assert_eq!(write.send(V1, &request).await.status, 400);
    write.sink.answer(Ok(Accepted::partial(1, "too old")));
    assert_eq!(write.send(V1, &request).await.status, 400);
    assert_eq!(post(write.url(), &[V1, SNAPPY], "nonsense").await.status, 400);
    assert_eq!(post(write.url(), &[V1], snappy(b"nonsense")).await.status, 400);
    assert_eq!(
        post(write.url(), &[("content-type", "application/json")], "{}")
            .await
            .status,
        415
    );
    assert_eq!(
        post(write.url().replace("write", "read"), &[V1], "").await.status,
        404
    );
    write.running.shutdown().await;
}

/// What Prometheus itself says it has, as its API tells it.
async fn stored(port: u16, query: &str, at: f64) -> Samples {
    let mut url = url::Url::parse(&format!("http://127.0.0.1:{port}/api/v1/query")).unwrap();
    url.query_pairs_mut()
        .append_pair("query", query)
        .append_pair("time", &at.to_string());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer: Value = client.get(url).send().await.unwrap().json().await.unwrap();
    let mut samples = Samples::new();
    for series in answer["data"]["result"].as_array().unwrap() {
        let labels = series["metric"].as_object().unwrap();
        let labels: std::collections::BTreeMap<_, _> = labels
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect();
        for sample in series["values"].as_array().unwrap() {
            let time = (sample[0].as_f64().unwrap() * 1000.0).round() as u64;
            samples.insert(
                (labels.clone(), time),
                sample[1].as_str().unwrap().parse().unwrap(),
            );
        }
    }
    samples
}

#[tokio::test]
async fn what_prometheus_scrapes_of_itself_arrives_sample_for_sample() {
    let write = Write::start().await;
    let configuration = format!(
        "global: {{scrape_interval: 1s}}\nremote_write: [{{url: \"{}\", send_exemplars: true}}]\nscrape_configs:\n- \
         job_name: itself\n  static_configs: [{{targets: ['127.0.0.1:PORT']}}]\n",
        write.url()
    );
    let server = tokio::task::spawn_blocking(move || PrometheusServer::start(&configuration))
        .await
        .unwrap();
    let server = peer_or_skip!(server);
    let scrapes = || {
        let all = samples(&write.sink.batches());
        all.keys()
            .filter(|(labels, _)| labels["__name__"] == "up")
            .map(|(_, time)| *time)
            .collect::<Vec<_>>()
    };
    tokio::time::timeout(Duration::from_secs(60), async {
        while scrapes().len() < 4 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("three scrapes arrive");
    // Its second scrape: complete, and long enough ago that everything of it has been sent.
    let time = scrapes()[1];
    let (at, time) = (time as f64 / 1000.0 + 0.0005, time);
    let expected: Samples = stored(server.port, "{job=\"itself\"}[900ms]", at)
        .await
        .into_iter()
        .filter(|((_, sampled), value)| *sampled == time && value.is_finite())
        .collect();
    assert!(expected.len() > 300, "{}", expected.len());
    tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let received = samples(&write.sink.batches());
            if expected
                .iter()
                .all(|(key, value)| received.get(key) == Some(value))
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await
    .expect("every sample that Prometheus stored arrives");
}
