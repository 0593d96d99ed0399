//! `thread.id` and `thread.name` of the thread that records, written once for each.

use std::cell::RefCell;

use cupola_sdk_core::attributes::{AttributeLimits, Attributes};
use cupola_sdk_core::{fork, log, span};

/// Of spans and of log records, and the process they are of: the thread that forked has another id in the child.
struct Known {
    generation: u64,
    of_span: Attributes,
    of_log: Attributes,
}

thread_local! {
    static KNOWN: RefCell<Option<Known>> = const { RefCell::new(None) };
}

pub(super) fn add_to_span(attributes: &mut Attributes) {
    with_known(|known| attributes.begin_with(&known.of_span));
}

pub(super) fn add_to_log(attributes: &mut Attributes) {
    with_known(|known| attributes.begin_with(&known.of_log));
}

/// While a thread ends, what is kept for it is gone: then nothing is added.
#[inline]
fn with_known(with: impl FnOnce(&Known)) {
    let _ = KNOWN.try_with(|known| {
        let Ok(mut known) = known.try_borrow_mut() else {
            return;
        };
        let generation = fork::generation();
        match &*known {
            Some(known) if known.generation == generation => with(known),
            _ => with(known.insert(Known::new(generation))),
        }
    });
}

impl Known {
    fn new(generation: u64) -> Known {
        let limits = AttributeLimits::default();
        let mut known = Known {
            generation,
            of_span: span::empty_attributes(limits),
            of_log: log::empty_attributes(limits),
        };
        for attributes in [&mut known.of_span, &mut known.of_log] {
            if let Some(id) = thread_id() {
                attributes.set("thread.id", id);
            }
            if let Some(name) = std::thread::current().name() {
                attributes.set("thread.name", name);
            }
        }
        known
    }
}

/// As the system numbers threads, so that it is found in its tools.
#[cfg(target_os = "linux")]
fn thread_id() -> Option<i64> {
    Some(i64::from(rustix::thread::gettid().as_raw_nonzero().get()))
}

/// As the standard library numbers them.
#[cfg(not(target_os = "linux"))]
fn thread_id() -> Option<i64> {
    let id = format!("{:?}", std::thread::current().id());
    let digits = id.strip_prefix("ThreadId(")?.strip_suffix(')')?;
    digits.parse().ok()
}
