//! The tenant processor, which is Cupola's own: says whose each item is.
//!
//! Copies attributes such as `tenant.id` and `user.id` onto every span, log record and data point that does not have them
//! itself: from the resource, and, with `from: trace`, from whatever span or record of the same trace has them, in the
//! same batch or in one that came shortly before. What an item has itself is never changed. With `as_tenant` the first of
//! the keys becomes the tenant that the item is kept under, and batches are divided by it.
//!
//! Holds back nothing: a batch is passed on at once, and the sender has the answer of the next sink. A batch that is
//! divided is refused as a whole if a part of it is, so that parts may arrive twice. A log that comes before any span of
//! its trace goes without the values of the trace.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cupola_config::units::TimeSpan;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::edit::{Editor, Level, Map, Message, MetricKind, Place, Value, Verdict, edit};
use cupola_telemetry::view::Attributes;
use cupola_telemetry::{Batch, Signal, TenantId, TraceId};
use parking_lot::Mutex;
use serde::Deserialize;

use super::ConfigError;
use super::lru::Lru;
use super::regroup::{Envelope, Pieces, walk};
use crate::ottl::Env;

/// Keys that may be copied.
const KEYS_MAX: usize = 32;
/// Longest encoded value of a trace that is copied: what is remembered has a bound by this.
const VALUE_BYTES_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantConfig {
    /// Attributes to copy; the first one names the tenant.
    pub keys: Vec<String>,
    pub from: From,
    /// Keeps each item under the tenant that its first key names.
    pub as_tenant: bool,
    /// Traces whose values are remembered.
    pub cache_size: usize,
    /// From the last item of a trace until its values are forgotten.
    pub cache_expiry: TimeSpan,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    Resource,
    /// Of the trace, and of the resource for what the trace does not have.
    #[default]
    Trace,
}

impl Default for TenantConfig {
    fn default() -> Self {
        Self {
            keys: vec!["tenant.id".to_owned(), "user.id".to_owned()],
            from: From::default(),
            as_tenant: false,
            cache_size: 100_000,
            cache_expiry: TimeSpan(Duration::from_secs(120)),
        }
    }
}

impl TenantConfig {
    /// Refuses keys that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.keys.is_empty() || self.keys.iter().any(String::is_empty) {
            return Err(ConfigError::setting(
                "keys",
                "there must be at least one, and none may be empty",
            ));
        }
        if self.keys.len() > KEYS_MAX {
            return Err(ConfigError::setting(
                "keys",
                format!("at most {KEYS_MAX} can be copied"),
            ));
        }
        if self.from == From::Trace && self.cache_size == 0 {
            return Err(ConfigError::setting(
                "cache_size",
                "values of traces need room for at least one",
            ));
        }
        Ok(())
    }
}

/// The encoded value of each key, where it is known.
type Values = Vec<Option<Bytes>>;

struct Remembered {
    values: Values,
    /// Nanoseconds since the epoch.
    until: u64,
}

#[derive(Default)]
struct Stats {
    copied: u64,
    /// Items whose first key names no possible tenant.
    invalid: u64,
}

/// The processor in front of a sink.
pub struct Tenant {
    config: TenantConfig,
    next: Arc<dyn Sink>,
    env: Arc<dyn Env + Send>,
    cache: Mutex<Lru<(TenantId, TraceId), Remembered>>,
    stats: Mutex<Stats>,
}

impl Tenant {
    pub fn new(
        config: &TenantConfig,
        next: Arc<dyn Sink>,
        env: Arc<dyn Env + Send>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            next,
            env,
            cache: Mutex::new(Lru::new(config.cache_size)),
            stats: Mutex::default(),
            config: config.clone(),
        })
    }

    /// The batches that a batch becomes: one, unless it is divided by tenant.
    pub fn process(&self, batch: &Batch) -> Vec<Batch> {
        let traces = match self.config.from {
            From::Trace => self.values_of_traces(batch),
            From::Resource => HashMap::new(),
        };
        let mut copying = Copying {
            keys: &self.config.keys,
            signal: batch.signal(),
            traces: &traces,
            resource: Vec::new(),
            copied: 0,
        };
        let Ok(edited) = edit(batch, &mut copying);
        self.stats.lock().copied += copying.copied;
        match (edited, self.config.as_tenant) {
            (None, _) => Vec::new(),
            (Some(edited), false) => vec![edited],
            (Some(edited), true) => self.divide(&edited),
        }
    }

    /// What is known of each trace in a batch, by now.
    fn values_of_traces(&self, batch: &Batch) -> HashMap<TraceId, Values> {
        let keys = &self.config.keys;
        let mut traces: HashMap<TraceId, Values> = HashMap::new();
        let mut add = |id: &[u8], own: &Attributes<'_>, resource: &Attributes<'_>| {
            let Some(id) = TraceId::from_bytes(id).filter(|id| !id.is_zero()) else {
                return;
            };
            let values = traces.entry(id).or_insert_with(|| vec![None; keys.len()]);
            for (value, key) in values.iter_mut().zip(keys) {
                if value.is_none() {
                    *value = raw_value(own, key)
                        .or_else(|| raw_value(resource, key))
                        .map(Bytes::copy_from_slice);
                }
            }
        };
        match batch.signal() {
            Signal::Traces => {
                for resource in batch.traces().resources() {
                    let around = resource.resource().attributes;
                    for span in resource.scopes().flat_map(|scope| scope.spans()) {
                        add(span.trace_id, &span.attributes, &around);
                    }
                }
            }
            Signal::Logs => {
                for resource in batch.logs().resources() {
                    let around = resource.resource().attributes;
                    for record in resource.scopes().flat_map(|scope| scope.records()) {
                        add(record.trace_id, &record.attributes, &around);
                    }
                }
            }
            Signal::Metrics => {}
        }
        self.remember(batch.tenant(), &mut traces);
        traces
    }

    /// Adds what earlier batches had, and keeps what this one has.
    fn remember(&self, tenant: &TenantId, traces: &mut HashMap<TraceId, Values>) {
        let now = self.env.now_unix_nano();
        let expiry = u64::try_from(self.config.cache_expiry.0.as_nanos()).unwrap_or(u64::MAX);
        let mut cache = self.cache.lock();
        for (id, values) in traces {
            let key = (tenant.clone(), *id);
            let until = now.saturating_add(expiry);
            if let Some(known) = cache.get(&key).filter(|known| known.until > now) {
                for (value, known) in values.iter_mut().zip(&known.values) {
                    // What was said first holds, for all items of the trace alike.
                    if known.is_some() {
                        *value = known.clone();
                    }
                }
            }
            if values.iter().any(Option::is_some) {
                let values = values.clone();
                cache.insert(key, Remembered { values, until });
            }
        }
    }

    fn divide(&self, batch: &Batch) -> Vec<Batch> {
        let Some(key) = self.config.keys.first() else {
            return vec![batch.clone()];
        };
        let mut pieces = Pieces::new();
        let mut invalid = 0;
        let mut last: Option<(Vec<u8>, TenantId)> = None;
        walk(batch, |path, item| {
            let named = named_tenant(path, item, batch.signal(), key);
            let tenant = match named {
                None => batch.tenant().clone(),
                Some(name) => match &last {
                    Some((last, tenant)) if *last == name.as_bytes() => tenant.clone(),
                    _ => {
                        let tenant = TenantId::parse(&name).unwrap_or_else(|_| {
                            invalid += 1;
                            batch.tenant().clone()
                        });
                        last = Some((name.into_bytes(), tenant.clone()));
                        tenant
                    }
                },
            };
            pieces.push(&tenant, path, item);
        });
        self.stats.lock().invalid += invalid;
        let mut batches: Vec<Batch> = pieces
            .finish()
            .map(|(tenant, payload, items)| of_tenant(batch, tenant, payload, items))
            .collect();
        // All of one tenant: the bytes as they are.
        if let [one] = &mut batches[..]
            && one.items() == batch.items()
        {
            *one = of_tenant(
                batch,
                one.tenant().clone(),
                batch.payload().clone(),
                batch.items(),
            );
        }
        batches
    }
}

/// Content of a batch, as another tenant's.
fn of_tenant(batch: &Batch, tenant: TenantId, payload: Bytes, items: usize) -> Batch {
    Batch::from_canonical(batch.signal(), tenant, payload, items).with_client(batch.client().cloned())
}

fn raw_value<'a>(attributes: &Attributes<'a>, key: &str) -> Option<&'a [u8]> {
    let pair = attributes.iter().find(|pair| pair.key == key)?;
    pair.value_raw()
        .filter(|raw| !raw.is_empty() && raw.len() <= VALUE_BYTES_MAX)
}

/// Number of the attributes of a data point, by that of its data in the metric.
fn point_attributes(data: u32) -> u32 {
    match data {
        9 => 9,
        10 => 1,
        _ => 7,
    }
}

/// The name that an item, or else its resource, has for its tenant.
fn named_tenant(path: &[Envelope<'_>], item: &[u8], signal: Signal, key: &str) -> Option<String> {
    let number = match signal {
        Signal::Logs => 6,
        Signal::Traces => 9,
        Signal::Metrics => point_attributes(path.last().map_or(0, Envelope::number)),
    };
    let own = Message::new(item).attribute(number, key).and_then(name);
    own.or_else(|| {
        let resource = path.first()?.message;
        Message::new(resource).with_message(1, |resource| resource.attribute(1, key).and_then(name))
    })
}

fn name(value: Value<'_>) -> Option<String> {
    match value {
        Value::String(text) => Some(text.into_owned()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Copies values onto items.
struct Copying<'a> {
    keys: &'a [String],
    signal: Signal,
    traces: &'a HashMap<TraceId, Values>,
    /// Of the resource that the walk is in.
    resource: Vec<Option<Value<'a>>>,
    copied: u64,
}

impl<'a> Editor<'a> for Copying<'a> {
    type Error = Infallible;

    fn deepest(&self) -> Level {
        match self.signal {
            Signal::Metrics => Level::Part,
            Signal::Logs | Signal::Traces => Level::Item,
        }
    }

    fn visit(&mut self, level: Level, place: &mut Place<'a>) -> Result<Verdict, Infallible> {
        if level == Level::Resource {
            self.resource = place.resource.with_message(1, |resource| {
                let value = |key: &String| {
                    resource
                        .attribute(1, key)
                        .filter(|value| !matches!(value, Value::Empty))
                };
                self.keys.iter().map(value).collect()
            });
        }
        if level != self.deepest() {
            return Ok(Verdict::Keep);
        }
        let kind = place.metric_kind();
        let (item, number, id) = match self.signal {
            Signal::Traces => (&mut place.item, 9, 1),
            Signal::Logs => (&mut place.item, 6, 9),
            Signal::Metrics => {
                let number = match kind {
                    Some(MetricKind::Histogram) => 9,
                    Some(MetricKind::ExponentialHistogram) => 1,
                    _ => 7,
                };
                (&mut place.part, number, 0)
            }
        };
        let of_trace = match id {
            0 => None,
            id => item.bytes(id).and_then(|id| TraceId::from_bytes(&id)),
        };
        let of_trace = of_trace.and_then(|id| self.traces.get(&id));
        for (index, key) in self.keys.iter().enumerate() {
            let traced = of_trace
                .and_then(|values| values.get(index)?.as_deref())
                .map(Value::decode);
            let Some(value) = traced.or_else(|| self.resource.get(index).cloned().flatten()) else {
                continue;
            };
            if item.attribute(number, key).is_none() {
                let map: &mut Map<'a> = item.map_mut(number);
                map.push(key.as_str().into(), value);
                self.copied += 1;
            }
        }
        Ok(Verdict::Keep)
    }
}

#[async_trait]
impl Sink for Tenant {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let mut accepted = Accepted::all();
        for part in self.process(&batch) {
            accepted.merge(self.next.send(part).await?);
        }
        Ok(accepted)
    }
}

#[async_trait]
impl Component for Tenant {
    fn collect(&self, samples: &mut Vec<Sample>) {
        let stats = self.stats.lock();
        samples.push(Sample::count(
            "otelcol_processor_tenant_copied_attributes",
            "Attributes that were copied onto items.",
            stats.copied,
        ));
        samples.push(Sample::count(
            "otelcol_processor_tenant_invalid",
            "Values that cannot be the name of a tenant, of which the items stayed where they were.",
            stats.invalid,
        ));
        samples.push(Sample::level(
            "otelcol_processor_tenant_traces_remembered",
            "Traces whose values are remembered.",
            self.cache.lock().len() as f64,
        ));
    }
}
