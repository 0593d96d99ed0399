//! The tracing layer: turns events and spans of Cupola's own crates into items of own telemetry. Does no IO and never
//! waits; spans are sampled by the second, so that a busy receiver does not drown itself in spans about itself.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cupola_telemetry::TenantId;
use tokio::sync::mpsc::Sender;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes as NewSpan, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::{Attributes, Item, OwnLog, OwnSpan, STORING, SpanSamples, Value, now_unix_nano};

/// Root spans of one name kept in one second; their children are kept with them. By name, so that a busy receiver leaves
/// room for what happens seldom. Names are those in the source, and so are few.
const ROOTS_PER_SECOND_MAX: u64 = 20;
/// Fields that say what a span is called and which kind it has, as other bridges from `tracing` to OpenTelemetry have
/// them: both are data, where the name in the source is not.
const NAME_FIELD: &str = "otel.name";
const KIND_FIELD: &str = "otel.kind";
/// The tenant that a span is about.
const TENANT_FIELD: &str = "cupola.tenant";
/// `SpanKind` of OTLP.
const KIND_INTERNAL: i32 = 1;
const KIND_SERVER: i32 = 2;
const ATTRIBUTES_MAX: usize = 32;
const TEXT_BYTES_MAX: usize = 4_096;

/// What the layer did, for metrics.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) dropped: AtomicU64,
    /// The last attempt to store own telemetry failed: complaints of the store about that are not recorded.
    pub(crate) failing: AtomicBool,
}

pub(crate) struct OwnLayer {
    /// To the recorder, where own telemetry is stored.
    sender: Option<Sender<Item>>,
    counts: Arc<Counts>,
    /// Empty, and so that of nobody, where own telemetry is not stored.
    own_tenant: String,
    /// Where every span is counted, however many there are.
    samples: Option<Arc<SpanSamples>>,
    /// By the name of root spans: the second in which they are counted, and how many there were.
    roots: Mutex<HashMap<&'static str, (u64, u64)>>,
}

impl OwnLayer {
    pub(super) fn new(
        sender: Sender<Item>,
        counts: Arc<Counts>,
        own_tenant: &TenantId,
        samples: Option<Arc<SpanSamples>>,
    ) -> Self {
        OwnLayer {
            sender: Some(sender),
            counts,
            own_tenant: own_tenant.as_str().to_owned(),
            samples,
            roots: Mutex::default(),
        }
    }

    /// One that stores nothing.
    pub(super) fn sampling(samples: Arc<SpanSamples>) -> Self {
        OwnLayer {
            sender: None,
            counts: Arc::default(),
            own_tenant: String::new(),
            samples: Some(samples),
            roots: Mutex::default(),
        }
    }

    fn push(&self, item: Item) {
        let Some(sender) = &self.sender else { return };
        if sender.try_send(item).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a span is one to store; `None` if it is not even to be sampled: what is within a span that was left out is
    /// left out too.
    fn is_stored(&self, is_root: bool, parent: Option<bool>, name: &'static str, now: u64) -> Option<bool> {
        let stored = match parent {
            Some(stored) => stored,
            None if is_root => self.sender.is_some() && self.admits_root(name, now),
            None => return None,
        };
        (stored || self.samples.is_some()).then_some(stored)
    }

    fn admits_root(&self, name: &'static str, now: u64) -> bool {
        let second = now / 1_000_000_000;
        // Whoever panicked while holding it left numbers that are as good as any.
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = roots.entry(name).or_default();
        if counted.0 != second {
            *counted = (second, 0);
        }
        counted.1 += 1;
        counted.1 <= ROOTS_PER_SECOND_MAX
    }

    /// Storing own telemetry must not give rise to more of it.
    fn is_about_own_tenant(&self, fields: &Fields) -> bool {
        fields.attributes.iter().any(
            |(key, value)| matches!(value, Value::Text(tenant) if *key == TENANT_FIELD && *tenant == self.own_tenant),
        )
    }
}

impl<S: Subscriber + for<'lookup> LookupSpan<'lookup>> Layer<S> for OwnLayer {
    fn on_new_span(&self, new: &NewSpan<'_>, id: &Id, context: Context<'_, S>) {
        if is_storing() {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let parent = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            extensions
                .get::<OwnSpan>()
                .map(|parent| (parent.ids, parent.is_stored))
        });
        let start = now_unix_nano();
        let metadata = span.metadata();
        let mut fields = Fields::default();
        new.record(&mut fields);
        if self.is_about_own_tenant(&fields) {
            return;
        }
        let is_root = span.parent().is_none();
        let of_parent = parent.map(|(_, is_stored)| is_stored);
        let Some(is_stored) = self.is_stored(is_root, of_parent, metadata.name(), start) else {
            return;
        };
        let own = OwnSpan {
            ids: (
                parent.map_or_else(rand::random, |((trace, _), _)| trace),
                rand::random(),
            ),
            parent: parent.map(|((_, span), _)| span),
            name: fields.name.map_or(Cow::Borrowed(metadata.name()), Cow::Owned),
            kind: fields.kind,
            target: metadata.target(),
            start,
            end: start,
            failed: fields.failed,
            is_stored,
            attributes: fields.attributes,
        };
        if let Some(samples) = &self.samples {
            samples.begun(&own);
        }
        span.extensions_mut().insert(own);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if let Some(own) = extensions.get_mut::<OwnSpan>() {
            let mut fields = Fields {
                attributes: std::mem::take(&mut own.attributes),
                ..Fields::default()
            };
            values.record(&mut fields);
            own.attributes = fields.attributes;
            own.failed |= fields.failed;
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let of_store = metadata.target().starts_with("cupola_store");
        if is_storing() || (of_store && self.counts.failing.load(Ordering::Relaxed)) {
            return;
        }
        let mut ids = None;
        if let Some(span) = context.event_span(event)
            && let Some(own) = span.extensions_mut().get_mut::<OwnSpan>()
        {
            own.failed |= *metadata.level() == Level::ERROR;
            // A log of a span that is not stored would lead nowhere.
            ids = own.is_stored.then_some(own.ids);
        }
        if self.sender.is_none() {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.push(Item::Log(OwnLog {
            time: now_unix_nano(),
            level: *metadata.level(),
            target: metadata.target(),
            body: fields.message,
            attributes: fields.attributes,
            ids,
        }));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let own = span.extensions_mut().remove::<OwnSpan>();
        if let Some(mut own) = own {
            own.end = now_unix_nano();
            if let Some(samples) = &self.samples {
                samples.ended(&own);
            }
            if own.is_stored {
                self.push(Item::Span(own));
            }
        }
    }
}

fn is_storing() -> bool {
    STORING.try_with(|()| ()).is_ok()
}

struct Fields {
    message: String,
    name: Option<String>,
    kind: i32,
    attributes: Attributes,
    failed: bool,
}

impl Default for Fields {
    fn default() -> Fields {
        Fields {
            message: String::new(),
            name: None,
            kind: KIND_INTERNAL,
            attributes: Attributes::new(),
            failed: false,
        }
    }
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        self.failed |= matches!(field.name(), "error" | "error.type");
        if self.attributes.len() < ATTRIBUTES_MAX {
            self.attributes.push((field.name(), value));
        }
    }

    fn text(&mut self, field: &Field, mut text: String) {
        if text.len() > TEXT_BYTES_MAX {
            let cut = (0..=TEXT_BYTES_MAX)
                .rev()
                .find(|at| text.is_char_boundary(*at))
                .unwrap_or(0);
            text.truncate(cut);
        }
        match field.name() {
            "message" => self.message = text,
            NAME_FIELD => self.name = Some(text),
            KIND_FIELD if text == "server" => self.kind = KIND_SERVER,
            KIND_FIELD => {}
            _ => self.add(field, Value::Text(text)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::Double(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Bool(value));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::layer::SubscriberExt;

    use super::super::{channel, is_kept};
    use super::*;

    fn record(work: impl FnOnce()) -> Vec<Item> {
        let own = TenantId::parse("own").unwrap();
        let (layer, telemetry) = channel(Some(&own), false);
        let (layer, mut collected) = (layer.unwrap(), telemetry.collected.unwrap());
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter_fn(is_kept)));
        tracing::subscriber::with_default(subscriber, work);
        std::iter::from_fn(|| collected.items.try_recv().ok()).collect()
    }

    #[test]
    fn events_within_spans_carry_their_ids() {
        let items = record(|| {
            let _outer = tracing::info_span!("outer", tenant = "a", count = 3_u64).entered();
            let _inner = tracing::info_span!("inner").entered();
            tracing::warn!(reason = "because", "something happened");
        });
        let [Item::Log(log), Item::Span(inner), Item::Span(outer)] = items.as_slice() else {
            panic!("{items:?}");
        };
        assert_eq!(log.body, "something happened");
        assert_eq!(log.ids, Some(inner.ids));
        assert_eq!((inner.parent, inner.ids.0), (Some(outer.ids.1), outer.ids.0));
        assert_eq!(
            outer.attributes,
            [("tenant", Value::Text("a".to_owned())), ("count", Value::Int(3))]
        );
    }

    #[tokio::test]
    async fn what_happens_while_own_telemetry_is_stored_is_not_recorded() {
        let items = record(|| {
            STORING.sync_scope((), || {
                let _span = tracing::info_span!("append").entered();
                tracing::error!("the disk is full");
            });
            tracing::debug!("not kept: too fine");
            tracing::info!(target: "cupola_store::flush", "not kept: routine of the store");
            tracing::info!(target: "hyper", "not kept: not ours");
        });
        assert!(items.is_empty(), "{items:?}");
    }

    #[test]
    fn root_spans_are_bounded_by_the_second() {
        let items = record(|| (0..500).for_each(|_| drop(tracing::info_span!("request"))));
        // The second may turn while the test runs.
        assert!(
            (1..=2 * ROOTS_PER_SECOND_MAX as usize).contains(&items.len()),
            "{}",
            items.len()
        );
    }

    #[test]
    fn samples_count_every_span_whatever_is_stored() {
        let own = TenantId::parse("own").unwrap();
        for tenant in [Some(&own), None] {
            let (layer, telemetry) = channel(tenant, true);
            let layer = layer.unwrap().with_filter(filter_fn(is_kept));
            let subscriber = tracing_subscriber::registry().with(layer);
            tracing::subscriber::with_default(subscriber, || {
                for _ in 0..500 {
                    let _outer = tracing::info_span!("outer").entered();
                    drop(tracing::info_span!("inner", error.type = "broken"));
                }
            });
            let summary = telemetry.samples.unwrap().summary();
            let counted = |name: &str| {
                let of = summary.iter().find(|of| of.name == name).unwrap();
                (of.running, of.latency.iter().sum::<u64>(), of.errors)
            };
            assert_eq!((counted("outer"), counted("inner")), ((0, 500, 0), (0, 0, 500)));
            let stored = std::iter::successors(telemetry.collected, |_| None)
                .map(|mut collected| std::iter::from_fn(|| collected.items.try_recv().ok()).count())
                .sum::<usize>();
            assert_eq!(stored > 0, tenant.is_some());
            assert!(stored <= 4 * ROOTS_PER_SECOND_MAX as usize, "{stored}");
        }
    }

    #[test]
    fn many_spans_of_one_name_leave_room_for_others() {
        let items = record(|| {
            (0..500).for_each(|_| drop(tracing::info_span!("busy")));
            drop(tracing::info_span!("rare"));
        });
        let is_rare = |item: &Item| matches!(item, Item::Span(span) if span.name == "rare");
        assert_eq!(items.iter().filter(|item| is_rare(item)).count(), 1);
    }

    #[test]
    fn spans_about_the_own_tenant_are_not_recorded_with_all_within_them() {
        let items = record(|| {
            let outer = tracing::info_span!("request", cupola.tenant = "own").entered();
            drop(tracing::info_span!("query"));
            drop(outer);
            drop(tracing::info_span!("request", cupola.tenant = "acme"));
        });
        let [Item::Span(kept)] = items.as_slice() else {
            panic!("{items:?}");
        };
        assert_eq!(
            kept.attributes,
            [("cupola.tenant", Value::Text("acme".to_owned()))]
        );
    }

    #[test]
    fn a_span_can_be_given_its_name_kind_and_failure() {
        let items = record(|| {
            let span = tracing::info_span!(
                "http.request",
                otel.name = "GET /x",
                otel.kind = "server",
                error.type = tracing::field::Empty
            );
            span.record("error.type", "500");
        });
        let [Item::Span(span)] = items.as_slice() else {
            panic!("{items:?}");
        };
        assert_eq!(
            (span.name.as_ref(), span.kind, span.failed),
            ("GET /x", KIND_SERVER, true)
        );
        assert_eq!(span.attributes, [("error.type", Value::Text("500".to_owned()))]);
    }
}
