//! What is told of a pod, compiled.

use std::collections::{BTreeMap, BTreeSet};

use regex::{Regex, RegexSet};

use super::config::{FieldConfig, K8sAttributesConfig, Kind, Metadata, whole};
use crate::processors::ConfigError;

/// Pods that Jaeger's operator puts beside others.
const EXCLUDED_BY_DEFAULT: [&str; 2] = ["jaeger-agent", "jaeger-collector"];

/// Attributes by name.
pub(super) type Attributes = BTreeMap<String, String>;

#[derive(Debug)]
pub(super) struct Rules {
    metadata: BTreeSet<Metadata>,
    labels: Vec<Field>,
    annotations: Vec<Field>,
    /// Names of pods.
    excluded: RegexSet,
}

impl Rules {
    pub(super) fn new(config: &K8sAttributesConfig) -> Result<Rules, ConfigError> {
        let extract = &config.extract;
        let fields = |configs: &[FieldConfig], key: &str| {
            let fields = configs.iter().enumerate();
            let fields = fields.map(|(number, field)| Field::new(field, &format!("extract.{key}[{number}]")));
            fields.collect::<Result<Vec<_>, _>>()
        };
        let mut annotations = fields(&extract.annotations, "annotations")?;
        if extract.otel_annotations {
            let otel = FieldConfig {
                tag_name: "$1".to_owned(),
                key_regex: r"resource\.opentelemetry\.io/(.+)".to_owned(),
                ..FieldConfig::default()
            };
            annotations.push(Field::new(&otel, "extract.otel_annotations")?);
        }
        let mut excluded: Vec<&str> = config.exclude.pods.iter().map(|pod| pod.name.as_str()).collect();
        if excluded.is_empty() {
            excluded.extend(EXCLUDED_BY_DEFAULT);
        }
        Ok(Rules {
            metadata: extract.metadata.iter().copied().collect(),
            labels: fields(&extract.labels, "labels")?,
            annotations,
            excluded: RegexSet::new(excluded)
                .map_err(|error| ConfigError::setting("exclude.pods", error.to_string()))?,
        })
    }

    pub(super) fn wants(&self, metadata: Metadata) -> bool {
        self.metadata.contains(&metadata)
    }

    pub(super) fn excludes(&self, pod: &str) -> bool {
        self.excluded.is_match(pod)
    }

    /// Whether labels or annotations of this kind are wanted.
    pub(super) fn reads(&self, kind: Kind) -> bool {
        self.labels
            .iter()
            .chain(&self.annotations)
            .any(|field| field.from == kind)
    }

    pub(super) fn reads_label(&self, kind: Kind, key: &str) -> bool {
        self.labels.iter().any(|field| field.reads(kind, key))
    }

    pub(super) fn reads_annotation(&self, kind: Kind, key: &str) -> bool {
        self.annotations.iter().any(|field| field.reads(kind, key))
    }

    /// Kinds of objects that have to be watched beside pods.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        use Kind::{CronJob, DaemonSet, Deployment, Job, Namespace, Node, ReplicaSet, StatefulSet};
        let has_replica_sets = self.wants(Metadata::DeploymentUid) || self.reads(Deployment);
        let has_jobs = self.wants(Metadata::CronJobUid) || self.reads(CronJob);
        let kinds = [
            (Namespace, self.wants(Metadata::ClusterUid)),
            (Node, self.wants(Metadata::NodeUid)),
            (Deployment, false),
            (ReplicaSet, has_replica_sets),
            (StatefulSet, false),
            (DaemonSet, false),
            (Job, has_jobs),
            (CronJob, false),
        ];
        let needed = kinds
            .into_iter()
            .filter(|(kind, needed)| *needed || self.reads(*kind));
        needed.map(|(kind, _)| kind).collect()
    }

    /// Labels of an object as attributes.
    pub(super) fn labels(&self, kind: Kind, labels: &Attributes, out: &mut Attributes) {
        let prefix = prefix(kind, "label");
        for field in self.labels.iter().filter(|field| field.from == kind) {
            field.extract(labels, &prefix, out);
        }
    }

    /// Annotations of an object as attributes.
    pub(super) fn annotations(&self, kind: Kind, annotations: &Attributes, out: &mut Attributes) {
        let prefix = prefix(kind, "annotation");
        for field in self.annotations.iter().filter(|field| field.from == kind) {
            field.extract(annotations, &prefix, out);
        }
    }
}

/// Of attributes that have no name of their own.
fn prefix(kind: Kind, what: &str) -> String {
    let kind = match kind {
        Kind::Pod => "pod",
        Kind::Namespace => "namespace",
        Kind::Node => "node",
        Kind::Deployment => "deployment",
        Kind::ReplicaSet => "replicaset",
        Kind::StatefulSet => "statefulset",
        Kind::DaemonSet => "daemonset",
        Kind::Job => "job",
        Kind::CronJob => "cronjob",
    };
    format!("k8s.{kind}.{what}.")
}

/// One label or annotation, or those whose keys match.
#[derive(Debug)]
struct Field {
    from: Kind,
    tag_name: String,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    One(String),
    Matching(Regex),
}

impl Field {
    fn new(config: &FieldConfig, key: &str) -> Result<Field, ConfigError> {
        let keys = match (config.key.is_empty(), config.key_regex.is_empty()) {
            (false, true) => Keys::One(config.key.clone()),
            (true, false) => Keys::Matching(whole(&config.key_regex, format!("{key}.key_regex"))?),
            _ => return Err(ConfigError::setting(key, "it needs either `key` or `key_regex`")),
        };
        Ok(Field {
            from: config.from,
            tag_name: config.tag_name.clone(),
            keys,
        })
    }

    fn reads(&self, kind: Kind, key: &str) -> bool {
        self.from == kind
            && match &self.keys {
                Keys::One(one) => one == key,
                Keys::Matching(pattern) => pattern.is_match(key),
            }
    }

    fn extract(&self, values: &Attributes, prefix: &str, out: &mut Attributes) {
        let pattern = match &self.keys {
            Keys::One(key) => {
                if let Some(value) = values.get(key) {
                    let name = match self.tag_name.is_empty() {
                        true => format!("{prefix}{key}"),
                        false => self.tag_name.clone(),
                    };
                    out.insert(name, value.clone());
                }
                return;
            }
            Keys::Matching(pattern) => pattern,
        };
        let is_made_of_groups = pattern.captures_len() > 1 && !self.tag_name.is_empty();
        for (key, value) in values.iter().filter(|(_, value)| !value.is_empty()) {
            let Some(groups) = pattern.captures(key) else {
                continue;
            };
            let mut name = String::new();
            match is_made_of_groups {
                true => groups.expand(&self.tag_name, &mut name),
                false => name = format!("{prefix}{key}"),
            }
            out.insert(name, value.clone());
        }
    }
}
