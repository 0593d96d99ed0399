//! Whether components fit where they stand: their signals, connectors at both ends, no circles.

use std::collections::{BTreeMap, BTreeSet};

use cupola_config::{ComponentId, Node, Problem, Problems};
use cupola_telemetry::Signal;

use super::components::{Named, Names, Section};
use super::pipelines::Placed;
use crate::graph::id::PipelineId;

pub(super) fn check(
    root: &Node,
    pipelines: &BTreeMap<PipelineId, Placed>,
    names: &Names,
    problems: &mut Problems,
) {
    for (id, placed) in pipelines {
        signals(id, placed, names, problems);
    }
    let written = root.at(&["service", "pipelines"]);
    let entries = written.map(Node::entries).unwrap_or_default();
    // Of a pipeline that has no good name it is not known what it would join.
    if entries.len() == pipelines.len() {
        for (id, named) in names.of(Section::Connectors) {
            connector(id, named, pipelines, problems);
        }
    }
    // As they are written: what is wrong there is no reason to say that nothing has them.
    let lists = entries.iter().flat_map(|entry| entry.value.entries());
    let items = lists.flat_map(|list| list.value.items().iter().chain([&list.value]));
    let mentioned: BTreeSet<ComponentId> = items.filter_map(|item| item.text()?.parse().ok()).collect();
    unused(&mentioned, pipelines, names, problems);
    circle(pipelines, names, problems);
}

fn signals(id: &PipelineId, placed: &Placed, names: &Names, problems: &mut Problems) {
    for ((section, component), place) in &placed.places {
        let Some(named) = names.get(*section, component) else {
            continue;
        };
        if named.ways.iter().any(|(signal, _)| *signal == id.signal) {
            continue;
        }
        let of: BTreeSet<&str> = named.ways.iter().map(|(signal, _)| signal.as_str()).collect();
        let of = of.into_iter().collect::<Vec<_>>().join(" and ");
        let message = format!(
            "the {} `{component}` does not work on {}, only on {of}",
            section.one(),
            id.signal
        );
        problems.push(Problem::error(
            place.clone(),
            format!("service.pipelines.{id}.{}", section.as_str()),
            message,
        ));
    }
}

fn connector(
    id: &ComponentId,
    named: &Named,
    pipelines: &BTreeMap<PipelineId, Placed>,
    problems: &mut Problems,
) {
    let feeding = with(pipelines, |placed| placed.pipeline.exporters.contains(id));
    let fed = with(pipelines, |placed| placed.pipeline.receivers.contains(id));
    let at = format!("connectors.{id}");
    for name in &named.pipelines {
        if !fed.iter().any(|pipeline| pipeline.to_string() == *name) {
            let message =
                format!("it names the pipeline `{name}`, which does not have `{id}` among its receivers");
            problems.push(Problem::error(named.place.clone(), at.clone(), message));
        }
    }
    if feeding.is_empty() && fed.is_empty() {
        return;
    }
    if feeding.is_empty() || fed.is_empty() {
        let missing = if feeding.is_empty() {
            "exporters"
        } else {
            "receivers"
        };
        let message = format!("a connector joins pipelines, and this one is among the {missing} of none");
        problems.push(Problem::error(named.place.clone(), at, message));
        return;
    }
    for taken in feeding
        .iter()
        .map(|pipeline| pipeline.signal)
        .collect::<BTreeSet<Signal>>()
    {
        let goes = |given: Signal| named.ways.contains(&(taken, given));
        if !fed.iter().any(|pipeline| goes(pipeline.signal)) {
            let message = format!("it makes nothing of {taken} for the pipelines that it feeds");
            problems.push(Problem::error(named.place.clone(), at.clone(), message));
        }
    }
}

fn with(pipelines: &BTreeMap<PipelineId, Placed>, holds: impl Fn(&Placed) -> bool) -> Vec<&PipelineId> {
    pipelines
        .iter()
        .filter(|(_, placed)| holds(placed))
        .map(|(id, _)| id)
        .collect()
}

fn unused(
    mentioned: &BTreeSet<ComponentId>,
    pipelines: &BTreeMap<PipelineId, Placed>,
    names: &Names,
    problems: &mut Problems,
) {
    for section in [
        Section::Receivers,
        Section::Processors,
        Section::Exporters,
        Section::Connectors,
    ] {
        for (id, named) in names.of(section) {
            let wrong = mentioned.contains(id)
                && !pipelines
                    .values()
                    .any(|placed| placed.places.keys().any(|(_, component)| component == id));
            let used = wrong
                || pipelines.values().any(|placed| {
                    placed.places.keys().any(|(of, component)| {
                        component == id && (*of == section || section == Section::Connectors)
                    })
                });
            // Without any pipeline the defaults hold, and they use what is there.
            if !used && named.known && !pipelines.is_empty() {
                let at = format!("{}.{id}", section.as_str());
                let message = format!(
                    "no pipeline has this {}, so that it is not started",
                    section.one()
                );
                problems.push(Problem::warning(named.place.clone(), at, message));
            }
        }
    }
}

/// Pipelines that feed each other through connectors would never let go of a batch.
fn circle(pipelines: &BTreeMap<PipelineId, Placed>, names: &Names, problems: &mut Problems) {
    let mut left: BTreeSet<&PipelineId> = pipelines.keys().collect();
    loop {
        let free: Vec<&PipelineId> = left
            .iter()
            .filter(|id| {
                !feeding(id, pipelines, names)
                    .iter()
                    .any(|feeding| left.contains(feeding))
            })
            .copied()
            .collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|id| {
            left.remove(id);
        });
    }
    if let Some(first) = left.first()
        && let Some(placed) = pipelines.get(first)
    {
        let names = left
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let message = format!("these pipelines feed each other in a circle: {names}");
        problems.push(Problem::error(
            placed.place.clone(),
            format!("service.pipelines.{first}"),
            message,
        ));
    }
}

/// The pipelines that feed one through a connector.
fn feeding<'p>(
    id: &PipelineId,
    pipelines: &'p BTreeMap<PipelineId, Placed>,
    names: &Names,
) -> Vec<&'p PipelineId> {
    let Some(placed) = pipelines.get(id) else {
        return Vec::new();
    };
    let connectors = placed
        .pipeline
        .receivers
        .iter()
        .filter(|source| names.get(Section::Connectors, source).is_some());
    connectors
        .flat_map(|connector| with(pipelines, |other| other.pipeline.exporters.contains(connector)))
        .collect()
}
