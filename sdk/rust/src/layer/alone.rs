//! The layer where it is the only one: a subscriber that keeps spans itself, as there is nobody else who would look them up.
//! What many layers need of a registry, a map of what each of them knows of a span, takes longer than the span.
//!
//! ```text
//! Layered                 the subscriber that is installed
//!   Events                filters, of which some look at spans; log records
//!   Arc<Spans>            spans by their ids
//! ```
//!
//! As with a registry, a span stays open while there is a handle of it, or a span below it that was made for it or where it was
//! entered. One that is only carried along, as a context, is not kept open by what is made inside.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use cupola_sdk_core::Sdk;
use sharded_slab::Slab;
use tracing::metadata::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_core::span::Current;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter, Layered, SubscriberExt as _};

use super::{CoreLayer, FilterHandle, LayerOptions, is_suppressed};
use crate::console::ConsoleHandle;
use crate::context::node::Node;
use crate::context::stack;

/// What is installed.
pub(crate) type Alone = Layered<Events, Arc<Spans>>;

pub(crate) fn subscriber(
    sdk: Sdk,
    options: LayerOptions,
    console: ConsoleHandle,
    filter: FilterHandle,
) -> Alone {
    static NUMBERS: AtomicUsize = AtomicUsize::new(1);
    let spans = Arc::new(Spans {
        core: CoreLayer::new(sdk, options, console, filter.clone()),
        open: Slab::new(),
        number: NUMBERS.fetch_add(1, Ordering::Relaxed),
    });
    let events = Events {
        spans: spans.clone(),
        filter,
    };
    spans.with(events)
}

/// How a subscriber knows a span of its own.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// Of the subscriber; zero for none.
    subscriber: usize,
    id: AtomicU64,
    /// Those who keep it open.
    handles: AtomicUsize,
    /// It keeps its parent open.
    holds_parent: bool,
}

impl Place {
    /// Keeps it open for one more; `false` if it has ended.
    fn hold(&self) -> bool {
        let more = |handles: usize| (handles > 0).then(|| handles + 1);
        self.handles
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    /// One less keeps it open. Whether nobody does now.
    fn let_go(&self) -> bool {
        let less = |handles: usize| handles.checked_sub(1);
        let before = self
            .handles
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, less);
        before == Ok(1)
    }
}

/// The id of spans that are not kept: made while nothing was to be recorded, or more at once than there can be.
const NOBODY: u64 = u64::MAX;

thread_local! {
    /// Spans that were closed with the one that is being closed. `Layered` tells of that one alone.
    static CLOSED: RefCell<Vec<Id>> = const { RefCell::new(Vec::new()) };
}

/// Spans that are open.
#[derive(Debug)]
pub(crate) struct Spans {
    core: CoreLayer,
    open: Slab<Arc<Node>>,
    number: usize,
}

impl Spans {
    /// That of an id. Somebody else's, or one that has ended, is none.
    #[inline]
    fn get(&self, id: &Id) -> Option<Arc<Node>> {
        let id = id.into_u64();
        let key = usize::try_from(id - 1).ok().filter(|_| id != NOBODY)?;
        self.open.get(key).map(|node| Arc::clone(&node))
    }

    fn is_own(&self, node: &Node) -> bool {
        node.place.subscriber == self.number
    }

    /// Has it found by an id from now on.
    fn keep(&self, node: Arc<Node>) -> Id {
        let id = self.open.vacant_entry().map_or(NOBODY, |entry| {
            let id = entry.key() as u64 + 1;
            node.place.id.store(id, Ordering::Relaxed);
            entry.insert(node);
            id
        });
        Id::from_u64(id)
    }

    /// Whether it is entered on this thread.
    fn is_entered(node: &Arc<Node>) -> bool {
        stack::find_entered(|entered| Arc::ptr_eq(entered, node).then_some(())).is_some()
    }

    /// Has the filters hear of one that is closed with the last span below it.
    fn note_closed(&self, id: u64) {
        if id != NOBODY && self.core.filter.looks_at_spans() {
            let _ = CLOSED.try_with(|closed| closed.borrow_mut().push(Id::from_u64(id)));
        }
    }

    /// One handle less, and of those around it too that nobody else keeps open.
    fn close(&self, mut node: Arc<Node>) -> bool {
        let mut is_closed = false;
        while node.place.let_go() {
            let id = node.place.id.load(Ordering::Relaxed);
            if is_closed {
                self.note_closed(id);
            }
            is_closed = true;
            if let Some(key) = id.checked_sub(1) {
                // Not waited for: a thread that looks it up now may not be there in the child of a fork.
                self.open.remove(key as usize);
            }
            self.core.end(&node);
            let held = node.parent.clone().filter(|_| node.place.holds_parent);
            let Some(parent) = held else { break };
            node = parent;
        }
        is_closed
    }
}

impl Subscriber for Spans {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        if is_suppressed(attributes.metadata()) {
            return Id::from_u64(NOBODY);
        }
        let said = attributes.parent().and_then(|parent| self.get(parent));
        let holds = |parent: &Arc<Node>| {
            self.is_own(parent) && (said.is_some() || Spans::is_entered(parent)) && parent.place.hold()
        };
        let node = self.core.start(attributes, said.as_ref(), |parent| Place {
            subscriber: self.number,
            id: AtomicU64::new(0),
            handles: AtomicUsize::new(1),
            holds_parent: parent.is_some_and(holds),
        });
        self.keep(node)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        if let Some(node) = self.get(id) {
            self.core.add_fields(&node, node.callsite, values);
        }
    }

    fn record_follows_from(&self, id: &Id, follows: &Id) {
        if let (Some(node), Some(followed)) = (self.get(id), self.get(follows)) {
            CoreLayer::link(&node, &followed);
        }
    }

    fn event(&self, _event: &Event<'_>) {}

    #[inline]
    fn enter(&self, id: &Id) {
        if let Some(node) = self.get(id) {
            self.core.enter(&node, id);
        }
    }

    #[inline]
    fn exit(&self, id: &Id) {
        self.core.exit(id, || self.get(id));
    }

    fn clone_span(&self, id: &Id) -> Id {
        if let Some(node) = self.get(id) {
            node.place.hold();
        }
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        self.get(&id).is_some_and(|node| self.close(node))
    }

    fn current_span(&self) -> Current {
        let current = stack::find_entered(|node| {
            let id = node.place.id.load(Ordering::Relaxed);
            let is_kept = self.is_own(node) && id != 0 && id != NOBODY;
            is_kept.then(|| Current::new(Id::from_u64(id), node.callsite.metadata()))
        });
        current.unwrap_or_else(Current::none)
    }
}

/// What filters, and records events.
#[derive(Debug)]
pub(crate) struct Events {
    spans: Arc<Spans>,
    filter: FilterHandle,
}

impl<S: Subscriber> Layer<S> for Events {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        Filter::<S>::callsite_enabled(&self.filter, metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        Filter::<S>::enabled(&self.filter, metadata, &context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&self.filter)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        Filter::<S>::on_new_span(&self.filter, attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Filter::<S>::on_record(&self.filter, id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if is_suppressed(event.metadata()) {
            return;
        }
        let find = |id: &Id| self.spans.get(id);
        self.spans.core.record_event(event, &context, find);
    }

    #[inline]
    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Filter::<S>::on_enter(&self.filter, id, context);
    }

    #[inline]
    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Filter::<S>::on_exit(&self.filter, id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let closed = CLOSED.try_with(|closed| std::mem::take(&mut *closed.borrow_mut()));
        for id in closed.unwrap_or_default() {
            Filter::<S>::on_close(&self.filter, id, context.clone());
        }
        Filter::<S>::on_close(&self.filter, id, context);
    }
}
