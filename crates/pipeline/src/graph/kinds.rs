//! Kinds of components: what a name in a configuration stands for, how its settings are read, and how one is made.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use cupola_config::{Node, Place, Problem, Problems, SecretPath};
use cupola_export::{Accepted, Component, Outlook, Sample, SendError, Sink};
use cupola_telemetry::{Batch, Signal};
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;

use super::context::Context;
use super::extensions::{ExtensionSettings, Reference};
use super::options::Options;
use crate::auth::Authenticators;
use crate::connectors::Outputs;

/// A component could not be made or started.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BuildError {
    pub message: String,
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
    /// The address that could not be listened on, and why.
    pub listening: Option<Box<(SocketAddr, std::io::Error)>>,
}

impl BuildError {
    pub fn new(message: impl Into<String>) -> BuildError {
        BuildError {
            message: message.into(),
            source: None,
            listening: None,
        }
    }

    /// Somebody else has the address, or it is none of this machine.
    pub fn listen(endpoint: SocketAddr, protocol: &str, error: std::io::Error) -> BuildError {
        BuildError {
            message: format!("cannot listen on {endpoint} for {protocol}"),
            source: Some(error.to_string().into()),
            listening: Some(Box::new((endpoint, error))),
        }
    }

    /// With what caused it.
    pub fn of(error: impl Error + Send + Sync + 'static) -> BuildError {
        BuildError {
            message: error.to_string(),
            source: error.source().map(|source| source.to_string().into()),
            listening: None,
        }
    }
}

/// What a receiver hands batches to, by signal: the pipelines that it is in, or a refusal where it is in none.
#[derive(Clone)]
pub struct SignalSinks(pub [Arc<dyn Sink>; Signal::ALL.len()]);

#[async_trait]
impl Sink for SignalSinks {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        self.0[batch.signal() as usize].send(batch).await
    }

    fn outlook(&self, signal: Signal) -> Outlook {
        self.0[signal as usize].outlook(signal)
    }
}

/// A receiver that runs.
#[async_trait]
pub trait Receiver: Send + Sync {
    /// Takes nothing more, answers what it has taken, and ends.
    async fn shutdown(&self);

    fn collect(&self, _samples: &mut Vec<Sample>) {}

    /// Where it listens, by protocol.
    fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        Vec::new()
    }
}

/// Settings of a receiver, read and checked.
pub trait ReceiverSettings: Send + Sync {
    fn start<'a>(
        &'a self,
        context: Context,
        sinks: SignalSinks,
    ) -> BoxFuture<'a, Result<Arc<dyn Receiver>, BuildError>>;

    /// Whether it goes and fetches what pipelines take, so that it is started anew when that changes.
    fn asks_for_signals(&self) -> bool {
        false
    }

    /// Where it will listen, by protocol.
    fn listens(&self) -> Vec<(&'static str, SocketAddr)> {
        Vec::new()
    }

    /// The authenticators that its settings name.
    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
}

/// Settings of a processor, read and checked.
pub trait ProcessorSettings: Send + Sync {
    fn build<'a>(
        &'a self,
        context: Context,
        next: Arc<dyn Sink>,
    ) -> BoxFuture<'a, Result<Arc<dyn Component>, BuildError>>;
}

/// Settings of an exporter, read and checked.
pub trait ExporterSettings: Send + Sync {
    fn build<'a>(&'a self, context: Context) -> BoxFuture<'a, Result<Arc<dyn Component>, BuildError>>;

    /// The destination alone, without a queue: what dead letters are sent to again.
    fn destination(&self, _authenticators: &Authenticators) -> Result<Arc<dyn Component>, BuildError> {
        Err(BuildError::new("it leaves no dead letters"))
    }

    /// The authenticators that its settings name.
    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }

    /// The extension that keeps its queue.
    fn storage(&self) -> Option<String> {
        None
    }
}

/// Settings of a connector, read and checked.
pub trait ConnectorSettings: Send + Sync {
    /// `inputs` are the signals of the pipelines that feed it, each once.
    fn build(
        &self,
        context: Context,
        inputs: &[Signal],
        outputs: Outputs,
    ) -> Result<Arc<dyn Component>, BuildError>;

    /// Pipelines that the settings name, which must be among those it feeds.
    fn pipelines(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Reads settings at the node of this key.
type Read<S> = Box<dyn Fn(&Node, &str, &mut Problems) -> Option<Arc<S>> + Send + Sync>;

/// A kind of component whose settings are an `S`.
pub struct Kind<S: ?Sized> {
    pub name: &'static str,
    /// The Collector's other name for it: since 2026 words are parted by `_`, and the older name is taken too.
    pub alias: Option<&'static str>,
    /// Signals that it takes or, for a receiver, gives.
    pub signals: &'static [Signal],
    /// What there is to say of options of the Collector that are without effect, or not there.
    pub options: Options,
    read: Read<S>,
    schema: fn() -> serde_json::Value,
    secrets: fn() -> Vec<SecretPath>,
}

impl<S: ?Sized> Kind<S> {
    /// A kind whose settings are read as a `C`; `check` says what is wrong with them beyond their shape, as keys below
    /// them and problems; `settings` makes of them what makes the component.
    pub fn new<C: DeserializeOwned + 'static>(
        name: &'static str,
        signals: &'static [Signal],
        check: impl Fn(&C) -> Vec<(String, String)> + Send + Sync + 'static,
        settings: impl Fn(C) -> Arc<S> + Send + Sync + 'static,
    ) -> Kind<S> {
        Self::with_remarks(name, signals, check, |_| Vec::new(), settings)
    }

    /// The same, with `remarks` on settings that can work, and not as whoever wrote them may think: warnings.
    pub fn with_remarks<C: DeserializeOwned + 'static>(
        name: &'static str,
        signals: &'static [Signal],
        check: impl Fn(&C) -> Vec<(String, String)> + Send + Sync + 'static,
        remarks: impl Fn(&C) -> Vec<(String, String)> + Send + Sync + 'static,
        settings: impl Fn(C) -> Arc<S> + Send + Sync + 'static,
    ) -> Kind<S> {
        let read = move |node: &Node, at: &str, problems: &mut Problems| {
            let before = problems.errors();
            let config: C = cupola_config::read_at(node, at, problems)?;
            if problems.errors() > before {
                return None;
            }
            let wrong = check(&config);
            if !wrong.is_empty() {
                tell(node, at, wrong, problems);
                return None;
            }
            for (key, message) in remarks(&config) {
                problems.push(Problem::warning(
                    place_of(node, &key),
                    format!("{at}.{key}"),
                    message,
                ));
            }
            Some(settings(config))
        };
        Kind {
            name,
            alias: None,
            options: Options::default(),
            signals,
            read: Box::new(read),
            schema: cupola_config::schema::<C>,
            secrets: cupola_config::secret_paths::<C>,
        }
    }

    /// A kind whose settings are read by `read`, which are described by `schema` and have secrets at `secrets`.
    pub fn read_by(
        name: &'static str,
        signals: &'static [Signal],
        read: impl Fn(&Node, &str, &mut Problems) -> Option<Arc<S>> + Send + Sync + 'static,
        schema: fn() -> serde_json::Value,
        secrets: fn() -> Vec<SecretPath>,
    ) -> Kind<S> {
        Kind {
            name,
            alias: None,
            options: Options::default(),
            signals,
            read: Box::new(read),
            schema,
            secrets,
        }
    }

    /// The same, which is also called `alias`.
    #[must_use]
    pub fn also(self, alias: &'static str) -> Kind<S> {
        Kind {
            alias: Some(alias),
            ..self
        }
    }

    /// Every name that a file may call it by.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<S> {
        [self.name].into_iter().chain(self.alias)
    }

    /// Whether a file means it by `name`.
    pub fn is_called(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// The settings in `node`, which stands at the key `at`; or what is wrong with them.
    pub fn read(&self, node: &Node, at: &str, problems: &mut Problems) -> Option<Arc<S>> {
        let node = self.options.without_idle(node, at, problems);
        let mut found = Problems::new();
        let read = (self.read)(&node, at, &mut found);
        problems.leave_out(found.left_out());
        let explained = found.into_sorted().into_iter();
        problems.extend(explained.map(|problem| self.options.explained(at, problem)));
        read
    }

    /// JSON Schema of the settings.
    pub fn schema(&self) -> serde_json::Value {
        self.options.in_schema((self.schema)())
    }

    /// Keys of values that must not be shown.
    pub fn secrets(&self) -> Vec<SecretPath> {
        (self.secrets)()
    }
}

/// A kind of connector: which signals it takes, and which it gives for each.
pub struct ConnectorKind {
    pub kind: Kind<dyn ConnectorSettings>,
    /// Pairs of a signal taken and one given.
    pub ways: &'static [(Signal, Signal)],
}

/// All kinds that there are.
#[derive(Default)]
pub struct Registry {
    pub receivers: Vec<Kind<dyn ReceiverSettings>>,
    pub processors: Vec<Kind<dyn ProcessorSettings>>,
    pub exporters: Vec<Kind<dyn ExporterSettings>>,
    pub connectors: Vec<ConnectorKind>,
    /// Those that components refer to by name: authenticators.
    pub extensions: Vec<Kind<dyn ExtensionSettings>>,
    /// Kinds of extensions that whoever links this crate has beside them, and tells where a file has another.
    pub other_extensions: Vec<&'static str>,
    /// Components of the Collector that we do not have, and what to use instead.
    pub absent: Vec<(&'static str, &'static str)>,
}

/// Adds what is wrong below `node`: keys and problems.
pub fn tell(node: &Node, at: &str, wrong: Vec<(String, String)>, problems: &mut Problems) {
    for (key, mut message) in wrong {
        let place = place_of(node, &key);
        let steps: Vec<&str> = key.split('.').collect();
        let found = node.at(&steps).filter(|_| !key.is_empty());
        if let Some(origin) = found.map(Node::origin).filter(|origin| !origin.is_written()) {
            message.push_str(&format!("; the value comes from {origin}"));
        }
        let key = if key.is_empty() {
            at.to_owned()
        } else {
            format!("{at}.{key}")
        };
        problems.push(Problem::error(place, key, message));
    }
}

/// Where the value of a key such as `actions[2].key` is written, or what comes nearest to it.
fn place_of(node: &Node, key: &str) -> Place {
    let mut found = node;
    for part in key.split(['.', '[']).filter(|part| !part.is_empty()) {
        let next = match part.strip_suffix(']').map(str::parse::<usize>) {
            Some(Ok(index)) => found.items().get(index),
            _ => found.get(part),
        };
        match next {
            Some(next) => found = next,
            None => break,
        }
    }
    // A group of one statement without any settings is that statement.
    let lists = ["statements", "conditions"].map(|list| found.get(list).map_or(&[][..], Node::items));
    if let [[only], []] | [[], [only]] = lists {
        found = only;
    }
    found.place().clone()
}
