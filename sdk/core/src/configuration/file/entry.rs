//! One item of `logger.backends`: what every back-end can be told, whatever its kind.

use cupola_config::{Node, Passed};
use cupola_export::DeliveryConfig;
use cupola_export::file::FileConfig;
use cupola_telemetry::Signal;
use serde::Deserialize;
use serde_json::json;

use super::backend;
use crate::backend::{Backend, Destination, Signals};
use crate::configuration::backends;
use crate::configuration::levels::Level;
use crate::configuration::text::File;

/// Kinds of back-ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// JSON lines.
    Filesystem,
    Elasticsearch,
    Postgres,
    Kafka,
    Otlp,
    /// OTLP requests, one a line.
    OtlpFile,
    Console,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(alias = "type")]
    backend_type: Kind,
    /// In messages and in the state.
    #[serde(default)]
    name: Option<String>,
    /// Read by hand: each kind has settings of its own.
    #[serde(default)]
    #[expect(dead_code, reason = "read from the tree")]
    config: Passed,
    /// Less severe log records do not go there.
    #[serde(default)]
    level: Option<Level>,
    #[serde(default)]
    signals: Option<Vec<SignalName>>,
    /// Read by hand: the path of a file, or back-ends.
    #[serde(default)]
    #[expect(dead_code, reason = "read from the tree")]
    fallback: Passed,
    /// Queue, retries, rate limits.
    #[serde(default)]
    delivery: Option<DeliveryConfig>,
}

/// Where records go meanwhile.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fallback {
    #[serde(alias = "type")]
    backend_type: Kind,
    #[serde(default)]
    #[expect(dead_code, reason = "read from the tree")]
    config: Passed,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SignalName {
    Logs,
    Metrics,
    Traces,
}

/// The back-ends of a list.
pub(super) fn backends(file: &mut File<'_>, node: &Node) -> Vec<Backend> {
    const KEY: &str = "logger.backends";
    if !node.is_sequence() {
        let message = format!("a list is expected, not {}", node.kind());
        file.error(
            node.place(),
            KEY,
            message,
            Some("write each back-end behind a `-`"),
        );
        return Vec::new();
    }
    let items = node.items().iter().enumerate();
    let read = items.filter_map(|(index, item)| one(file, item, &format!("{KEY}[{index}]")));
    let mut read: Vec<Backend> = read.collect();
    name_by_number(&mut read);
    read
}

/// Names stay as they are where they are given; `otlp`, `otlp/2` and so forth.
fn name_by_number(all: &mut [Backend]) {
    let mut given: Vec<String> = Vec::new();
    for backend in all {
        let (own, mut number) = (backend.name.clone(), 2);
        while given.contains(&backend.name) {
            backend.name = format!("{own}/{number}");
            number += 1;
        }
        given.push(backend.name.clone());
    }
}

fn one(file: &mut File<'_>, node: &Node, key: &str) -> Option<Backend> {
    let errors = file.problems.errors();
    let entry: Entry = cupola_config::read_at(node, key, &mut file.problems)?;
    let nothing = Node::mapping(node.place().clone(), []);
    let config = node
        .get("config")
        .filter(|config| !config.is_null())
        .unwrap_or(&nothing);
    let made = backend::destination(file, entry.backend_type, config, &format!("{key}.config"))?;
    let mut backend = Backend::new(backends::kind(&made.destination), made.destination);
    if let Some(name) = entry.name {
        backend.name = name;
    }
    if let Some(delivery) = entry.delivery {
        let delivery = with_defaults(delivery, node.get("delivery").unwrap_or(&nothing));
        if let Err(error) = delivery.validate() {
            let at = node.get("delivery").unwrap_or(node);
            file.error(
                at.place(),
                &format!("{key}.delivery.{}", error.key),
                error.problem,
                None,
            );
        }
        backend.delivery = delivery;
    }
    if let Some(timeout) = made.timeout {
        backends::set_timeout(&mut backend, timeout);
    }
    backend.level = entry.level.map(|level| level.0);
    backend.signals = signals(file, node, key, entry.backend_type, entry.signals.as_deref());
    if let Some(fallback) = node.get("fallback").filter(|fallback| !fallback.is_null()) {
        backend.fallbacks = fallbacks(file, fallback, &format!("{key}.fallback"));
    }
    (file.problems.errors() == errors).then_some(backend)
}

/// What the file leaves out is as applications want it, and not as servers do.
fn with_defaults(mut delivery: DeliveryConfig, node: &Node) -> DeliveryConfig {
    let default = Backend::default_delivery();
    let is_left_out = |path: &[&str]| node.at(path).is_none_or(Node::is_null);
    let (queue, usual) = (&mut delivery.sending_queue, default.sending_queue);
    if is_left_out(&["sending_queue", "sizer"]) && is_left_out(&["sending_queue", "queue_size"]) {
        (queue.sizer, queue.queue_size) = (usual.sizer, usual.queue_size);
    }
    if is_left_out(&["sending_queue", "num_consumers"]) {
        queue.num_consumers = usual.num_consumers;
    }
    if is_left_out(&["sending_queue", "when_full"]) {
        queue.when_full = usual.when_full;
    }
    if is_left_out(&["retry_on_failure", "initial_interval"]) {
        delivery.retry_on_failure.initial_interval = default.retry_on_failure.initial_interval;
    }
    if is_left_out(&["timeout"]) {
        delivery.timeout = default.timeout;
    }
    delivery
}

/// A file of JSON lines takes log records unless it is told otherwise; everything else takes everything.
fn signals(file: &mut File<'_>, node: &Node, key: &str, kind: Kind, named: Option<&[SignalName]>) -> Signals {
    let all = match kind {
        Kind::Filesystem => Signals::only(Signal::Logs),
        _ => Signals::ALL,
    };
    let Some(named) = named else { return all };
    let has = |wanted: fn(&SignalName) -> bool| named.iter().any(wanted);
    let signals = Signals {
        logs: has(|name| matches!(name, SignalName::Logs)),
        metrics: has(|name| matches!(name, SignalName::Metrics)),
        traces: has(|name| matches!(name, SignalName::Traces)),
    };
    let at = node.get("signals").unwrap_or(node);
    let key = format!("{key}.signals");
    if named.is_empty() {
        file.warn(
            at.place(),
            &key,
            "names no signal, so that nothing goes there",
            None,
        );
    }
    signals
}

/// `fallback`: the path of a file of OTLP requests, a back-end, or several of either in their order.
fn fallbacks(file: &mut File<'_>, node: &Node, key: &str) -> Vec<Destination> {
    if node.is_sequence() {
        let items = node.items().iter().enumerate();
        return items
            .filter_map(|(index, item)| fallback(file, item, &format!("{key}[{index}]")))
            .collect();
    }
    fallback(file, node, key).into_iter().collect()
}

fn fallback(file: &mut File<'_>, node: &Node, key: &str) -> Option<Destination> {
    if let Some(path) = node.text() {
        return Some(Destination::File(FileConfig {
            path: path.into(),
            create_directory: true,
            ..FileConfig::default()
        }));
    }
    let entry: Fallback = cupola_config::read_at(node, key, &mut file.problems)?;
    let nothing = Node::mapping(node.place().clone(), []);
    let config = node
        .get("config")
        .filter(|config| !config.is_null())
        .unwrap_or(&nothing);
    backend::destination(file, entry.backend_type, config, &format!("{key}.config"))
        .map(|made| made.destination)
}

/// The schema of an item.
pub(super) fn schema() -> serde_json::Value {
    let kinds = backend::schemas();
    let fallback: Vec<_> = kinds
        .iter()
        .map(|(kind, config)| {
            json!({
                "type": "object",
                "properties": { "backend_type": { "const": kind }, "config": config },
                "required": ["backend_type"],
                "additionalProperties": false,
            })
        })
        .collect();
    let fallback = json!({ "anyOf": [{ "type": "string" }, { "oneOf": fallback }] });
    let fallback = json!({ "anyOf": [fallback, { "type": "array", "items": fallback }, { "type": "null" }] });
    let entry = cupola_config::schema::<Entry>();
    let items: Vec<_> = kinds
        .into_iter()
        .map(|(kind, config)| {
            let mut item = entry.clone();
            item["properties"]["backend_type"] = json!({ "const": kind });
            item["properties"]["config"] = config;
            item["properties"]["fallback"] = fallback.clone();
            item
        })
        .collect();
    json!({ "oneOf": items })
}
