//! `/debug/servicez` and `/debug/extensionz`: what runs, since when and with what; and the extensions with their settings.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Redirect;
use cupola_config::Node;
use cupola_telemetry::time::to_rfc3339;
use serde::Deserialize;

use super::Sources;
use super::html::{Cell, Page, link};
use crate::config::OWN_SERVICE;
use crate::config::memory;

pub(super) async fn index() -> Redirect {
    Redirect::temporary("/debug/servicez")
}

pub(super) async fn page(State(sources): State<Arc<Sources>>) -> Page {
    let mut page = Page::new(OWN_SERVICE);
    let links = ["pipelinez", "extensionz", "featurez", "tracez"].map(|to| {
        let text = to.to_owned();
        vec![Cell::Link {
            to: link(to, &[]),
            text,
        }]
    });
    page.table(&["Pages"], links);
    page.heading("Build Info");
    page.properties([
        ("Command", OWN_SERVICE.to_owned()),
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
    ]);
    page.heading("Runtime Info");
    let started = sources.vitals.started_unix_nano();
    let up = crate::own::now_unix_nano().saturating_sub(started);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    page.properties([
        ("StartTimestamp", to_rfc3339(started)),
        ("Uptime", format!("{:?}", Duration::from_secs(up / 1_000_000_000))),
        ("Process", std::process::id().to_string()),
        ("OS", std::env::consts::OS.to_owned()),
        ("Arch", std::env::consts::ARCH.to_owned()),
        ("NumCPU", threads.to_string()),
        ("ResidentBytes", memory::resident().to_string()),
    ]);
    page
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    zextensionname: Option<String>,
}

pub(super) async fn extensions(State(sources): State<Arc<Sources>>, Query(asked): Query<Asked>) -> Page {
    let mut page = Page::new("Extensions");
    let rows = sources.extensions.iter().map(|name| {
        vec![Cell::Link {
            to: link("extensionz", &[("zextensionname", name)]),
            text: name.clone(),
        }]
    });
    page.table(&["FullName"], rows);
    let asked = asked
        .zextensionname
        .filter(|name| sources.extensions.contains(name));
    if let Some(name) = asked {
        page.heading(&name);
        page.preformatted(&settings(&sources.masked, "extensions", &name));
    }
    page
}

/// The settings of one component of a masked tree.
pub(super) fn settings(masked: &Node, section: &str, name: &str) -> String {
    match masked.at(&[section, name]).filter(|node| !node.is_null()) {
        Some(settings) => cupola_config::plain(settings),
        None => "the defaults hold\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_shown_without_their_secrets() {
        let text =
            "exporters:\n  otlp/far: {endpoint: 'far:4317', headers: {authorization: Bearer hunter22}}\n";
        let tree = Node::parse("cupola.yaml", text).unwrap();
        let masked = cupola_config::masked(&tree, &crate::components::masking(&tree));
        let shown = settings(&masked, "exporters", "otlp/far");
        assert!(
            shown.contains("far:4317") && !shown.contains("hunter22"),
            "{shown}"
        );
        assert_eq!(settings(&masked, "exporters", "otlp"), "the defaults hold\n");
    }
}
