//! The probabilistic sampler: keeps a share of spans and log records, by the trace they are of.
//!
//! Stateless: a batch is passed on without what is not sampled, and the sender has the answer of the next sink. What is
//! kept says with which probability, as `ot=th:…` in the trace state of a span and as `sampling.threshold` of a record.
//! Metrics pass through.
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/probabilisticsamplerprocessor>,
//! <https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/>

mod config;
mod threshold;
mod tracestate;

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::edit::{Editor, Level, Message, Place, Value, Verdict, edit};
use cupola_telemetry::{Batch, Signal};
use parking_lot::Mutex;

pub use self::config::{AttributeSource, ProbabilisticSamplerConfig, SamplerMode};
use self::threshold::{Randomness, Threshold};
use self::tracestate::TraceState;
use super::ConfigError;

const THRESHOLD: &str = "sampling.threshold";
const RANDOMNESS: &str = "sampling.randomness";

#[derive(Clone, Copy, Debug)]
enum Sampler {
    Never,
    Hash(Threshold),
    Equalizing(Threshold),
    Proportional(f64),
}

/// Where the randomness of an item came from, as the counts name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Policy {
    TraceIdHash,
    TraceIdW3c,
    SamplingRandomness,
    Attribute,
    Missing,
    Priority,
}

#[derive(Debug)]
struct Rules {
    traces: Sampler,
    logs: Sampler,
    config: ProbabilisticSamplerConfig,
}

/// Sampling in front of a sink.
pub struct ProbabilisticSampler {
    rules: Rules,
    counts: Mutex<HashMap<(Signal, Policy, bool), u64>>,
    next: Arc<dyn Sink>,
}

impl ProbabilisticSampler {
    pub fn new(config: &ProbabilisticSamplerConfig, next: Arc<dyn Sink>) -> Result<Self, ConfigError> {
        config.validate()?;
        let rules = Rules {
            traces: Sampler::new(config, false),
            logs: Sampler::new(config, true),
            config: config.clone(),
        };
        Ok(Self {
            rules,
            counts: Mutex::default(),
            next,
        })
    }

    /// What is left of a batch.
    pub fn process(&self, batch: &Batch) -> Option<Batch> {
        if batch.signal() == Signal::Metrics {
            return Some(batch.clone());
        }
        let mut work = Work {
            rules: &self.rules,
            signal: batch.signal(),
            counts: HashMap::new(),
        };
        let Ok(left) = edit(batch, &mut work);
        let mut counts = self.counts.lock();
        for ((policy, sampled), count) in work.counts {
            *counts.entry((batch.signal(), policy, sampled)).or_default() += count;
        }
        left
    }
}

#[async_trait]
impl Sink for ProbabilisticSampler {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        match self.process(&batch) {
            Some(left) => self.next.send(left).await,
            None => Ok(Accepted::all()),
        }
    }
}

#[async_trait]
impl Component for ProbabilisticSampler {
    fn collect(&self, samples: &mut Vec<Sample>) {
        for ((signal, policy, sampled), count) in self.counts.lock().iter() {
            let name = match signal {
                Signal::Logs => "otelcol_processor_probabilistic_sampler_count_logs_sampled",
                _ => "otelcol_processor_probabilistic_sampler_count_traces_sampled",
            };
            let policy = match policy {
                Policy::TraceIdHash => "trace_id_hash",
                Policy::TraceIdW3c => "trace_id_w3c",
                Policy::SamplingRandomness => "sampling_randomness",
                Policy::Attribute => self.rules.config.from_attribute.as_str(),
                Policy::Missing => "missing_randomness",
                Policy::Priority => "sampling_priority",
            };
            let sample = Sample::count(
                name,
                "Spans or records by whether they were sampled, and by what.",
                *count,
            );
            samples.push(sample.with("policy", policy).with("sampled", sampled.to_string()));
        }
    }
}

impl Sampler {
    fn new(config: &ProbabilisticSamplerConfig, logs: bool) -> Self {
        let percentage = config.sampling_percentage.min(100.0);
        let by_record = logs && config.attribute_source == AttributeSource::Record;
        let unset = match config.hash_seed != 0 || by_record {
            true => SamplerMode::HashSeed,
            false => SamplerMode::Proportional,
        };
        // In double precision, as the Collector divides.
        let ratio = f64::from(percentage) / 100.0;
        if percentage == 0.0 {
            return Self::Never;
        }
        match config.mode.unwrap_or(unset) {
            SamplerMode::HashSeed => match Threshold::of_buckets(percentage) {
                Some(threshold) => Self::Hash(threshold),
                None => Self::Never,
            },
            SamplerMode::Equalizing => {
                Self::Equalizing(Threshold::of_probability(ratio, config.sampling_precision))
            }
            SamplerMode::Proportional => Self::Proportional(ratio),
        }
    }

    fn threshold(self, arrived: Option<Threshold>, precision: u8) -> Threshold {
        match self {
            Self::Never => Threshold::NEVER,
            Self::Hash(threshold) | Self::Equalizing(threshold) => threshold,
            Self::Proportional(ratio) => {
                let incoming = arrived.map_or(1.0, Threshold::probability);
                Threshold::of_probability(incoming * ratio, precision)
            }
        }
    }
}

/// What earlier samplers wrote on an item.
#[derive(Default)]
struct Marks {
    threshold: Option<Threshold>,
    randomness: Option<Randomness>,
    /// They cannot be read.
    broken: bool,
}

struct Work<'a> {
    rules: &'a Rules,
    signal: Signal,
    counts: HashMap<(Policy, bool), u64>,
}

impl<'a> Editor<'a> for Work<'a> {
    type Error = Infallible;

    fn deepest(&self) -> Level {
        Level::Item
    }

    fn visit(&mut self, level: Level, place: &mut Place<'a>) -> Result<Verdict, Infallible> {
        if level != Level::Item {
            return Ok(Verdict::Keep);
        }
        let (policy, sampled) = match self.signal {
            Signal::Logs => self.rules.record(&mut place.item),
            _ => self.rules.span(&mut place.item),
        };
        *self.counts.entry((policy, sampled)).or_default() += 1;
        Ok(if sampled { Verdict::Keep } else { Verdict::Drop })
    }
}

impl Rules {
    fn span(&self, span: &mut Message<'_>) -> (Policy, bool) {
        let text = span.text(3);
        let state = TraceState::parse(&text);
        let marks = match &state {
            Some(state) => Marks {
                threshold: state.threshold,
                randomness: state.randomness,
                broken: false,
            },
            None => Marks {
                broken: true,
                ..Marks::default()
            },
        };
        let id = span.bytes(1).unwrap_or_default();
        let (policy, randomness) = self.randomness(self.traces, &id, &marks, || None);
        let threshold = self.decide(self.traces, &marks, randomness);
        let (policy, threshold) = match span_priority(span) {
            Some(true) => (Policy::Priority, Threshold::ALWAYS),
            Some(false) => (Policy::Priority, Threshold::NEVER),
            None => (policy, threshold),
        };
        let sampled = threshold.samples(randomness);
        if sampled && let Some(mut state) = state {
            if policy == Policy::TraceIdHash && marks.is_unmarked() {
                state.randomness = randomness;
            }
            state.threshold = marks.updated(threshold, randomness);
            let written = state.to_string();
            if written != text {
                span.set_text(3, written.into());
            }
        }
        (policy, sampled)
    }

    fn record(&self, record: &mut Message<'_>) -> (Policy, bool) {
        let marks = record_marks(record);
        let id = match self.config.attribute_source {
            AttributeSource::TraceId => record.bytes(9).unwrap_or_default(),
            // With hashes the trace id has no say; otherwise it has, as for spans.
            AttributeSource::Record if matches!(self.logs, Sampler::Hash(_)) => Cow::default(),
            AttributeSource::Record => record.bytes(9).unwrap_or_default(),
        };
        let from = || match self.config.from_attribute.as_str() {
            "" => None,
            key => record.attribute(6, key).map(|value| hashed_bytes(&value)),
        };
        let (policy, randomness) = self.randomness(self.logs, &id, &marks, from);
        let mut threshold = self.decide(self.logs, &marks, randomness);
        match self.record_priority(record) {
            Some(0.0) => threshold = Threshold::NEVER,
            Some(probability) => {
                threshold = threshold.min(Threshold::of_probability(
                    probability,
                    self.config.sampling_precision,
                ));
            }
            None => {}
        }
        let sampled = threshold.samples(randomness);
        if sampled && !marks.broken {
            let hashed = matches!(policy, Policy::TraceIdHash) || matches!(self.logs, Sampler::Hash(_));
            if let Some(randomness) = randomness
                && hashed
                && marks.is_unmarked()
            {
                record
                    .map_mut(6)
                    .set(RANDOMNESS.into(), Value::from(randomness.to_string()));
            }
            match marks.updated(threshold, randomness) {
                Some(now) if marks.threshold != Some(now) => {
                    record
                        .map_mut(6)
                        .set(THRESHOLD.into(), Value::from(now.to_string()));
                }
                None if marks.threshold.is_some() => {
                    record.map_mut(6).remove(THRESHOLD);
                }
                _ => {}
            }
        }
        (policy, sampled)
    }

    /// The randomness of an item, and where it is from.
    fn randomness(
        &self,
        sampler: Sampler,
        trace_id: &[u8],
        marks: &Marks,
        attribute: impl FnOnce() -> Option<Vec<u8>>,
    ) -> (Policy, Option<Randomness>) {
        let has_id = trace_id.iter().any(|byte| *byte != 0);
        let seed = self.config.hash_seed;
        if matches!(sampler, Sampler::Hash(_)) {
            if has_id {
                return (Policy::TraceIdHash, Some(Randomness::of_hash(trace_id, seed)));
            }
        } else if let Some(randomness) = marks.randomness {
            return (Policy::SamplingRandomness, Some(randomness));
        } else if has_id {
            return (Policy::TraceIdW3c, Randomness::of_trace_id(trace_id));
        }
        match attribute() {
            Some(bytes) => (Policy::Attribute, Some(Randomness::of_hash(&bytes, seed))),
            None => (Policy::Missing, None),
        }
    }

    fn decide(&self, sampler: Sampler, marks: &Marks, randomness: Option<Randomness>) -> Threshold {
        let by_hash = matches!(sampler, Sampler::Hash(_));
        let contradictory = marks
            .threshold
            .is_some_and(|threshold| !threshold.samples(randomness));
        let wrong = marks.broken || randomness.is_none() || contradictory || by_hash && !marks.is_unmarked();
        match (wrong, self.config.fail_closed) {
            (false, _) => sampler.threshold(marks.threshold, self.config.sampling_precision),
            (true, true) => Threshold::NEVER,
            (true, false) => Threshold::ALWAYS,
        }
    }

    /// The probability that a record asks for.
    fn record_priority(&self, record: &Message<'_>) -> Option<f64> {
        if self.config.sampling_priority.is_empty() {
            return None;
        }
        let percent = match record.attribute(6, &self.config.sampling_priority)? {
            Value::Int(percent) => percent as f64,
            Value::Double(percent) => percent,
            _ => return None,
        };
        (percent >= 0.0).then_some((percent / 100.0).min(1.0))
    }
}

impl Marks {
    fn is_unmarked(&self) -> bool {
        self.threshold.is_none() && self.randomness.is_none()
    }

    /// The threshold that an item which stays has from now on: never a lower one than it had, unless that was a lie.
    fn updated(&self, threshold: Threshold, randomness: Option<Randomness>) -> Option<Threshold> {
        match self.threshold.filter(|arrived| arrived.samples(randomness)) {
            Some(arrived) => Some(arrived.max(threshold)),
            None if self.threshold.is_some() => None,
            None => Some(threshold),
        }
    }
}

fn record_marks(record: &Message<'_>) -> Marks {
    let text = |key| match record.attribute(6, key) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let (threshold, randomness) = (text(THRESHOLD), text(RANDOMNESS));
    let marks = Marks {
        threshold: threshold.as_ref().and_then(|text| Threshold::parse(text)),
        randomness: randomness.as_ref().and_then(|text| Randomness::parse(text)),
        broken: false,
    };
    Marks {
        broken: threshold.is_some() != marks.threshold.is_some()
            || randomness.is_some() != marks.randomness.is_some(),
        ..marks
    }
}

/// What `sampling.priority` of a span says: `None` leaves it to the sampler.
fn span_priority(span: &Message<'_>) -> Option<bool> {
    let priority = match span.attribute(9, "sampling.priority")? {
        Value::Int(value) => value as f64,
        Value::Double(value) => value,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    (priority >= 0.0).then_some(priority > 0.0)
}

/// A value as it is hashed.
fn hashed_bytes(value: &Value<'_>) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Bytes(bytes) => bytes.to_vec(),
        Value::Bool(value) => value.to_string().into_bytes(),
        Value::Int(value) => value.to_string().into_bytes(),
        Value::Double(value) => value.to_string().into_bytes(),
        Value::Empty => Vec::new(),
        other => other.encode(),
    }
}
