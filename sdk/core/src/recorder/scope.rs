//! Instrumentation scopes, each known by its address: encoded once, kept for as long as the process lives.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use cupola_telemetry::view;

use crate::attributes::{AttributeLimits, Attributes};
use crate::span::{write_number, write_text};
use crate::value::Value;

/// Most scopes that are told apart: one that is made for each request is a mistake, and must not fill the memory.
const SCOPES_MAX: usize = 4096;
const ATTRIBUTES: u32 = 3;
const DROPPED: u32 = 4;

/// What made a record: a library, its version, its attributes.
#[derive(Clone, Copy)]
pub struct Scope(&'static Known);

#[derive(Debug)]
struct Known {
    message: Vec<u8>,
    schema_url: String,
    next: *const Known,
}

// SAFETY: what is known is never changed, `next` included, and never freed.
unsafe impl Sync for Known {}
// SAFETY: as above.
unsafe impl Send for Known {}

static NEWEST: AtomicPtr<Known> = AtomicPtr::new(ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);
static NAMELESS: Known = Known {
    message: Vec::new(),
    schema_url: String::new(),
    next: ptr::null(),
};

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.0, other.0)
    }
}

impl Eq for Scope {}

impl Scope {
    /// The scope of what nobody names.
    pub fn nameless() -> Scope {
        Scope(&NAMELESS)
    }

    /// The scope of this name, version, schema and these attributes; the same one for the same. Beyond 4,096 there are no
    /// new ones, and records go without.
    pub fn of(name: &str, version: &str, schema_url: &str, attributes: &[(&str, Value<'_>)]) -> Scope {
        let mut message = Vec::new();
        write_text(&mut message, 1, name);
        write_text(&mut message, 2, version);
        let mut set = Attributes::new(ATTRIBUTES, AttributeLimits::default());
        // In whatever order they were given, they are the same.
        let mut sorted = attributes.to_vec();
        sorted.sort_by_key(|(key, _)| *key);
        for (key, value) in sorted {
            set.set(key, value);
        }
        message.extend_from_slice(set.as_bytes());
        write_number(&mut message, DROPPED, set.dropped());
        Scope::of_message(&message, schema_url)
    }

    /// The scope of an encoded `InstrumentationScope`.
    pub(crate) fn of_message(message: &[u8], schema_url: &str) -> Scope {
        if message.is_empty() && schema_url.is_empty() {
            return Scope::nameless();
        }
        let mut known = NEWEST.load(Ordering::Acquire);
        if let Some(found) = find(known, ptr::null(), message, schema_url) {
            return found;
        }
        if COUNT.load(Ordering::Relaxed) >= SCOPES_MAX {
            return Scope::nameless();
        }
        let new = Box::into_raw(Box::new(Known {
            message: message.to_owned(),
            schema_url: schema_url.to_owned(),
            next: known,
        }));
        loop {
            match NEWEST.compare_exchange(known, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    COUNT.fetch_add(1, Ordering::Relaxed);
                    // SAFETY: it was made above and is never freed.
                    return Scope(unsafe { &*new });
                }
                Err(newest) => {
                    // SAFETY: nobody else has seen it.
                    let mine = unsafe { &mut *new };
                    if let Some(found) = find(newest, known, &mine.message, &mine.schema_url) {
                        // SAFETY: nobody else has seen it, and it is not used again.
                        drop(unsafe { Box::from_raw(new) });
                        return found;
                    }
                    mine.next = newest;
                    known = newest;
                }
            }
        }
    }

    pub fn name(self) -> &'static str {
        view::Scope::parse(self.message()).name
    }

    pub fn version(self) -> &'static str {
        view::Scope::parse(self.message()).version
    }

    /// An `InstrumentationScope` of OTLP.
    pub(crate) fn message(self) -> &'static [u8] {
        &self.0.message
    }

    pub(crate) fn schema_url(self) -> &'static str {
        &self.0.schema_url
    }
}

/// Looks through what is known, from the newest up to `until`.
fn find(mut at: *const Known, until: *const Known, message: &[u8], schema_url: &str) -> Option<Scope> {
    while at != until && !at.is_null() {
        // SAFETY: what was in the list stays, unchanged.
        let known: &'static Known = unsafe { &*at };
        if known.message == message && known.schema_url == schema_url {
            return Some(Scope(known));
        }
        at = known.next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_scope_is_one_scope_whichever_thread_asks_first() {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(|| {
                    (0..50)
                        .map(|n| Scope::of(&format!("library {n}"), "1", "", &[("a", Value::Int(1))]))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let found: Vec<Vec<Scope>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(found.iter().all(|scopes| *scopes == found[0]));
        let others = [("library 0", "2", ""), ("library 0", "1", "https://a")];
        for (name, version, schema) in others {
            let other = Scope::of(name, version, schema, &[("a", Value::Int(1))]);
            assert_ne!(other, found[0][0]);
        }
        assert_eq!(Scope::of("", "", "", &[]), Scope::nameless());
        let [one, two] = [("a", Value::Int(1)), ("b", Value::Int(2))];
        assert_eq!(
            Scope::of("l", "", "", &[one, two]),
            Scope::of("l", "", "", &[two, one])
        );
    }
}
