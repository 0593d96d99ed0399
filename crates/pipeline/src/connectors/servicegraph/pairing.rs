//! From spans to calls, and from calls to counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cupola_telemetry::view::{Attributes, Resource, Span};
use cupola_telemetry::{Batch, TenantId};
use parking_lot::Mutex;

use super::config::ServiceGraphConfig;
use super::edge::{Connection, Edge, Half, Side};
use super::store::{CallId, Put, Store};
use crate::connectors::aggregate::{Aggregate, At, Exemplar, Family, Kind, Labels, Measured};
use crate::connectors::flusher::Flusher;
use crate::connectors::spans;

/// Places of the metrics.
const REQUESTS: usize = 0;
const FAILED: usize = 1;
const SERVER_SECONDS: usize = 2;
const CLIENT_SECONDS: usize = 3;
const UNPAIRED: usize = 4;
const DROPPED: usize = 5;

/// What the connector and its tasks share.
pub(super) struct Shared {
    pub(super) config: ServiceGraphConfig,
    pub(super) instance: Option<String>,
    pub(super) store: Mutex<Store>,
    pub(super) flusher: Arc<Flusher>,
    pub(super) paired: AtomicU64,
    pub(super) unpaired: AtomicU64,
    pub(super) dropped: AtomicU64,
}

/// The metrics, in the order of their places.
pub(super) fn families(kind: &Kind) -> Vec<Family> {
    // No units: any would become a part of the name in Prometheus.
    let family = |name: &str, description: &str, kind| Family {
        name: format!("traces_service_graph_{name}"),
        description: description.to_owned(),
        unit: String::new(),
        kind,
    };
    vec![
        family("request_total", "Calls between two services.", Kind::Sum),
        family(
            "request_failed_total",
            "Calls that failed on either side.",
            Kind::Sum,
        ),
        family(
            "request_server_seconds",
            "Duration of calls as the server saw them.",
            kind.clone(),
        ),
        family(
            "request_client_seconds",
            "Duration of calls as the client saw them.",
            kind.clone(),
        ),
        family(
            "unpaired_spans_total",
            "Spans of calls whose other side did not come.",
            Kind::Sum,
        ),
        family(
            "dropped_spans_total",
            "Spans for which there was no room to wait.",
            Kind::Sum,
        ),
    ]
}

/// Where something is counted.
struct Counting<'c> {
    aggregate: &'c mut Aggregate,
    tenant: &'c TenantId,
    now: u64,
}

impl Shared {
    /// Looks at each span, and returns how many belong to a call.
    pub(super) fn count(&self, batch: &Batch, aggregate: &mut Aggregate, now: u64) -> usize {
        let mut matched = 0;
        let mut store = self.store.lock();
        for resource_spans in batch.traces().resources() {
            let resource = resource_spans.resource();
            for span in resource_spans.scopes().flat_map(|scope| scope.spans()) {
                let counting = Counting {
                    aggregate: &mut *aggregate,
                    tenant: batch.tenant(),
                    now,
                };
                matched += usize::from(self.span(&resource, &span, &mut store, counting));
            }
        }
        matched
    }

    /// Whether the span is a side of a call.
    fn span(
        &self,
        resource: &Resource<'_>,
        span: &Span<'_>,
        store: &mut Store,
        mut counting: Counting<'_>,
    ) -> bool {
        let Some(half) = self.half(resource, span) else {
            return false;
        };
        let called_from = match half.side {
            Side::Client => {
                if let Some(database) = self.first_of(self.config.database_attributes(), span.attributes) {
                    let edge = Edge::to_silent(half, database, Connection::Database);
                    self.edge(&edge, &mut counting);
                    return true;
                }
                span.span_id
            }
            Side::Server => span.parent_span_id,
        };
        let Ok(span_id) = called_from.try_into() else {
            match half.side {
                Side::Server => self.edge(&Edge::from_user(half), &mut counting),
                Side::Client => self.unpaired(&half, &mut counting),
            }
            return true;
        };
        let id = CallId {
            trace_id: half.trace_id,
            span_id,
        };
        match store.put(counting.tenant, id, half.clone(), counting.now) {
            Put::Waits => {}
            Put::Paired(other) => self.edge(&Edge::paired(other, half), &mut counting),
            Put::Replaced(other) => self.unpaired(&other, &mut counting),
            Put::Full(half) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                self.lonely(DROPPED, &half, &mut counting);
            }
        }
        true
    }

    fn half(&self, resource: &Resource<'_>, span: &Span<'_>) -> Option<Half> {
        let (side, connection) = match span.kind {
            2 => (Side::Server, Connection::Unknown),
            3 => (Side::Client, Connection::Unknown),
            4 => (Side::Client, Connection::Messaging),
            5 => (Side::Server, Connection::Messaging),
            _ => return None,
        };
        let prefix = match side {
            Side::Client => "client_",
            Side::Server => "server_",
        };
        let dimension = |name: &String| {
            let value = resource
                .attributes
                .get(name)
                .or_else(|| span.attributes.get(name))?;
            Some((format!("{prefix}{name}"), spans::text(value).into_owned()))
        };
        let peers = self
            .config
            .virtual_node_peer_attributes
            .iter()
            .map(String::as_str);
        Some(Half {
            side,
            service: spans::service_name(resource).into_owned(),
            connection,
            seconds: spans::duration_nanos(span) as f64 / 1e9,
            failed: span
                .status
                .is_some_and(|status| status.code == spans::STATUS_ERROR),
            dimensions: self.config.dimensions.iter().filter_map(dimension).collect(),
            peer: match side {
                Side::Client => self.first_of(peers, span.attributes),
                Side::Server => None,
            },
            trace_id: span.trace_id.try_into().ok()?,
            span_id: span.span_id.try_into().unwrap_or_default(),
        })
    }

    /// The first of `names` that says something.
    fn first_of<'n>(
        &self,
        mut names: impl Iterator<Item = &'n str>,
        attributes: Attributes<'_>,
    ) -> Option<String> {
        names.find_map(|name| {
            let value = spans::text(attributes.get(name)?).into_owned();
            Some(value).filter(|value| !value.is_empty())
        })
    }

    pub(super) fn expire(&self) {
        let now = self.flusher.now();
        // Refused only at the end, which gives up waiting by itself.
        let _ = self
            .flusher
            .with(|aggregate| self.expire_until(aggregate, now, now));
    }

    pub(super) fn expire_until(&self, aggregate: &mut Aggregate, until: u64, now: u64) {
        let expired = self.store.lock().expire(until);
        for (tenant, mut half) in expired {
            let mut counting = Counting {
                aggregate: &mut *aggregate,
                tenant: &tenant,
                now,
            };
            match half.peer.take() {
                Some(peer) => {
                    let edge = Edge::to_silent(half, peer, Connection::VirtualNode);
                    self.edge(&edge, &mut counting);
                }
                None => self.unpaired(&half, &mut counting),
            }
        }
    }

    fn edge(&self, edge: &Edge, counting: &mut Counting<'_>) {
        self.paired.fetch_add(1, Ordering::Relaxed);
        let mut labels = Labels::default();
        labels.text("client", &edge.client);
        labels.text("server", &edge.server);
        labels.text("connection_type", edge.connection.as_str());
        for (name, value) in &edge.dimensions {
            labels.text(name, value);
        }
        if self.config.virtual_node_extra_label {
            labels.text("virtual_node", edge.virtual_side.unwrap_or_default());
        }
        self.instance_label(&mut labels);
        counting.add(REQUESTS, &labels);
        // Also where nothing failed, so that a share of failures can be asked for.
        counting.add_many(FAILED, &labels, u64::from(edge.failed));
        let durations = [
            (SERVER_SECONDS, edge.server_seconds),
            (CLIENT_SECONDS, edge.client_seconds),
        ];
        for (family, seconds) in durations {
            let Some(value) = seconds else {
                continue;
            };
            let exemplar = Exemplar {
                trace_id: edge.trace_id,
                span_id: edge.span_id,
                value,
                time_unix_nano: counting.now,
            };
            counting.observe(family, &labels, value, exemplar);
        }
    }

    fn unpaired(&self, half: &Half, counting: &mut Counting<'_>) {
        self.unpaired.fetch_add(1, Ordering::Relaxed);
        self.lonely(UNPAIRED, half, counting);
    }

    /// Counts one side of a call by what it knows.
    fn lonely(&self, family: usize, half: &Half, counting: &mut Counting<'_>) {
        let (client, server) = match half.side {
            Side::Client => (half.service.as_str(), half.peer.as_deref().unwrap_or_default()),
            Side::Server => ("", half.service.as_str()),
        };
        let mut labels = Labels::default();
        labels.text("client", client);
        labels.text("server", server);
        labels.text("connection_type", half.connection.as_str());
        self.instance_label(&mut labels);
        counting.add(family, &labels);
    }

    fn instance_label(&self, labels: &mut Labels) {
        if let Some(instance) = &self.instance {
            labels.text("collector.instance.id", instance);
        }
    }
}

impl Counting<'_> {
    fn add(&mut self, family: usize, labels: &Labels) {
        self.add_many(family, labels, 1);
    }

    fn add_many(&mut self, family: usize, labels: &Labels, count: u64) {
        let at = At {
            resource: &[],
            family,
            labels: labels.bytes(),
        };
        self.aggregate.add(self.now, self.tenant, at, count);
    }

    fn observe(&mut self, family: usize, labels: &Labels, value: f64, exemplar: Exemplar) {
        let at = At {
            resource: &[],
            family,
            labels: labels.bytes(),
        };
        let measured = Measured {
            value,
            times: 1,
            exemplar: Some(exemplar),
        };
        self.aggregate.observe(self.now, self.tenant, at, measured);
    }
}
