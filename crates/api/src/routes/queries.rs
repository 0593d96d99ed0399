//! `/api/v1/queries`: the statements under way, and the way to end one. Only those of the asking tenant.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;

use crate::error::{ApiError, ErrorBody};
use crate::model::RunningQueryList;
use crate::state::AppState;
use crate::tenant::Tenant;

/// The statements under way, with what they have read so far.
#[utoipa::path(get, path = "/api/v1/queries", tag = "sql", operation_id = "listQueries",
    params(("X-Scope-OrgID" = Option<String>, Header, description = "Tenant")),
    responses((status = 200, body = RunningQueryList), (status = 400, description = "The tenant is malformed", body = ErrorBody)))]
pub(super) async fn list(State(state): State<AppState>, Tenant(tenant): Tenant) -> Json<RunningQueryList> {
    Json(RunningQueryList {
        queries: state.backend.running(&tenant),
    })
}

/// Cancels a statement under way.
#[utoipa::path(delete, path = "/api/v1/queries/{id}", tag = "sql", operation_id = "cancelQuery",
    params(("X-Scope-OrgID" = Option<String>, Header, description = "Tenant"), ("id" = String, Path, description = "As listed: an `X-Query-Id` given by whoever asked, or one of the server's")),
    responses((status = 204, description = "It was asked to stop"), (status = 400, description = "The tenant is malformed", body = ErrorBody), (status = 404, description = "No such statement runs", body = ErrorBody)))]
pub(super) async fn cancel(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if state.backend.cancel(&tenant, &id) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::not_found("no such statement is running")
        .with_hint("it may have ended: see GET /api/v1/queries"))
}
