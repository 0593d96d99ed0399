//! The API of a process that has no store: its metrics, and its configuration read again. Whoever asks for telemetry is told
//! that there is none.

use std::sync::{Arc, OnceLock};

use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use http::{StatusCode, Uri};

use super::admin::{ReloadAnswer, reload_by};
use super::{method_not_allowed, metrics_of};
use crate::control::Control;
use crate::error::ApiError;
use crate::metrics::MetricsSource;
use crate::own_metrics::{self, OwnMetrics};
use crate::security::{self, HostPolicy};

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct AgentState {
    pub(crate) metrics: Arc<dyn MetricsSource>,
    pub(crate) own: Arc<OwnMetrics>,
    pub(crate) control: Arc<OnceLock<Arc<dyn Control>>>,
}

pub(crate) fn router(state: AgentState, hosts: HostPolicy, body_bytes_max: usize) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/api/v1/admin/reload", post(reload))
        .fallback(nothing_kept)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .layer(middleware::from_fn_with_state(hosts, security::protect))
        .layer(middleware::from_fn_with_state(
            state.own.clone(),
            own_metrics::observe,
        ))
        .with_state(state)
}

async fn metrics(State(state): State<AgentState>) -> Response {
    metrics_of(&state.own, state.metrics.as_ref())
}

async fn reload(State(state): State<AgentState>) -> Result<Json<ReloadAnswer>, ApiError> {
    reload_by(&state.control).await
}

async fn nothing_kept(uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "no_store",
        format!(
            "{} is not here: this Cupola keeps nothing that could be asked for",
            uri.path()
        ),
    )
    .with_hint("ask the one that it sends to, or give a pipeline the exporter `store` and start it again")
}
