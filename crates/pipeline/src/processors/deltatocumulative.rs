//! The deltatocumulative processor: adds up deltas, so that each point says all that there was since its stream began.
//!
//! Sums, histograms and exponential histograms; other metrics pass through. Points that come late, that overlap with what
//! was counted before, or that belong to streams beyond `max_streams` are dropped and counted.
//!
//! The sender has the answer of the next sink, and a batch that was not taken finds the sums as they were when it comes
//! again. A restart begins all sums anew, which the start times of the points say.
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/deltatocumulativeprocessor>

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::units::TimeSpan;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::Batch;
use cupola_telemetry::edit::{MetricKind, Place};
use serde::Deserialize;

use super::ConfigError;
use super::series::{Converter, Converting, Outcome, Point, Streams};
use crate::ottl::Env;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeltaToCumulativeConfig {
    /// Time without a point after which a stream is forgotten.
    pub max_stale: TimeSpan,
    /// Streams that are added up. The Collector has no bound unless one is set; each takes 150 bytes and its buckets.
    pub max_streams: usize,
}

impl Default for DeltaToCumulativeConfig {
    fn default() -> Self {
        Self {
            max_stale: TimeSpan(Duration::from_secs(300)),
            max_streams: 1_000_000,
        }
    }
}

impl DeltaToCumulativeConfig {
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.max_stale.0.is_zero() {
            return Err(ConfigError::setting(
                "max_stale",
                "it must be longer than nothing",
            ));
        }
        if self.max_streams == 0 {
            return Err(ConfigError::setting(
                "max_streams",
                "at least one stream must have room",
            ));
        }
        Ok(())
    }
}

struct Summing;

impl Converter for Summing {
    const TEMPORALITY: u64 = 2;

    fn wants(&self, place: &Place<'_>, kind: MetricKind) -> bool {
        let summed = matches!(
            kind,
            MetricKind::Sum | MetricKind::Histogram | MetricKind::ExponentialHistogram
        );
        summed && place.data.number(2) == Some(1)
    }

    fn convert(&self, state: Option<Point>, point: Point) -> Outcome {
        let dropped = |reason| Outcome::Drop { reason, state: None };
        let Some(before) = state else {
            let state = point.clone();
            return Outcome::Emit { point, state };
        };
        if point.start < before.start {
            return dropped("older_start");
        }
        if point.time <= before.time {
            return dropped("out_of_order");
        }
        let sum = match before.value.add(&point.value) {
            Some(value) => Point {
                start: before.start,
                time: point.time,
                value,
            },
            // Of another kind, or with other bounds: counting begins anew.
            None => point,
        };
        Outcome::Emit {
            point: sum.clone(),
            state: sum,
        }
    }

    fn refuses_overflow(&self) -> bool {
        true
    }
}

/// The processor in front of a sink.
pub struct DeltaToCumulative {
    converting: Converting<Summing>,
    config: DeltaToCumulativeConfig,
}

impl DeltaToCumulative {
    pub fn new(
        config: &DeltaToCumulativeConfig,
        next: Arc<dyn Sink>,
        env: Arc<dyn Env + Send>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let stale = u64::try_from(config.max_stale.0.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self {
            converting: Converting::new(Summing, Streams::new(config.max_streams, stale), next, env),
            config: config.clone(),
        })
    }
}

#[async_trait]
impl Sink for DeltaToCumulative {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        self.converting.send(batch).await
    }
}

#[async_trait]
impl Component for DeltaToCumulative {
    fn collect(&self, samples: &mut Vec<Sample>) {
        let counts = self.converting.counts.lock().clone();
        let datapoints = "otelcol_deltatocumulative_datapoints";
        let help = "Data points that were added up, and those dropped by why they were.";
        samples.push(Sample::count(datapoints, help, counts.converted));
        for (reason, count) in counts.dropped {
            samples.push(Sample::count(datapoints, help, count).with("error", reason));
        }
        samples.push(Sample::level(
            "otelcol_deltatocumulative_streams_tracked",
            "Streams that are added up.",
            counts.streams as f64,
        ));
        samples.push(Sample::level(
            "otelcol_deltatocumulative_streams_limit",
            "Streams that have room.",
            self.config.max_streams as f64,
        ));
        samples.push(Sample::level(
            "otelcol_deltatocumulative_streams_max_stale",
            "Seconds without a point after which a stream is forgotten.",
            self.config.max_stale.0.as_secs_f64(),
        ));
        samples.push(Sample::count(
            "otelcol_deltatocumulative_streams_evicted",
            "Streams that were forgotten because they had no point for too long.",
            counts.stale,
        ));
    }
}
