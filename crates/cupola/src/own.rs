//! Cupola's own telemetry: its logs, spans and metrics, kept in its own store under a tenant of its own, and samples of its
//! spans for whoever looks at them in the process.
//!
//! Never about itself in a loop: what happens while own telemetry is stored is not recorded, nor are spans about the own
//! tenant alone (a flush of own metrics, say), and routine work of the store is logged to stderr only. Everything here is
//! bounded and dropped when too much.

mod layer;
mod metrics;
mod recorder;
pub(crate) mod samples;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cupola_telemetry::TenantId;
use tracing::{Level, Metadata};

pub(crate) use layer::OwnLayer;
pub(crate) use metrics::Vitals;
pub(crate) use recorder::{Collected, Recorder};
pub(crate) use samples::SpanSamples;

/// Items that may wait to be stored; more are dropped and counted.
const QUEUE_ITEMS_MAX: usize = 4_096;

tokio::task_local! {
    /// Set while own telemetry is being stored.
    static STORING: ();
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Int(i64),
    Double(f64),
    Bool(bool),
}

pub(crate) type Attributes = Vec<(&'static str, Value)>;

/// Trace id and span id.
pub(crate) type Ids = ([u8; 16], [u8; 8]);

/// One log record or span on its way to the store.
#[derive(Debug)]
pub(crate) enum Item {
    Log(OwnLog),
    Span(OwnSpan),
}

#[derive(Debug)]
pub(crate) struct OwnLog {
    time: u64,
    level: Level,
    target: &'static str,
    body: String,
    attributes: Attributes,
    ids: Option<Ids>,
}

#[derive(Debug)]
pub(crate) struct OwnSpan {
    ids: Ids,
    parent: Option<[u8; 8]>,
    name: Cow<'static, str>,
    /// `SpanKind` of OTLP.
    kind: i32,
    target: &'static str,
    start: u64,
    end: u64,
    failed: bool,
    /// It goes to the store, as well as to the samples where there are some.
    is_stored: bool,
    attributes: Attributes,
}

/// Whether an event or span may become own telemetry at all.
pub(crate) fn is_kept(metadata: &Metadata<'_>) -> bool {
    if !metadata.target().starts_with("cupola") || *metadata.level() > Level::INFO {
        return false;
    }
    // Routine of the store is caused by whatever is stored, own telemetry included.
    metadata.is_span() || !metadata.target().starts_with("cupola_store") || *metadata.level() <= Level::WARN
}

/// The ends at which own telemetry comes out, for the server.
#[derive(Default)]
pub(crate) struct OwnTelemetry {
    /// From which the recorder takes what is stored.
    pub(crate) collected: Option<Collected>,
    /// Samples of spans, for whoever looks.
    pub(crate) samples: Option<Arc<SpanSamples>>,
}

/// The layer that collects for the own tenant and for samples, and where it comes out; no layer where neither is wanted.
pub(crate) fn channel(own_tenant: Option<&TenantId>, sampled: bool) -> (Option<OwnLayer>, OwnTelemetry) {
    let samples = sampled.then(Arc::<SpanSamples>::default);
    let Some(own_tenant) = own_tenant else {
        let layer = samples.clone().map(OwnLayer::sampling);
        return (
            layer,
            OwnTelemetry {
                collected: None,
                samples,
            },
        );
    };
    let (sender, receiver) = tokio::sync::mpsc::channel(QUEUE_ITEMS_MAX);
    let counts = Arc::new(layer::Counts::default());
    let layer = OwnLayer::new(sender, counts.clone(), own_tenant, samples.clone());
    let collected = Some(Collected {
        items: receiver,
        counts,
    });
    (Some(layer), OwnTelemetry { collected, samples })
}

pub(crate) fn now_unix_nano() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}
