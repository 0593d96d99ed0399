//! Tail sampling: whole traces are kept or go, by the policies, whatever the order in which their spans come.

mod bounds;
mod policies;
mod reference;

use std::sync::Arc;
use std::time::Duration;

use cupola_export::{Component, Sink};
use cupola_pipeline::processors::tail_sampling::{TailSampling, TailSamplingConfig};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, TenantId, encode};
use serde_json::{Value, json};

use crate::ottl::Still;
use crate::support::Capture;

pub(crate) struct Running {
    pub(crate) sampling: TailSampling,
    pub(crate) sink: Arc<Capture>,
    pub(crate) memory: MemoryBudget,
}

pub(crate) fn start(config: Value) -> Running {
    start_within(config, MemoryBudget::unlimited())
}

pub(crate) fn start_within(config: Value, memory: MemoryBudget) -> Running {
    let config: TailSamplingConfig = serde_json::from_value(config).unwrap();
    let sink = Arc::new(Capture::default());
    let sampling = TailSampling::new(&config, sink.clone(), memory.clone(), Arc::new(Still)).unwrap();
    Running {
        sampling,
        sink,
        memory,
    }
}

impl Running {
    async fn send(&self, batch: Batch) {
        assert_eq!(
            self.sampling.send(batch).await,
            Ok(cupola_export::Accepted::all())
        );
    }

    /// Names of the spans that came out since the last call, in order of their names.
    fn names(&self) -> Vec<String> {
        let batches = self.sink.drain();
        batches.iter().for_each(super::check_canonical);
        let mut names: Vec<String> = batches.iter().flat_map(span_names).collect();
        names.sort();
        names
    }

    fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let mut samples = Vec::new();
        self.sampling.collect(&mut samples);
        let wanted = |sample: &&cupola_export::Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(key, value)| sample.labels.iter().any(|(k, v)| k == key && v == value))
        };
        samples
            .iter()
            .filter(wanted)
            .map(|sample| sample.value as u64)
            .sum()
    }
}

fn span_names(batch: &Batch) -> Vec<String> {
    let scopes = batch.traces().resources().flat_map(|resource| resource.scopes());
    scopes
        .flat_map(|scope| scope.spans())
        .map(|span| span.name.to_owned())
        .collect()
}

/// One span of each of `traces`, named `name` and the trace; a child, unless it is a root.
fn spans(traces: &[u8], name: &str, root: bool) -> Batch {
    let mut encoder = encode::TracesEncoder::new();
    {
        let mut resource = encoder.resource_spans();
        resource.resource().attribute("service.name", "cart");
        let mut scope = resource.scope_spans();
        for trace in traces {
            let mut span = scope.span();
            span.trace_id(&[*trace; 16])
                .span_id(&[7; 8])
                .name(&format!("{name}{trace}"));
            span.attribute("keep", name == "keep").attribute("text", name);
            if !root {
                span.parent_span_id(&[6; 8]);
            }
        }
    }
    encoder.finish(TenantId::default_tenant())
}

/// Keeps traces that have a span named `keep`.
fn keeping() -> Value {
    json!([{ "name": "keep", "type": "boolean_attribute", "boolean_attribute": { "key": "keep", "value": true } }])
}

const A_WHILE: Duration = Duration::from_secs(32);
