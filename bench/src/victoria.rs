//! VictoriaMetrics as the peer for data points: the same samples over its native way in, Prometheus remote write.
//!
//! Only number points take part: a histogram is one point to OTLP and a dozen samples to remote write, so a ratio over
//! both would compare different things. The conversion to remote write is done before the clock starts.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cupola_telemetry::Batch;
use cupola_telemetry::encode::MetricsEncoder;
use cupola_telemetry::view::{AnyValue, Attributes, MetricData, MetricsData, NumberPoints, NumberValue};
use prost::Message;

use crate::server::{Usage, free_port, terminate, usage};

const READY_WITHIN: Duration = Duration::from_secs(30);

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// One remote-write request, ready for the socket, and how many samples it holds.
pub(crate) struct Request {
    pub(crate) body: Vec<u8>,
    pub(crate) samples: usize,
}

/// The batch without its histograms and summaries; `None` when nothing is left.
pub(crate) fn number_points_only(batch: &Batch) -> Option<Batch> {
    let mut encoder = MetricsEncoder::with_capacity(batch.payload().len());
    for resource in MetricsData::new(batch.payload()).resources() {
        let mut out = encoder.resource_metrics();
        out.resource_raw(resource.resource().raw());
        for scope in resource.scopes() {
            let mut out = out.scope_metrics();
            out.scope_raw(scope.scope().raw());
            for metric in scope.metrics() {
                let mut out = out.metric();
                out.name(metric.name)
                    .description(metric.description)
                    .unit(metric.unit);
                match metric.data() {
                    Some(MetricData::Gauge(points)) => {
                        let mut gauge = out.gauge();
                        for raw in points.raw_messages() {
                            gauge.point_raw(raw);
                        }
                    }
                    Some(MetricData::Sum {
                        points,
                        temporality,
                        monotonic,
                    }) => {
                        let mut sum = out.sum();
                        for raw in points.raw_messages() {
                            sum.point_raw(raw);
                        }
                        sum.aggregation_temporality(temporality).is_monotonic(monotonic);
                    }
                    _ => {}
                }
            }
        }
    }
    (encoder.items() > 0).then(|| encoder.finish(batch.tenant().clone()))
}

/// The number points of a batch as remote write has them: resource and point attributes become labels.
pub(crate) fn request(batch: &Batch) -> Result<Request> {
    let mut timeseries = Vec::new();
    for resource in MetricsData::new(batch.payload()).resources() {
        let mut shared = Vec::new();
        labels(&mut shared, resource.resource().attributes);
        for metric in resource.scopes().flat_map(|scope| scope.metrics()) {
            let points = match metric.data() {
                Some(MetricData::Gauge(points)) | Some(MetricData::Sum { points, .. }) => points,
                _ => continue,
            };
            series(&mut timeseries, metric.name, &shared, points);
        }
    }
    let samples = timeseries.len();
    let body = snap::raw::Encoder::new().compress_vec(&WriteRequest { timeseries }.encode_to_vec())?;
    Ok(Request { body, samples })
}

fn series(out: &mut Vec<TimeSeries>, name: &str, shared: &[Label], points: NumberPoints<'_>) {
    for point in points {
        let mut all = shared.to_vec();
        all.push(Label {
            name: "__name__".to_owned(),
            value: label_name(name),
        });
        labels(&mut all, point.attributes);
        all.sort_by(|left, right| left.name.cmp(&right.name));
        all.dedup_by(|left, right| left.name == right.name);
        let value = match point.value {
            Some(NumberValue::Double(value)) => value,
            Some(NumberValue::Int(value)) => value as f64,
            None => continue,
        };
        let timestamp = (point.time_unix_nano / 1_000_000) as i64;
        out.push(TimeSeries {
            labels: all,
            samples: vec![Sample { value, timestamp }],
        });
    }
}

fn labels(out: &mut Vec<Label>, attributes: Attributes<'_>) {
    for attribute in attributes {
        let value = match attribute.value {
            AnyValue::String(text) => text.to_owned(),
            AnyValue::Int(number) => number.to_string(),
            AnyValue::Bool(flag) => flag.to_string(),
            AnyValue::Double(number) => number.to_string(),
            _ => continue,
        };
        out.push(Label {
            name: label_name(attribute.key),
            value,
        });
    }
}

fn label_name(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

pub(crate) struct Victoria {
    child: Child,
    address: String,
}

impl Victoria {
    /// Starts Debian's `victoria-metrics`; `None` with the reason printed where it is not installed.
    pub(crate) async fn start(directory: &Path, cpus: &str) -> Result<Option<Victoria>> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let spawned = Command::new("taskset")
            .args([
                "-c",
                cpus,
                "victoria-metrics",
                "-retentionPeriod=100y",
                "-loggerLevel=ERROR",
            ])
            .arg(format!("-storageDataPath={}", directory.display()))
            .arg(format!("-httpListenAddr={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut victoria = Victoria {
            child: spawned.context("could not start taskset")?,
            address,
        };
        let started = Instant::now();
        let url = format!("http://{}/health", victoria.address);
        while !reqwest::get(&url)
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            if victoria.child.try_wait()?.is_some() {
                println!("skipped: victoria-metrics is not installed (apt-get install victoria-metrics)");
                return Ok(None);
            }
            if started.elapsed() > READY_WITHIN {
                bail!("victoria-metrics was not ready within {READY_WITHIN:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Some(victoria))
    }

    pub(crate) async fn write(&self, client: &reqwest::Client, request: &Request) -> Result<()> {
        let answer = client
            .post(format!("http://{}/api/v1/write", self.address))
            .header("Content-Encoding", "snappy")
            .body(request.body.clone())
            .send()
            .await?;
        if !answer.status().is_success() {
            bail!(
                "victoria-metrics refused: {} {}",
                answer.status(),
                answer.text().await.unwrap_or_default()
            );
        }
        Ok(())
    }

    /// Makes everything searchable and on disk: what Cupola's flush does.
    pub(crate) async fn flush(&self) -> Result<()> {
        reqwest::get(format!("http://{}/internal/force_flush", self.address))
            .await?
            .error_for_status()?;
        Ok(())
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        usage(self.child.id())
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        terminate(&mut self.child)
    }
}

impl Drop for Victoria {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
