//! Settings of the processor `k8sattributes`: those of the Collector.

use std::collections::BTreeSet;
use std::time::Duration;

use cupola_config::units::TimeSpan;
use regex::Regex;
use serde::Deserialize;

use super::rules::Rules;
use crate::processors::ConfigError;

/// Sources of one association.
const SOURCES_MAX: usize = 4;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct K8sAttributesConfig {
    pub auth_type: AuthType,
    /// Of the kubeconfig file, where its current one is not meant.
    pub context: String,
    /// Without effect: there are as many watches as kinds of objects.
    pub kube_api_qps: f64,
    pub kube_api_burst: u64,
    /// Only tells the address of the pod; asks no API server.
    pub passthrough: bool,
    pub extract: ExtractConfig,
    pub filter: FilterConfig,
    /// The first whose sources a resource has says which pod it is of.
    pub pod_association: Vec<AssociationConfig>,
    pub exclude: ExcludeConfig,
    /// Does not start before the pods are known.
    pub wait_for_metadata: bool,
    pub wait_for_metadata_timeout: TimeSpan,
    /// Without effect: what is kept is what was last said.
    pub watch_sync_period: Option<TimeSpan>,
    /// How long a pod that is deleted stays known.
    pub pod_delete_grace_period: TimeSpan,
}

impl Default for K8sAttributesConfig {
    fn default() -> Self {
        Self {
            auth_type: AuthType::ServiceAccount,
            context: String::new(),
            kube_api_qps: 0.0,
            kube_api_burst: 0,
            passthrough: false,
            extract: ExtractConfig::default(),
            filter: FilterConfig::default(),
            pod_association: Vec::new(),
            exclude: ExcludeConfig::default(),
            wait_for_metadata: false,
            wait_for_metadata_timeout: TimeSpan(Duration::from_secs(10)),
            watch_sync_period: None,
            pod_delete_grace_period: TimeSpan(Duration::from_secs(120)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AuthType {
    /// The token and the certificate that each pod is given.
    ServiceAccount,
    KubeConfig,
    None,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExtractConfig {
    pub metadata: Vec<Metadata>,
    pub annotations: Vec<FieldConfig>,
    pub labels: Vec<FieldConfig>,
    /// `resource.opentelemetry.io/NAME` of a pod becomes `NAME`.
    pub otel_annotations: bool,
    /// Without effect: the name of a deployment is found out as well as it can be.
    pub deployment_name_from_replicaset: bool,
}

impl Default for ExtractConfig {
    fn default() -> Self {
        Self {
            metadata: vec![
                Metadata::ImageName,
                Metadata::ImageTags,
                Metadata::DeploymentName,
                Metadata::NamespaceName,
                Metadata::NodeName,
                Metadata::PodName,
                Metadata::PodStartTime,
                Metadata::PodUid,
            ],
            annotations: Vec::new(),
            labels: Vec::new(),
            otel_annotations: false,
            deployment_name_from_replicaset: false,
        }
    }
}

/// What can be told by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Metadata {
    #[serde(rename = "k8s.namespace.name")]
    NamespaceName,
    #[serde(rename = "k8s.pod.name")]
    PodName,
    #[serde(rename = "k8s.pod.uid")]
    PodUid,
    #[serde(rename = "k8s.pod.hostname")]
    PodHostname,
    #[serde(rename = "k8s.pod.start_time")]
    PodStartTime,
    #[serde(rename = "k8s.pod.ip")]
    PodIp,
    #[serde(rename = "k8s.deployment.name")]
    DeploymentName,
    #[serde(rename = "k8s.deployment.uid")]
    DeploymentUid,
    #[serde(rename = "k8s.replicaset.name")]
    ReplicaSetName,
    #[serde(rename = "k8s.replicaset.uid")]
    ReplicaSetUid,
    #[serde(rename = "k8s.daemonset.name")]
    DaemonSetName,
    #[serde(rename = "k8s.daemonset.uid")]
    DaemonSetUid,
    #[serde(rename = "k8s.statefulset.name")]
    StatefulSetName,
    #[serde(rename = "k8s.statefulset.uid")]
    StatefulSetUid,
    #[serde(rename = "k8s.job.name")]
    JobName,
    #[serde(rename = "k8s.job.uid")]
    JobUid,
    #[serde(rename = "k8s.cronjob.name")]
    CronJobName,
    #[serde(rename = "k8s.cronjob.uid")]
    CronJobUid,
    #[serde(rename = "k8s.node.name")]
    NodeName,
    #[serde(rename = "k8s.node.uid")]
    NodeUid,
    #[serde(rename = "k8s.container.name")]
    ContainerName,
    #[serde(rename = "container.id")]
    ContainerId,
    #[serde(rename = "container.image.name")]
    ImageName,
    /// Without effect, as in the Collector: the attribute is now called `container.image.tags`.
    #[serde(rename = "container.image.tag")]
    ImageTag,
    #[serde(rename = "container.image.tags")]
    ImageTags,
    #[serde(rename = "container.image.repo_digests")]
    ImageRepoDigests,
    #[serde(rename = "k8s.cluster.uid")]
    ClusterUid,
    #[serde(rename = "service.namespace")]
    ServiceNamespace,
    #[serde(rename = "service.name")]
    ServiceName,
    #[serde(rename = "service.version")]
    ServiceVersion,
    #[serde(rename = "service.instance.id")]
    ServiceInstanceId,
}

/// A label or annotation that becomes an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldConfig {
    /// Of the attribute; empty is a name made of the key.
    pub tag_name: String,
    pub key: String,
    /// Of whole keys.
    pub key_regex: String,
    pub from: Kind,
}

/// Kinds of objects in a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    Pod,
    Namespace,
    Node,
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    CronJob,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterConfig {
    pub node: String,
    /// The variable that holds the name of the node.
    pub node_from_env_var: String,
    pub namespace: String,
    pub fields: Vec<FieldFilter>,
    pub labels: Vec<LabelFilter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldFilter {
    pub key: String,
    #[serde(default)]
    pub value: String,
    #[serde(default)]
    pub op: FieldOp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldOp {
    #[default]
    Equals,
    NotEquals,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelFilter {
    pub key: String,
    #[serde(default)]
    pub value: String,
    #[serde(default)]
    pub op: LabelOp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelOp {
    #[default]
    Equals,
    NotEquals,
    Exists,
    DoesNotExist,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AssociationConfig {
    /// A resource must have all of them.
    pub sources: Vec<SourceConfig>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    pub from: From,
    /// Of the attribute.
    #[serde(default)]
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// The address that the sender has. A batch does not have it here.
    Connection,
    ResourceAttribute,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExcludeConfig {
    /// Empty: Jaeger's own.
    pub pods: Vec<ExcludePod>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExcludePod {
    pub name: String,
}

impl K8sAttributesConfig {
    /// Refuses patterns and associations that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Rules::new(self)?;
        let mut seen = BTreeSet::new();
        for (number, association) in self.pod_association.iter().enumerate() {
            let wrong =
                |problem: String| ConfigError::setting(format!("pod_association[{number}].sources"), problem);
            if association.sources.is_empty() || association.sources.len() > SOURCES_MAX {
                return Err(wrong(format!("there must be 1 to {SOURCES_MAX}")));
            }
            let nameless =
                |source: &&SourceConfig| source.from == From::ResourceAttribute && source.name.is_empty();
            if association.sources.iter().any(|source| nameless(&source)) {
                return Err(wrong("`resource_attribute` needs `name`".to_owned()));
            }
            let mut key: Vec<_> = association
                .sources
                .iter()
                .map(|source| (source.from == From::Connection, source.name.clone()))
                .collect();
            key.sort();
            if !seen.insert(key) {
                return Err(wrong("another association has the same sources".to_owned()));
            }
        }
        Ok(())
    }

    /// What works less well than whoever wrote it may think: keys and remarks.
    pub fn remarks(&self) -> Vec<(String, String)> {
        let mut remarks = Vec::new();
        if self.extract.metadata.contains(&Metadata::ImageTag) {
            let remark =
                "`container.image.tag` is not given any more: name `container.image.tags`, which is a list";
            remarks.push(("extract.metadata".to_owned(), remark.to_owned()));
        }
        remarks
    }
}

/// Of whole keys.
pub(super) fn whole(pattern: &str, key: String) -> Result<Regex, ConfigError> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|error| ConfigError::setting(key, error.to_string()))
}
