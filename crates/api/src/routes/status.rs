//! `GET /api/v1/status`: what the server is, and how the store does. Numbers of the whole server, no tenant's data.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::OtlpPorts;
use crate::state::AppState;

/// The server and its store at this moment.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Status {
    version: String,
    uptime_ms: u64,
    queries_running: u64,
    tails: u64,
    otlp: OtlpPorts,
    store: StoreNumbers,
}

/// Sizes of the store.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct StoreNumbers {
    tenants: u64,
    segments: u64,
    segment_bytes: u64,
    segment_rows: u64,
    /// Bytes of OTLP in memory that are not in segments yet.
    unflushed_bytes: u64,
    memory_used_bytes: u64,
    memory_ceiling_bytes: u64,
    journal_files: u64,
    /// Whether the last attempt to write the log failed: nothing is taken until one succeeds.
    journal_failing: bool,
    appended_items: u64,
    refused_batches: u64,
}

/// The state of the server and its store.
#[utoipa::path(get, path = "/api/v1/status", tag = "status", operation_id = "readStatus",
    responses((status = 200, body = Status)))]
pub(super) async fn read(State(state): State<AppState>) -> Json<Status> {
    let store = state.store.status();
    let counters = &store.counters;
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: u64::try_from(state.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        queries_running: state.backend.running_count() as u64,
        tails: state.own.tails_active.load(std::sync::atomic::Ordering::Relaxed),
        otlp: state.otlp.get().copied().unwrap_or_default(),
        store: StoreNumbers {
            tenants: store.tenants,
            segments: store.segments,
            segment_bytes: store.segment_bytes,
            segment_rows: store.segment_rows,
            unflushed_bytes: store.active_bytes + store.frozen_bytes,
            memory_used_bytes: store.memory_used,
            memory_ceiling_bytes: store.memory_ceiling,
            journal_files: store.journal_files,
            journal_failing: store.journal_failing,
            appended_items: counters.appended_items,
            refused_batches: counters.refused_overloaded
                + counters.refused_storage_full
                + counters.refused_failed
                + counters.refused_too_large,
        },
    })
}
