//! What is known of a cluster: pods by what a resource can say of them, and the objects that they belong to.
//!
//! What a pod tells is made anew for each resource, as its owners become known and change; by what it can be asked for is
//! found out when it is put in, so that its owners should be known before it. Bounded in number; what is beyond is counted
//! and not known.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::{AssociationConfig, From, K8sAttributesConfig, Kind, Metadata};
use super::objects::{Object, ObjectMeta, Owner};
use super::pod::{Pod, Source};
use super::rules::{Attributes, Rules};

/// Pods, and other objects of all kinds together, that are known at most: several of the largest clusters.
const PODS_MAX: usize = 300_000;
const OBJECTS_MAX: usize = 500_000;

/// What a resource, and each pod, says of itself: where it is said, and the value.
pub(super) type Identifier = Vec<(Source, String)>;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) added: u64,
    pub(super) updated: u64,
    pub(super) deleted: u64,
    /// Objects for which there was no room.
    pub(super) refused: u64,
}

#[derive(Debug)]
pub(super) struct Cluster {
    rules: Arc<Rules>,
    associations: Vec<AssociationConfig>,
    grace: Duration,
    /// By uid.
    pods: HashMap<String, Known>,
    index: HashMap<Identifier, Arc<Pod>>,
    /// Namespaces and nodes by name, the rest by uid.
    objects: HashMap<(Kind, String), ObjectMeta>,
    /// In the order of time.
    leaving: VecDeque<Leaving>,
    pub(super) counts: Counts,
}

#[derive(Debug)]
struct Known {
    pod: Arc<Pod>,
    identifiers: Vec<Identifier>,
    is_deleted: bool,
}

/// Identifiers that no pod has any more.
#[derive(Debug)]
struct Leaving {
    at: Instant,
    pod: Arc<Pod>,
    identifiers: Vec<Identifier>,
}

impl Cluster {
    pub(super) fn new(config: &K8sAttributesConfig, rules: Arc<Rules>) -> Cluster {
        Cluster {
            rules,
            associations: config.pod_association.clone(),
            grace: config.pod_delete_grace_period.0,
            pods: HashMap::new(),
            index: HashMap::new(),
            objects: HashMap::new(),
            leaving: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// After a whole list of a kind: what it lacks is deleted. `there` has the keys of the others.
    pub(super) fn keep(&mut self, kind: Kind, there: &HashSet<String>) {
        if kind == Kind::Pod {
            let known = self.pods.iter().filter(|(_, known)| !known.is_deleted);
            let gone: Vec<_> = known
                .map(|(uid, _)| uid.clone())
                .filter(|uid| !there.contains(uid))
                .collect();
            for uid in gone {
                self.forget_pod(&uid);
            }
            return;
        }
        self.objects
            .retain(|(of, name), _| *of != kind || there.contains(name));
    }

    /// One that is new or has changed. Its key, if there was room.
    pub(super) fn put(&mut self, kind: Kind, object: Object) -> Option<String> {
        let key = key(kind, &object.metadata);
        if kind == Kind::Pod {
            return self.put_pod(Pod::new(object, &self.rules)).then_some(key);
        }
        let place = (kind, key.clone());
        if !self.objects.contains_key(&place) && self.objects.len() >= OBJECTS_MAX {
            self.counts.refused += 1;
            return None;
        }
        let (rules, mut meta) = (&self.rules, object.metadata);
        meta.labels.retain(|label, _| rules.reads_label(kind, label));
        meta.annotations
            .retain(|annotation, _| rules.reads_annotation(kind, annotation));
        self.objects.insert(place, meta);
        Some(key)
    }

    pub(super) fn delete(&mut self, kind: Kind, object: &Object) {
        match kind {
            Kind::Pod => self.forget_pod(&object.metadata.uid),
            _ => drop(self.objects.remove(&(kind, key(kind, &object.metadata)))),
        }
    }

    /// Whether there was room.
    fn put_pod(&mut self, pod: Pod) -> bool {
        let before = self.pods.remove(&pod.uid);
        if before.is_none() && self.pods.len() >= PODS_MAX {
            self.counts.refused += 1;
            return false;
        }
        let pod = Arc::new(pod);
        let identifiers = self.identifiers(&pod);
        for identifier in &identifiers {
            // An address can have gone to another pod before the last news of the one that had it.
            let newer = self
                .index
                .get(identifier)
                .filter(|other| other.start_time > pod.start_time);
            if newer.is_none() {
                self.index.insert(identifier.clone(), pod.clone());
            }
        }
        match before {
            Some(before) => {
                self.counts.updated += 1;
                let stale = before.identifiers.into_iter();
                let stale = stale
                    .filter(|identifier| !identifiers.contains(identifier))
                    .collect();
                self.leave(before.pod, stale);
            }
            None => self.counts.added += 1,
        }
        let known = Known {
            pod: pod.clone(),
            identifiers,
            is_deleted: false,
        };
        self.pods.insert(pod.uid.clone(), known);
        self.sweep(Instant::now());
        true
    }

    fn forget_pod(&mut self, uid: &str) {
        let Some(known) = self.pods.get_mut(uid).filter(|known| !known.is_deleted) else {
            return;
        };
        known.is_deleted = true;
        let (pod, identifiers) = (known.pod.clone(), known.identifiers.clone());
        self.counts.deleted += 1;
        self.leave(pod, identifiers);
        self.sweep(Instant::now());
    }

    fn leave(&mut self, pod: Arc<Pod>, identifiers: Vec<Identifier>) {
        if !identifiers.is_empty() {
            self.leaving.push_back(Leaving {
                at: Instant::now() + self.grace,
                pod,
                identifiers,
            });
        }
    }

    /// Forgets what has been deleted for long enough, unless another pod has it by now.
    pub(super) fn sweep(&mut self, now: Instant) {
        while let Some(leaving) = self.leaving.pop_front_if(|leaving| leaving.at <= now) {
            for identifier in &leaving.identifiers {
                let is_same = |other: &Arc<Pod>| other.uid == leaving.pod.uid;
                let stays = self
                    .pods
                    .get(&leaving.pod.uid)
                    .is_some_and(|known| !known.is_deleted && known.identifiers.contains(identifier));
                if !stays && self.index.get(identifier).is_some_and(is_same) {
                    self.index.remove(identifier);
                }
            }
            let uid = &leaving.pod.uid;
            let is_over = |known: &Known| known.is_deleted && Arc::ptr_eq(&known.pod, &leaving.pod);
            if self.pods.get(uid).is_some_and(is_over) {
                self.pods.remove(uid);
            }
        }
    }

    pub(super) fn pods(&self) -> usize {
        self.pods.len()
    }

    /// The pod that a resource is of; none that is to be left alone.
    pub(super) fn pod(&self, identifier: &Identifier) -> Option<&Arc<Pod>> {
        self.index.get(identifier).filter(|pod| !pod.is_ignored)
    }

    fn object(&self, kind: Kind, key: &str) -> Option<&ObjectMeta> {
        self.objects.get(&(kind, key.to_owned()))
    }

    /// Everything under which a pod can be asked for.
    fn identifiers(&self, pod: &Pod) -> Vec<Identifier> {
        let attributes = match self.associations.is_empty() {
            true => Attributes::new(),
            false => self.attributes(pod),
        };
        let mut all = Vec::new();
        for association in &self.associations {
            let mut identifiers = vec![Identifier::new()];
            for source in &association.sources {
                let (source, values) = match source.from {
                    From::Connection => (Source::Connection, pod.address().into_iter().collect()),
                    From::ResourceAttribute => {
                        let values = pod.values_of(&source.name, &attributes);
                        (Source::Attribute(source.name.clone()), values)
                    }
                };
                let with = |identifier: &Identifier| {
                    let identifier = identifier.clone();
                    let source = source.clone();
                    values.iter().map(move |value| {
                        let mut identifier = identifier.clone();
                        identifier.push((source.clone(), value.clone()));
                        identifier
                    })
                };
                identifiers = identifiers.iter().flat_map(with).collect();
            }
            all.extend(identifiers);
        }
        if !pod.uid.is_empty() {
            all.push(vec![(Source::attribute("k8s.pod.uid"), pod.uid.clone())]);
        }
        if let Some(address) = pod.address() {
            all.push(vec![(Source::Connection, address.clone())]);
            all.push(vec![(Source::attribute("k8s.pod.ip"), address)]);
        }
        all
    }

    /// What a pod tells, but of its containers.
    pub(super) fn attributes(&self, pod: &Pod) -> Attributes {
        let mut out = Attributes::new();
        pod.describe(&self.rules, &mut out);
        for owner in &pod.owners {
            self.describe_owner(pod, owner, &mut out);
        }
        if self.rules.wants(Metadata::ClusterUid)
            && let Some(system) = self.object(Kind::Namespace, "kube-system")
        {
            out.insert("k8s.cluster.uid".to_owned(), system.uid.clone());
        }
        pod.describe_marks(&self.rules, &mut out);
        out
    }

    fn describe_owner(&self, pod: &Pod, owner: &Owner, out: &mut Attributes) {
        let (name, uid, word) = match owner.kind.as_str() {
            "ReplicaSet" => (Metadata::ReplicaSetName, Metadata::ReplicaSetUid, "replicaset"),
            "DaemonSet" => (Metadata::DaemonSetName, Metadata::DaemonSetUid, "daemonset"),
            "StatefulSet" => (Metadata::StatefulSetName, Metadata::StatefulSetUid, "statefulset"),
            "Job" => (Metadata::JobName, Metadata::JobUid, "job"),
            _ => return,
        };
        let rules = &self.rules;
        let mut put = |is_wanted: bool, key: String, value: &str| {
            if is_wanted {
                out.insert(key, value.to_owned());
            }
        };
        put(rules.wants(name), format!("k8s.{word}.name"), &owner.name);
        put(rules.wants(uid), format!("k8s.{word}.uid"), &owner.uid);
        put(
            rules.wants(Metadata::ServiceName),
            "service.name".to_owned(),
            &owner.name,
        );
        let (name, uid, word) = match owner.kind.as_str() {
            "ReplicaSet" => (Metadata::DeploymentName, Metadata::DeploymentUid, "deployment"),
            "Job" => (Metadata::CronJobName, Metadata::CronJobUid, "cronjob"),
            _ => return,
        };
        let (above_name, above_uid) = self.owner_of_owner(pod, owner);
        if let Some(above) = above_name {
            put(rules.wants(name), format!("k8s.{word}.name"), &above);
            put(
                rules.wants(Metadata::ServiceName),
                "service.name".to_owned(),
                &above,
            );
        }
        if let Some(above) = above_uid {
            put(rules.wants(uid), format!("k8s.{word}.uid"), &above);
        }
    }

    /// Name and uid of the deployment or cron job above; without a watch of what is between, its name as it can be guessed.
    fn owner_of_owner(&self, pod: &Pod, owner: &Owner) -> (Option<String>, Option<String>) {
        let (kind, above) = match owner.kind.as_str() {
            "ReplicaSet" => (Kind::ReplicaSet, "Deployment"),
            _ => (Kind::Job, "CronJob"),
        };
        match self.object(kind, &owner.uid) {
            Some(object) => {
                let is_above = |owner: &&Owner| owner.kind == above && owner.controller == Some(true);
                let found = object.owner_references.iter().find(is_above);
                (
                    found.map(|owner| owner.name.clone()),
                    found.map(|owner| owner.uid.clone()),
                )
            }
            None => (pod.guess_above(owner), None),
        }
    }

    /// What labels and annotations of an object of a kind tell, and the uid of it.
    pub(super) fn described(&self, kind: Kind, key: &str) -> Option<(Attributes, String)> {
        let object = self.object(kind, key)?;
        let mut out = Attributes::new();
        self.rules.labels(kind, &object.labels, &mut out);
        self.rules.annotations(kind, &object.annotations, &mut out);
        Some((out, object.uid.clone()))
    }

    /// The objects that a pod belongs to by uid, as far as they are known.
    pub(super) fn owners(&self, pod: &Pod) -> Vec<(Kind, String)> {
        let mut owners = Vec::new();
        for owner in &pod.owners {
            let kind = match owner.kind.as_str() {
                "ReplicaSet" => Kind::ReplicaSet,
                "DaemonSet" => Kind::DaemonSet,
                "StatefulSet" => Kind::StatefulSet,
                "Job" => Kind::Job,
                _ => continue,
            };
            owners.push((kind, owner.uid.clone()));
            let above = match kind {
                Kind::ReplicaSet => Kind::Deployment,
                Kind::Job => Kind::CronJob,
                _ => continue,
            };
            if let (_, Some(uid)) = self.owner_of_owner(pod, owner) {
                owners.push((above, uid));
            }
        }
        owners
    }
}

fn key(kind: Kind, meta: &ObjectMeta) -> String {
    match kind {
        Kind::Namespace | Kind::Node => meta.name.clone(),
        _ => meta.uid.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_labels_and_annotations_only_those_are_kept_that_are_told() {
        let settings = "{extract: {labels: [{key_regex: 'tier.*', from: namespace}, {key: odd}], \
            annotations: [{key: note, from: node}]}}";
        let config: K8sAttributesConfig = cupola_config::yaml::from_str(settings).unwrap();
        let rules = Arc::new(Rules::new(&config).unwrap());
        let mut cluster = Cluster::new(&config, rules);
        let text = r#"{"metadata": {"name": "a", "labels": {"tier-1": "x", "odd": "y"},
            "annotations": {"tier-1": "z", "note": "z"}}}"#;
        let known = cluster.put(Kind::Namespace, serde_json::from_str(text).unwrap());
        assert_eq!(known.as_deref(), Some("a"));
        let namespace = cluster.object(Kind::Namespace, "a").unwrap();
        assert_eq!(
            namespace.labels,
            Attributes::from([("tier-1".to_owned(), "x".to_owned())])
        );
        assert!(namespace.annotations.is_empty());
    }
}
