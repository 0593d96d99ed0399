//! `/api/v1/services` and `/api/v1/service-map`: who sends telemetry, and who calls whom.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{RawQuery, State};

use super::refusals::QueryRefusals;
use crate::error::ApiError;
use crate::model::{Service, ServiceEdge, ServiceList, ServiceMap};
use crate::predicate::Predicate;
use crate::query_string::{QueryString, TimeRange, now_ns};
use crate::rows::{Row, read_all};
use crate::state::AppState;
use crate::tenant::Tenant;

/// Services, and edges, in one answer.
const SERVICES_MAX: usize = 1_000;
const EDGES_MAX: usize = 5_000;
const DAY_NS: i64 = 86_400_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// Services by name: how much each sent in the range, its failed spans, and their durations.
///
/// A service that sent metrics only is there as well; metrics count by whole days in UTC.
#[utoipa::path(get, path = "/api/v1/services", tag = "services", operation_id = "listServices",
    params(("X-Scope-OrgID" = Option<String>, Header, description = "Tenant"),
        ("from" = Option<String>, Query), ("to" = Option<String>, Query)),
    responses((status = 200, body = ServiceList), QueryRefusals))]
pub(super) async fn list(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    RawQuery(raw): RawQuery,
) -> Result<Json<ServiceList>, ApiError> {
    let range = QueryString::parse(raw.as_deref(), &["from", "to"])?.range()?;
    let mut filter = Predicate::default();
    filter.range(range).add("service_name IS NOT NULL");
    let spans = format!(
        "SELECT service_name, count(*) AS spans, CAST(min(timestamp) AS bigint) AS first, sum(CASE WHEN status_code = 'error' THEN 1 ELSE 0 END) AS errors, \
         approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY duration) AS p50, \
         approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY duration) AS p95, \
         approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY duration) AS p99 \
         FROM spans{} GROUP BY service_name ORDER BY service_name LIMIT {SERVICES_MAX}",
        filter.clause()
    );
    let logs = format!(
        "SELECT service_name, count(*) AS logs FROM logs{} GROUP BY service_name ORDER BY service_name LIMIT {SERVICES_MAX}",
        filter.clause()
    );
    let mut days = Predicate::default();
    days.range(whole_days(range)).add("service_name IS NOT NULL");
    let metrics = format!(
        "SELECT service_name, count(DISTINCT name) AS metrics FROM series{} GROUP BY service_name ORDER BY service_name \
         LIMIT {SERVICES_MAX}",
        days.clause()
    );
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    let mut first_span = None;
    for (first, service) in read_all(&state.backend.rows(&tenant, &spans).await?, |row| {
        (row.integer("first"), of_spans(row))
    }) {
        first_span = first_span.into_iter().chain(first).min();
        services.insert(service.name.clone(), service);
    }
    for (name, logs) in read_all(&state.backend.rows(&tenant, &logs).await?, |row| {
        (row.text("service_name"), row.integer("logs").unwrap_or_default())
    }) {
        services
            .entry(name.clone())
            .or_insert_with(|| Service {
                name,
                ..Service::default()
            })
            .log_count = logs;
    }
    for (name, metrics) in read_all(&state.backend.rows(&tenant, &metrics).await?, |row| {
        (
            row.text("service_name"),
            row.integer("metrics").unwrap_or_default(),
        )
    }) {
        services
            .entry(name.clone())
            .or_insert_with(|| Service {
                name,
                ..Service::default()
            })
            .metric_count = metrics;
    }
    Ok(Json(ServiceList {
        services: services.into_values().collect(),
        span_seconds: first_span.map(|first| seconds_since(first, range)),
    }))
}

/// A service as far as its spans tell.
fn of_spans(row: &Row<'_>) -> Service {
    Service {
        name: row.text("service_name"),
        span_count: row.integer("spans").unwrap_or_default(),
        error_count: row.integer("errors").unwrap_or_default(),
        log_count: 0,
        metric_count: 0,
        duration_p50_ns: row.integer("p50"),
        duration_p95_ns: row.integer("p95"),
        duration_p99_ns: row.integer("p99"),
    }
}

/// From a span to the end of the range. A moment counts as a second, or a single span would make a large rate.
fn seconds_since(first: i64, range: TimeRange) -> f64 {
    let now = now_ns();
    let end = range.to.map_or(now, |to| to.min(now));
    end.saturating_sub(first).max(SECOND_NS) as f64 / SECOND_NS as f64
}

/// A series stands for a day, and has the time at which that began.
fn whole_days(range: TimeRange) -> TimeRange {
    TimeRange {
        from: range
            .from
            .map(|from| from.saturating_sub(from.rem_euclid(DAY_NS))),
        to: range.to,
    }
}

/// Calls between services: spans whose parent belongs to another service.
#[utoipa::path(get, path = "/api/v1/service-map", tag = "services", operation_id = "readServiceMap",
    params(("X-Scope-OrgID" = Option<String>, Header, description = "Tenant"),
        ("from" = Option<String>, Query), ("to" = Option<String>, Query)),
    responses((status = 200, body = ServiceMap), QueryRefusals))]
pub(super) async fn map(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    RawQuery(raw): RawQuery,
) -> Result<Json<ServiceMap>, ApiError> {
    let range = QueryString::parse(raw.as_deref(), &["from", "to"])?.range()?;
    let mut callees = Predicate::default();
    callees
        .range(range)
        .add("parent_span_id IS NOT NULL")
        .add("service_name IS NOT NULL");
    let mut callers = Predicate::default();
    callers.range(range).add("service_name IS NOT NULL");
    let sql = format!(
        "SELECT caller.service_name AS caller_name, callee.service_name AS callee_name, count(*) AS calls, \
         sum(CASE WHEN callee.status_code = 'error' THEN 1 ELSE 0 END) AS errors, \
         approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY callee.duration) AS p95 \
         FROM (SELECT trace_id, parent_span_id, service_name, status_code, duration FROM spans{}) AS callee \
         JOIN (SELECT trace_id, span_id, service_name FROM spans{}) AS caller \
         ON callee.trace_id = caller.trace_id AND callee.parent_span_id = caller.span_id \
         WHERE caller.service_name <> callee.service_name \
         GROUP BY caller.service_name, callee.service_name ORDER BY 1, 2 LIMIT {EDGES_MAX}",
        callees.clause(),
        callers.clause()
    );
    let edges = read_all(&state.backend.rows(&tenant, &sql).await?, |row| ServiceEdge {
        from: row.text("caller_name"),
        to: row.text("callee_name"),
        call_count: row.integer("calls").unwrap_or_default(),
        error_count: row.integer("errors").unwrap_or_default(),
        duration_p95_ns: row.integer("p95"),
    });
    Ok(Json(ServiceMap { edges }))
}
