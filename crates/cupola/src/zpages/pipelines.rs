//! `/debug/pipelinez`: each pipeline with its components in their order, what flows through them and how they are; and one
//! component with its settings.

use std::sync::Arc;

use axum::extract::{Query, State};
use cupola_export::Trouble;
use cupola_pipeline::graph::{Role, RunningPart, RunningPipeline};
use serde::Deserialize;

use super::Sources;
use super::html::{Cell, Page, link};
use super::service::settings;
use crate::health::{reason, time_of};

/// What the links of the page ask for, as the Collector's page calls it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    zpipelinename: Option<String>,
    zcomponentname: Option<String>,
    zcomponentkind: Option<String>,
}

pub(super) async fn page(State(sources): State<Arc<Sources>>, Query(asked): Query<Asked>) -> Page {
    let mut page = Page::new("Pipelines");
    let Some(pipelines) = sources.pipelines.get() else {
        page.paragraph("The pipelines are being started.");
        return page;
    };
    let described = pipelines.describe();
    let columns = ["FullName", "InputType", "Receivers", "Processors", "Exporters"];
    page.table(&columns, described.iter().map(row));
    page.paragraph(
        "Numbers are items of the pipeline's signal since the start or the last change of the component: taken from a \
         receiver, or handed to the others. A component that stands in several pipelines counts what it gets from all of them.",
    );
    if let Some((pipeline, part)) = asked.find(&described) {
        component(&mut page, &sources, pipeline, part);
    }
    page
}

impl Asked {
    fn find<'p>(&self, described: &'p [RunningPipeline]) -> Option<(&'p RunningPipeline, &'p RunningPart)> {
        let named = |asked: &Option<String>, name: &str| asked.as_deref() == Some(name);
        let pipeline = described
            .iter()
            .find(|pipeline| named(&self.zpipelinename, &pipeline.id.to_string()))?;
        let mut parts = match self.zcomponentkind.as_deref()? {
            "receiver" => pipeline.receivers.iter(),
            "processor" => pipeline.processors.iter(),
            _ => pipeline.exporters.iter(),
        };
        let part = parts.find(|part| named(&self.zcomponentname, &part.id.to_string()))?;
        Some((pipeline, part))
    }
}

fn row(pipeline: &RunningPipeline) -> Vec<Cell> {
    let name = pipeline.id.to_string();
    let cells = |kind: &str, parts: &[RunningPart]| {
        Cell::Lines(parts.iter().map(|part| linked(&name, kind, part)).collect())
    };
    vec![
        Cell::Text(name.clone()),
        Cell::Text(pipeline.id.signal.as_str().to_owned()),
        cells("receiver", &pipeline.receivers),
        cells("processor", &pipeline.processors),
        cells("exporter", &pipeline.exporters),
    ]
}

/// The name as a link, its numbers, and that something is wrong with it.
fn linked(pipeline: &str, kind: &str, part: &RunningPart) -> Cell {
    let id = part.id.to_string();
    let connector = match part.role {
        Role::Connector => " (connector)",
        _ => "",
    };
    let counts = match part.outgoing {
        Some(outgoing) => format!("{} → {outgoing}", part.counts.incoming),
        // What a connector gives is seen at the pipelines that it begins.
        None if kind == "receiver" && part.role == Role::Connector => String::new(),
        None => part.counts.incoming.to_string(),
    };
    let parameters = [
        ("zpipelinename", pipeline),
        ("zcomponentname", id.as_str()),
        ("zcomponentkind", kind),
    ];
    let to = link("pipelinez", &parameters);
    let text = format!("{id}{connector} {counts}");
    let link = Cell::Link { to, text };
    match state(part) {
        None => link,
        Some(state) => Cell::Lines(vec![link, Cell::Bad(state)]),
    }
}

fn state(part: &RunningPart) -> Option<String> {
    match (&part.missing, &part.condition.failing) {
        (true, _) => Some("not running".to_owned()),
        (false, Some(failing)) => Some(format!("failing: {}", reason(failing))),
        (false, None) => None,
    }
}

fn component(page: &mut Page, sources: &Sources, pipeline: &RunningPipeline, part: &RunningPart) {
    page.heading(&format!("{}: {} of {}", part.role.as_str(), part.id, pipeline.id));
    let said = |trouble: &Trouble| {
        let since = trouble.since.map(|since| format!(" ({})", time_of(since)));
        format!("{}{}", reason(trouble), since.unwrap_or_default())
    };
    let condition = &part.condition;
    let mut rows = vec![
        ("Status", state(part).unwrap_or_else(|| "ok".to_owned())),
        ("Incoming items", part.counts.incoming.to_string()),
        ("Items refused for now", part.counts.refused.to_string()),
        ("Items refused for good", part.counts.failed.to_string()),
    ];
    rows.extend(
        part.outgoing
            .map(|outgoing| ("Outgoing items", outgoing.to_string())),
    );
    rows.extend(
        condition
            .last_error
            .as_ref()
            .map(|error| ("Last error", said(error))),
    );
    rows.extend(condition.recovered.map(|at| ("Recovered", time_of(at))));
    let listens = part.addresses.iter();
    rows.extend(listens.map(|(protocol, address)| ("Listens", format!("{protocol} {address}"))));
    page.properties(rows);
    let section = match part.role {
        Role::Receiver => "receivers",
        Role::Processor => "processors",
        Role::Exporter => "exporters",
        Role::Connector => "connectors",
    };
    page.paragraph("Settings as they were at the start; a change since is not shown.");
    page.preformatted(&settings(&sources.masked, section, &part.id.to_string()));
}
