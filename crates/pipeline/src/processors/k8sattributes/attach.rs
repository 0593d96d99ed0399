//! Attributes of resources: which pod one is of, and what it does not say yet.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::IpAddr;

use cupola_telemetry::edit::{Array, Editor, Level, Place, Value, Verdict};
use parking_lot::RwLock;

use super::cluster::{Cluster, Identifier};
use super::config::{AssociationConfig, From, K8sAttributesConfig, Kind, Metadata, SourceConfig};
use super::pod::{Pod, Restarts, Source};
use super::rules::{Attributes, Rules};

pub(super) struct Attaching<'w> {
    pub(super) config: &'w K8sAttributesConfig,
    pub(super) rules: &'w Rules,
    /// Held for one resource at a time: what changes in the cluster does not wait for a whole batch.
    pub(super) cluster: &'w RwLock<Cluster>,
    /// Of who sent the batch.
    pub(super) address: Option<IpAddr>,
    pub(super) found: u64,
    pub(super) missed: u64,
}

impl<'a> Editor<'a> for Attaching<'_> {
    type Error = Infallible;

    fn deepest(&self) -> Level {
        Level::Resource
    }

    fn visit(&mut self, level: Level, place: &mut Place<'a>) -> Result<Verdict, Infallible> {
        if level == Level::Resource {
            let cluster = self.cluster.read();
            self.attach(&cluster, &mut Resource(place));
        }
        Ok(Verdict::Keep)
    }
}

impl Attaching<'_> {
    fn attach(&mut self, cluster: &Cluster, resource: &mut Resource<'_, '_>) {
        let identifier = self.identifier(resource);
        if let Some((Source::Connection, address)) = identifier.first()
            && (self.config.passthrough || self.rules.wants(Metadata::PodIp))
        {
            resource.add("k8s.pod.ip", address);
        }
        if self.config.passthrough {
            return;
        }
        let pod = cluster.pod(&identifier).filter(|_| !identifier.is_empty());
        match pod {
            Some(pod) => {
                self.found += 1;
                resource.add_all(&cluster.attributes(pod));
                self.attach_container(pod, resource);
            }
            None => self.missed += 1,
        }
        self.attach_surroundings(cluster, pod.map(|pod| &**pod), resource);
    }

    /// What the resource says of its pod, by the first association that it has everything for.
    fn identifier(&self, resource: &Resource<'_, '_>) -> Identifier {
        if !self.config.pod_association.is_empty() {
            let associations = self.config.pod_association.iter();
            return associations
                .filter_map(|association| self.by_association(association, resource))
                .next()
                .unwrap_or_default();
        }
        let is_address = |text: &String| text.parse::<IpAddr>().is_ok();
        let address = resource
            .text("k8s.pod.ip")
            .or_else(|| resource.text("ip"))
            .or_else(|| self.address.map(|address| address.to_string()))
            .or_else(|| resource.text("host.name").filter(is_address));
        address
            .map(|address| (Source::Connection, address))
            .into_iter()
            .collect()
    }

    /// What the resource and its sender have of everything that an association needs; `None` if something is missing.
    fn by_association(
        &self,
        association: &AssociationConfig,
        resource: &Resource<'_, '_>,
    ) -> Option<Identifier> {
        let one = |source: &SourceConfig| {
            if source.from == From::Connection {
                return Some((Source::Connection, self.address?.to_string()));
            }
            let value = resource.text(&source.name)?;
            // In a cluster it is the address of the pod; anything else says nothing of it.
            if source.name == "host.name" && value.parse::<IpAddr>().is_err() {
                return None;
            }
            Some((Source::Attribute(source.name.clone()), value))
        };
        association.sources.iter().map(one).collect()
    }

    fn attach_container(&self, pod: &Pod, resource: &mut Resource<'_, '_>) {
        let (name, id) = (resource.text("k8s.container.name"), resource.text("container.id"));
        let told = pod.container(name.as_deref(), id.as_deref(), resource.restarts(), self.rules);
        for (key, value) in told.texts {
            match key {
                // One that is there stays, even if it is empty.
                "container.id" if resource.has(key) => {}
                _ => resource.add(key, &value),
            }
        }
        for (key, only) in told.lists {
            resource.add_list(key, only);
        }
    }

    /// What is told of the namespace, the node and the owners, which a resource can name by itself too.
    fn attach_surroundings(&self, cluster: &Cluster, pod: Option<&Pod>, resource: &mut Resource<'_, '_>) {
        let of_pod = |value: Option<&String>| value.filter(|value| !value.is_empty()).cloned();
        let namespace = of_pod(pod.map(|pod| &pod.namespace)).or_else(|| resource.text("k8s.namespace.name"));
        if let Some(namespace) = namespace {
            if let Some((attributes, _)) = cluster.described(Kind::Namespace, &namespace) {
                resource.add_all(&attributes);
            }
            if self.rules.wants(Metadata::ServiceNamespace) {
                resource.add("service.namespace", &namespace);
            }
        }
        let node = of_pod(pod.map(|pod| &pod.node)).or_else(|| resource.text("k8s.node.name"));
        if let Some((attributes, uid)) = node.and_then(|node| cluster.described(Kind::Node, &node)) {
            resource.add_all(&attributes);
            resource.add("k8s.node.uid", &uid);
        }
        let owners = pod.map(|pod| cluster.owners(pod)).unwrap_or_default();
        for (kind, key) in [
            (Kind::Deployment, "k8s.deployment.uid"),
            (Kind::ReplicaSet, "k8s.replicaset.uid"),
            (Kind::StatefulSet, "k8s.statefulset.uid"),
            (Kind::DaemonSet, "k8s.daemonset.uid"),
            (Kind::Job, "k8s.job.uid"),
            (Kind::CronJob, "k8s.cronjob.uid"),
        ] {
            let owner = owners
                .iter()
                .find(|(of, _)| *of == kind)
                .map(|(_, uid)| uid.clone());
            let uid = owner.or_else(|| resource.text(key));
            if let Some((attributes, _)) = uid.and_then(|uid| cluster.described(kind, &uid)) {
                resource.add_all(&attributes);
            }
        }
    }
}

/// The resource at a place.
struct Resource<'p, 'a>(&'p mut Place<'a>);

impl<'a> Resource<'_, 'a> {
    fn value(&self, key: &str) -> Option<Value<'a>> {
        self.0
            .resource
            .with_message(1, |resource| resource.attribute(1, key))
    }

    fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// An attribute that is a text and not empty.
    fn text(&self, key: &str) -> Option<String> {
        match self.value(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.into_owned()),
            _ => None,
        }
    }

    fn restarts(&self) -> Restarts {
        match self.value("k8s.container.restart_count") {
            None => Restarts::Unknown,
            Some(Value::Int(count)) => Restarts::Count(count),
            Some(Value::String(text)) => text.parse().map_or(Restarts::Odd, Restarts::Count),
            Some(_) => Restarts::Odd,
        }
    }

    /// Sets what is not there, or is empty.
    fn add(&mut self, key: &str, value: &str) {
        let is_empty = match self.value(key) {
            None | Some(Value::Empty) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(_) => false,
        };
        if is_empty {
            self.set(key, Value::String(Cow::Owned(value.to_owned())));
        }
    }

    fn add_all(&mut self, attributes: &Attributes) {
        for (key, value) in attributes {
            self.add(key, value);
        }
    }

    fn add_list(&mut self, key: &str, only: String) {
        if !self.has(key) {
            let list = Array::from_iter([Value::String(Cow::Owned(only))]);
            self.set(key, Value::Array(list));
        }
    }

    fn set(&mut self, key: &str, value: Value<'a>) {
        let map = self.0.resource.message_mut(1).map_mut(1);
        map.set(Cow::Owned(key.to_owned()), value);
    }
}
