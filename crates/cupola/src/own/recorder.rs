//! The recorder: takes collected items, and reads of the vitals, to the store as ordinary batches of the own tenant.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cupola_store::Store;
use cupola_telemetry::encode::{LogsEncoder, MetricsEncoder, TracesEncoder};
use cupola_telemetry::view::AnyValue;
use cupola_telemetry::{Batch, TenantId};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Level;

use super::layer::Counts;
use super::metrics::{Kind, Vitals};
use super::{Item, OwnLog, OwnSpan, STORING, Value, now_unix_nano};
use crate::config::OWN_SERVICE;
use crate::config::file::Scalar;
use crate::config::telemetry::OwnResource;

const STORE_EVERY: Duration = Duration::from_secs(1);
const MEASURE_EVERY: Duration = Duration::from_secs(15);
const BATCH_ITEMS_MAX: usize = 2_048;
/// After a refusal own telemetry waits this long: users' data goes first.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(30);
const SCOPE: &str = "cupola";

/// What the layer has collected.
pub(crate) struct Collected {
    pub(crate) items: Receiver<Item>,
    pub(crate) counts: Arc<Counts>,
}

/// The task that stores own telemetry.
pub(crate) struct Recorder {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Recorder {
    /// Stores for a tenant; what is given of the resource goes before what it has by itself.
    pub(crate) fn start(
        store: Store,
        (tenant, given): (TenantId, &OwnResource),
        collected: Collected,
        vitals: Arc<Vitals>,
    ) -> Self {
        let stop = CancellationToken::new();
        let work = Work {
            store,
            tenant,
            collected,
            vitals,
            resource: Resource::new(given),
            pending: Vec::new(),
        };
        Recorder {
            task: tokio::spawn(work.run(stop.clone())),
            stop,
        }
    }

    /// Stores what is left.
    pub(crate) async fn shutdown(self) {
        self.stop.cancel();
        // The task ends when the queue is empty; a panic there loses own telemetry only.
        let _ = self.task.await;
    }
}

struct Work {
    store: Store,
    tenant: TenantId,
    collected: Collected,
    vitals: Arc<Vitals>,
    resource: Resource,
    pending: Vec<Item>,
}

struct Resource(Vec<(String, Value)>);

impl Work {
    async fn run(mut self, stop: CancellationToken) {
        let mut rounds = tokio::time::interval(STORE_EVERY);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut measured = tokio::time::Instant::now();
        let mut paused_until = measured;
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                _ = rounds.tick() => false,
            };
            let now = tokio::time::Instant::now();
            if now < paused_until && !stopping {
                continue;
            }
            let due = stopping || now >= measured + MEASURE_EVERY;
            if due {
                measured = now;
            }
            let stored = STORING.scope((), self.store_round(due)).await;
            self.collected.counts.failing.store(!stored, Ordering::Relaxed);
            if !stored {
                paused_until = now + PAUSE_AFTER_FAILURE;
            }
            if stopping {
                self.store_rest().await;
                return;
            }
        }
    }

    /// Empties the queue, which holds no more than it has room for: what comes in meanwhile is not waited for.
    async fn store_rest(&mut self) {
        self.collected.items.close();
        while !self.collected.items.is_empty() {
            STORING.scope((), self.store_round(false)).await;
        }
    }

    /// `false` if the store refused something; that is counted and gone.
    async fn store_round(&mut self, measure: bool) -> bool {
        while self.pending.len() < BATCH_ITEMS_MAX {
            match self.collected.items.try_recv() {
                Ok(item) => self.pending.push(item),
                Err(_) => break,
            }
        }
        let (mut logs, mut spans) = (Vec::new(), Vec::new());
        for item in self.pending.drain(..) {
            match item {
                Item::Log(log) => logs.push(log),
                Item::Span(span) => spans.push(span),
            }
        }
        let mut batches = Vec::new();
        if !logs.is_empty() {
            batches.push(self.logs(&logs));
        }
        if !spans.is_empty() {
            batches.push(self.spans(&spans));
        }
        if measure {
            batches.push(self.metrics());
        }
        let mut stored = true;
        for batch in batches {
            let items = batch.items() as u64;
            // A store that has refused one is not asked for the others.
            stored = stored && self.store.append(batch).await.is_ok();
            if !stored {
                self.collected.counts.dropped.fetch_add(items, Ordering::Relaxed);
            }
        }
        stored
    }

    fn logs(&self, logs: &[OwnLog]) -> Batch {
        let mut encoder = LogsEncoder::new();
        let mut resource = encoder.resource_logs();
        self.resource.write(&mut resource.resource());
        let mut scope = resource.scope_logs();
        scope.scope().name(SCOPE).version(env!("CARGO_PKG_VERSION"));
        for log in logs {
            let mut record = scope.record();
            let (number, text) = severity(log.level);
            record.time_unix_nano(log.time).observed_time_unix_nano(log.time);
            record
                .severity_number(number)
                .severity_text(text)
                .body(log.body.as_str());
            record.attribute("code.namespace", log.target);
            for (key, value) in &log.attributes {
                record.attribute(key, any(value));
            }
            if let Some((trace, span)) = &log.ids {
                record.trace_id(trace).span_id(span);
            }
        }
        drop(scope);
        drop(resource);
        encoder.finish(self.tenant.clone())
    }

    fn spans(&self, spans: &[OwnSpan]) -> Batch {
        const STATUS_ERROR: i32 = 2;
        let mut encoder = TracesEncoder::new();
        let mut resource = encoder.resource_spans();
        self.resource.write(&mut resource.resource());
        let mut scope = resource.scope_spans();
        scope.scope().name(SCOPE).version(env!("CARGO_PKG_VERSION"));
        for own in spans {
            let mut span = scope.span();
            span.trace_id(&own.ids.0)
                .span_id(&own.ids.1)
                .name(own.name.as_ref())
                .kind(own.kind);
            span.start_time_unix_nano(own.start)
                .end_time_unix_nano(own.end.max(own.start));
            if let Some(parent) = &own.parent {
                span.parent_span_id(parent);
            }
            span.attribute("code.namespace", own.target);
            for (key, value) in &own.attributes {
                span.attribute(key, any(value));
            }
            if own.failed {
                span.status().code(STATUS_ERROR);
            }
        }
        drop(scope);
        drop(resource);
        encoder.finish(self.tenant.clone())
    }

    fn metrics(&self) -> Batch {
        const CUMULATIVE: i32 = 2;
        let now = now_unix_nano();
        let start = self.vitals.started_unix_nano();
        let mut encoder = MetricsEncoder::new();
        let mut resource = encoder.resource_metrics();
        self.resource.write(&mut resource.resource());
        let mut scope = resource.scope_metrics();
        scope.scope().name(SCOPE).version(env!("CARGO_PKG_VERSION"));
        for family in self.vitals.measure() {
            let mut metric = scope.metric();
            metric
                .name(&family.name)
                .description(&family.help)
                .unit(family.unit);
            match family.kind {
                Kind::Counter => {
                    let mut sum = metric.sum();
                    sum.aggregation_temporality(CUMULATIVE).is_monotonic(true);
                    for (labels, value) in &family.values {
                        let mut point = sum.point();
                        point
                            .start_time_unix_nano(start)
                            .time_unix_nano(now)
                            .value(*value);
                        for (key, label) in labels {
                            point.attribute(key, label.as_str());
                        }
                    }
                }
                Kind::Gauge => {
                    let mut gauge = metric.gauge();
                    for (labels, value) in &family.values {
                        let mut point = gauge.point();
                        point.time_unix_nano(now).value(*value);
                        for (key, label) in labels {
                            point.attribute(key, label.as_str());
                        }
                    }
                }
            }
        }
        drop(scope);
        drop(resource);
        encoder.finish(self.tenant.clone())
    }
}

impl Resource {
    fn new(given: &OwnResource) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let mut attributes = vec![
            ("service.name".to_owned(), Value::Text(OWN_SERVICE.to_owned())),
            (
                "service.version".to_owned(),
                Value::Text(env!("CARGO_PKG_VERSION").to_owned()),
            ),
            (
                "service.instance.id".to_owned(),
                Value::Text(uuid::Uuid::new_v4().to_string()),
            ),
            (
                "process.pid".to_owned(),
                Value::Int(i64::from(std::process::id())),
            ),
        ];
        if !host.trim().is_empty() {
            attributes.push(("host.name".to_owned(), Value::Text(host.trim().to_owned())));
        }
        for (name, value) in given {
            attributes.retain(|(known, _)| known != name);
            let value = match value {
                None => continue,
                Some(Scalar::Bool(flag)) => Value::Bool(*flag),
                Some(Scalar::Int(number)) => Value::Int(*number),
                Some(Scalar::Double(number)) => Value::Double(*number),
                Some(Scalar::Text(text)) => Value::Text(text.clone()),
            };
            attributes.push((name.clone(), value));
        }
        Resource(attributes)
    }

    fn write(&self, resource: &mut cupola_telemetry::encode::Resource<'_>) {
        for (name, value) in &self.0 {
            resource.attribute(name, any(value));
        }
    }
}

fn any(value: &Value) -> AnyValue<'_> {
    match value {
        Value::Text(text) => AnyValue::String(text),
        Value::Int(number) => AnyValue::Int(*number),
        Value::Double(number) => AnyValue::Double(*number),
        Value::Bool(flag) => AnyValue::Bool(*flag),
    }
}

/// Severity number and text of the OpenTelemetry log model.
fn severity(level: Level) -> (i32, &'static str) {
    match level {
        Level::ERROR => (17, "ERROR"),
        Level::WARN => (13, "WARN"),
        Level::INFO => (9, "INFO"),
        Level::DEBUG => (5, "DEBUG"),
        Level::TRACE => (1, "TRACE"),
    }
}

#[cfg(test)]
mod tests {
    use cupola_store::StoreConfig;
    use cupola_telemetry::memory::MemoryBudget;

    use super::super::QUEUE_ITEMS_MAX;
    use super::*;
    use crate::watch::MemoryState;

    fn log() -> Item {
        Item::Log(OwnLog {
            time: now_unix_nano(),
            level: Level::INFO,
            target: "cupola",
            body: "something happened".to_owned(),
            attributes: Vec::new(),
            ids: None,
        })
    }

    fn span() -> Item {
        Item::Span(OwnSpan {
            ids: ([1; 16], [2; 8]),
            parent: None,
            name: "work".into(),
            kind: 1,
            target: "cupola",
            start: now_unix_nano(),
            end: now_unix_nano(),
            failed: false,
            is_stored: true,
            attributes: Vec::new(),
        })
    }

    async fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(StoreConfig::new(directory.path())).await.unwrap();
        (directory, store)
    }

    /// Records `items` until the queue is empty; gives how many were dropped.
    async fn record(store: &Store, items: Vec<Item>) -> u64 {
        let (sender, receiver) = tokio::sync::mpsc::channel(QUEUE_ITEMS_MAX);
        items.into_iter().for_each(|item| sender.try_send(item).unwrap());
        let counts = Arc::new(Counts::default());
        let collected = Collected {
            items: receiver,
            counts: counts.clone(),
        };
        let memory = Arc::new(MemoryState::default());
        let budgets = vec![("store", MemoryBudget::unlimited())];
        let vitals = Arc::new(Vitals::new(1 << 30, memory, budgets, Some(counts.clone())));
        let tenant = TenantId::parse("cupola").unwrap();
        Recorder::start(store.clone(), (tenant, &OwnResource::new()), collected, vitals)
            .shutdown()
            .await;
        counts.dropped.load(Ordering::Relaxed)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_whole_queue_is_stored_at_the_end() {
        let (_directory, store) = store().await;
        let dropped = record(&store, (0..QUEUE_ITEMS_MAX).map(|_| log()).collect()).await;
        assert_eq!(dropped, 0);
        // Besides the logs there are own metrics.
        assert!(store.status().counters.appended_items >= QUEUE_ITEMS_MAX as u64);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn everything_that_the_store_refuses_is_counted() {
        let (_directory, store) = store().await;
        store.shutdown().await.unwrap();
        let items = (0..10).flat_map(|_| [log(), span()]).collect();
        let dropped = record(&store, items).await;
        assert!(dropped >= 20, "{dropped}");
    }
}
