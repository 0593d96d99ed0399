//! The tracing layer: turns events and spans of Cupola's own crates into items of own telemetry. Does no IO and never
//! waits; spans are sampled by the second, so that a busy receiver does not drown itself in spans about itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc::Sender;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes as NewSpan, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::{Attributes, Item, OwnLog, OwnSpan, STORING, Value, now_unix_nano};

/// Root spans kept in one second; their children are kept with them.
const ROOTS_PER_SECOND_MAX: u64 = 20;
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
    sender: Sender<Item>,
    counts: Arc<Counts>,
    /// The second in which roots are counted, and how many there were.
    second: AtomicU64,
    roots: AtomicU64,
}

impl OwnLayer {
    pub(super) fn new(sender: Sender<Item>, counts: Arc<Counts>) -> Self {
        OwnLayer {
            sender,
            counts,
            second: AtomicU64::new(0),
            roots: AtomicU64::new(0),
        }
    }

    fn push(&self, item: Item) {
        if self.sender.try_send(item).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn admits_root(&self, now: u64) -> bool {
        let second = now / 1_000_000_000;
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.roots.store(0, Ordering::Relaxed);
        }
        self.roots.fetch_add(1, Ordering::Relaxed) < ROOTS_PER_SECOND_MAX
    }
}

impl<S: Subscriber + for<'lookup> LookupSpan<'lookup>> Layer<S> for OwnLayer {
    fn on_new_span(&self, new: &NewSpan<'_>, id: &Id, context: Context<'_, S>) {
        if is_storing() {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let parent = span
            .parent()
            .and_then(|parent| parent.extensions().get::<OwnSpan>().map(|parent| parent.ids));
        let start = now_unix_nano();
        // A child of a span that was not kept is not kept either.
        if parent.is_none() && (span.parent().is_some() || !self.admits_root(start)) {
            return;
        }
        let mut fields = Fields::default();
        new.record(&mut fields);
        let metadata = span.metadata();
        span.extensions_mut().insert(OwnSpan {
            ids: (
                parent.map_or_else(rand::random, |(trace, _)| trace),
                rand::random(),
            ),
            parent: parent.map(|(_, span)| span),
            name: metadata.name(),
            target: metadata.target(),
            start,
            end: start,
            failed: fields.failed,
            attributes: fields.attributes,
        });
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
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut ids = None;
        if let Some(span) = context.event_span(event)
            && let Some(own) = span.extensions_mut().get_mut::<OwnSpan>()
        {
            own.failed |= *metadata.level() == Level::ERROR;
            ids = Some(own.ids);
        }
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
            self.push(Item::Span(own));
        }
    }
}

fn is_storing() -> bool {
    STORING.try_with(|()| ()).is_ok()
}

#[derive(Default)]
struct Fields {
    message: String,
    attributes: Attributes,
    failed: bool,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        self.failed |= field.name() == "error";
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
        let (layer, collected) = channel(true);
        let (layer, mut collected) = (layer.unwrap(), collected.unwrap());
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
}
