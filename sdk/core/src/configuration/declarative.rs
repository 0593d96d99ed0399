//! OpenTelemetry's declarative configuration: files of `file_format` 1.x, which say everything about an SDK. What is there and not
//! available is told; unknown keys are errors.
//!
//! Where a file says nothing the schema's defaults hold, but for the size of batches and how long they are tried, which are those
//! of [`Settings`]. A signal without a provider goes nowhere, and without `propagator` no contexts are passed on.
//!
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk/>,
//! <https://github.com/open-telemetry/opentelemetry-configuration>

mod composable;
mod exporters;
mod model;
mod resource;
mod sampler;

use std::collections::BTreeSet;
use std::time::Duration;

use cupola_config::{Node, Problem};
use cupola_telemetry::Signal;

use super::backends;
use super::environment::Environment;
use super::substitute::{Dialect, substitute};
use super::text::{ConfigurationError, File};
use super::variables;
use crate::attributes::AttributeLimits;
use crate::backend::Backend;
use crate::propagation::{Format, Propagators};
use crate::resource::Detector;
use crate::settings::{QueueSettings, Settings};
use model::{AttributeLimitsModel, BatchModel, Model, Processor, PropagatorModel};

/// The newest minor version of the format that is known.
const MINOR_KNOWN: u64 = 2;
/// Longest that a record of a `simple` processor waits: it is not sent by the thread that records it.
const SIMPLE_DELAY: Duration = Duration::from_millis(10);

type Read = (Settings, BTreeSet<String>, Vec<Problem>);

/// Reads the file `name`; with the variables that it refers to, and what is odd about it.
pub(super) fn read(name: &str, text: &str, environment: &Environment) -> Result<Read, ConfigurationError> {
    let (mut file, written) = File::parse(name, text)?;
    let (root, mut referred) = substitute(&written, environment, Dialect::Braces, &mut file.problems);
    file.mask(&root);
    check_format(&mut file, &root);
    let root = known_sections(&mut file, root);
    let model: Option<Model> = cupola_config::read(&root, &mut file.problems);
    let mut settings = Settings {
        propagators: Propagators(Vec::new()),
        ..Settings::default()
    };
    // What is left of a file with mistakes would be told to have others.
    if let Some(model) = model.filter(|_| file.problems.errors() == 0) {
        apply(&mut file, &root, model, environment, &mut settings);
    }
    if settings.resource.detectors.contains(&Detector::Service) {
        referred.insert(resource::SERVICE_NAME.to_owned());
    }
    Ok((settings, referred, file.finish()?))
}

fn check_format(file: &mut File<'_>, root: &Node) {
    const KEY: &str = "file_format";
    let Some(node) = root.get(KEY).filter(|node| !node.is_null()) else {
        let hint = "write `file_format: \"1.0\"`";
        return file.error(root.place(), KEY, "this key is missing", Some(hint));
    };
    let format = node.text().unwrap_or_default();
    let (major, minor) = format.split_once('.').unwrap_or((format, "0"));
    let minor = minor.split('-').next().unwrap_or_default().parse::<u64>();
    match (major, minor) {
        ("1", Ok(minor)) if minor > MINOR_KNOWN => {
            let message = format!("1.{minor} is newer than what is known, 1.{MINOR_KNOWN}");
            file.warn(
                node.place(),
                KEY,
                message,
                Some("what is new in it is an unknown key"),
            );
        }
        ("1", Ok(_)) => {}
        _ => {
            let message = format!("`{format}` is not a version that can be read");
            file.error(
                node.place(),
                KEY,
                message,
                Some("write the file in the form of version 1.0"),
            );
        }
    }
}

/// The tree without sections that are not known, which the schema lets a file have.
fn known_sections(file: &mut File<'_>, root: Node) -> Node {
    let unknown: Vec<_> = root
        .entries()
        .iter()
        .filter(|entry| !model::SECTIONS.contains(&&*entry.key))
        .cloned()
        .collect();
    unknown.iter().fold(root, |root, entry| {
        let hint = cupola_config::read::keys_hint(&entry.key, model::SECTIONS);
        file.warn(
            &entry.place,
            &entry.key,
            "unknown section, which has no effect",
            Some(&hint),
        );
        root.without(&[&*entry.key])
    })
}

fn apply(file: &mut File<'_>, root: &Node, model: Model, environment: &Environment, settings: &mut Settings) {
    settings.is_disabled = model.disabled.unwrap_or(false);
    if let Some(level) = model.log_level {
        settings.own_level = Some(level.0);
    }
    // What is not there is as empty: nothing is found out.
    let at = root.get("resource").unwrap_or(root);
    let resource = model.resource.unwrap_or_default();
    resource::apply(file, at, &resource, environment, &mut settings.resource);
    if let Some(propagator) = &model.propagator {
        let node = root.get("propagator").unwrap_or(root);
        settings.propagators = propagators(file, node, propagator);
    }
    let general = model.attribute_limits.unwrap_or_default();
    let mut apart = Vec::new();
    if let Some(provider) = model.tracer_provider {
        let node = root.get("tracer_provider").unwrap_or(root);
        let limits = provider.limits.unwrap_or_default();
        let spans = &mut settings.traces.limits;
        spans.attributes = limits.attributes(&general);
        let counted = |count: Option<usize>| AttributeLimits {
            count: count.unwrap_or(128),
            ..limits.attributes(&general)
        };
        spans.event_attributes = counted(limits.event_attribute_count_limit);
        spans.link_attributes = counted(limits.link_attribute_count_limit);
        spans.events = limits.event_count_limit.unwrap_or(spans.events);
        spans.links = limits.link_count_limit.unwrap_or(spans.links);
        if let Some(sampler) = &provider.sampler {
            let at = node.get("sampler").unwrap_or(node);
            if let Some(sampler) = sampler::of(file, at, "tracer_provider.sampler", sampler) {
                settings.traces.sampler = sampler;
            }
        }
        warn_of_passed(
            file,
            node,
            "tracer_provider",
            &["tracer_configurator", "id_generator"],
        );
        let queue = &mut settings.traces.queue;
        apart.extend(processors(
            file,
            node,
            "tracer_provider",
            provider.processors,
            Signal::Traces,
            queue,
        ));
    }
    if let Some(provider) = model.logger_provider {
        let node = root.get("logger_provider").unwrap_or(root);
        let limits = provider.limits.unwrap_or_default();
        settings.logs.limits = limits.attributes(&general);
        warn_of_passed(file, node, "logger_provider", &["logger_configurator"]);
        let queue = &mut settings.logs.queue;
        apart.extend(processors(
            file,
            node,
            "logger_provider",
            provider.processors,
            Signal::Logs,
            queue,
        ));
    }
    if let Some(provider) = &model.meter_provider {
        let node = root.get("meter_provider").unwrap_or(root);
        apart.extend(exporters::readers(file, node, provider, settings));
        warn_of_passed(file, node, "meter_provider", &["meter_configurator"]);
    }
    settings.backends = backends::joined(apart);
}

/// Tells of sections in development that are read and have no effect.
fn warn_of_passed(file: &mut File<'_>, node: &Node, at: &str, keys: &[&str]) {
    for entry in node.entries() {
        let key = entry.key.strip_suffix("/development").unwrap_or(&entry.key);
        if keys.contains(&key) {
            file.warn(
                &entry.place,
                &format!("{at}.{}", entry.key),
                "is not available and has no effect",
                None,
            );
        }
    }
}

fn propagators(file: &mut File<'_>, node: &Node, model: &PropagatorModel) -> Propagators {
    let mut names: Vec<(String, &Node, &str)> = Vec::new();
    if let Some(composite) = node.get("composite") {
        for item in composite.items() {
            // `tracecontext:` or, as in earlier forms, its name alone.
            let entries = item.entries().iter().map(|entry| entry.key.to_string());
            let named = entries.chain(item.text().map(str::to_owned));
            names.extend(named.map(|name| (name, item, "propagator.composite")));
        }
    }
    if let (Some(list), Some(at)) = (&model.composite_list, node.get("composite_list")) {
        let listed = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.extend(listed.map(|name| (name.to_owned(), at, "propagator.composite_list")));
    }
    let mut formats = Vec::new();
    for (name, at, key) in names {
        match Format::of_name(&name) {
            Some(format) if formats.contains(&format) => {}
            Some(format) => formats.push(format),
            None if name == "none" => {}
            None if name == "ottrace" => {
                file.warn(
                    at.place(),
                    key,
                    "`ottrace` is not available and left out",
                    Some("use tracecontext"),
                );
            }
            None => {
                let known = ["tracecontext", "baggage", "b3", "b3multi", "jaeger", "xray"];
                let hint = cupola_config::read::keys_hint(&name, &known);
                file.error(
                    at.place(),
                    key,
                    format!("`{name}` is no propagator that is known"),
                    Some(&hint),
                );
            }
        }
    }
    Propagators(formats)
}

/// The backends of a provider, and what its processors say of the queue. There is one queue for each signal: it waits no longer
/// than the most impatient of them, and has the room of the largest.
fn processors(
    file: &mut File<'_>,
    node: &Node,
    at: &str,
    processors: Vec<Processor>,
    signal: Signal,
    queue: &mut QueueSettings,
) -> Vec<Backend> {
    let mut backends = Vec::new();
    let mut delays: Vec<Duration> = Vec::new();
    let mut sizes: Vec<usize> = Vec::new();
    let default = queue.delay;
    let nodes = node.get("processors").map(Node::items).unwrap_or_default();
    if nodes.is_empty() {
        let key = format!("{at}.processors");
        file.error(
            node.place(),
            &key,
            "this key is missing",
            Some("add a processor with an exporter"),
        );
    }
    for (index, (processor, node)) in processors.into_iter().zip(nodes).enumerate() {
        let key = format!("{at}.processors[{index}]");
        if !file.is_one(node, &key) {
            continue;
        }
        let (batch, kind) = match (processor.batch, processor.simple) {
            (Some(batch), _) => (batch, "batch"),
            (None, Some(simple)) => {
                let batch = BatchModel {
                    schedule_delay: Some(SIMPLE_DELAY.as_millis() as u64),
                    exporter: simple.exporter,
                    ..BatchModel::default()
                };
                (batch, "simple")
            }
            (None, None) => continue,
        };
        delays.push(batch.schedule_delay.map_or(default, Duration::from_millis));
        sizes.extend(batch.max_queue_size);
        if let Some(items) = batch.max_export_batch_size {
            queue.limits.batch_items_max = queue.limits.batch_items_max.min(items.max(1));
        }
        let key = format!("{key}.{kind}.exporter");
        let exporter = node.at(&[kind, "exporter"]).unwrap_or(node);
        let backend = exporters::backend(file, exporter, &key, batch.exporter.as_ref(), signal);
        backends.extend(backend.map(|mut backend| {
            if let Some(limit) = batch.export_timeout {
                backends::give_up_after(&mut backend, Duration::from_millis(limit));
            }
            backend
        }));
    }
    queue.delay = delays.into_iter().min().unwrap_or(default);
    if let Some(records) = sizes.into_iter().max() {
        queue.limits = variables::queue_of(records.max(1), queue.limits);
    }
    backends
}

impl AttributeLimitsModel {
    /// Those of one kind of record: what it says itself, or what is said for all.
    fn attributes(&self, general: &AttributeLimitsModel) -> AttributeLimits {
        let default = AttributeLimits::default();
        AttributeLimits {
            count: self
                .attribute_count_limit
                .or(general.attribute_count_limit)
                .unwrap_or(default.count),
            value_length: self
                .attribute_value_length_limit
                .or(general.attribute_value_length_limit)
                .or(default.value_length),
        }
    }
}
