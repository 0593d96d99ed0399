//! What the graph counts, for a metrics page: the Collector's names, and some of our own.

use std::time::Duration;

use cupola_config::ComponentId;
use cupola_export::Sample;
use cupola_telemetry::Signal;

use super::Pipelines;
use super::edges::From;
use crate::graph::station::Station;

impl Pipelines {
    /// All numbers of all components, each with the label that says which component it is.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        let running = self.running.read().clone();
        running.authenticators.collect(samples);
        for (id, receiver) in &running.receivers {
            labelled(samples, "receiver", id, |samples| receiver.collect(samples));
        }
        for ((pipeline, id), station) in &running.processors {
            let start = samples.len();
            labelled(samples, "processor", id, |samples| {
                station.collect(samples);
                let signal = pipeline.signal;
                let edge = running.edges.get(&From::Processor(pipeline.clone(), id.clone()));
                let passed = edge.map_or(0, |edge| edge.passed(signal));
                let rows = [
                    (
                        "otelcol_processor_incoming_items",
                        INCOMING,
                        station.incoming(signal),
                    ),
                    ("otelcol_processor_outgoing_items", OUTGOING, passed),
                ];
                for (name, help, value) in rows {
                    samples.push(Sample::count(name, help, value).with("otel_signal", signal.as_str()));
                }
            });
            for sample in &mut samples[start..] {
                sample.labels.push(("pipeline", pipeline.to_string()));
            }
        }
        for (id, station) in &running.connectors {
            labelled(samples, "connector", id, |samples| {
                station.collect(samples);
                let help = "Time since something came in last, or since the start.";
                let seconds = station.silent_for().as_secs_f64();
                samples.push(Sample::level("cupola_component_silent_seconds", help, seconds));
            });
        }
        for (id, station) in &running.exporters {
            labelled(samples, "exporter", id, |samples| station.collect(samples));
        }
        for (id, pipeline) in &running.plan.pipelines {
            for exporter in &pipeline.exporters {
                let name = "cupola_pipeline_destination";
                let help = "One for each exporter and connector of a pipeline.";
                let sample = Sample::level(name, help, 1.0).with("pipeline", id.to_string());
                samples.push(sample.with("exporter", exporter.to_string()));
            }
        }
    }

    /// Processors and connectors into which nothing has come for `limit`, each as a sentence: a metric that is derived of
    /// nothing looks like one that is zero.
    pub fn silent(&self, limit: Duration) -> Vec<String> {
        let running = self.running.read();
        let mut silent = Vec::new();
        let mut look = |name: String, station: &Station| {
            let quiet = station.silent_for();
            if quiet >= limit {
                let minutes = quiet.as_secs() / 60;
                silent.push(match station.has_had_input() {
                    true => format!("{name} has seen nothing for {minutes} minutes"),
                    false => format!("{name} has seen nothing since it was started, {minutes} minutes ago"),
                });
            }
        };
        for (id, station) in &running.connectors {
            look(format!("the connector {id}"), station);
        }
        for ((pipeline, id), station) in &running.processors {
            look(format!("the processor {id} of {pipeline}"), station);
        }
        silent
    }

    /// Items that pipelines have taken from receivers and connectors, by signal.
    pub fn taken(&self, signal: Signal) -> u64 {
        let running = self.running.read();
        let entries = running
            .plan
            .pipelines
            .keys()
            .filter_map(|id| running.edges.get(&From::Entry(id.clone())));
        entries.map(|edge| edge.passed(signal)).sum()
    }
}

const INCOMING: &str = "Items handed to the processor.";
const OUTGOING: &str = "Items that the processor handed on.";

/// Adds the label to what `collect` adds.
fn labelled(
    samples: &mut Vec<Sample>,
    role: &'static str,
    id: &ComponentId,
    collect: impl FnOnce(&mut Vec<Sample>),
) {
    let start = samples.len();
    collect(samples);
    for sample in &mut samples[start..] {
        sample.labels.push((role, id.to_string()));
    }
}
