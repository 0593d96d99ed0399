//! Exporters by name, each with the queue, the retries and the dead letters that all of them have.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::{ComponentId, Node, Problem, Problems, SecretPath};
use cupola_export::auth::{AuthSettings, Credentials};
use cupola_export::debug::{DebugConfig, DebugSink};
use cupola_export::elasticsearch::{ElasticsearchConfig, ElasticsearchSink};
use cupola_export::failover::Failover;
use cupola_export::file::{FileConfig, FileSink};
use cupola_export::loki::{LokiConfig, LokiSink};
use cupola_export::otlp::{OtlpHttpSettings, OtlpSettings, OtlpSink};
use cupola_export::postgres::{PostgresConfig, PostgresSink};
use cupola_export::prometheus_page::{PageConfig, PageSink};
use cupola_export::prometheus_remote_write::{RemoteWriteConfig, RemoteWriteSink};
use cupola_export::queue::WhenFull;
use cupola_export::{Accepted, Component, DeliveryConfig, Exporter, Sample, SendError, Sink};
use cupola_telemetry::{Batch, Signal};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::{ALL, LOGS, METRICS};
use crate::auth::Authenticators;
use crate::graph::Context;
use crate::graph::extensions::{Reference, Side};
use crate::graph::kinds::{BuildError, ExporterSettings, Kind, Registry, tell};

/// Directory of dead letters, below that of the pipelines: one for each exporter.
pub const DEAD_LETTERS: &str = "dead-letters";

pub(super) fn register(registry: &mut Registry) {
    let exporters = &mut registry.exporters;
    exporters.push(
        delivered(
            "otlp",
            ALL,
            |config: &OtlpSettings| keyed(config.validate()),
            |config, with| {
                let sink = OtlpSink::authorized(config.config(with.timeout), with.credentials);
                Ok(Arc::new(sink.map_err(BuildError::of)?))
            },
        )
        .also("otlp_grpc"),
    );
    exporters.push(
        delivered(
            "otlphttp",
            ALL,
            |config: &OtlpHttpSettings| keyed(config.validate()),
            |config, with| {
                let sink = OtlpSink::authorized(config.config(), with.credentials);
                Ok(Arc::new(sink.map_err(BuildError::of)?))
            },
        )
        .also("otlp_http"),
    );
    exporters.push(delivered(
        "loki",
        LOGS,
        |config: &LokiConfig| whole(config.validate()),
        |config, with| {
            let sink = LokiSink::authorized(config, with.credentials);
            Ok(Arc::new(sink.map_err(BuildError::of)?))
        },
    ));
    exporters.push(
        delivered(
            "prometheusremotewrite",
            METRICS,
            |config: &RemoteWriteConfig| whole(config.validate()),
            |config, with| {
                let sink = RemoteWriteSink::authorized(config, with.credentials);
                Ok(Arc::new(sink.map_err(BuildError::of)?))
            },
        )
        .also("prometheus_remote_write"),
    );
    exporters.push(delivered(
        "elasticsearch",
        ALL,
        |config: &ElasticsearchConfig| whole(config.validate()),
        |config, with| {
            let sink = ElasticsearchSink::authorized(config.clone(), with.credentials);
            Ok(Arc::new(sink.map_err(BuildError::of)?))
        },
    ));
    #[cfg(feature = "kafka")]
    exporters.push(delivered(
        "kafka",
        ALL,
        |config: &cupola_export::kafka::KafkaConfig| {
            let error = config.validate().err();
            error
                .map(|error| (error.key, error.problem))
                .into_iter()
                .collect()
        },
        |config, _| {
            Ok(Arc::new(
                cupola_export::kafka::KafkaSink::new(config.clone()).map_err(BuildError::of)?,
            ))
        },
    ));
    exporters.push(delivered(
        "postgres",
        ALL,
        |config: &PostgresConfig| whole(config.validate()),
        |config, _| {
            Ok(Arc::new(
                PostgresSink::new(config.clone()).map_err(BuildError::of)?,
            ))
        },
    ));
    exporters.push(plain(
        "file",
        ALL,
        |config: &FileConfig| whole(config.validate()),
        |config| Ok(Arc::new(FileSink::new(config.clone()).map_err(BuildError::of)?)),
    ));
    exporters.push(plain(
        "debug",
        ALL,
        |_: &DebugConfig| Vec::new(),
        |config| Ok(Arc::new(DebugSink::new(config.clone()))),
    ));
    exporters.push(Kind::new(
        "prometheus",
        METRICS,
        |config: &PageConfig| whole(config.validate()),
        |config: PageConfig| Arc::new(Page(config)) as Arc<dyn ExporterSettings>,
    ));
}

type Found = Vec<(String, String)>;
type Made = Result<Arc<dyn Component>, BuildError>;
type Make<C> = fn(&C) -> Made;
type MakeWith<C> = fn(&C, With) -> Made;

/// What the sink of a server is made with, beside its settings.
struct With {
    /// The time that one attempt may take.
    timeout: Duration,
    credentials: Credentials,
}

/// What is wrong, where the key is told.
fn keyed(result: Result<(), (&'static str, String)>) -> Found {
    result
        .err()
        .map(|(key, problem)| (key.to_owned(), problem))
        .into_iter()
        .collect()
}

/// What is wrong, where the message tells the key.
fn whole<T, E: std::fmt::Display>(result: Result<T, E>) -> Found {
    result
        .err()
        .map(|error| (String::new(), error.to_string()))
        .into_iter()
        .collect()
}

/// An exporter to something of this machine: it answers when it has taken a batch.
fn plain<C: DeserializeOwned + Send + Sync + 'static>(
    name: &'static str,
    signals: &'static [Signal],
    check: fn(&C) -> Found,
    make: Make<C>,
) -> Kind<dyn ExporterSettings> {
    Kind::new(name, signals, check, move |config: C| {
        Arc::new(Plain { config, make }) as Arc<dyn ExporterSettings>
    })
}

struct Plain<C> {
    config: C,
    make: Make<C>,
}

impl<C: Send + Sync> ExporterSettings for Plain<C> {
    fn build(&self, _context: Context) -> BoxFuture<'_, Result<Arc<dyn Component>, BuildError>> {
        async move { (self.make)(&self.config) }.boxed()
    }
}

/// The page to scrape, which is a listener.
struct Page(PageConfig);

impl ExporterSettings for Page {
    fn build(&self, context: Context) -> BoxFuture<'_, Result<Arc<dyn Component>, BuildError>> {
        async move {
            let auth = context.authenticators.server(self.0.auth.as_ref());
            let page = PageSink::guarded(&self.0, auth.map_err(BuildError::of)?);
            Ok(Arc::new(page.map_err(BuildError::of)?) as Arc<dyn Component>)
        }
        .boxed()
    }

    fn references(&self) -> Vec<Reference> {
        let reference = Reference::of("", self.0.auth.as_ref(), Side::Server);
        reference.into_iter().collect()
    }
}

/// Exporters whose batches go to a file of this machine while their destination is down and their queue full.
const FALLING_BACK: [&str; 3] = ["elasticsearch", "kafka", "postgres"];
const FALLBACK: &str = "fallback";
/// How long the destination is left alone after it has failed.
const FALLBACK_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// An exporter with a file behind it, which takes what the exporter cannot, until it works again.
struct WithFile {
    failover: Failover,
    levels: [Arc<dyn Component>; 2],
    exporter: Arc<Exporter>,
}

impl WithFile {
    fn new(exporter: Arc<Exporter>, context: &Context) -> Result<WithFile, BuildError> {
        let config = FileConfig {
            path: context
                .directory
                .join(FALLBACK)
                .join(format!("{}.jsonl", folder(&context.id))),
            create_directory: true,
            ..FileConfig::default()
        };
        let file = FileSink::new(config).map_err(BuildError::of)?;
        let levels: [Arc<dyn Component>; 2] = [exporter.clone(), Arc::new(file)];
        let failover = Failover::new(levels.to_vec(), FALLBACK_RETRY_INTERVAL);
        Ok(WithFile {
            failover,
            levels,
            exporter,
        })
    }
}

#[async_trait]
impl Sink for WithFile {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        self.failover.send(batch).await
    }
}

#[async_trait]
impl Component for WithFile {
    async fn shutdown(&self) {
        for level in &self.levels {
            level.shutdown().await;
        }
    }

    async fn retire(&self) -> Vec<Batch> {
        let left = self.exporter.retire().await;
        self.levels[1].shutdown().await;
        left
    }

    async fn take_over(&self, batch: Batch) {
        self.exporter.take_over(batch).await;
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        self.levels.iter().for_each(|level| level.collect(samples));
        self.failover.collect(samples);
    }
}

/// Keys of [`DeliveryConfig`] that every such exporter has.
const DELIVERY: [&str; 4] = ["sending_queue", "retry_on_failure", "dead_letters", "rate_limit"];
const TIMEOUT: &str = "timeout";
/// Exporters whose requests have headers for credentials.
const AUTHORIZED: [&str; 5] = [
    "elasticsearch",
    "loki",
    "otlp",
    "otlphttp",
    "prometheusremotewrite",
];
const AUTH: &str = "auth";

/// An exporter to a server: with a queue in front of it.
fn delivered<C: DeserializeOwned + Send + Sync + 'static>(
    name: &'static str,
    signals: &'static [Signal],
    check: fn(&C) -> Found,
    make: MakeWith<C>,
) -> Kind<dyn ExporterSettings> {
    let is_authorized = AUTHORIZED.contains(&name);
    let read = move |node: &Node, at: &str, problems: &mut Problems| {
        let before = problems.errors();
        // A sink that has a time-out of its own needs none around it.
        let own_timeout = has_timeout::<C>();
        let auth = match node.get(AUTH).filter(|auth| is_authorized && !auth.is_null()) {
            Some(auth) => cupola_config::read_at(auth, &format!("{at}.{AUTH}"), problems),
            None => None,
        };
        let mut of_sink = node.clone();
        let mut of_delivery = node.clone();
        for entry in node.entries() {
            let key = &*entry.key;
            let delivery = DELIVERY.contains(&key) || (key == TIMEOUT && !own_timeout);
            if key == AUTH && is_authorized {
                (of_sink, of_delivery) = (of_sink.without(&[key]), of_delivery.without(&[key]));
            } else if delivery {
                of_sink = of_sink.without(&[key]);
            } else {
                of_delivery = of_delivery.without(&[key]);
            }
        }
        let delivery: Option<DeliveryConfig> = match of_delivery.is_null() {
            true => Some(DeliveryConfig::default()),
            false => cupola_config::read_at(&of_delivery, at, problems),
        };
        let mut found = Problems::new();
        let config: Option<C> = cupola_config::read_at(&of_sink, at, &mut found);
        problems.leave_out(found.left_out());
        let known = known_keys::<C>(is_authorized);
        problems.extend(
            found
                .into_sorted()
                .into_iter()
                .map(|problem| with_all_keys(problem, at, &known)),
        );
        let (mut delivery, config) = (delivery?, config?);
        // What lacks a key that was misspelt is not judged as if it had never been written.
        if problems.errors() > before {
            return None;
        }
        let mut wrong = check(&config);
        if let Err(error) = delivery.validate() {
            wrong.push((error.key.to_owned(), error.problem));
        }
        tell(node, at, wrong, problems);
        if problems.errors() > before {
            return None;
        }
        if own_timeout {
            delivery.timeout = Duration::ZERO;
        }
        let queue = node.get("sending_queue");
        let says = |key: &str| queue.is_some_and(|queue| queue.get(key).is_some());
        Some(Arc::new(Delivered {
            says_when_full: says("when_full") || says("block_on_overflow") || says("wait_for_result"),
            config,
            auth,
            delivery,
            make,
        }) as Arc<dyn ExporterSettings>)
    };
    let schema = match is_authorized {
        true => authorized_schema::<C>,
        false => delivered_schema::<C>,
    };
    Kind::read_by(name, signals, read, schema, delivered_secrets::<C>)
}

/// Keys that such an exporter has, its own and those of all.
fn known_keys<C: DeserializeOwned>(is_authorized: bool) -> Vec<String> {
    let schema = cupola_config::schema::<C>();
    let own = schema["properties"].as_object();
    let mut keys: Vec<String> = own.into_iter().flat_map(|own| own.keys().cloned()).collect();
    let auth = Some(AUTH).filter(|_| is_authorized);
    for key in DELIVERY.into_iter().chain([TIMEOUT]).chain(auth) {
        if !keys.iter().any(|known| known == key) {
            keys.push(key.to_owned());
        }
    }
    keys
}

/// A key that the sink does not know may be meant for what is around it.
fn with_all_keys(mut problem: Problem, at: &str, known: &[String]) -> Problem {
    let key = problem.key.strip_prefix(at).and_then(|key| key.strip_prefix('.'));
    if let Some(key) = key.filter(|key| problem.message == "unknown key" && !key.contains('.')) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        problem.hint = Some(cupola_config::read::keys_hint(key, &known));
    }
    problem
}

fn has_timeout<C: DeserializeOwned>() -> bool {
    cupola_config::schema::<C>()["properties"].get(TIMEOUT).is_some()
}

fn delivered_schema<C: DeserializeOwned>() -> Json {
    let mut schema = cupola_config::schema::<C>();
    let delivery = cupola_config::schema::<DeliveryConfig>();
    for key in DELIVERY.into_iter().chain([TIMEOUT]) {
        if schema["properties"].get(key).is_none() {
            schema["properties"][key] = delivery["properties"][key].clone();
        }
    }
    schema
}

fn authorized_schema<C: DeserializeOwned>() -> Json {
    let mut schema = delivered_schema::<C>();
    schema["properties"][AUTH] = cupola_config::schema::<AuthSettings>();
    schema
}

fn delivered_secrets<C: DeserializeOwned>() -> Vec<SecretPath> {
    cupola_config::secret_paths::<C>()
}

struct Delivered<C> {
    config: C,
    auth: Option<AuthSettings>,
    delivery: DeliveryConfig,
    /// Whether the settings say what becomes of a batch that the queue has no room for.
    says_when_full: bool,
    make: MakeWith<C>,
}

impl<C> Delivered<C> {
    /// The destination alone.
    fn sink(&self, authenticators: &Authenticators) -> Made {
        let credentials = authenticators.credentials(self.auth.as_ref());
        let with = With {
            timeout: self.delivery.timeout,
            credentials: credentials.map_err(BuildError::of)?,
        };
        (self.make)(&self.config, with)
    }
}

impl<C: Send + Sync> ExporterSettings for Delivered<C> {
    fn build(&self, context: Context) -> BoxFuture<'_, Result<Arc<dyn Component>, BuildError>> {
        async move {
            let mut delivery = self.delivery.clone();
            // A destination that is down must not keep batches from the others; alone, it leaves them to their senders.
            let has_file = FALLING_BACK.contains(&context.id.kind());
            if context.one_of_several && !self.says_when_full && !has_file {
                delivery.sending_queue.when_full = WhenFull::DropWhileFailing;
            }
            let storage = match &delivery.sending_queue.storage {
                Some(name) if delivery.sending_queue.enabled => Some(storage(name, &context)?),
                _ => None,
            };
            let letters = context.directory.join(DEAD_LETTERS).join(folder(&context.id));
            let sink = self.sink(&context.authenticators)?;
            let id = context.id.to_string();
            let started =
                Exporter::start(id, delivery, sink, storage, Some(letters), context.held.clone()).await;
            let exporter = Arc::new(started.map_err(BuildError::of)?);
            if !has_file {
                return Ok(exporter as Arc<dyn Component>);
            }
            let fallback = WithFile::new(exporter.clone(), &context);
            if fallback.is_err() {
                exporter.shutdown().await;
            }
            Ok(Arc::new(fallback?) as Arc<dyn Component>)
        }
        .boxed()
    }

    fn destination(&self, authenticators: &Authenticators) -> Result<Arc<dyn Component>, BuildError> {
        self.sink(authenticators)
    }

    fn references(&self) -> Vec<Reference> {
        let reference = Reference::of("", self.auth.as_ref(), Side::Client);
        reference.into_iter().collect()
    }

    fn storage(&self) -> Option<String> {
        let queue = &self.delivery.sending_queue;
        queue.storage.clone().filter(|_| queue.enabled)
    }
}

fn storage(name: &str, context: &Context) -> Result<std::path::PathBuf, BuildError> {
    let known = name
        .parse::<ComponentId>()
        .ok()
        .and_then(|id| context.extensions.storage.get(&id));
    match known {
        Some(directory) => Ok(directory.join(folder(&context.id))),
        None => Err(BuildError::new(format!(
            "there is no extension `{name}` to keep the queue"
        ))),
    }
}

/// The name of a component as that of a directory.
pub fn folder(id: &ComponentId) -> String {
    folder_of(&id.to_string())
}

/// The same of any name.
pub(super) fn folder_of(name: &str) -> String {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let mut folder = String::new();
    for byte in name.bytes() {
        match char::from(byte) {
            plain if letter(plain) => folder.push(plain),
            // So that no two names are one directory.
            _ => folder.push_str(&format!("%{byte:02x}")),
        }
    }
    folder
}
