//! Objects of a cluster, as far as this reads them.
//! <https://kubernetes.io/docs/reference/kubernetes-api/>

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Of any kind; those that are no pods have their metadata alone.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Object {
    #[serde(deserialize_with = "nullable")]
    pub(super) metadata: ObjectMeta,
    #[serde(deserialize_with = "nullable")]
    pub(super) spec: PodSpec,
    #[serde(deserialize_with = "nullable")]
    pub(super) status: PodStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ObjectMeta {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    /// RFC 3339, in UTC.
    pub(super) creation_timestamp: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) owner_references: Vec<Owner>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Owner {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) controller: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) node_name: String,
    pub(super) hostname: String,
    pub(super) host_network: bool,
    #[serde(deserialize_with = "nullable")]
    pub(super) containers: Vec<Container>,
    #[serde(deserialize_with = "nullable")]
    pub(super) init_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodStatus {
    #[serde(rename = "podIP")]
    pub(super) pod_ip: String,
    /// RFC 3339, in UTC, to the second: in the order of time.
    pub(super) start_time: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "nullable")]
    pub(super) init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ContainerStatus {
    pub(super) name: String,
    /// With the runtime in front: `containerd://…`.
    #[serde(rename = "containerID")]
    pub(super) container_id: String,
    #[serde(rename = "imageID")]
    pub(super) image_id: String,
    pub(super) restart_count: i64,
}

impl ContainerStatus {
    pub(super) fn id(&self) -> &str {
        match self.container_id.split_once("://") {
            Some((_, id)) => id,
            None => &self.container_id,
        }
    }
}

/// One page of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct List {
    pub(super) metadata: ListMeta,
    #[serde(deserialize_with = "nullable")]
    pub(super) items: Vec<Object>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ListMeta {
    pub(super) resource_version: String,
    /// Where the next page begins.
    pub(super) r#continue: String,
}

/// One line of a watch.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) object: serde_json::Value,
}

/// What the API server says of a failure.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Failure {
    pub(super) code: u16,
    pub(super) message: String,
}

/// The API server writes empty lists and maps as `null`.
fn nullable<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}
