//! Components that only the binary has: the embedded store as an exporter. The one place where pipelines and the store
//! meet.

use std::sync::Arc;

use async_trait::async_trait;
use cupola_config::{ComponentId, Masking, Node, SecretPath};
use cupola_export::Component;
use cupola_pipeline::graph::kinds::{BuildError, ExporterSettings, Kind};
use cupola_pipeline::graph::{Context, Registry};
use cupola_store::Store;
use cupola_telemetry::Signal;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::config::file::{self, FileStorage, HealthCheck, Pprof, Sections, Zpages};
use crate::sink::StoreSink;

/// The name of the exporter that is the embedded store.
pub(crate) const STORE: &str = "store";

const ALL: &[Signal] = &[Signal::Logs, Signal::Metrics, Signal::Traces];

/// All components by name. Without a store, settings can be read and nothing be started.
pub(crate) fn registry(store: Option<Store>) -> Registry {
    let mut registry = cupola_pipeline::components::registry();
    registry.exporters.push(Kind::new::<StoreSettings>(
        STORE,
        ALL,
        |_| Vec::new(),
        move |_| Arc::new(ToStore(store.clone())) as Arc<dyn ExporterSettings>,
    ));
    registry.other_extensions = file::EXTENSIONS.to_vec();
    registry
}

/// The section `exporters.store`: the store has a section of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StoreSettings {}

struct ToStore(Option<Store>);

impl ExporterSettings for ToStore {
    fn build(&self, _context: Context) -> BoxFuture<'_, Result<Arc<dyn Component>, BuildError>> {
        async move {
            match &self.0 {
                Some(store) => Ok(Arc::new(StoreSink::new(store.clone())) as Arc<dyn Component>),
                None => Err(BuildError::new("there is no store here")),
            }
        }
        .boxed()
    }
}

/// It is closed by whoever opened the store, after this.
#[async_trait]
impl Component for StoreSink {}

/// Sections of components in a file.
pub(crate) const SECTIONS: [&str; 4] = ["receivers", "processors", "exporters", "connectors"];

/// Where those stand that components refer to by name, beside extensions of the binary.
pub(crate) const EXTENSIONS: &str = "extensions";

/// Whether an extension of this kind is read with the pipelines.
pub(crate) fn is_of_pipelines(kind: &str) -> bool {
    let registry = cupola_pipeline::components::registry();
    registry.extensions.iter().any(|known| known.is_called(kind))
}

/// Names of the extensions that are read with the pipelines.
pub(crate) fn extension_names() -> Vec<&'static str> {
    let registry = cupola_pipeline::components::registry();
    registry.extensions.iter().flat_map(Kind::names).collect()
}

/// Which values of components must not be shown: those of a secret's type, beside those that look like one.
pub(crate) fn masking(tree: &Node) -> Masking<'static> {
    let registry = registry(None);
    let mut masking = Masking::new();
    for section in SECTIONS.into_iter().chain([EXTENSIONS]) {
        let Some(entries) = tree.get(section).map(Node::entries) else {
            continue;
        };
        for entry in entries {
            let Ok(id) = entry.key.parse::<ComponentId>() else {
                continue;
            };
            masking = masking.below(&[section, &entry.key], secrets(&registry, section, id.kind()));
        }
    }
    masking
}

fn secrets(registry: &Registry, section: &str, kind: &str) -> Vec<SecretPath> {
    fn of<S: ?Sized>(kinds: &[Kind<S>], name: &str) -> Vec<SecretPath> {
        kinds
            .iter()
            .find(|kind| kind.is_called(name))
            .map(Kind::secrets)
            .unwrap_or_default()
    }
    match section {
        "receivers" => of(&registry.receivers, kind),
        "processors" => of(&registry.processors, kind),
        "exporters" => of(&registry.exporters, kind),
        EXTENSIONS => of(&registry.extensions, kind),
        _ => {
            let found = registry
                .connectors
                .iter()
                .find(|connector| connector.kind.is_called(kind));
            found
                .map(|connector| connector.kind.secrets())
                .unwrap_or_default()
        }
    }
}

/// JSON Schema of whole configuration files.
pub(crate) fn schema() -> Json {
    let registry = registry(None);
    let mut schema = cupola_config::schema::<Sections>();
    let sections = [
        ("receivers", section(registry.receivers.iter().flat_map(named))),
        ("processors", section(registry.processors.iter().flat_map(named))),
        ("exporters", section(registry.exporters.iter().flat_map(named))),
        (
            "connectors",
            section(registry.connectors.iter().flat_map(|one| named(&one.kind))),
        ),
        (
            "extensions",
            section(
                [
                    ("health_check", cupola_config::schema::<HealthCheck>()),
                    ("file_storage", cupola_config::schema::<FileStorage>()),
                    ("zpages", cupola_config::schema::<Zpages>()),
                    ("pprof", cupola_config::schema::<Pprof>()),
                ]
                .into_iter()
                .chain(registry.extensions.iter().flat_map(named)),
            ),
        ),
    ];
    for (name, of) in sections {
        schema["properties"][name] = of;
    }
    schema["$schema"] = Json::from(cupola_config::schema::DIALECT);
    schema["title"] = Json::from("Configuration of Cupola");
    schema
}

/// The settings of a kind, by each of its names.
fn named<S: ?Sized>(kind: &Kind<S>) -> impl Iterator<Item = (&'static str, Json)> + use<S> {
    let schema = kind.schema();
    kind.names().map(move |name| (name, schema.clone()))
}

/// Components by their names, each with or without a name of its own after a slash.
fn section(kinds: impl IntoIterator<Item = (&'static str, Json)>) -> Json {
    let patterns: serde_json::Map<String, Json> = kinds
        .into_iter()
        .map(|(name, schema)| {
            (
                format!("^{name}(/.+)?$"),
                serde_json::json!({"anyOf": [schema, {"type": "null"}]}),
            )
        })
        .collect();
    serde_json::json!({"type": ["object", "null"], "patternProperties": patterns, "additionalProperties": false})
}
