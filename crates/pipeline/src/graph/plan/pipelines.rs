//! `service.pipelines`: which components follow one another.

use std::collections::BTreeMap;

use cupola_config::nearest::nearest;
use cupola_config::{ComponentId, Entry, Node, Place, Problem, Problems};

use super::Pipeline;
use super::components::{Names, Section};
use crate::graph::id::PipelineId;

/// A pipeline with the place of each name in it.
pub(super) struct Placed {
    pub(super) pipeline: Pipeline,
    pub(super) place: Place,
    /// In the order of receivers, processors, exporters.
    pub(super) places: BTreeMap<(Section, ComponentId), Place>,
}

const KEYS: [(&str, Section); 3] = [
    ("receivers", Section::Receivers),
    ("processors", Section::Processors),
    ("exporters", Section::Exporters),
];

pub(super) fn read(root: &Node, names: &Names, problems: &mut Problems) -> BTreeMap<PipelineId, Placed> {
    let mut pipelines = BTreeMap::new();
    let Some(node) = root
        .get("service")
        .and_then(|service| service.get("pipelines"))
        .filter(|node| !node.is_null())
    else {
        return pipelines;
    };
    if !node.is_mapping() {
        let problem = Problem::error(
            node.place().clone(),
            "service.pipelines",
            "expected pipelines by their names",
        );
        problems.push(problem.hint("write for example `traces: {receivers: [otlp], exporters: [debug]}`"));
        return pipelines;
    }
    for Entry {
        key,
        place,
        value: node,
    } in node.entries()
    {
        let at = format!("service.pipelines.{key}");
        let id: PipelineId = match key.parse() {
            Ok(id) => id,
            Err(message) => {
                problems.push(Problem::error(place.clone(), at, message));
                continue;
            }
        };
        let mut placed = Placed {
            pipeline: Pipeline::default(),
            place: place.clone(),
            places: BTreeMap::new(),
        };
        pipeline(node, &at, &mut placed, names, problems);
        pipelines.insert(id, placed);
    }
    pipelines
}

fn pipeline(node: &Node, at: &str, placed: &mut Placed, names: &Names, problems: &mut Problems) {
    for Entry { key, place, .. } in node.entries() {
        if !KEYS.iter().any(|(known, _)| *known == &**key) {
            let known = KEYS.map(|(known, _)| known);
            let hint = match nearest(key, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            let at = format!("{at}.{key}");
            problems.push(Problem::error(place.clone(), at, format!("unknown key `{key}`")).hint(hint));
        }
    }
    for (key, section) in KEYS {
        let listed = list(node, key, at, problems);
        for (id, place) in listed {
            let at = format!("{at}.{key}");
            if placed.places.contains_key(&(section, id.clone())) {
                problems.push(Problem::error(place, at, format!("`{id}` is named twice")));
                continue;
            }
            let connector = section != Section::Processors && names.get(Section::Connectors, &id).is_some();
            if names.get(section, &id).is_none() && !connector {
                problems.push(undefined(section, &id, &place, &at, names));
                continue;
            }
            placed.places.insert((section, id.clone()), place);
            match section {
                Section::Receivers => placed.pipeline.receivers.push(id),
                Section::Processors => placed.pipeline.processors.push(id),
                Section::Exporters | Section::Connectors => placed.pipeline.exporters.push(id),
            }
        }
    }
}

/// The names in a list, or the one name in place of a list, with their places.
fn list(node: &Node, key: &str, at: &str, problems: &mut Problems) -> Vec<(ComponentId, Place)> {
    let found = node.get(key).filter(|node| !node.is_null());
    let items: Vec<&Node> = match found {
        None if key == "processors" => return Vec::new(),
        None => {
            let message = format!("the pipeline has no {key}");
            problems.push(Problem::error(
                node.place().clone(),
                format!("{at}.{key}"),
                message,
            ));
            return Vec::new();
        }
        Some(node) if node.is_sequence() => node.items().iter().collect(),
        Some(node) => vec![node],
    };
    if items.is_empty() && key != "processors" {
        let message = format!("the pipeline has no {key}");
        problems.push(Problem::error(
            node.place().clone(),
            format!("{at}.{key}"),
            message,
        ));
    }
    let mut names = Vec::with_capacity(items.len());
    for item in items {
        let read = match item.as_str() {
            Some(text) => text.parse::<ComponentId>().map_err(|error| error.to_string()),
            None => Err("expected the name of a component".to_owned()),
        };
        match read {
            Ok(id) => names.push((id, item.place().clone())),
            Err(message) => problems.push(Problem::error(
                item.place().clone(),
                format!("{at}.{key}"),
                message,
            )),
        }
    }
    names
}

fn undefined(section: Section, id: &ComponentId, place: &Place, at: &str, names: &Names) -> Problem {
    let (one, text) = (section.one(), id.to_string());
    let defined: Vec<String> = names
        .of(section)
        .chain(
            names
                .of(Section::Connectors)
                .filter(|_| section != Section::Processors),
        )
        .map(|(id, _)| id.to_string())
        .collect();
    let hint = match nearest(&text, defined.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add it to the section `{}`, if only as `{id}:`", section.as_str()),
    };
    Problem::error(place.clone(), at, format!("there is no {one} `{id}`")).hint(hint)
}
