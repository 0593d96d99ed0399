//! The components by their names: what a configuration may say. One line each, with the way its settings become it.

mod connectors;
mod exporters;
mod extensions;
mod options;
mod processors;
mod receivers;

pub use exporters::{DEAD_LETTERS, folder};

use cupola_telemetry::Signal;

use crate::graph::Registry;
use crate::processors::ConfigError;

const ALL: &[Signal] = &[Signal::Logs, Signal::Metrics, Signal::Traces];
const LOGS: &[Signal] = &[Signal::Logs];
const METRICS: &[Signal] = &[Signal::Metrics];
const TRACES: &[Signal] = &[Signal::Traces];

/// Everything that this crate has. Whoever links it may add more.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    receivers::register(&mut registry);
    processors::register(&mut registry);
    exporters::register(&mut registry);
    connectors::register(&mut registry);
    extensions::register(&mut registry);
    options::register(&mut registry);
    registry.absent = ABSENT.to_vec();
    if !cfg!(feature = "kafka") {
        registry.absent.push((
            "kafka",
            "this program was built without it: build it with the feature `kafka`, which is among the defaults",
        ));
    }
    registry
}

/// Components of the Collector that are not here, and what does their work.
const ABSENT: &[(&str, &str)] = &[
    (
        "logging",
        "the exporter `debug` took its place, as in the Collector",
    ),
    (
        "span",
        "the processor `transform` does the same: `set(span.name, …)`",
    ),
    ("metricstransform", "the processor `transform` does most of it"),
    ("metrics_transform", "the processor `transform` does most of it"),
    ("logstransform", "the processor `transform` does most of it"),
    (
        "groupbytrace",
        "the processor `tail_sampling` gathers traces by itself",
    ),
    ("sapm", "send with the exporter `otlp`"),
    ("jaeger", "Jaeger takes OTLP: use the exporter `otlp`"),
    ("opencensus", "send OTLP to the receiver `otlp`"),
];

/// What is wrong with settings, as the registry has it: keys and problems.
fn findings(result: Result<(), ConfigError>) -> Vec<(String, String)> {
    match result {
        Ok(()) => Vec::new(),
        Err(ConfigError::Setting { key, problem }) => vec![(key, problem)],
        Err(ConfigError::Statements(problems)) => problems
            .into_iter()
            .map(|problem| (problem.key, problem.error.render()))
            .collect(),
    }
}
