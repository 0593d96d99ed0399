//! Components of which a test sees the inside: a source it can push into, and destinations that remember.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use cupola_config::{Node, Problems};
use cupola_export::{Accepted, Component, Outlook, SendError, Sink};
use cupola_pipeline::connectors::Outputs;
use cupola_pipeline::graph::kinds::{
    BuildError, ConnectorKind, ConnectorSettings, ExporterSettings, Kind, Receiver, ReceiverSettings,
    Registry, SignalSinks,
};
use cupola_pipeline::graph::{Context, Plan};
use cupola_telemetry::encode::{LogsEncoder, TracesEncoder};
use cupola_telemetry::{Batch, Signal, TenantId};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

const ALL: &[Signal] = &[Signal::Logs, Signal::Metrics, Signal::Traces];

/// What the components of one test know of each other.
#[derive(Clone, Default)]
pub(crate) struct Bench(Arc<Inside>);

#[derive(Default)]
struct Inside {
    sources: Mutex<HashMap<String, SignalSinks>>,
    arrived: Mutex<HashMap<String, Vec<Batch>>>,
    made: Mutex<Vec<String>>,
    ended: Mutex<Vec<String>>,
    starts: AtomicUsize,
    released: CancellationToken,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// Told apart from one another by this.
    label: String,
    /// Making it fails.
    broken: bool,
    /// What it says to every batch.
    refuse: bool,
    /// It answers nobody until it is let go.
    hang: bool,
}

impl Bench {
    /// All components there are, and `push`, `keep` and `join`.
    pub(crate) fn registry(&self) -> Registry {
        let mut registry = cupola_pipeline::components::registry();
        let bench = self.clone();
        registry.receivers.push(Kind::new::<Settings>(
            "push",
            ALL,
            |_| Vec::new(),
            move |settings| Arc::new(Push(bench.clone(), settings)) as Arc<dyn ReceiverSettings>,
        ));
        let bench = self.clone();
        registry.exporters.push(Kind::new::<Settings>(
            "keep",
            ALL,
            |_| Vec::new(),
            move |settings| Arc::new(Keep(bench.clone(), settings)) as Arc<dyn ExporterSettings>,
        ));
        let bench = self.clone();
        registry.connectors.push(ConnectorKind {
            kind: Kind::new::<Settings>(
                "join",
                ALL,
                |_| Vec::new(),
                move |settings| Arc::new(Join(bench.clone(), settings)) as Arc<dyn ConnectorSettings>,
            ),
            ways: &[(Signal::Logs, Signal::Logs), (Signal::Traces, Signal::Traces)],
        });
        registry
    }

    pub(crate) fn plan(&self, text: &str) -> Plan {
        self.plan_with(text, &self.registry())
    }

    /// A plan of components of this registry.
    pub(crate) fn plan_with(&self, text: &str, registry: &Registry) -> Plan {
        let mut problems = Problems::new();
        let root = Node::parse("test.yaml", text).unwrap();
        let plan = Plan::read(&root, registry, &mut problems);
        plan.unwrap_or_else(|| panic!("{:#?}\n{text}", problems.into_sorted()))
    }

    /// Sends what the receiver of this name would have received.
    pub(crate) async fn push(&self, receiver: &str, batch: Batch) -> Result<Accepted, SendError> {
        let answer = self.try_push(receiver, batch).await;
        answer.unwrap_or_else(|| panic!("{receiver} does not run"))
    }

    /// `None` if the receiver does not run.
    pub(crate) async fn try_push(&self, receiver: &str, batch: Batch) -> Option<Result<Accepted, SendError>> {
        let sinks = self.0.sources.lock().get(receiver).cloned()?;
        Some(sinks.send(batch).await)
    }

    /// What a receiver is told before it reads anything.
    pub(crate) fn outlook(&self, receiver: &str, signal: Signal) -> Outlook {
        self.0.sources.lock()[receiver].outlook(signal)
    }

    /// What exporters of this label have taken, in order.
    pub(crate) fn arrived(&self, label: &str) -> Vec<Batch> {
        self.0.arrived.lock().get(label).cloned().unwrap_or_default()
    }

    /// Components made so far, by their ids, each time they were made.
    pub(crate) fn made(&self) -> Vec<String> {
        self.0.made.lock().clone()
    }

    pub(crate) fn ended(&self) -> Vec<String> {
        self.0.ended.lock().clone()
    }

    /// Lets those answer that hang.
    pub(crate) fn let_go(&self) {
        self.0.released.cancel();
    }

    fn make(&self, context: &Context, settings: &Settings) -> Result<String, BuildError> {
        self.0.starts.fetch_add(1, Ordering::Relaxed);
        let id = context.id.to_string();
        if settings.broken {
            return Err(BuildError::new("it is broken"));
        }
        self.0.made.lock().push(id.clone());
        Ok(id)
    }
}

struct Push(Bench, Settings);

struct Pushing(Bench, String);

impl ReceiverSettings for Push {
    fn start(
        &self,
        context: Context,
        sinks: SignalSinks,
    ) -> BoxFuture<'_, Result<Arc<dyn Receiver>, BuildError>> {
        async move {
            let id = self.0.make(&context, &self.1)?;
            self.0.0.sources.lock().insert(id.clone(), sinks);
            Ok(Arc::new(Pushing(self.0.clone(), id)) as Arc<dyn Receiver>)
        }
        .boxed()
    }
}

#[async_trait]
impl Receiver for Pushing {
    async fn shutdown(&self) {
        self.0.0.sources.lock().remove(&self.1);
        self.0.0.ended.lock().push(self.1.clone());
    }
}

struct Keep(Bench, Settings);

struct Keeping {
    bench: Bench,
    id: String,
    label: String,
    refuse: bool,
    hang: bool,
}

impl ExporterSettings for Keep {
    fn build(&self, context: Context) -> BoxFuture<'_, Result<Arc<dyn Component>, BuildError>> {
        async move {
            let id = self.0.make(&context, &self.1)?;
            let label = if self.1.label.is_empty() {
                id.clone()
            } else {
                self.1.label.clone()
            };
            let keeping = Keeping {
                bench: self.0.clone(),
                id,
                label,
                refuse: self.1.refuse,
                hang: self.1.hang,
            };
            Ok(Arc::new(keeping) as Arc<dyn Component>)
        }
        .boxed()
    }
}

#[async_trait]
impl Sink for Keeping {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        // As one that waits for an answer does.
        tokio::task::yield_now().await;
        if self.hang {
            self.bench.0.released.cancelled().await;
        }
        if self.refuse {
            return Err(SendError::retryable("not now"));
        }
        self.bench
            .0
            .arrived
            .lock()
            .entry(self.label.clone())
            .or_default()
            .push(batch);
        Ok(Accepted::all())
    }
}

#[async_trait]
impl Component for Keeping {
    async fn shutdown(&self) {
        self.bench.0.ended.lock().push(self.id.clone());
    }
}

struct Join(Bench, Settings);

struct Joining {
    bench: Bench,
    id: String,
    outputs: Outputs,
}

impl ConnectorSettings for Join {
    fn build(
        &self,
        context: Context,
        _inputs: &[Signal],
        outputs: Outputs,
    ) -> Result<Arc<dyn Component>, BuildError> {
        let id = self.0.make(&context, &self.1)?;
        Ok(Arc::new(Joining {
            bench: self.0.clone(),
            id,
            outputs,
        }))
    }
}

#[async_trait]
impl Sink for Joining {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        match self.outputs.of(batch.signal()).first() {
            Some(output) => output.sink.send(batch).await,
            None => Err(SendError::permanent("nowhere to go")),
        }
    }
}

#[async_trait]
impl Component for Joining {
    async fn shutdown(&self) {
        self.bench.0.ended.lock().push(self.id.clone());
    }
}

/// One log record for each body.
pub(crate) fn logs(bodies: &[&str]) -> Batch {
    tenant_logs("default", bodies)
}

pub(crate) fn tenant_logs(tenant: &str, bodies: &[&str]) -> Batch {
    let mut encoder = LogsEncoder::new();
    {
        let mut resource = encoder.resource_logs();
        let mut scope = resource.scope_logs();
        for body in bodies {
            scope.record().body(*body);
        }
    }
    encoder.finish(TenantId::parse(tenant).unwrap())
}

/// One span of this name.
pub(crate) fn span(name: &str) -> Batch {
    let mut encoder = TracesEncoder::new();
    encoder.resource_spans().scope_spans().span().name(name);
    encoder.finish(TenantId::default_tenant())
}

/// The bodies of all log records, in order.
pub(crate) fn bodies(batches: &[Batch]) -> Vec<String> {
    let mut bodies = Vec::new();
    for batch in batches {
        for resource in batch.logs().resources() {
            for scope in resource.scopes() {
                for record in scope.records() {
                    bodies.push(
                        record
                            .body
                            .and_then(|body| body.as_str().map(str::to_owned))
                            .unwrap_or_default(),
                    );
                }
            }
        }
    }
    bodies
}

pub(crate) fn context() -> Context {
    Context::unbounded(&std::env::temp_dir())
}
