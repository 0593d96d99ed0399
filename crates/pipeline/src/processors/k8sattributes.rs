//! The processor that says which pod a resource is of: its name, namespace, node, owners, containers, labels.
//!
//! `watching` keeps `cluster` as the API server says it, with `api` over reqwest: a list and a watch of JSON need no
//! client of their own. `rules` are the settings, `pod` what is told of one. A resource says which pod it is of by
//! `pod_association`, or by `k8s.pod.ip`, `ip`, the address of the sender or `host.name`; an attribute that it has is not changed, unless it is empty.
//!
//! Pods are listed after everything else, as in the Collector: a pod can be asked for by what its owners tell, and the
//! first batches are not told less than those that follow.
//!
//! The address of a sender is known of what came over the network and was not put together with others' data since, by
//! `batch` for example. Data is never held up: what is of a pod that is not known goes on as it is. Stateless towards senders:
//! they have the answer of the next sink. Refuses to read the environment itself: it is given its [`Surroundings`].
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/k8sattributesprocessor>

mod access;
mod api;
mod attach;
mod cluster;
mod config;
mod image;
mod lookup;
mod objects;
mod pod;
mod rules;
mod watching;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::Batch;
use cupola_telemetry::edit::edit;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ConfigError;
use super::stage::worked;
pub use access::Surroundings;
pub use config::{
    AssociationConfig, AuthType, ExcludeConfig, ExcludePod, ExtractConfig, FieldConfig, FieldFilter, FieldOp,
    FilterConfig, From, K8sAttributesConfig, Kind, LabelFilter, LabelOp, Metadata, SourceConfig,
};

use access::Access;
use api::{Api, Resource};
use attach::Attaching;
use cluster::Cluster;
pub(super) use lookup::Lookup;
use rules::Rules;
use watching::{Watcher, all_known};

/// How often pods that have been deleted for long enough are forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// What the processor cannot start without.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot reach the API server of Kubernetes: {0}")]
    Access(String),
    #[error("the API server of Kubernetes did not list its pods within {0:?} (`wait_for_metadata_timeout`)")]
    NotKnown(Duration),
}

/// Pods in front of a sink.
pub struct K8sAttributes {
    shared: Arc<Shared>,
    next: Arc<dyn Sink>,
    tasks: Mutex<JoinSet<()>>,
    /// Failed attempts to list or watch.
    failures: Arc<AtomicU64>,
}

/// What is needed for a batch.
struct Shared {
    config: K8sAttributesConfig,
    rules: Arc<Rules>,
    cluster: Arc<RwLock<Cluster>>,
    found: AtomicU64,
    missed: AtomicU64,
}

impl K8sAttributes {
    /// Begins to watch; waits for the pods to be known if the settings say so.
    pub async fn start(
        config: &K8sAttributesConfig,
        next: Arc<dyn Sink>,
        surroundings: Surroundings,
    ) -> Result<Self, StartError> {
        config.validate()?;
        let rules = Arc::new(Rules::new(config)?);
        let processor = Self {
            shared: Arc::new(Shared {
                config: config.clone(),
                cluster: Arc::new(RwLock::new(Cluster::new(config, rules.clone()))),
                rules,
                found: AtomicU64::new(0),
                missed: AtomicU64::new(0),
            }),
            next,
            tasks: Mutex::default(),
            failures: Arc::default(),
        };
        if !config.passthrough {
            processor.watch(&surroundings).await?;
        }
        Ok(processor)
    }

    async fn watch(&self, surroundings: &Surroundings) -> Result<(), StartError> {
        let config = &self.shared.config;
        let filter = &config.filter;
        let node = match filter.node_from_env_var.as_str() {
            "" => filter.node.clone(),
            name => surroundings.variables.get(name).cloned().ok_or_else(|| {
                let problem = format!("the variable `{name}` is not set");
                ConfigError::setting("filter.node_from_env_var", problem)
            })?,
        };
        let access = Access::new(config.auth_type, &config.context, surroundings);
        let api = Arc::new(access.and_then(Api::new).map_err(StartError::Access)?);
        let is_only_system = !self.shared.rules.reads(Kind::Namespace);
        let watcher = |kind: Kind| {
            let (is_known, known) = watch::channel(false);
            let watcher = Watcher {
                api: api.clone(),
                resource: Resource::new(kind, filter, &node, is_only_system),
                cluster: self.shared.cluster.clone(),
                failures: self.failures.clone(),
                is_known,
            };
            (watcher, known)
        };
        let mut others_known = Vec::new();
        for kind in self.shared.rules.kinds() {
            let (other, known) = watcher(kind);
            self.tasks.lock().spawn(other.run());
            others_known.push(known);
        }
        let (pods, mut pods_known) = watcher(Kind::Pod);
        self.tasks.lock().spawn(async move {
            all_known(others_known).await;
            pods.run().await;
        });
        let cluster = self.shared.cluster.clone();
        self.tasks.lock().spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_INTERVAL).await;
                cluster.write().sweep(Instant::now());
            }
        });
        if config.wait_for_metadata {
            let limit = config.wait_for_metadata_timeout.0;
            let waited = tokio::time::timeout(limit, pods_known.wait_for(|known| *known)).await;
            if !matches!(waited, Ok(Ok(_))) {
                return Err(StartError::NotKnown(limit));
            }
        }
        Ok(())
    }

    /// The batch with what is known of its pods; it loses no item.
    pub fn process(&self, batch: Batch) -> Batch {
        self.shared.process(batch)
    }
}

impl Shared {
    fn process(&self, batch: Batch) -> Batch {
        let mut attaching = Attaching {
            config: &self.config,
            rules: &self.rules,
            cluster: &self.cluster,
            address: batch.client().and_then(|client| client.address()),
            found: 0,
            missed: 0,
        };
        let Ok(edited) = edit(&batch, &mut attaching);
        self.found.fetch_add(attaching.found, Ordering::Relaxed);
        self.missed.fetch_add(attaching.missed, Ordering::Relaxed);
        // Nothing is dropped, so that something is always left.
        edited.unwrap_or(batch)
    }
}

#[async_trait]
impl Sink for K8sAttributes {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let shared = self.shared.clone();
        let batch = worked(batch.payload().len(), move || shared.process(batch)).await?;
        self.next.send(batch).await
    }
}

#[async_trait]
impl Component for K8sAttributes {
    async fn shutdown(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        let (pods, counts) = {
            let cluster = self.shared.cluster.read();
            (cluster.pods(), cluster.counts)
        };
        samples.push(Sample::level(
            "otelcol_k8s_watcher_pod_cache_size",
            "Pods that are known.",
            pods as f64,
        ));
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        for (name, help, value) in [
            (
                "otelcol_k8s_watcher_pod_added",
                "Pods that became known.",
                counts.added,
            ),
            (
                "otelcol_k8s_watcher_pod_updated",
                "Changes of pods.",
                counts.updated,
            ),
            (
                "otelcol_k8s_watcher_pod_deleted",
                "Pods that were deleted.",
                counts.deleted,
            ),
            (
                "cupola_processor_k8sattributes_refused_total",
                "Objects of the cluster for which there was no room.",
                counts.refused,
            ),
            (
                "cupola_processor_k8sattributes_api_failures_total",
                "Requests to the API server that failed.",
                load(&self.failures),
            ),
        ] {
            samples.push(Sample::count(name, help, value));
        }
        for (status, count) in [("success", &self.shared.found), ("error", &self.shared.missed)] {
            let name = "otelcol_k8s_pod_association";
            let sample = Sample::count(name, "Resources of which the pod is known, or not.", load(count));
            samples.push(sample.with("status", status));
        }
    }
}
