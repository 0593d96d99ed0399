//! The contexts of a thread, the current one last. Guards may be dropped, and spans exited, in any order: what is not last is
//! marked, and goes when it is.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;

use super::Context;
#[cfg(feature = "opentelemetry")]
use super::bridge;
use super::node::Node;

/// Most contexts of a thread at once. Further ones are not attached, and what is recorded goes under the last that is.
pub const DEPTH_MAX: usize = 4096;

/// Detaches a context when it is dropped. Of the thread that attached it.
#[derive(Debug)]
#[must_use = "the context is detached when it is dropped"]
pub struct ContextGuard {
    /// Of its place in the stack; `None` if there was none left.
    number: Option<u64>,
    of_thread: PhantomData<*const ()>,
}

#[derive(Debug)]
struct Entry {
    /// Of the guard, or of the span.
    number: u64,
    held: Held,
    is_gone: bool,
    /// The same in the API of OpenTelemetry, detached with it.
    #[cfg(feature = "opentelemetry")]
    _bridged: bridge::Attached,
    #[cfg(feature = "opentelemetry")]
    mark: bridge::Mark,
}

#[derive(Debug)]
enum Held {
    Context(Context),
    Span(Arc<Node>),
}

impl Held {
    fn context(&self) -> &Context {
        match self {
            Held::Context(context) => context,
            Held::Span(node) => &node.context,
        }
    }

    fn node(&self) -> Option<&Arc<Node>> {
        match self {
            Held::Context(context) => context.node.as_ref(),
            Held::Span(node) => Some(node),
        }
    }
}

#[derive(Debug, Default)]
struct Stack {
    entries: Vec<Entry>,
    next: u64,
}

thread_local! {
    static STACK: RefCell<Stack> = {
        // What is made first goes last when the thread ends: while there is a stack, there is what it is bridged to.
        #[cfg(feature = "opentelemetry")]
        bridge::touch();
        RefCell::default()
    };
}

static ROOT: Context = Context::root();
/// Numbers of guards have it, those of spans do not.
const OF_GUARD: u64 = 1 << 63;

/// Whether this thread has contexts still, or again: not any more while it ends.
#[cfg(feature = "opentelemetry")]
#[inline]
pub(super) fn is_there() -> bool {
    STACK.try_with(|_| ()).is_ok()
}

/// Calls `with` with the context of now, and the span of `tracing` in which it is.
#[inline]
pub(crate) fn with_current<T>(with: impl FnOnce(&Context, Option<&Arc<Node>>) -> T) -> T {
    let mut with = Some(with);
    let done = STACK.try_with(|stack| {
        let stack = stack.try_borrow().ok()?;
        let last = stack.entries.last();
        let own = last.map_or(&ROOT, |entry| entry.held.context());
        let node = last.and_then(|entry| entry.held.node());
        #[cfg(feature = "opentelemetry")]
        {
            let mark = last.map_or(bridge::Mark::default(), |entry| entry.mark);
            if let Some(other) = bridge::newer(own, mark) {
                return with.take().map(|with| with(&other, node));
            }
        }
        with.take().map(|with| with(own, node))
    });
    match (done, with) {
        (Ok(Some(result)), _) => result,
        (_, Some(with)) => with(&ROOT, None),
        (_, None) => unreachable!("it is taken where there is a result"),
    }
}

/// Calls `with` with each span of `tracing` that is entered on this thread, the last one first, until it has an answer.
#[inline]
pub(crate) fn find_entered<T>(mut with: impl FnMut(&Arc<Node>) -> Option<T>) -> Option<T> {
    let found = STACK.try_with(|stack| {
        let stack = stack.try_borrow().ok()?;
        let entered = stack.entries.iter().rev().filter(|entry| !entry.is_gone);
        entered
            .filter_map(|entry| match &entry.held {
                Held::Span(node) => Some(node),
                Held::Context(_) => None,
            })
            .find_map(&mut with)
    });
    found.ok().flatten()
}

pub(super) fn attach(context: Context) -> ContextGuard {
    let number = push(None, || Held::Context(context));
    ContextGuard {
        number,
        of_thread: PhantomData,
    }
}

/// A span was entered on this thread. `id` is that of `tracing`.
#[inline]
pub(crate) fn enter(node: &Arc<Node>, id: u64) {
    push(Some(id & !OF_GUARD), || Held::Span(node.clone()));
}

/// It was exited.
#[inline]
pub(crate) fn exit(id: u64) {
    pop(id & !OF_GUARD);
}

fn push(number: Option<u64>, held: impl FnOnce() -> Held) -> Option<u64> {
    let pushed = STACK.try_with(|stack| {
        if stack.try_borrow().ok()?.entries.len() >= DEPTH_MAX {
            return None;
        }
        let held = held();
        #[cfg(feature = "opentelemetry")]
        let (bridged, mark) = match &held {
            Held::Context(context) => bridge::attach(context),
            Held::Span(node) => bridge::attach_span(node),
        };
        let mut stack = stack.try_borrow_mut().ok()?;
        let number = number.unwrap_or_else(|| {
            stack.next += 1;
            stack.next | OF_GUARD
        });
        stack.entries.push(Entry {
            number,
            held,
            is_gone: false,
            #[cfg(feature = "opentelemetry")]
            _bridged: bridged,
            #[cfg(feature = "opentelemetry")]
            mark,
        });
        Some(number)
    });
    pushed.ok().flatten()
}

fn pop(number: u64) {
    // Dropped after the stack is let go: what a context holds may ask for the current one when it ends.
    let _left = STACK.try_with(|stack| stack.try_borrow_mut().ok()?.pop(number));
}

impl Stack {
    /// Takes out an entry, the last of its number.
    fn pop(&mut self, number: u64) -> Option<(Entry, Vec<Entry>)> {
        let is_it = |entry: &Entry| entry.number == number && !entry.is_gone;
        let at = self.entries.iter().rposition(is_it)?;
        if at + 1 < self.entries.len() {
            self.entries[at].is_gone = true;
            return None;
        }
        let last = self.entries.pop()?;
        // Those before it that were to go already.
        let kept = self.entries.iter().rposition(|entry| !entry.is_gone);
        let kept = kept.map_or(0, |at| at + 1);
        let more = match kept < self.entries.len() {
            true => self.entries.split_off(kept),
            false => Vec::new(),
        };
        Some((last, more))
    }
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            pop(number);
        }
    }
}
