//! A configuration of pipelines, read and checked, before anything is made of it.
//!
//! Reads the sections `receivers`, `processors`, `exporters`, `connectors` and `service.pipelines` of the Collector's
//! format, and of `extensions` the authenticators, and reports everything that is wrong with them at once. Refuses to start, to open or to listen: what can only
//! be known by trying is found out by [`super::running`].

mod components;
mod extensions;
mod pipelines;
mod wiring;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use cupola_config::{ComponentId, Node, Problems};
use cupola_telemetry::Signal;

use super::extensions::{ExtensionSettings, Reference};
use super::id::PipelineId;
use super::kinds::{ConnectorSettings, ExporterSettings, ProcessorSettings, ReceiverSettings, Registry};

/// What is to run. Components that no pipeline has are read, and left out here.
#[derive(Clone, Default)]
pub struct Plan {
    pub receivers: BTreeMap<ComponentId, Planned<dyn ReceiverSettings>>,
    pub processors: BTreeMap<ComponentId, Planned<dyn ProcessorSettings>>,
    pub exporters: BTreeMap<ComponentId, Planned<dyn ExporterSettings>>,
    pub connectors: BTreeMap<ComponentId, Planned<dyn ConnectorSettings>>,
    /// Those that components of pipelines refer to.
    pub extensions: BTreeMap<ComponentId, Planned<dyn ExtensionSettings>>,
    pub pipelines: BTreeMap<PipelineId, Pipeline>,
}

/// The settings of a component, and as they were written, which tells whether they have changed.
pub struct Planned<S: ?Sized> {
    pub settings: Arc<S>,
    pub written: Node,
}

impl<S: ?Sized> Clone for Planned<S> {
    fn clone(&self) -> Self {
        Planned {
            settings: self.settings.clone(),
            written: self.written.clone(),
        }
    }
}

/// One pipeline: its components by name. A connector stands among the exporters of one and the receivers of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pipeline {
    pub receivers: Vec<ComponentId>,
    pub processors: Vec<ComponentId>,
    pub exporters: Vec<ComponentId>,
}

/// The names, which is what a reader wants to know.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("pipelines", &self.pipelines)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// Reads the whole configuration; `None` if a problem is an error. What other parts of the program read (`store`,
    /// `api`, `service.telemetry`) is passed over.
    pub fn read(root: &Node, registry: &Registry, problems: &mut Problems) -> Option<Plan> {
        let before = problems.errors();
        let read = components::Sections::read(root, registry, problems);
        let pipelines = pipelines::read(root, &read.names, problems);
        wiring::check(root, &pipelines, &read.names, problems);
        read.check_storage(root, problems);
        let extensions = extensions::Extensions::read(root, registry, problems);
        read.check_references(root, &extensions, problems);
        if problems.errors() > before {
            return None;
        }
        let pipelines: BTreeMap<_, _> = pipelines
            .into_iter()
            .map(|(id, placed)| (id, placed.pipeline))
            .collect();
        Some(read.into_plan(pipelines, extensions))
    }

    /// Pipelines in which `connector` is an exporter, which feed it.
    pub fn feeding<'p>(&'p self, connector: &'p ComponentId) -> impl Iterator<Item = &'p PipelineId> {
        self.pipelines
            .iter()
            .filter(|(_, pipeline)| pipeline.exporters.contains(connector))
            .map(|(id, _)| id)
    }

    /// Pipelines in which `source`, a receiver or a connector, is a receiver.
    pub fn fed_by<'p>(&'p self, source: &'p ComponentId) -> impl Iterator<Item = &'p PipelineId> {
        self.pipelines
            .iter()
            .filter(|(_, pipeline)| pipeline.receivers.contains(source))
            .map(|(id, _)| id)
    }

    /// Signals of the pipelines that take from a receiver.
    pub fn taken_from(&self, receiver: &ComponentId) -> Vec<Signal> {
        let signals: BTreeSet<Signal> = self.fed_by(receiver).map(|pipeline| pipeline.signal).collect();
        signals.into_iter().collect()
    }

    /// Whether a pipeline hands its batches to this exporter and to others.
    pub fn is_one_of_several(&self, exporter: &ComponentId) -> bool {
        self.pipelines
            .values()
            .any(|pipeline| pipeline.exporters.len() > 1 && pipeline.exporters.contains(exporter))
    }

    /// The authenticators that a component names.
    pub(super) fn references(&self, component: &ComponentId) -> Vec<Reference> {
        let receiver = self.receivers.get(component);
        let exporter = self.exporters.get(component);
        let of_receiver = receiver.map(|planned| planned.settings.references());
        let of_exporter = exporter.map(|planned| planned.settings.references());
        of_receiver.into_iter().chain(of_exporter).flatten().collect()
    }

    /// Signals of the pipelines that feed a connector.
    pub fn inputs(&self, connector: &ComponentId) -> Vec<Signal> {
        let signals: BTreeSet<Signal> = self.feeding(connector).map(|pipeline| pipeline.signal).collect();
        signals.into_iter().collect()
    }

    /// Pipelines so that each comes after those that feed it through connectors.
    pub fn downstream(&self) -> Vec<PipelineId> {
        let mut ordered: Vec<PipelineId> = Vec::with_capacity(self.pipelines.len());
        // There is no circle, so that each round places at least one.
        while ordered.len() < self.pipelines.len() {
            let before = ordered.len();
            for (id, pipeline) in &self.pipelines {
                let waits = pipeline
                    .receivers
                    .iter()
                    .filter(|source| self.connectors.contains_key(source))
                    .flat_map(|connector| self.feeding(connector))
                    .any(|feeding| !ordered.contains(feeding));
                if !waits && !ordered.contains(id) {
                    ordered.push(id.clone());
                }
            }
            if ordered.len() == before {
                ordered.extend(
                    self.pipelines
                        .keys()
                        .filter(|id| !ordered.contains(id))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
            }
        }
        ordered
    }
}
