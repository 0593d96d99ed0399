//! The contexts of a thread, the current one last. Guards may be dropped in any order: what is not last is marked, and goes
//! when it is.

use std::cell::RefCell;
use std::marker::PhantomData;

use super::Context;
#[cfg(feature = "opentelemetry")]
use super::bridge;

/// Most contexts of a thread at once. Further ones are not attached, and what is recorded goes under the last that is.
pub const DEPTH_MAX: usize = 4096;

/// Detaches a context when it is dropped. Of the thread that attached it.
#[derive(Debug)]
#[must_use = "the context is detached when it is dropped"]
pub struct ContextGuard {
    /// Of its place in the stack; `None` if there was none left.
    number: Option<u64>,
    #[cfg(feature = "opentelemetry")]
    bridged: Option<bridge::Attached>,
    of_thread: PhantomData<*const ()>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    context: Context,
    is_gone: bool,
    /// What of it the API of OpenTelemetry knows.
    #[cfg(feature = "opentelemetry")]
    mark: bridge::Mark,
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

/// Calls `with` with the context of now.
#[inline]
pub(super) fn with_current<T>(with: impl FnOnce(&Context) -> T) -> T {
    let mut with = Some(with);
    let done = STACK.try_with(|stack| {
        let stack = stack.try_borrow().ok()?;
        let last = stack.entries.last();
        let own = last.map_or(&ROOT, |entry| &entry.context);
        #[cfg(feature = "opentelemetry")]
        {
            let mark = last.map_or(bridge::Mark::default(), |entry| entry.mark);
            if let Some(other) = bridge::newer(own, mark) {
                return with.take().map(|with| with(&other));
            }
        }
        with.take().map(|with| with(own))
    });
    match (done, with) {
        (Ok(Some(result)), _) => result,
        (_, Some(with)) => with(&ROOT),
        (_, None) => unreachable!("it is taken where there is a result"),
    }
}

pub(super) fn attach(context: Context) -> ContextGuard {
    // Without a stack, as the thread is ending, nothing is attached.
    STACK
        .try_with(|stack| push(stack, context))
        .unwrap_or_else(|_| ContextGuard {
            number: None,
            #[cfg(feature = "opentelemetry")]
            bridged: None,
            of_thread: PhantomData,
        })
}

fn push(stack: &RefCell<Stack>, context: Context) -> ContextGuard {
    #[cfg(feature = "opentelemetry")]
    let (bridged, mark) = with_current(|before| bridge::attach(&context, before));
    let mut number = None;
    if let Ok(mut stack) = stack.try_borrow_mut()
        && stack.entries.len() < DEPTH_MAX
    {
        number = Some(stack.next);
        let entry = Entry {
            number: stack.next,
            context,
            is_gone: false,
            #[cfg(feature = "opentelemetry")]
            mark,
        };
        stack.next += 1;
        stack.entries.push(entry);
    }
    ContextGuard {
        number,
        #[cfg(feature = "opentelemetry")]
        bridged: Some(bridged),
        of_thread: PhantomData,
    }
}

impl Stack {
    /// Takes out an entry. What is to be dropped, which is when the stack has been let go: what a context holds may ask for the
    /// current one when it ends.
    fn pop(&mut self, number: u64) -> Option<(Entry, Vec<Entry>)> {
        let at = self.entries.iter().rposition(|entry| entry.number == number)?;
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
        let number = self.number;
        #[cfg(feature = "opentelemetry")]
        let bridged = self.bridged.take();
        let left = STACK.try_with(|stack| {
            #[cfg(feature = "opentelemetry")]
            drop(bridged);
            stack.try_borrow_mut().ok()?.pop(number?)
        });
        drop(left);
    }
}
