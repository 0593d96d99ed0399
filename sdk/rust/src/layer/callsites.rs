//! What is worked out once for each place in the code that makes spans or events, and kept for as long as the process lives.
//! Found by the address of its metadata, without a lock: the child of a fork could find one shut.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use cupola_sdk_core::attributes::{AttributeLimits, Attributes};
use cupola_sdk_core::log::{self, Severity};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::span;
use cupola_sdk_core::value::Value;
use tracing::{Level, Metadata};

/// A place in the code.
#[derive(Debug)]
pub(crate) struct Callsite {
    metadata: &'static Metadata<'static>,
    /// Named after the target, which is the module if nobody says otherwise.
    pub(crate) scope: Scope,
    pub(crate) severity: Severity,
    /// Where it is, as attributes of what it makes.
    pub(crate) location: Attributes,
    /// Of an event that somebody named.
    pub(crate) event_name: &'static str,
    /// It stands for all records of the crate `log` of its level.
    pub(crate) is_log: bool,
    roles: Box<[Role]>,
    next: *const Callsite,
}

/// What a field means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Attribute,
    /// The body of the record; an attribute of a span.
    Message,
    /// Has an error in it, if it is text.
    Error,
    OtelName,
    OtelKind,
    OtelStatusCode,
    OtelStatusDescription,
    LogTarget,
    LogModule,
    LogFile,
    LogLine,
}

impl Role {
    fn of(name: &str, is_span: bool, is_log: bool) -> Role {
        match (name, is_span, is_log) {
            ("message", false, _) => Role::Message,
            ("error" | "err" | "exception", ..) => Role::Error,
            ("otel.name", true, _) => Role::OtelName,
            ("otel.kind", true, _) => Role::OtelKind,
            ("otel.status_code", true, _) => Role::OtelStatusCode,
            ("otel.status_message" | "otel.status_description", true, _) => Role::OtelStatusDescription,
            ("log.target", _, true) => Role::LogTarget,
            ("log.module_path", _, true) => Role::LogModule,
            ("log.file", _, true) => Role::LogFile,
            ("log.line", _, true) => Role::LogLine,
            _ => Role::Attribute,
        }
    }
}

// SAFETY: what is known is never changed, `next` included, and never freed.
unsafe impl Sync for Callsite {}
// SAFETY: as above.
unsafe impl Send for Callsite {}

impl Callsite {
    fn new(metadata: &'static Metadata<'static>) -> Callsite {
        let is_span = metadata.is_span();
        let is_log = metadata.name() == "log event" && metadata.target() == "log";
        let name = metadata.name();
        // What the macros call an event that nobody named.
        let is_named = !is_span && !is_log && !name.starts_with("event ");
        let fields = metadata.fields().iter();
        Callsite {
            metadata,
            scope: Scope::of(metadata.target(), "", "", &[]),
            severity: severity_of(*metadata.level()),
            location: location(metadata.file(), metadata.line(), is_span),
            event_name: if is_named { name } else { "" },
            is_log,
            roles: fields
                .map(|field| Role::of(field.name(), is_span, is_log))
                .collect(),
            next: ptr::null(),
        }
    }

    pub(crate) fn metadata(&self) -> &'static Metadata<'static> {
        self.metadata
    }

    #[inline]
    pub(crate) fn role(&self, field: &tracing::field::Field) -> Role {
        self.roles.get(field.index()).copied().unwrap_or(Role::Attribute)
    }
}

/// `code.*` by the semantic conventions.
pub(crate) fn location(file: Option<&str>, line: Option<u32>, is_span: bool) -> Attributes {
    let limits = AttributeLimits::default();
    let mut location = match is_span {
        true => span::empty_attributes(limits),
        false => log::empty_attributes(limits),
    };
    if let Some(file) = file {
        location.set("code.file.path", file);
    }
    if let Some(line) = line {
        location.set("code.line.number", Value::from(line));
    }
    location
}

pub(crate) fn severity_of(level: Level) -> Severity {
    match level {
        Level::TRACE => Severity::TRACE,
        Level::DEBUG => Severity::DEBUG,
        Level::INFO => Severity::INFO,
        Level::WARN => Severity::WARN,
        Level::ERROR => Severity::ERROR,
    }
}

/// A power of two.
const BUCKETS: usize = 1024;
static TABLE: [AtomicPtr<Callsite>; BUCKETS] = [const { AtomicPtr::new(ptr::null_mut()) }; BUCKETS];

fn bucket(metadata: &'static Metadata<'static>) -> &'static AtomicPtr<Callsite> {
    let address = ptr::from_ref(metadata).addr() as u64;
    let mixed = (address >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    &TABLE[mixed as usize & (BUCKETS - 1)]
}

/// What is known of a place, or is worked out now. There are as many as the program has, as metadata lives as long as it.
#[inline]
pub(crate) fn of(metadata: &'static Metadata<'static>) -> &'static Callsite {
    let bucket = bucket(metadata);
    let first = bucket.load(Ordering::Acquire);
    match find(first, metadata) {
        Some(known) => known,
        None => add(bucket, first, metadata),
    }
}

fn find(mut at: *const Callsite, metadata: &'static Metadata<'static>) -> Option<&'static Callsite> {
    // SAFETY: what was put into the table stays there, unchanged.
    while let Some(known) = unsafe { at.as_ref() } {
        if ptr::eq(known.metadata, metadata) {
            return Some(known);
        }
        at = known.next;
    }
    None
}

#[cold]
fn add(
    bucket: &AtomicPtr<Callsite>,
    mut first: *mut Callsite,
    metadata: &'static Metadata<'static>,
) -> &'static Callsite {
    let new = Box::into_raw(Box::new(Callsite::new(metadata)));
    loop {
        // SAFETY: nobody else has seen it.
        unsafe { (*new).next = first };
        match bucket.compare_exchange(first, new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: it was made above and is never freed.
            Ok(_) => return unsafe { &*new },
            Err(newest) => first = newest,
        }
        if let Some(known) = find(first, metadata) {
            // SAFETY: nobody else has seen it, and it is not used again.
            drop(unsafe { Box::from_raw(new) });
            return known;
        }
    }
}
