//! What runs, for people who look and for health checks: every pipeline with its components in their order, what flows
//! through them, and how each is.

use std::net::SocketAddr;
use std::sync::Arc;

use cupola_config::ComponentId;
use cupola_export::Condition;

use super::edges::From;
use super::{Pipelines, Running};
use crate::graph::id::PipelineId;
use crate::graph::plan::Pipeline;
use crate::graph::station::{Counts, Station};

/// A pipeline that runs.
#[derive(Clone, Debug)]
pub struct RunningPipeline {
    pub id: PipelineId,
    pub receivers: Vec<RunningPart>,
    pub processors: Vec<RunningPart>,
    pub exporters: Vec<RunningPart>,
}

/// A component at its place in a pipeline.
#[derive(Clone, Debug)]
pub struct RunningPart {
    pub id: ComponentId,
    pub role: Role,
    /// Items of the pipeline's signal. A component that stands in several pipelines counts what it gets from all of them; of
    /// a receiver, `incoming` is what its pipelines have taken.
    pub counts: Counts,
    /// Items that a processor has handed on.
    pub outgoing: Option<u64>,
    pub condition: Condition,
    /// Where a receiver listens, by protocol.
    pub addresses: Vec<(&'static str, SocketAddr)>,
    /// It is in the configuration and could not be made again after a change failed.
    pub missing: bool,
}

/// What a component is, wherever it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Receiver,
    Processor,
    Exporter,
    Connector,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Receiver => "receiver",
            Role::Processor => "processor",
            Role::Exporter => "exporter",
            Role::Connector => "connector",
        }
    }
}

impl RunningPipeline {
    /// Its components in the order of the data.
    pub fn parts(&self) -> impl Iterator<Item = &RunningPart> {
        self.receivers
            .iter()
            .chain(&self.processors)
            .chain(&self.exporters)
    }
}

impl Pipelines {
    /// Every pipeline with its components.
    pub fn describe(&self) -> Vec<RunningPipeline> {
        let running = self.running.read().clone();
        let pipelines = running.plan.pipelines.iter();
        pipelines
            .map(|(id, pipeline)| running.describe(id, pipeline))
            .collect()
    }
}

impl Running {
    fn describe(&self, id: &PipelineId, pipeline: &Pipeline) -> RunningPipeline {
        let receivers = pipeline.receivers.iter().map(|source| self.source(id, source));
        let processors = pipeline.processors.iter().map(|processor| {
            let station = self.processors.get(&(id.clone(), processor.clone()));
            let edge = self.edges.get(&From::Processor(id.clone(), processor.clone()));
            RunningPart {
                outgoing: edge.map(|edge| edge.passed(id.signal)),
                ..of_station(processor, Role::Processor, id, station)
            }
        });
        let exporters = pipeline.exporters.iter().map(|destination| {
            let role = match self.plan.connectors.contains_key(destination) {
                true => Role::Connector,
                false => Role::Exporter,
            };
            of_station(destination, role, id, self.destination(destination))
        });
        RunningPipeline {
            id: id.clone(),
            receivers: receivers.collect(),
            processors: processors.collect(),
            exporters: exporters.collect(),
        }
    }

    /// A receiver, or a connector that another pipeline feeds.
    fn source(&self, pipeline: &PipelineId, id: &ComponentId) -> RunningPart {
        if self.plan.connectors.contains_key(id) {
            let part = of_station(id, Role::Connector, pipeline, self.connectors.get(id));
            // What it gave is counted where it leads to, what it was given where it is an exporter.
            return RunningPart {
                counts: Counts::default(),
                ..part
            };
        }
        let receiver = self.receivers.get(id);
        let edge = self.edges.get(&From::Receiver(id.clone(), pipeline.signal));
        RunningPart {
            id: id.clone(),
            role: Role::Receiver,
            counts: Counts {
                incoming: edge.map_or(0, |edge| edge.passed(pipeline.signal)),
                ..Counts::default()
            },
            outgoing: None,
            condition: Condition::default(),
            addresses: receiver.map(|receiver| receiver.addresses()).unwrap_or_default(),
            missing: receiver.is_none(),
        }
    }
}

fn of_station(
    id: &ComponentId,
    role: Role,
    pipeline: &PipelineId,
    station: Option<&Arc<Station>>,
) -> RunningPart {
    RunningPart {
        id: id.clone(),
        role,
        counts: station
            .map(|station| station.counts(pipeline.signal))
            .unwrap_or_default(),
        outgoing: None,
        condition: station.map(|station| station.condition()).unwrap_or_default(),
        addresses: Vec::new(),
        missing: station.is_none(),
    }
}
