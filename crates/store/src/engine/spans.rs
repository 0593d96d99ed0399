//! Spans of what the engine does by itself: flushes, merges, removals by retention. Each names the tenant it is about
//! where it is one, so that whoever keeps them can leave out what is about keeping them.

use cupola_telemetry::{Signal, TenantId};
use tracing::{Span, field};

use crate::error::StoreError;
use crate::memtable::Generation;
use crate::schema::Table;

pub(super) fn flush(generation: &Generation) -> Span {
    let mut tenants = generation.tenants();
    tenants.sort();
    tenants.dedup();
    let only = tenants.first().filter(|_| tenants.len() == 1);
    tracing::info_span!(
        "store.flush",
        cupola.tenant = only.map(TenantId::as_str),
        cupola.tenants = tenants.len() as u64,
        cupola.bytes = generation.bytes() as u64,
        error.type = field::Empty,
    )
}

pub(super) fn compaction(tenant: &TenantId, table: Table, segments: usize, bytes: u64) -> Span {
    tracing::info_span!(
        "store.compaction",
        cupola.tenant = tenant.as_str(),
        cupola.table = table.as_str(),
        cupola.segments = segments as u64,
        cupola.bytes = bytes,
        error.type = field::Empty,
    )
}

pub(super) fn retention(tenant: &TenantId, signal: Signal, segments: usize) -> Span {
    tracing::info_span!(
        "store.retention",
        cupola.tenant = tenant.as_str(),
        cupola.signal = signal.as_str(),
        cupola.segments = segments as u64,
        error.type = field::Empty,
    )
}

/// Marks the span of work that failed.
pub(super) fn note<T>(span: &Span, outcome: &Result<T, StoreError>) {
    if outcome.is_err() {
        // The fallback of the semantic conventions; what it was is logged.
        span.record("error.type", "_OTHER");
    }
}
