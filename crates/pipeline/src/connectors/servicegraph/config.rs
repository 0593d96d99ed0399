//! Settings of the servicegraph connector, as the Collector has them.

use std::sync::Arc;
use std::time::Duration;

use cupola_config::units::TimeSpan;
use serde::Deserialize;

use crate::connectors::aggregate::Kind;
use crate::processors::ConfigError;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceGraphConfig {
    /// Accepted: the pipelines say where metrics go.
    pub metrics_exporter: Option<String>,
    /// Highest latency of each bucket but the last.
    pub latency_histogram_buckets: Vec<TimeSpan>,
    /// Buckets of exponential histograms, which are made if it is not zero.
    pub exponential_histogram_max_size: usize,
    /// Attributes that become labels, as `client_NAME` and `server_NAME`.
    pub dimensions: Vec<String>,
    pub store: StoreConfig,
    /// Accepted: series are looked through at every flush.
    pub cache_loop: TimeSpan,
    /// How often spans without a partner are looked for.
    pub store_expiration_loop: TimeSpan,
    /// Of a client's span, the first that is there names the server that no span came from.
    pub virtual_node_peer_attributes: Vec<String>,
    /// Adds `virtual_node` with the side that is one.
    pub virtual_node_extra_label: bool,
    /// Zero: after every batch.
    pub metrics_flush_interval: TimeSpan,
    /// One more of `database_name_attributes`, before them.
    pub database_name_attribute: Option<String>,
    /// Of a client's span, the first that is there names the database, which sends no spans of its own.
    pub database_name_attributes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Spans of a tenant that wait for a partner.
    pub max_items: usize,
    /// How long they wait.
    pub ttl: TimeSpan,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            max_items: 1_000,
            ttl: TimeSpan(Duration::from_secs(2)),
        }
    }
}

impl Default for ServiceGraphConfig {
    fn default() -> Self {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            metrics_exporter: None,
            latency_histogram_buckets: Vec::new(),
            exponential_histogram_max_size: 0,
            dimensions: Vec::new(),
            store: StoreConfig::default(),
            cache_loop: TimeSpan(Duration::from_secs(60)),
            store_expiration_loop: TimeSpan(Duration::from_secs(2)),
            virtual_node_peer_attributes: texts(&[
                "peer.service",
                "db.name",
                "db.namespace",
                "db.system",
                "db.system.name",
            ]),
            virtual_node_extra_label: false,
            metrics_flush_interval: TimeSpan(Duration::from_secs(60)),
            database_name_attribute: None,
            database_name_attributes: texts(&["db.name", "db.namespace"]),
        }
    }
}

/// Seconds, as the Collector has them.
const BOUNDS: [f64; 16] = [
    0.002, 0.004, 0.006, 0.008, 0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.4, 2.0, 5.0, 10.0, 15.0,
];
const BUCKETS_MAX: usize = 1_000;
const ITEMS_MAX: usize = 10_000_000;

impl ServiceGraphConfig {
    /// Refuses what cannot work, naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |key: &str, problem: &str| Err(ConfigError::setting(key, problem));
        let buckets = &self.latency_histogram_buckets;
        if buckets.len() > BUCKETS_MAX {
            return refuse("latency_histogram_buckets", "at most 1000 buckets are possible");
        }
        if !buckets.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            return refuse(
                "latency_histogram_buckets",
                "each bucket must be longer than the one before",
            );
        }
        match self.exponential_histogram_max_size {
            0 => {}
            _ if !buckets.is_empty() => {
                let problem = "use either this or `latency_histogram_buckets`, not both";
                return refuse("exponential_histogram_max_size", problem);
            }
            2..=BUCKETS_MAX => {}
            _ => return refuse("exponential_histogram_max_size", "must be 0 or from 2 to 1000"),
        }
        if !(1..=ITEMS_MAX).contains(&self.store.max_items) {
            return refuse("store.max_items", "must be from 1 to 10000000");
        }
        if self.store.ttl.0.is_zero() {
            return refuse(
                "store.ttl",
                "must be longer than nothing: the spans of a call do not come at once",
            );
        }
        if self.store_expiration_loop.0.is_zero() {
            return refuse("store_expiration_loop", "must be longer than nothing");
        }
        Ok(())
    }

    pub(super) fn kind(&self) -> Kind {
        if self.exponential_histogram_max_size > 0 {
            return Kind::Exponential {
                max_size: self.exponential_histogram_max_size,
            };
        }
        let given = self.latency_histogram_buckets.iter();
        let bounds: Vec<f64> = given.map(|bucket| bucket.0.as_secs_f64()).collect();
        Kind::Explicit(match bounds.is_empty() {
            true => Arc::from(BOUNDS),
            false => Arc::from(bounds),
        })
    }

    pub(super) fn database_attributes(&self) -> impl Iterator<Item = &str> {
        let first = self.database_name_attribute.iter();
        first.chain(&self.database_name_attributes).map(String::as_str)
    }
}
