//! Takes what is exported, in a process of its own: OTLP over HTTP, in protobuf. Answers at once, and counts what has arrived.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use cupola_telemetry::{Batch, Signal, TenantId};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, metric, number_data_point};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::cpu;

/// Where what has arrived is asked for, and forgotten.
pub(crate) const TAKE: &str = "/take";

/// What the names of the metrics begin with that are measured.
const MEASUREMENTS: &str = "order";
/// Counters in which Cupola's SDK tells what it lost: as soon as it was recorded, before a backend had it, and there.
const LOST: [&str; 3] = [
    "cupola.sdk.records.dropped",
    "cupola.sdk.lost",
    "cupola.sdk.backend.dropped",
];

/// What has arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Arrived {
    pub(crate) spans: u64,
    pub(crate) logs: u64,
    /// What counters have counted and histograms hold.
    pub(crate) measurements: u64,
    /// Records that an SDK lost, as it says in metrics of its own; none if it says nothing.
    pub(crate) told_lost: Option<u64>,
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    /// Requests that were not OTLP.
    pub(crate) refused: u64,
}

#[derive(Default)]
struct Receiver {
    arrived: Arrived,
    /// The last value of each series that tells sums.
    series: HashMap<(String, Vec<u8>), u64>,
}

pub(crate) fn run() -> Result<()> {
    cpu::pin(&[cpu::OTHERS]);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve())
}

async fn serve() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let receiver = Arc::new(Mutex::new(Receiver::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        let _ = stream.set_nodelay(true);
        let receiver = receiver.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(receiver.clone(), request));
            // A client that goes away in the middle of a request has lost what was in it, and that is seen in the counts.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    receiver: Arc<Mutex<Receiver>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let Ok(body) = request.into_body().collect().await else {
        return Ok(status(StatusCode::BAD_REQUEST));
    };
    let body = body.to_bytes();
    let mut receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
    if path == TAKE {
        let taken = std::mem::take(&mut *receiver).arrived();
        let text = serde_json::to_vec(&taken).unwrap_or_default();
        return Ok(Response::new(Full::new(Bytes::from(text))));
    }
    if receiver.take(&path, body) {
        return Ok(status(StatusCode::OK));
    }
    receiver.arrived.refused += 1;
    Ok(status(StatusCode::BAD_REQUEST))
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

impl Receiver {
    fn take(&mut self, path: &str, body: Bytes) -> bool {
        self.arrived.requests += 1;
        self.arrived.bytes += body.len() as u64;
        let decode = |signal| Batch::decode_protobuf(signal, TenantId::default(), body.clone());
        match path {
            "/v1/traces" => decode(Signal::Traces)
                .map(|batch| self.arrived.spans += batch.items() as u64)
                .is_ok(),
            "/v1/logs" => decode(Signal::Logs)
                .map(|batch| self.arrived.logs += batch.items() as u64)
                .is_ok(),
            "/v1/metrics" => ExportMetricsServiceRequest::decode(body)
                .map(|request| self.take_metrics(request))
                .is_ok(),
            _ => false,
        }
    }

    fn take_metrics(&mut self, request: ExportMetricsServiceRequest) {
        let scopes = request
            .resource_metrics
            .into_iter()
            .flat_map(|resource| resource.scope_metrics);
        for metric in scopes.flat_map(|scope| scope.metrics) {
            match metric.data {
                Some(metric::Data::Sum(sum)) => {
                    let temporality = sum.aggregation_temporality();
                    for point in sum.data_points {
                        let value = match point.value {
                            Some(number_data_point::Value::AsInt(value)) => value as u64,
                            Some(number_data_point::Value::AsDouble(value)) => value as u64,
                            None => 0,
                        };
                        self.measured(&metric.name, point.attributes, temporality, value);
                    }
                }
                Some(metric::Data::Histogram(histogram)) => {
                    let temporality = histogram.aggregation_temporality();
                    for point in histogram.data_points {
                        self.measured(&metric.name, point.attributes, temporality, point.count);
                    }
                }
                _ => {}
            }
        }
    }

    /// Of what is measured here, and of what an SDK tells of its losses.
    fn measured(
        &mut self,
        name: &str,
        mut attributes: Vec<KeyValue>,
        temporality: AggregationTemporality,
        value: u64,
    ) {
        if !name.starts_with(MEASUREMENTS) && !LOST.contains(&name) {
            return;
        }
        attributes.sort_by(|a, b| a.key.cmp(&b.key));
        let key = attributes
            .iter()
            .flat_map(prost::Message::encode_to_vec)
            .collect();
        let sum = self.series.entry((name.to_owned(), key)).or_default();
        match temporality {
            AggregationTemporality::Delta => *sum += value,
            _ => *sum = value,
        }
    }

    fn arrived(mut self) -> Arrived {
        for ((name, _), value) in &self.series {
            match name.starts_with(MEASUREMENTS) {
                true => self.arrived.measurements += value,
                false => *self.arrived.told_lost.get_or_insert(0) += value,
            }
        }
        self.arrived
    }
}
