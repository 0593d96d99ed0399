//! The sections of components: each entry is a component by name with its settings.

use std::collections::{BTreeMap, BTreeSet};

use cupola_config::nearest::nearest;
use cupola_config::{ComponentId, Entry, Node, Place, Problem, Problems};
use cupola_telemetry::Signal;

use super::extensions::Extensions;
use super::{Pipeline, Plan, Planned};
use crate::graph::extensions::Reference;
use crate::graph::id::PipelineId;
use crate::graph::kinds::{
    ConnectorSettings, ExporterSettings, Kind, ProcessorSettings, ReceiverSettings, Registry,
};

/// A section of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    Receivers,
    Processors,
    Exporters,
    Connectors,
}

impl Section {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Section::Receivers => "receivers",
            Section::Processors => "processors",
            Section::Exporters => "exporters",
            Section::Connectors => "connectors",
        }
    }

    /// One entry of it, in a sentence.
    pub(super) fn one(self) -> &'static str {
        match self {
            Section::Receivers => "receiver",
            Section::Processors => "processor",
            Section::Exporters => "exporter",
            Section::Connectors => "connector",
        }
    }
}

/// What is known of each component by its name, whether its settings could be read or not.
#[derive(Default)]
pub(super) struct Names {
    names: BTreeMap<(Section, ComponentId), Named>,
}

/// A component that a section has.
pub(super) struct Named {
    pub(super) place: Place,
    /// Of a connector: pairs of a signal taken and one given. Of others, each signal with itself.
    pub(super) ways: Vec<(Signal, Signal)>,
    /// Pipelines that the settings of a connector name.
    pub(super) pipelines: Vec<String>,
    /// Whether there is such a component at all.
    pub(super) known: bool,
}

impl Names {
    pub(super) fn get(&self, section: Section, id: &ComponentId) -> Option<&Named> {
        self.names.get(&(section, id.clone()))
    }

    pub(super) fn of(&self, section: Section) -> impl Iterator<Item = (&ComponentId, &Named)> {
        self.names
            .iter()
            .filter(move |((of, _), _)| *of == section)
            .map(|((_, id), named)| (id, named))
    }
}

/// All sections, read.
#[derive(Default)]
pub(super) struct Sections {
    receivers: BTreeMap<ComponentId, Planned<dyn ReceiverSettings>>,
    processors: BTreeMap<ComponentId, Planned<dyn ProcessorSettings>>,
    exporters: BTreeMap<ComponentId, Planned<dyn ExporterSettings>>,
    connectors: BTreeMap<ComponentId, Planned<dyn ConnectorSettings>>,
    pub(super) names: Names,
}

impl Sections {
    pub(super) fn read(root: &Node, registry: &Registry, problems: &mut Problems) -> Sections {
        let mut names = Names::default();
        let absent = &registry.absent[..];
        let mut plain = Reading {
            root,
            absent,
            names: &mut names,
            problems,
        };
        let receivers = plain.section(
            Section::Receivers,
            registry.receivers.iter().map(|kind| (kind, same(kind.signals))),
        );
        let processors = plain.section(
            Section::Processors,
            registry.processors.iter().map(|kind| (kind, same(kind.signals))),
        );
        let exporters = plain.section(
            Section::Exporters,
            registry.exporters.iter().map(|kind| (kind, same(kind.signals))),
        );
        let connectors = plain.section(
            Section::Connectors,
            registry
                .connectors
                .iter()
                .map(|kind| (&kind.kind, kind.ways.to_vec())),
        );
        for (id, planned) in &connectors {
            if let Some(named) = names.names.get_mut(&(Section::Connectors, id.clone())) {
                named.pipelines = planned.settings.pipelines();
            }
        }
        Sections {
            receivers,
            processors,
            exporters,
            connectors,
            names,
        }
    }

    /// Queues must be kept by an extension that there is.
    pub(super) fn check_storage(&self, root: &Node, problems: &mut Problems) {
        for (id, exporter) in &self.exporters {
            let Some(storage) = exporter.settings.storage() else {
                continue;
            };
            let keeps = storage
                .parse::<ComponentId>()
                .is_ok_and(|id| id.kind() == "file_storage");
            if !keeps || root.at(&["extensions", &storage]).is_none() {
                let node = exporter.written.at(&["sending_queue", "storage"]);
                let place = node.unwrap_or(&exporter.written).place().clone();
                let at = format!("exporters.{id}.sending_queue.storage");
                let problem = Problem::error(
                    place,
                    at,
                    format!("there is no extension `{storage}` that keeps queues"),
                );
                problems.push(problem.hint("add `file_storage: {directory: …}` to the section `extensions`"));
            }
        }
    }

    /// Authenticators must be there, and for the side of those who name them.
    pub(super) fn check_references(&self, root: &Node, extensions: &Extensions, problems: &mut Problems) {
        for (id, planned) in &self.receivers {
            let references = planned.settings.references();
            extensions.check(
                &format!("receivers.{id}"),
                &planned.written,
                &references,
                problems,
            );
        }
        for (id, planned) in &self.exporters {
            let references = planned.settings.references();
            extensions.check(
                &format!("exporters.{id}"),
                &planned.written,
                &references,
                problems,
            );
        }
        // As they are written: a component that could not be read names its authenticator all the same.
        let mut named = BTreeSet::new();
        for section in [Section::Receivers, Section::Exporters] {
            if let Some(node) = root.get(section.as_str()) {
                authenticators(node, &mut named);
            }
        }
        extensions.unused(&named, problems);
    }

    /// A plan of those components that a pipeline has.
    pub(super) fn into_plan(self, pipelines: BTreeMap<PipelineId, Pipeline>, extensions: Extensions) -> Plan {
        let used: BTreeSet<&ComponentId> = pipelines
            .values()
            .flat_map(|pipeline| pipeline.receivers.iter().chain(&pipeline.exporters))
            .collect();
        let processors: BTreeSet<&ComponentId> = pipelines
            .values()
            .flat_map(|pipeline| &pipeline.processors)
            .collect();
        let mut plan = Plan {
            receivers: only(self.receivers, &used),
            processors: only(self.processors, &processors),
            exporters: only(self.exporters, &used),
            connectors: only(self.connectors, &used),
            ..Plan::default()
        };
        let components = plan.receivers.keys().chain(plan.exporters.keys());
        let references: Vec<Reference> = components.flat_map(|id| plan.references(id)).collect();
        plan.extensions = extensions.into_used(&references);
        plan.pipelines = pipelines;
        plan
    }
}

/// All authenticators that are named within a node.
fn authenticators(node: &Node, named: &mut BTreeSet<ComponentId>) {
    for entry in node.entries() {
        if &*entry.key == "authenticator" {
            named.extend(
                entry
                    .value
                    .text()
                    .and_then(|text| text.parse::<ComponentId>().ok()),
            );
        }
        authenticators(&entry.value, named);
    }
    node.items().iter().for_each(|item| authenticators(item, named));
}

fn only<S: ?Sized>(
    all: BTreeMap<ComponentId, Planned<S>>,
    used: &BTreeSet<&ComponentId>,
) -> BTreeMap<ComponentId, Planned<S>> {
    all.into_iter().filter(|(id, _)| used.contains(id)).collect()
}

fn same(signals: &[Signal]) -> Vec<(Signal, Signal)> {
    signals.iter().map(|signal| (*signal, *signal)).collect()
}

struct Reading<'r> {
    root: &'r Node,
    absent: &'r [(&'static str, &'static str)],
    names: &'r mut Names,
    problems: &'r mut Problems,
}

impl Reading<'_> {
    fn section<'k, S: ?Sized + 'k>(
        &mut self,
        section: Section,
        kinds: impl Iterator<Item = (&'k Kind<S>, Vec<(Signal, Signal)>)>,
    ) -> BTreeMap<ComponentId, Planned<S>> {
        let kinds: Vec<_> = kinds.collect();
        let mut read = BTreeMap::new();
        let Some(node) = self.root.get(section.as_str()).filter(|node| !node.is_null()) else {
            return read;
        };
        if !node.is_mapping() {
            let message = format!("expected {} by their names", section.as_str());
            self.problems
                .push(Problem::error(node.place().clone(), section.as_str(), message));
            return read;
        }
        for Entry { key, place, value } in node.entries() {
            let at = format!("{}.{key}", section.as_str());
            let id: ComponentId = match key.parse() {
                Ok(id) => id,
                Err(error) => {
                    self.problems
                        .push(Problem::error(place.clone(), at, error.to_string()));
                    continue;
                }
            };
            let Some((kind, ways)) = kinds.iter().find(|(kind, _)| kind.is_called(id.kind())) else {
                self.unknown(
                    section,
                    &id,
                    place,
                    kinds.iter().flat_map(|(kind, _)| kind.names()),
                );
                continue;
            };
            let named = Named {
                place: place.clone(),
                ways: ways.clone(),
                pipelines: Vec::new(),
                known: true,
            };
            self.names.names.insert((section, id.clone()), named);
            if let Some(settings) = kind.read(value, &at, self.problems) {
                let planned = Planned {
                    settings,
                    written: value.clone(),
                };
                read.insert(id, planned);
            }
        }
        read
    }

    fn unknown<'k>(
        &mut self,
        section: Section,
        id: &ComponentId,
        place: &Place,
        known: impl Iterator<Item = &'k str>,
    ) {
        let known: Vec<&str> = known.collect();
        let one = section.one();
        let kind = id.kind();
        let hint = match (
            self.absent.iter().find(|(name, _)| *name == kind),
            nearest(kind, known.iter().copied()),
        ) {
            (Some((_, instead)), _) => (*instead).to_owned(),
            (None, Some(near)) => format!("did you mean `{near}`?"),
            (None, None) => format!("there are {}", known.join(", ")),
        };
        let message = format!("Cupola has no {one} `{kind}`");
        let at = format!("{}.{id}", section.as_str());
        self.problems
            .push(Problem::error(place.clone(), at, message).hint(hint));
        // Known by name, so that pipelines that have it are not told a second time.
        let named = Named {
            place: place.clone(),
            ways: Signal::ALL
                .iter()
                .flat_map(|taken| Signal::ALL.map(|given| (*taken, given)))
                .collect(),
            pipelines: Vec::new(),
            known: false,
        };
        self.names.names.insert((section, id.clone()), named);
    }
}
