//! A span of `tracing` as what surrounds something: the span that is recorded for it, or the fields of one that is not, for
//! the log records inside.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cupola_sdk_core::attributes::Attributes;
use cupola_sdk_core::fork;
use cupola_sdk_core::tracer::Recording;

use super::Context;
use crate::layer::alone::Place;
use crate::layer::callsites::Callsite;

/// A span of `tracing` that has not been closed.
#[derive(Debug)]
pub(crate) struct Node {
    /// What is inside it: its own ids, and the baggage and the attributes that it was made with.
    pub(crate) context: Context,
    /// The one that it was made in.
    pub(crate) parent: Option<Arc<Node>>,
    /// Where it was made.
    pub(crate) callsite: &'static Callsite,
    /// Among the spans of a subscriber of ours.
    pub(crate) place: Place,
    /// How many are around it.
    pub(crate) depth: usize,
    /// Log records inside have its fields.
    gives_fields: bool,
    /// The process that made it, which ends it too.
    generation: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) recording: Option<Recording>,
    /// Of one that is not recorded.
    pub(crate) fields: Option<Attributes>,
    pub(crate) timings: Option<Box<Timings>>,
    /// As the API of OpenTelemetry has it, made when it is first entered.
    #[cfg(feature = "opentelemetry")]
    pub(crate) api: Option<::opentelemetry::Context>,
}

impl State {
    /// What it has as attributes.
    pub(crate) fn attributes(&self) -> Option<&Attributes> {
        match &self.recording {
            Some(recording) => Some(recording.attributes()),
            None => self.fields.as_ref(),
        }
    }
}

/// How long a span was entered, and was not.
#[derive(Debug)]
pub(crate) struct Timings {
    pub(crate) last: Instant,
    pub(crate) busy_nanos: u64,
    pub(crate) idle_nanos: u64,
}

impl Node {
    pub(crate) fn new(
        context: Context,
        parent: Option<Arc<Node>>,
        callsite: &'static Callsite,
        place: Place,
        gives_fields: bool,
        state: State,
    ) -> Node {
        let depth = parent.as_ref().map_or(0, |parent| parent.depth + 1);
        Node {
            context,
            parent,
            callsite,
            place,
            depth,
            gives_fields,
            generation: fork::generation(),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.callsite.metadata().name()
    }

    /// `None` in the child of a fork: a thread of its parent may have held the lock, and the parent ends the span.
    #[inline]
    pub(crate) fn state(&self) -> Option<MutexGuard<'_, State>> {
        (self.generation == fork::generation())
            .then(|| self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same if nobody has it now: for code that may run while this thread has it.
    pub(crate) fn try_state(&self) -> Option<MutexGuard<'_, State>> {
        (self.generation == fork::generation())
            .then(|| self.state.try_lock().ok())
            .flatten()
    }

    /// Itself and those around it, the innermost first.
    pub(crate) fn chain(&self) -> impl Iterator<Item = &Node> {
        std::iter::successors(Some(self), |node| node.parent.as_deref())
    }

    /// Adds the fields of it and of those around it, the innermost first, to those of a log record, behind what it has itself.
    #[inline]
    pub(crate) fn add_fields(&self, attributes: &mut Attributes) {
        for node in self.chain().take(SPANS_MAX).filter(|node| node.gives_fields) {
            if let Some(state) = node.state()
                && let Some(fields) = state.attributes()
            {
                attributes.inherit(fields, is_inherited);
            }
        }
    }
}

/// Most spans whose fields a log record has.
const SPANS_MAX: usize = 32;

/// A record has its own place and thread, and is not what the span is measured by.
fn is_inherited(key: &[u8]) -> bool {
    !key.starts_with(b"code.") && !key.starts_with(b"thread.")
}
