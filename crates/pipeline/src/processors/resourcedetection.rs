//! The resourcedetection processor: adds to every resource what is known of where this program runs.
//!
//! Detection happens once at the start, all detectors at the same time and each within `timeout`, and again after every
//! `refresh_interval` if there is one; a detector that fails leaves what it found the last time. Of detectors that know
//! the same attribute, the first in the list counts.
//!
//! Stateless towards senders: they have the answer of the next sink. Refuses to read the environment itself: it is given
//! its [`Surroundings`].
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/resourcedetectionprocessor>

mod detectors;
mod metadata;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::units::TimeSpan;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::Batch;
use cupola_telemetry::edit::{Editor, Level, Place, Value, Verdict, edit};
use futures::future::join_all;
use parking_lot::{Mutex, RwLock};
use serde::Deserialize;
use tokio::task::JoinSet;
use url::Url;

use super::ConfigError;
use super::k8sattributes::AuthType;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResourceDetectionConfig {
    pub detectors: Vec<Detector>,
    /// Replaces what a resource has.
    pub r#override: bool,
    /// How long one detector may take.
    pub timeout: TimeSpan,
    /// Zero: never again.
    pub refresh_interval: TimeSpan,
    pub env: DetectorConfig,
    pub system: SystemConfig,
    pub process: DetectorConfig,
    pub container: DetectorConfig,
    pub docker: DockerConfig,
    pub k8s: DetectorConfig,
    #[serde(alias = "k8snode")]
    pub k8s_api: K8sApiConfig,
    pub ec2: MetadataConfig,
    pub gcp: MetadataConfig,
    pub azure: MetadataConfig,
}

impl Default for ResourceDetectionConfig {
    fn default() -> Self {
        Self {
            detectors: vec![Detector::Env],
            r#override: true,
            timeout: TimeSpan(Duration::from_secs(5)),
            refresh_interval: TimeSpan(Duration::ZERO),
            env: DetectorConfig::default(),
            system: SystemConfig::default(),
            process: DetectorConfig::default(),
            container: DetectorConfig::default(),
            docker: DockerConfig::default(),
            k8s: DetectorConfig::default(),
            k8s_api: K8sApiConfig::default(),
            ec2: MetadataConfig::default(),
            gcp: MetadataConfig::default(),
            azure: MetadataConfig::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detector {
    /// `OTEL_RESOURCE_ATTRIBUTES`.
    Env,
    System,
    /// This process.
    Process,
    /// The id of the container that this process is in, from its control group.
    Container,
    /// The host of the Docker daemon.
    Docker,
    /// Pod, namespace and node, from variables of the downward API and from the service account.
    K8s,
    /// Node and cluster, by the API server of Kubernetes.
    #[serde(rename = "k8s_api", alias = "k8snode")]
    K8sApi,
    Ec2,
    Gcp,
    Azure,
}

/// Which attributes a detector adds, where that is not its default.
pub type ResourceAttributes = BTreeMap<String, Enabled>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enabled {
    pub enabled: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectorConfig {
    pub resource_attributes: ResourceAttributes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SystemConfig {
    pub resource_attributes: ResourceAttributes,
    /// Accepted for the Collector's sake: the name is always that of the operating system.
    pub hostname_sources: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DockerConfig {
    pub resource_attributes: ResourceAttributes,
    /// Of the daemon.
    pub socket: PathBuf,
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            resource_attributes: ResourceAttributes::new(),
            socket: PathBuf::from("/var/run/docker.sock"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct K8sApiConfig {
    pub resource_attributes: ResourceAttributes,
    pub auth_type: AuthType,
    /// Of the kubeconfig file, where its current one is not meant.
    pub context: String,
    /// Without effect: two requests are sent at most.
    pub kube_api_qps: f64,
    pub kube_api_burst: u64,
    /// The variable that holds the name of the node; empty is `K8S_NODE_NAME`.
    pub node_from_env_var: String,
}

impl Default for K8sApiConfig {
    fn default() -> Self {
        Self {
            resource_attributes: ResourceAttributes::new(),
            auth_type: AuthType::ServiceAccount,
            context: String::new(),
            kube_api_qps: 0.0,
            kube_api_burst: 0,
            node_from_env_var: String::new(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetadataConfig {
    pub resource_attributes: ResourceAttributes,
    /// Where the cloud answers, if it is not its usual address.
    pub metadata_url: Option<String>,
}

impl ResourceDetectionConfig {
    /// Refuses addresses that are none.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.detectors.is_empty() {
            return Err(ConfigError::setting("detectors", "there is none"));
        }
        if self.timeout.0.is_zero() {
            return Err(ConfigError::setting("timeout", "it must be longer than nothing"));
        }
        for (name, config) in [("ec2", &self.ec2), ("gcp", &self.gcp), ("azure", &self.azure)] {
            if let Some(address) = &config.metadata_url {
                let key = || format!("{name}.metadata_url");
                let url =
                    Url::parse(address).map_err(|error| ConfigError::setting(key(), error.to_string()))?;
                if url.scheme() != "http" || url.host_str().is_none() {
                    return Err(ConfigError::setting(
                        key(),
                        "it must begin with http:// and name a host",
                    ));
                }
            }
        }
        Ok(())
    }

    fn attributes_of(&self, detector: Detector) -> &ResourceAttributes {
        match detector {
            Detector::Env => &self.env.resource_attributes,
            Detector::System => &self.system.resource_attributes,
            Detector::Process => &self.process.resource_attributes,
            Detector::Container => &self.container.resource_attributes,
            Detector::Docker => &self.docker.resource_attributes,
            Detector::K8s => &self.k8s.resource_attributes,
            Detector::K8sApi => &self.k8s_api.resource_attributes,
            Detector::Ec2 => &self.ec2.resource_attributes,
            Detector::Gcp => &self.gcp.resource_attributes,
            Detector::Azure => &self.azure.resource_attributes,
        }
    }
}

/// What the detectors may look at.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Of the environment.
    pub variables: BTreeMap<String, String>,
    /// Where `/proc`, `/etc` and `/var` are.
    pub root: PathBuf,
}

/// An attribute that was found; those of which `usual` is false are added only if the settings say so.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    key: String,
    value: Known,
    usual: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Known {
    Text(String),
    Int(i64),
}

impl Known {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::from(text.as_str()),
            Self::Int(value) => Value::Int(*value),
        }
    }
}

/// Why a detector found nothing.
#[derive(Debug, thiserror::Error)]
enum DetectError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot connect to {address}")]
    Connect { address: String, source: std::io::Error },
    #[error("{address} did not answer as metadata do: {problem}")]
    Answer { address: String, problem: String },
    #[error("cannot ask the API server of Kubernetes: {0}")]
    Kubernetes(String),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("{0}")]
    Nothing(&'static str),
}

type Attributes = Vec<(String, Known)>;

struct Shared {
    config: ResourceDetectionConfig,
    surroundings: Surroundings,
    /// Of each detector, in their order.
    found: Mutex<Vec<Attributes>>,
    attributes: RwLock<Arc<Attributes>>,
    failures: AtomicU64,
}

/// Detection in front of a sink.
pub struct ResourceDetection {
    shared: Arc<Shared>,
    next: Arc<dyn Sink>,
    tasks: Mutex<JoinSet<()>>,
}

impl ResourceDetection {
    /// Detects, which takes `timeout` at most. What cannot be detected is logged, and is no error.
    pub async fn start(
        config: &ResourceDetectionConfig,
        next: Arc<dyn Sink>,
        surroundings: Surroundings,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let shared = Arc::new(Shared {
            found: Mutex::new(vec![Attributes::new(); config.detectors.len()]),
            config: config.clone(),
            surroundings,
            attributes: RwLock::default(),
            failures: AtomicU64::new(0),
        });
        shared.detect().await;
        let mut tasks = JoinSet::new();
        let interval = config.refresh_interval.0;
        if !interval.is_zero() {
            let shared = shared.clone();
            tasks.spawn(async move {
                loop {
                    tokio::time::sleep(interval).await;
                    shared.detect().await;
                }
            });
        }
        Ok(Self {
            shared,
            next,
            tasks: Mutex::new(tasks),
        })
    }

    /// The batch with what was detected; it loses no item.
    pub fn process(&self, batch: Batch) -> Batch {
        let attributes = self.shared.attributes.read().clone();
        let mut work = Work {
            attributes: &attributes,
            replaces: self.shared.config.r#override,
        };
        let Ok(edited) = edit(&batch, &mut work);
        // Nothing is dropped, so that something is always left.
        edited.unwrap_or(batch)
    }
}

impl Shared {
    async fn detect(&self) {
        let detections = self
            .config
            .detectors
            .iter()
            .map(|detector| self.detect_one(*detector));
        let detected = join_all(detections).await;
        let mut found = self.found.lock();
        for (last, now) in found.iter_mut().zip(detected) {
            if let Some(now) = now {
                *last = now;
            }
        }
        let mut all = Attributes::new();
        for (key, value) in found.iter().flatten() {
            if !all.iter().any(|(known, _)| known == key) {
                all.push((key.clone(), value.clone()));
            }
        }
        *self.attributes.write() = Arc::new(all);
    }

    async fn detect_one(&self, detector: Detector) -> Option<Attributes> {
        let limit = self.config.timeout.0;
        let detection = detectors::detect(detector, &self.config, &self.surroundings);
        let found = match tokio::time::timeout(limit, detection).await {
            Ok(found) => found,
            Err(_) => Err(DetectError::Timeout(limit)),
        };
        match found {
            Ok(found) => {
                let enabled = self.config.attributes_of(detector);
                let is_enabled =
                    |found: &Found| enabled.get(&found.key).map_or(found.usual, |one| one.enabled);
                let wanted = found.into_iter().filter(is_enabled);
                Some(wanted.map(|found| (found.key, found.value)).collect())
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                let cause = std::error::Error::source(&error)
                    .map(ToString::to_string)
                    .unwrap_or_default();
                tracing::warn!(?detector, %error, cause, "cannot detect the resource");
                None
            }
        }
    }
}

struct Work<'w> {
    attributes: &'w Attributes,
    replaces: bool,
}

impl<'a, 'w: 'a> Editor<'a> for Work<'w> {
    type Error = Infallible;

    fn deepest(&self) -> Level {
        Level::Resource
    }

    fn visit(&mut self, _: Level, place: &mut Place<'a>) -> Result<Verdict, Infallible> {
        for (key, known) in self.attributes {
            let value = known.value();
            let before = place
                .resource
                .with_message(1, |resource| resource.attribute(1, key));
            let stays = match before {
                Some(before) => !self.replaces || before == value,
                None => false,
            };
            if !stays {
                let map = place.resource.message_mut(1).map_mut(1);
                map.set(key.as_str().into(), value);
            }
        }
        Ok(Verdict::Keep)
    }
}

#[async_trait]
impl Sink for ResourceDetection {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        self.next.send(self.process(batch)).await
    }
}

#[async_trait]
impl Component for ResourceDetection {
    async fn shutdown(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        samples.push(Sample::level(
            "otelcol_processor_resourcedetection_attributes",
            "Attributes that are added to resources.",
            self.shared.attributes.read().len() as f64,
        ));
        samples.push(Sample::count(
            "otelcol_processor_resourcedetection_failures",
            "Detectors that found nothing.",
            self.shared.failures.load(Ordering::Relaxed),
        ));
    }
}
