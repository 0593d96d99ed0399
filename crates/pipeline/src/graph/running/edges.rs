//! The edges of a graph, and where each is to lead.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use cupola_config::ComponentId;
use cupola_export::{Accepted, SendError, Sink};
use cupola_telemetry::{Batch, Signal};

use super::Running;
use crate::graph::edge::Edge;
use crate::graph::fanout::Fanout;
use crate::graph::id::PipelineId;

/// What an edge comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum From {
    /// A receiver, for one signal.
    Receiver(ComponentId, Signal),
    /// The beginning of a pipeline: what receivers and connectors hand over to it.
    Entry(PipelineId),
    /// A processor of a pipeline.
    Processor(PipelineId, ComponentId),
}

/// Edges stay as long as what they come from, so that components may keep them.
#[derive(Clone, Default)]
pub(super) struct Edges(BTreeMap<From, Arc<Edge>>);

impl Edges {
    /// The edge from there, made if there is none.
    pub(super) fn of(&mut self, from: From) -> Arc<Edge> {
        self.0.entry(from).or_insert_with(Edge::new).clone()
    }

    pub(super) fn get(&self, from: &From) -> Option<&Arc<Edge>> {
        self.0.get(from)
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&From) -> bool) {
        self.0.retain(|from, _| keep(from));
    }
}

/// What an edge leads to, by name: tells whether it has to be led elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum To {
    Pipelines(Vec<PipelineId>),
    Processor(PipelineId, ComponentId),
    /// Exporters and connectors.
    Destinations(Vec<ComponentId>),
}

impl Running {
    /// All edges of the plan, upstream first, with what they lead to.
    pub(super) fn ways(&self) -> Vec<(From, To)> {
        let mut ways = Vec::new();
        for id in self.plan.receivers.keys() {
            for signal in Signal::ALL {
                let fed = self
                    .plan
                    .fed_by(id)
                    .filter(|pipeline| pipeline.signal == signal)
                    .cloned()
                    .collect();
                ways.push((From::Receiver(id.clone(), signal), To::Pipelines(fed)));
            }
        }
        for id in self.plan.downstream() {
            let Some(pipeline) = self.plan.pipelines.get(&id) else {
                continue;
            };
            let mut from = From::Entry(id.clone());
            for processor in &pipeline.processors {
                let to = To::Processor(id.clone(), processor.clone());
                ways.push((
                    std::mem::replace(&mut from, From::Processor(id.clone(), processor.clone())),
                    to,
                ));
            }
            ways.push((from, To::Destinations(pipeline.exporters.clone())));
        }
        ways
    }

    /// What stands at the end of a way.
    pub(super) fn target(&self, to: &To) -> Arc<dyn Sink> {
        let targets: Vec<Arc<dyn Sink>> = match to {
            To::Pipelines(ids) => {
                let entry = |id: &PipelineId| self.edges.get(&From::Entry(id.clone())).cloned();
                ids.iter()
                    .filter_map(entry)
                    .map(|edge| edge as Arc<dyn Sink>)
                    .collect()
            }
            To::Processor(pipeline, id) => {
                let station = self.processors.get(&(pipeline.clone(), id.clone()));
                station
                    .cloned()
                    .map(|station| station as Arc<dyn Sink>)
                    .into_iter()
                    .collect()
            }
            To::Destinations(ids) => {
                let station = |id: &ComponentId| self.destination(id).cloned();
                ids.iter()
                    .filter_map(station)
                    .map(|station| station as Arc<dyn Sink>)
                    .collect()
            }
        };
        match targets.is_empty() {
            true => Arc::new(NoPipeline),
            false => Fanout::over(targets),
        }
    }
}

/// Stands where a receiver gives a signal that no pipeline takes.
struct NoPipeline;

#[async_trait]
impl Sink for NoPipeline {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let signal = batch.signal();
        Err(SendError::permanent(format!(
            "no pipeline takes {signal} from this receiver; add it to a pipeline of {signal}"
        )))
    }
}
