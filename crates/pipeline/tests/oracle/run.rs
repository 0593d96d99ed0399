//! Running a case here and in the Collector.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cupola_export::{Accepted, SendError, Sink};
use cupola_peers::collector::Processors;
use cupola_pipeline::ottl::Env;
use cupola_pipeline::processors::filter::{Filter, FilterConfig};
use cupola_pipeline::processors::redaction::{Redaction, RedactionConfig};
use cupola_pipeline::processors::transform::{Transform, TransformConfig};
use cupola_telemetry::{Batch, Signal, TenantId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::cases::{Answer, Case, Processor};
use super::render::difference;

/// A clock that stands still and dice that always fall alike.
struct Still;

impl Env for Still {
    fn now_unix_nano(&self) -> u64 {
        1_685_104_496_789_000_000
    }

    fn random(&self) -> u128 {
        0x0123_4567_89ab_cdef_0123_4567_89ab_cdef
    }
}

/// Where redacted batches would go, if they were sent.
struct Nowhere;

#[async_trait]
impl Sink for Nowhere {
    async fn send(&self, _: Batch) -> Result<Accepted, SendError> {
        Ok(Accepted::all())
    }
}

/// What all cases of a signal are run over.
pub(super) fn input(signal: Signal) -> Batch {
    let text = match signal {
        Signal::Logs => include_str!("cases/logs.json"),
        Signal::Traces => include_str!("cases/traces.json"),
        Signal::Metrics => include_str!("cases/metrics.json"),
    };
    Batch::decode_json(signal, TenantId::default_tenant(), text.as_bytes()).unwrap()
}

pub(super) fn ours(case: &Case) -> Answer {
    let batch = input(case.signal);
    match outcome(case.processor, &case.config, batch.clone()) {
        Ok(Some(output)) => Answer::Changed(difference(&batch, &output)),
        Ok(None) => Answer::Gone,
        Err((stage, message)) => Answer::Failed {
            stage: stage.to_owned(),
            message: message.replace('\n', " "),
        },
    }
}

/// What is left of a batch; an error has its stage.
pub(super) fn outcome(
    processor: Processor,
    config: &Value,
    batch: Batch,
) -> Result<Option<Batch>, (&'static str, String)> {
    let at = |stage: &'static str| move |error: String| (stage, error);
    match processor {
        Processor::Transform => {
            let config: TransformConfig = read(config).map_err(at("config"))?;
            let transform = Transform::new(&config).map_err(|error| ("config", error.to_string()))?;
            let outcome = transform.process(batch, &Still);
            outcome
                .map(|outcome| outcome.batch)
                .map_err(|error| ("run", format!("{error}: {}", error.source)))
        }
        Processor::Filter => {
            let config: FilterConfig = read(config).map_err(at("config"))?;
            let filter = Filter::new(&config).map_err(|error| ("config", error.to_string()))?;
            let outcome = filter.process(batch, &Still);
            outcome
                .map(|outcome| outcome.batch)
                .map_err(|error| ("run", format!("{error}: {}", error.source)))
        }
        Processor::Redaction => {
            let config: RedactionConfig = read(config).map_err(at("config"))?;
            let redaction =
                Redaction::new(&config, Arc::new(Nowhere)).map_err(|error| ("config", error.to_string()))?;
            Ok(Some(redaction.process(batch)))
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(config: &Value) -> Result<T, String> {
    serde_json::from_value(config.clone()).map_err(|error| error.to_string())
}

/// An answer of the Collector's program.
#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    output: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    stage: String,
}

pub(super) fn theirs(processors: &Processors, cases: &[&Case]) -> Vec<Answer> {
    let inputs: Vec<Batch> = cases.iter().map(|case| input(case.signal)).collect();
    let asked: Vec<_> = cases
        .iter()
        .zip(&inputs)
        .map(|(case, input)| (case.processor, case.config.clone(), input.clone()))
        .collect();
    outcomes(processors, &asked)
        .into_iter()
        .zip(inputs)
        .map(|(outcome, input)| match outcome {
            Ok(Some(output)) => Answer::Changed(difference(&input, &output)),
            Ok(None) => Answer::Gone,
            Err((stage, message)) => Answer::Failed { stage, message },
        })
        .collect()
}

type Asked = (Processor, Value, Batch);

pub(super) fn outcomes(
    processors: &Processors,
    asked: &[Asked],
) -> Vec<Result<Option<Batch>, (String, String)>> {
    let mut lines = String::new();
    for (processor, config, batch) in asked {
        let line = json!({
            "processor": match processor {
                Processor::Transform => "transform",
                Processor::Filter => "filter",
                Processor::Redaction => "redaction",
            },
            "signal": match batch.signal() {
                Signal::Logs => "logs",
                Signal::Traces => "traces",
                Signal::Metrics => "metrics",
            },
            "config": config,
            "input": STANDARD.encode(batch.payload()),
        });
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    let answers = processors.answer(lines).unwrap();
    let answers = answers
        .lines()
        .map(|line| serde_json::from_str::<Raw>(line).unwrap());
    let mut outcomes = Vec::new();
    for (answer, (_, _, batch)) in answers.zip(asked) {
        outcomes.push(match (answer.error, answer.output) {
            (Some(error), _) => Err((answer.stage, error.replace('\n', " "))),
            (None, None) => Ok(None),
            (None, Some(output)) => {
                let payload = STANDARD.decode(output).unwrap();
                let output =
                    Batch::decode_protobuf(batch.signal(), TenantId::default_tenant(), payload.into());
                // Go cuts text where it likes.
                output
                    .map(Some)
                    .map_err(|error| ("output".to_owned(), error.to_string()))
            }
        });
    }
    assert_eq!(outcomes.len(), asked.len());
    outcomes
}
