//! `/api/v1/admin`: removing data, and flush and compaction on request. Refuses a deletion that names nothing.

use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use cupola_store::schema::AttributeSet;
use cupola_store::segment::{Comparison, Literal, RowFilter};
use cupola_store::{DeleteRequest, StoreError};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::Control;
use crate::error::{ApiError, ErrorBody};
use crate::query_string::instant_or_age;
use crate::state::AppState;
use crate::tenant::Tenant;

/// Which rows of the asking tenant to remove: those that meet every condition given, or, with `all`, every row.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DeleteBody {
    /// Must be true, with no condition beside it, to remove everything the tenant has.
    all: bool,
    /// Rows at or after this time.
    from: Option<String>,
    /// Rows before this time.
    to: Option<String>,
    service: Option<String>,
    attributes: Vec<DeleteAttribute>,
}

/// An attribute with exactly this value, of exactly this type.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteAttribute {
    /// `attributes` (default), `resource_attributes` or `scope_attributes`.
    #[serde(default)]
    set: Option<String>,
    #[schema(example = "enduser.id")]
    key: String,
    /// Text, a number, or a boolean.
    value: serde_json::Value,
}

/// What was removed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct DeleteAnswer {
    rows: u64,
    segments_dropped: u64,
    segments_rewritten: u64,
    /// Files with damaged data in `quarantine/` that were the tenant's and went with all of it.
    quarantine_files_removed: u64,
    /// Files in `quarantine/` that may still hold such rows: Cupola cannot tell, and somebody has to look.
    quarantine_files_left: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct FlushAnswer {
    segments: u64,
    rows: u64,
    bytes: u64,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct CompactAnswer {
    merges: u64,
    segments_removed: u64,
    segments_added: u64,
}

/// Removes rows of the tenant for good. Answers when no query can see them any more and their files have been replaced.
///
/// Attributes of a span's events and links, and what bodies and structured values hold, are not compared.
#[utoipa::path(post, path = "/api/v1/admin/delete", tag = "admin", operation_id = "deleteRows",
    params(("X-Scope-OrgID" = Option<String>, Header, description = "Tenant")), request_body = DeleteBody,
    responses((status = 200, body = DeleteAnswer),
        (status = 400, description = "The request is malformed, or names no rows", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 415, description = "The body is not said to be JSON", body = ErrorBody),
        (status = 503, description = "The store is shutting down", body = ErrorBody)))]
pub(super) async fn delete(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    body: Result<Json<DeleteBody>, JsonRejection>,
) -> Result<Json<DeleteAnswer>, ApiError> {
    let Json(body) = body?;
    let filter = filter(&body)?;
    tracing::info!(tenant = %tenant, filter = ?filter, "deleting rows on request");
    let report = state
        .store
        .delete(DeleteRequest { tenant, filter })
        .await
        .map_err(store_error)?;
    Ok(Json(DeleteAnswer {
        rows: report.rows,
        segments_dropped: report.segments_dropped,
        segments_rewritten: report.segments_rewritten,
        quarantine_files_removed: report.quarantine_files_removed,
        quarantine_files_left: report.quarantine_files_left,
    }))
}

/// Writes what is in memory to segments.
#[utoipa::path(post, path = "/api/v1/admin/flush", tag = "admin", operation_id = "flush",
    responses((status = 200, body = FlushAnswer), (status = 503, description = "The store is shutting down", body = ErrorBody)))]
pub(super) async fn flush(State(state): State<AppState>) -> Result<Json<FlushAnswer>, ApiError> {
    let report = state.store.flush().await.map_err(store_error)?;
    Ok(Json(FlushAnswer {
        segments: report.segments,
        rows: report.rows,
        bytes: report.bytes,
    }))
}

/// What a change of configuration did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReloadAnswer {
    /// Components that were started, those started anew among them.
    made: Vec<String>,
    /// Components that were ended and not started again.
    ended: Vec<String>,
    /// Components that went on untouched.
    kept: usize,
    /// What changed in the files and holds only after a restart, and what is odd about them.
    warnings: Vec<String>,
}

/// Reads the configuration files again and changes what runs to them. Files that are not valid are refused with everything
/// that is wrong with them, and what runs goes on.
#[utoipa::path(post, path = "/api/v1/admin/reload", tag = "admin", operation_id = "reload",
    responses((status = 200, body = ReloadAnswer),
        (status = 422, description = "The files are not valid, or cannot be started; the message says why", body = ErrorBody),
        (status = 503, description = "The server is still starting", body = ErrorBody)))]
pub(super) async fn reload(State(state): State<AppState>) -> Result<Json<ReloadAnswer>, ApiError> {
    reload_by(&state.control).await
}

/// Asks the program around, once it says how.
pub(super) async fn reload_by(control: &OnceLock<Arc<dyn Control>>) -> Result<Json<ReloadAnswer>, ApiError> {
    let Some(control) = control.get() else {
        return Err(ApiError::overloaded("the server is still starting", None));
    };
    // By itself: a client that goes away must not leave a change half done.
    let control = control.clone();
    let changing = tokio::spawn(async move { control.reload().await });
    match changing.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(change) => Ok(Json(ReloadAnswer {
            made: change.made,
            ended: change.ended,
            kept: change.kept,
            warnings: change.warnings,
        })),
        Err(message) => Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "configuration_refused",
            message,
        )),
    }
}

/// Merges small segments where there are enough of them.
#[utoipa::path(post, path = "/api/v1/admin/compact", tag = "admin", operation_id = "compact",
    responses((status = 200, body = CompactAnswer), (status = 503, description = "The store is shutting down", body = ErrorBody)))]
pub(super) async fn compact(State(state): State<AppState>) -> Result<Json<CompactAnswer>, ApiError> {
    let report = state.store.compact().await.map_err(store_error)?;
    Ok(Json(CompactAnswer {
        merges: report.merges,
        segments_removed: report.segments_removed,
        segments_added: report.segments_added,
    }))
}

fn filter(body: &DeleteBody) -> Result<Option<RowFilter>, ApiError> {
    let mut conditions = Vec::new();
    if let Some(from) = &body.from {
        conditions.push(RowFilter::NotBefore(instant_or_age("from", from)?));
    }
    if let Some(to) = &body.to {
        conditions.push(RowFilter::Before(instant_or_age("to", to)?));
    }
    if let Some(service) = &body.service {
        conditions.push(RowFilter::Attribute {
            set: AttributeSet::Resource,
            key: "service.name".to_owned(),
            comparison: Comparison::Equal,
            value: Literal::Text(service.clone()),
        });
    }
    for attribute in &body.attributes {
        conditions.push(attribute_filter(attribute)?);
    }
    match (body.all, conditions.len()) {
        (true, 0) => Ok(None),
        (true, _) => Err(ApiError::bad_request(
            "`all` and conditions contradict each other",
        )),
        (false, 0) => Err(ApiError::bad_request("the deletion names no rows")
            .with_hint("give a condition, or `{\"all\": true}` to remove everything the tenant has")),
        (false, _) => Ok(Some(RowFilter::And(conditions))),
    }
}

fn attribute_filter(attribute: &DeleteAttribute) -> Result<RowFilter, ApiError> {
    use serde_json::Value;
    let set = attribute.set.as_deref().unwrap_or("attributes");
    let set = AttributeSet::parse(set)
        .ok_or_else(|| ApiError::bad_request(format!("`{set}` is not an attribute set")))?;
    let value = match &attribute.value {
        Value::String(text) => Literal::Text(text.clone()),
        Value::Bool(flag) => Literal::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Literal::Int(integer),
            (None, Some(double)) => Literal::Double(double),
            (None, None) => {
                return Err(ApiError::bad_request(format!(
                    "`{number}` cannot be compared with"
                )));
            }
        },
        other => {
            return Err(
                ApiError::bad_request(format!("`{other}` cannot be compared with"))
                    .with_hint("the value must be text, a number, or a boolean"),
            );
        }
    };
    Ok(RowFilter::Attribute {
        set,
        key: attribute.key.clone(),
        comparison: Comparison::Equal,
        value,
    })
}

fn store_error(error: StoreError) -> ApiError {
    if matches!(error, StoreError::Closed) {
        return ApiError::overloaded("the store is shutting down", None);
    }
    ApiError::internal("the store could not do it; its log says why", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: serde_json::Value) -> Result<Option<RowFilter>, ApiError> {
        filter(&serde_json::from_value(body).unwrap())
    }

    #[test]
    fn a_deletion_must_name_what_it_removes() {
        use serde_json::json;
        assert!(check(json!({})).is_err());
        assert!(check(json!({"all": false})).is_err());
        assert!(check(json!({"all": true, "service": "a"})).is_err());
        assert!(check(json!({"attributes": [{"key": "a", "value": [1]}]})).is_err());
        assert_eq!(check(json!({"all": true})).unwrap(), None);
        assert_eq!(
            check(json!({"to": "1970-01-01T00:00:00Z"})).unwrap(),
            Some(RowFilter::And(vec![RowFilter::Before(0)]))
        );
        let typed =
            |value: serde_json::Value| check(json!({"attributes": [{"key": "a", "value": value}]})).unwrap();
        assert_ne!(typed(json!(1)), typed(json!("1")));
    }
}
