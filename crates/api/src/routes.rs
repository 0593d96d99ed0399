//! The HTTP API: its routes and what they have in common. Each handler lives in a file of its resource and carries its
//! OpenAPI description; the document is made from the same list that routes, so neither can lack what the other has.

mod admin;
pub(crate) mod agent;
mod attributes;
mod logs;
mod queries;
mod refusals;
mod services;
mod sql;
mod status;
mod tail;
mod traces;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use http::{HeaderValue, Method, StatusCode, Uri, header};
use tower_http::compression::CompressionLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::metrics::{MetricsSource, PROMETHEUS_CONTENT_TYPE, PrometheusText};
use crate::own_metrics::OwnMetrics;
use crate::security::HostPolicy;
use crate::state::AppState;
use crate::{own_metrics, security, web};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Cupola",
        description = "Query logs, traces and metrics.\n\n\
            The header `X-Scope-OrgID` selects the tenant, `default` without it; no request reaches another tenant's data.\n\n\
            Every answer that is not a success is `{\"error\": {\"code\", \"message\", \"hint\"}}`: 400 for a malformed request, \
            403 for a change from a page of another origin, 404 for what is not there, 405 for another method, 406 and 415 for \
            another format, 409 for what was cancelled, 413 and 422 for limits, 421 for another host name, 429 and 503 \
            (with `Retry-After`) for overload, 500 for a failure of the server, 504 for a timeout.\n\n\
            In JSON, 64-bit integers outside ±(2^53 − 1) are decimal strings, because a JavaScript number cannot hold them; \
            `NaN`, `Infinity` and `-Infinity` are strings of those names; timestamps are RFC 3339 in UTC with nine fractional digits; \
            fixed-size binary values such as trace ids are lower-case hexadecimal, other binary values base64.\n\n\
            Parameters `from` (within) and `to` (not within) are RFC 3339, nanoseconds since 1970, or an age such as `15m`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
        contact(),
    ),
    components(schemas(ErrorBody)),
    tags(
        (name = "sql", description = "Statements and what is running."),
        (name = "traces"), (name = "logs"),
        (name = "services"), (name = "attributes"),
        (name = "status"), (name = "admin", description = "Change or remove data.")
    )
)]
struct Document;

/// The routes that stream; compression would hold rows back to fill its blocks.
fn streaming() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(sql::run))
        .routes(routes!(tail::tail))
}

fn answering() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(queries::list))
        .routes(routes!(queries::cancel))
        .routes(routes!(traces::list))
        .routes(routes!(traces::read))
        .routes(routes!(logs::list))
        .routes(routes!(attributes::list))
        .routes(routes!(services::list))
        .routes(routes!(services::map))
        .routes(routes!(status::read))
        .routes(routes!(admin::delete))
        .routes(routes!(admin::flush))
        .routes(routes!(admin::compact))
        .routes(routes!(admin::reload))
}

fn documented() -> (Router<AppState>, utoipa::openapi::OpenApi) {
    let (streaming, document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(streaming())
        .split_for_parts();
    let (answering, mut document) = OpenApiRouter::with_openapi(document)
        .merge(answering())
        .split_for_parts();
    refusals::describe_everywhere(&mut document);
    let compressed = answering
        .route("/api/v1/openapi.json", get(openapi))
        .route("/metrics", get(metrics))
        .fallback(web::serve)
        .layer(CompressionLayer::new());
    (compressed.merge(streaming), document)
}

/// The OpenAPI document as it is committed at `docs/openapi.json`.
pub fn openapi_json() -> String {
    let (_, document) = documented();
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

pub(crate) fn router(state: AppState, hosts: HostPolicy) -> Router {
    let (routes, _) = documented();
    routes
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(state.config.body_bytes_max))
        .layer(middleware::from_fn_with_state(hosts, security::protect))
        .layer(middleware::from_fn_with_state(
            state.own.clone(),
            own_metrics::observe,
        ))
        .with_state(state)
}

async fn openapi(State(state): State<AppState>) -> Response {
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        state.openapi.clone(),
    )
        .into_response()
}

async fn metrics(State(state): State<AppState>) -> Response {
    metrics_of(&state.own, state.metrics.as_ref())
}

fn metrics_of(own: &OwnMetrics, source: &dyn MetricsSource) -> Response {
    let mut out = PrometheusText::new();
    own.collect(&mut out);
    source.collect(&mut out);
    (
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static(PROMETHEUS_CONTENT_TYPE),
        )],
        out.finish(),
    )
        .into_response()
}

/// `/metrics` alone, for a listener of its own.
pub(crate) fn metrics_router(own: Arc<OwnMetrics>, source: Arc<dyn MetricsSource>) -> Router {
    let page = move || {
        let answer = metrics_of(&own, source.as_ref());
        std::future::ready(answer)
    };
    Router::new().route("/metrics", get(page))
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{} does not answer {method}", uri.path()),
    )
}
