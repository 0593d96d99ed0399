//! A pod, as far as settings want to know it, and its containers.

use std::collections::BTreeMap;

use super::config::{Kind, Metadata};
use super::image::{Image, canonical};
use super::objects::{Object, Owner};
use super::rules::{Attributes, Rules};

/// Of pods that are to be left alone.
const IGNORE: &str = "opentelemetry.io/k8s-processor/ignore";
/// The last part of the names of replica sets that a deployment has made.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// The last part of the name of a job is the minute for which a cron job made it; one this far from the pod's is none.
const CRON_SKEW_MINUTES_MAX: i64 = 24 * 60;

/// Where an identifier is said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// By the address that the sender has.
    Connection,
    /// In an attribute of the resource.
    Attribute(String),
}

impl Source {
    pub(super) fn attribute(name: &str) -> Source {
        Source::Attribute(name.to_owned())
    }
}

#[derive(Debug)]
pub(super) struct Pod {
    pub(super) uid: String,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) node: String,
    pub(super) start_time: Option<String>,
    pub(super) owners: Vec<Owner>,
    /// Excluded by settings, or by an annotation.
    pub(super) is_ignored: bool,
    ip: String,
    hostname: String,
    has_host_network: bool,
    created: Option<String>,
    labels: Attributes,
    annotations: Attributes,
    containers: BTreeMap<String, Container>,
}

/// What is told of a container, and under which ids it ran, by the count of its restarts.
#[derive(Debug, Default)]
struct Container {
    has_status: bool,
    image: String,
    runs: BTreeMap<i64, Run>,
}

#[derive(Debug)]
struct Run {
    id: String,
    image_id: String,
}

impl Pod {
    pub(super) fn new(object: Object, rules: &Rules) -> Pod {
        let Object {
            mut metadata,
            spec,
            status,
        } = object;
        let ignore = metadata
            .annotations
            .get(IGNORE)
            .map(|value| value.trim().to_lowercase());
        // They can have hundreds of KiB.
        metadata
            .annotations
            .retain(|key, _| rules.reads_annotation(Kind::Pod, key));
        let mut containers: BTreeMap<String, Container> = BTreeMap::new();
        for container in spec.containers.into_iter().chain(spec.init_containers) {
            containers.entry(container.name).or_default().image = container.image;
        }
        for status in status
            .container_statuses
            .into_iter()
            .chain(status.init_container_statuses)
        {
            let container = containers.entry(status.name.clone()).or_default();
            container.has_status = true;
            let run = Run {
                id: status.id().to_owned(),
                image_id: status.image_id,
            };
            container.runs.insert(status.restart_count, run);
        }
        Pod {
            is_ignored: rules.excludes(&metadata.name) || ignore.as_deref() == Some("true"),
            uid: metadata.uid,
            name: metadata.name,
            namespace: metadata.namespace,
            node: spec.node_name,
            start_time: status.start_time,
            owners: metadata.owner_references,
            ip: status.pod_ip,
            hostname: spec.hostname,
            has_host_network: spec.host_network,
            created: metadata.creation_timestamp,
            labels: metadata.labels,
            annotations: metadata.annotations,
            containers,
        }
    }

    /// Its own; pods that have that of their host cannot be told apart by it.
    pub(super) fn address(&self) -> Option<String> {
        (!self.ip.is_empty() && !self.has_host_network).then(|| self.ip.clone())
    }

    /// What a resource of this pod can have in an attribute.
    pub(super) fn values_of(&self, attribute: &str, attributes: &Attributes) -> Vec<String> {
        let value = match attribute {
            "k8s.namespace.name" => Some(&self.namespace),
            "k8s.pod.name" => Some(&self.name),
            "k8s.pod.uid" => Some(&self.uid),
            "host.name" | "k8s.pod.ip" => Some(&self.ip),
            "container.id" => {
                let runs = self
                    .containers
                    .values()
                    .flat_map(|container| container.runs.values());
                return runs.map(|run| run.id.clone()).collect();
            }
            other => attributes.get(other),
        };
        value
            .filter(|value| !value.is_empty())
            .into_iter()
            .cloned()
            .collect()
    }

    /// What it says itself.
    pub(super) fn describe(&self, rules: &Rules, out: &mut Attributes) {
        for (metadata, key, value) in [
            (Metadata::PodName, "k8s.pod.name", Some(&self.name)),
            (Metadata::ServiceName, "service.name", Some(&self.name)),
            (Metadata::PodHostname, "k8s.pod.hostname", Some(&self.hostname)),
            (Metadata::PodIp, "k8s.pod.ip", Some(&self.ip)),
            (
                Metadata::NamespaceName,
                "k8s.namespace.name",
                Some(&self.namespace),
            ),
            (
                Metadata::ServiceNamespace,
                "service.namespace",
                Some(&self.namespace),
            ),
            (
                Metadata::PodStartTime,
                "k8s.pod.start_time",
                self.created.as_ref(),
            ),
            (Metadata::PodUid, "k8s.pod.uid", Some(&self.uid)),
            (Metadata::NodeName, "k8s.node.name", Some(&self.node)),
        ] {
            if let Some(value) = value.filter(|_| rules.wants(metadata)) {
                out.insert(key.to_owned(), value.clone());
            }
        }
    }

    /// What its labels and annotations say, which goes before what its owners do.
    pub(super) fn describe_marks(&self, rules: &Rules, out: &mut Attributes) {
        rules.labels(Kind::Pod, &self.labels, out);
        for (metadata, label, key) in [
            (Metadata::ServiceName, "app.kubernetes.io/name", "service.name"),
            (
                Metadata::ServiceName,
                "app.kubernetes.io/instance",
                "service.name",
            ),
            (
                Metadata::ServiceVersion,
                "app.kubernetes.io/version",
                "service.version",
            ),
        ] {
            if let Some(value) = self.labels.get(label).filter(|_| rules.wants(metadata)) {
                out.insert(key.to_owned(), value.clone());
            }
        }
        rules.annotations(Kind::Pod, &self.annotations, out);
    }

    /// The name of what is above an owner, made of the owner's.
    pub(super) fn guess_above(&self, owner: &Owner) -> Option<String> {
        if owner.kind == "ReplicaSet" {
            let hash = self.labels.get(TEMPLATE_HASH).filter(|hash| !hash.is_empty())?;
            return Some(
                owner
                    .name
                    .strip_suffix(hash.as_str())?
                    .strip_suffix('-')?
                    .to_owned(),
            );
        }
        let (name, minutes) = owner.name.rsplit_once('-')?;
        if minutes.len() != 8 || !minutes.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let created = chrono::DateTime::parse_from_rfc3339(self.created.as_deref()?).ok()?;
        let skew = created.timestamp() / 60 - minutes.parse::<i64>().ok()?;
        (skew.abs() <= CRON_SKEW_MINUTES_MAX).then(|| name.to_owned())
    }

    /// What is told of the container that a resource names, or of the only one.
    pub(super) fn container(
        &self,
        name: Option<&str>,
        id: Option<&str>,
        restarts: Restarts,
        rules: &Rules,
    ) -> Told {
        let has_run = |container: &Container, id: &str| container.runs.values().any(|run| run.id == id);
        let ran: Vec<_> = self
            .containers
            .iter()
            .filter(|(_, container)| container.has_status)
            .collect();
        let found = match (name, id) {
            (Some(name), _) => self.containers.get_key_value(name),
            (None, Some(id)) => self
                .containers
                .iter()
                .find(|(_, container)| has_run(container, id)),
            (None, None) => match (ran.as_slice(), self.containers.len()) {
                ([one], _) => Some(*one),
                (_, 1) => self.containers.first_key_value(),
                _ => None,
            },
        };
        match found {
            Some((name, container)) => self.told(name, container, restarts, rules),
            None => Told::default(),
        }
    }

    fn told(&self, name: &str, container: &Container, restarts: Restarts, rules: &Rules) -> Told {
        let mut told = Told::default();
        let mut put = |metadata: Metadata, key: &'static str, value: Option<String>| {
            if let Some(value) = value.filter(|value| rules.wants(metadata) && !value.is_empty()) {
                told.texts.push((key, value));
            }
        };
        let status = |value: String| container.has_status.then_some(value);
        put(
            Metadata::ContainerName,
            "k8s.container.name",
            status(name.to_owned()),
        );
        let image = Image::parse(&container.image);
        put(
            Metadata::ImageName,
            "container.image.name",
            image.map(|image| image.name.to_owned()),
        );
        let instance = status(format!("{}.{}.{name}", self.namespace, self.name));
        put(Metadata::ServiceInstanceId, "service.instance.id", instance);
        put(
            Metadata::ServiceVersion,
            "service.version",
            image.and_then(|image| image.version()),
        );
        let run = match restarts {
            Restarts::Unknown => container.runs.last_key_value().map(|(_, run)| run),
            Restarts::Count(count) => container.runs.get(&count),
            Restarts::Odd => None,
        };
        if let Some(run) = run {
            put(Metadata::ContainerId, "container.id", Some(run.id.clone()));
        }
        let mut put = |metadata: Metadata, key: &'static str, value: Option<String>| {
            told.lists
                .extend(value.filter(|_| rules.wants(metadata)).map(|value| (key, value)));
        };
        let tag = image.map(|image| image.tag().to_owned());
        put(Metadata::ImageTags, "container.image.tags", tag);
        let digest = run.and_then(|run| canonical(&run.image_id));
        put(Metadata::ImageRepoDigests, "container.image.repo_digests", digest);
        told
    }
}

/// What a resource says of how often its container began again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restarts {
    /// Nothing: the last run is meant.
    Unknown,
    Count(i64),
    /// No number.
    Odd,
}

/// Of a container.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) texts: Vec<(&'static str, String)>,
    /// Lists of one element.
    pub(super) lists: Vec<(&'static str, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processors::k8sattributes::K8sAttributesConfig;

    #[test]
    fn of_annotations_only_those_are_kept_that_are_told() {
        let settings =
            "{extract: {annotations: [{key: note}, {key: gone, from: node}], labels: [{key: long}]}}";
        let config: K8sAttributesConfig = cupola_config::yaml::from_str(settings).unwrap();
        let rules = Rules::new(&config).unwrap();
        let text = r#"{"metadata": {"annotations": {"note": "1", "long": "2", "gone": "3",
            "opentelemetry.io/k8s-processor/ignore": "true"}, "labels": {"pod-template-hash": "4"}}}"#;
        let pod = Pod::new(serde_json::from_str(text).unwrap(), &rules);
        assert_eq!(
            pod.annotations,
            Attributes::from([("note".to_owned(), "1".to_owned())])
        );
        // Names are made of these.
        assert_eq!(pod.labels.len(), 1);
        assert!(pod.is_ignored);
    }
}
