//! Cupola's own file, `cupola.yaml`: `logger:` with its back-ends, and a section for everything else that can be set. Sections of a
//! Cupola server may stand beside them and are left alone, so that one file can be for both.
//!
//! Unknown keys are errors with their line and the nearest that is known. [`schema`] describes the file.

mod backend;
mod entry;
mod rate_limits;
mod resource;
mod sections;
mod traces;

use cupola_config::{Node, Passed, Problem};
use serde::Deserialize;

use super::environment::Environment;
use super::substitute::{Dialect, substitute};
use super::text::{ConfigurationError, File};
use crate::settings::Settings;

/// Sections of a server's file.
const OF_SERVERS: &[&str] = &[
    "receivers",
    "processors",
    "exporters",
    "connectors",
    "extensions",
    "service",
    "store",
    "api",
    "auth",
    "alerting",
];

/// What a file says.
pub(super) struct Read {
    pub(super) settings: Settings,
    /// Whether it says where records go.
    pub(super) has_backends: bool,
    pub(super) warnings: Vec<Problem>,
}

/// The sections of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Sections {
    /// Nothing is recorded.
    disabled: Option<bool>,
    logger: Option<Logger>,
    resource: Option<resource::Resource>,
    propagators: Option<Vec<sections::Propagator>>,
    traces: Option<traces::Traces>,
    logs: Option<sections::Queue>,
    metrics: Option<sections::Metrics>,
    baggage: Option<sections::Baggage>,
    scrub: Option<sections::Scrub>,
    limits: Option<sections::Limits>,
    rate_limits: Option<rate_limits::RateLimits>,
    console: Option<sections::Console>,
    spool: Option<sections::Spool>,
    /// What the SDK says of its own troubles.
    own_level: Option<super::levels::Level>,
    self_metrics: Option<bool>,
    exit_timeout: Option<cupola_config::units::TimeSpan>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Logger {
    service_name: Option<String>,
    service_version: Option<String>,
    service_namespace: Option<String>,
    environment: Option<String>,
    /// Less severe records are not recorded at all.
    log_level: Option<super::levels::Level>,
    enable_console: Option<bool>,
    /// Read by hand: each kind has settings of its own.
    backends: Passed,
}

/// Reads the file `name`.
pub(super) fn read(name: &str, text: &str, environment: &Environment) -> Result<Read, ConfigurationError> {
    let (mut file, written) = File::parse(name, text)?;
    let written = OF_SERVERS.iter().fold(written, |node, key| node.without(&[key]));
    let (root, _) = substitute(&written, environment, Dialect::Bare, &mut file.problems);
    file.mask(&root);
    let mut settings = Settings::default();
    let read: Option<Sections> = cupola_config::read(&root, &mut file.problems);
    if let Some(read) = &read {
        apply(&mut file, &root, read, &mut settings);
    }
    let backends = root.at(&["logger", "backends"]).filter(|node| !node.is_null());
    if let Some(node) = backends {
        settings.backends = entry::backends(&mut file, node);
    }
    Ok(Read {
        has_backends: backends.is_some(),
        settings,
        warnings: file.finish()?,
    })
}

fn apply(file: &mut File<'_>, root: &Node, read: &Sections, settings: &mut Settings) {
    settings.is_disabled = read.disabled.unwrap_or(settings.is_disabled);
    if let Some(resource) = &read.resource {
        resource.apply(file, root, settings);
    }
    if let Some(logger) = &read.logger {
        let attributes = [
            ("service.name", &logger.service_name),
            ("service.version", &logger.service_version),
            ("service.namespace", &logger.service_namespace),
            ("deployment.environment.name", &logger.environment),
        ];
        for (key, value) in attributes {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                let environment = &mut settings.resource.environment;
                environment.push((key.to_owned(), value.clone().into()));
            }
        }
        settings.logs.is_level_given |= logger.log_level.is_some();
        settings.logs.level = logger.log_level.map_or(settings.logs.level, |level| level.0);
        match logger.enable_console {
            Some(false) => settings.console = None,
            Some(true) => {
                settings.console.get_or_insert_default();
            }
            None => {}
        }
    }
    if let Some(console) = &read.console {
        console.apply(settings);
    }
    if let Some(propagators) = &read.propagators {
        settings.propagators = sections::propagators(propagators);
    }
    if let Some(traces) = &read.traces {
        traces.apply(file, root, settings);
    }
    if let Some(logs) = &read.logs {
        logs.apply(&mut settings.logs.queue);
    }
    if let Some(metrics) = &read.metrics {
        metrics.apply(file, root, settings);
    }
    if let Some(baggage) = &read.baggage {
        baggage.apply(settings);
    }
    if let Some(scrub) = &read.scrub {
        scrub.apply(file, root, settings);
    }
    if let Some(limits) = &read.limits {
        limits.apply(settings);
    }
    if let Some(limits) = &read.rate_limits {
        limits.apply(file, root, settings);
    }
    if let Some(spool) = &read.spool {
        spool.apply(file, root, settings);
    }
    if let Some(level) = read.own_level {
        settings.own_level = Some(level.0);
    }
    settings.self_metrics = read.self_metrics.unwrap_or(settings.self_metrics);
    settings.exit_timeout = read
        .exit_timeout
        .map_or(settings.exit_timeout, |timeout| timeout.0);
}

/// The JSON Schema of the file, generated from what reads it.
pub fn schema() -> serde_json::Value {
    let mut schema = cupola_config::schema::<Sections>();
    let backends = serde_json::json!({ "type": ["array", "null"], "items": entry::schema() });
    if let Some(logger) = schema.pointer_mut("/properties/logger") {
        *pointer(logger) = backends;
    }
    if let Some(properties) = schema
        .pointer_mut("/properties")
        .and_then(|properties| properties.as_object_mut())
    {
        for section in OF_SERVERS {
            properties.insert((*section).to_owned(), serde_json::json!({}));
        }
    }
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), cupola_config::schema::DIALECT.into());
        schema.insert("title".to_owned(), "cupola.yaml of an application".into());
    }
    schema
}

/// Where `backends` is within what describes `logger`, whether that may be null or not.
fn pointer(logger: &mut serde_json::Value) -> &mut serde_json::Value {
    let path = [
        "/properties/backends",
        "/anyOf/0/properties/backends",
        "/oneOf/0/properties/backends",
    ]
    .into_iter()
    .find(|path| logger.pointer(path).is_some());
    match path {
        Some(path) => logger.pointer_mut(path).expect("it was found"),
        None => &mut logger["backends"],
    }
}
