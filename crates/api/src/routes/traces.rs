//! `/api/v1/traces`: the newest traces as a list, and one trace whole.

use std::collections::HashSet;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use cupola_telemetry::{TenantId, TraceId};

use super::logs::LOG_COLUMNS;
use super::refusals::QueryRefusals;
use crate::error::{ApiError, ErrorBody};
use crate::model::{Trace, TraceList, TraceSummary};
use crate::predicate::{self, Predicate, parse_trace_id};
use crate::query_string::QueryString;
use crate::rows::{Row, log_record, read_all, span};
use crate::state::AppState;
use crate::tenant::Tenant;

/// Most spans, and most logs, of one trace in one answer.
const TRACE_ITEMS_MAX: usize = 10_000;

const LIMIT_DEFAULT: u64 = 50;
const LIMIT_MAX: u64 = 500;

/// Spans looked at for each trace wanted, and how often we look further back: many matching spans can be of one trace.
const CANDIDATES_PER_TRACE: u64 = 16;
const ROUNDS_MAX: usize = 4;

/// How far from the span that matched the rest of its trace is looked for.
const TRACE_REACH_NS: i64 = 3_600_000_000_000;

const PARAMETERS: [&str; 8] = [
    "from",
    "to",
    "service",
    "name",
    "errors",
    "min_duration_ms",
    "attribute",
    "limit",
];

/// Traces, newest first.
///
/// Without filters these are the traces whose root span began in the range; with filters, those with a span that matches
/// them all. The counts are of the spans that began within an hour of those.
#[utoipa::path(get, path = "/api/v1/traces", tag = "traces", operation_id = "listTraces",
    params(
        ("X-Scope-OrgID" = Option<String>, Header, description = "Tenant"),
        ("from" = Option<String>, Query), ("to" = Option<String>, Query),
        ("service" = Option<String>, Query, description = "A service that took part"),
        ("name" = Option<String>, Query, description = "Name of a span"),
        ("errors" = Option<bool>, Query, description = "Only traces with a failed span"),
        ("min_duration_ms" = Option<u64>, Query, description = "Only traces with a span at least this long"),
        ("attribute" = Option<Vec<String>>, Query, description = "`key=value` of a span; repeatable"),
        ("limit" = Option<u32>, Query, description = "1 to 500, 50 by default")),
    responses((status = 200, body = TraceList), QueryRefusals))]
pub(super) async fn list(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    RawQuery(raw): RawQuery,
) -> Result<Json<TraceList>, ApiError> {
    let query = QueryString::parse(raw.as_deref(), &PARAMETERS)?;
    let limit = query.number("limit", LIMIT_DEFAULT, LIMIT_MAX)?;
    let mut matching = Predicate::default();
    matching
        .equals("service_name", query.text("service")?)
        .equals("name", query.text("name")?)
        .attributes(&query)?;
    if query.flag("errors")? {
        matching.add("status_code = 'error'");
    }
    if query.text("min_duration_ms")?.is_some() {
        let milliseconds = query.number("min_duration_ms", 1, u64::MAX / 1_000_000)?;
        matching.add(format!(
            "duration >= {}",
            i64::try_from(milliseconds * 1_000_000).unwrap_or(i64::MAX)
        ));
    }
    if matching.clause().is_empty() {
        matching.add("parent_span_id IS NULL");
    }
    matching.add("trace_id IS NOT NULL").range(query.range()?);
    let candidates = newest(&state, &tenant, &matching, limit as usize).await?;
    let mut traces = summaries(&state, &tenant, &candidates).await?;
    traces.sort_by(|a, b| {
        b.timestamp
            .cmp(&a.timestamp)
            .then_with(|| a.trace_id.cmp(&b.trace_id))
    });
    Ok(Json(TraceList { traces }))
}

/// A trace id and the start of one of its spans.
struct Candidate {
    id: TraceId,
    at: i64,
}

/// The traces of the newest matching spans.
async fn newest(
    state: &AppState,
    tenant: &TenantId,
    matching: &Predicate,
    limit: usize,
) -> Result<Vec<Candidate>, ApiError> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut older_than: Option<i64> = None;
    for _ in 0..ROUNDS_MAX {
        let mut matching = matching.clone();
        if let Some(edge) = older_than {
            matching.add(format!("timestamp < {}", predicate::timestamp(edge)));
        }
        let rows = limit as u64 * CANDIDATES_PER_TRACE;
        let sql = format!(
            "SELECT trace_id, timestamp FROM spans{} ORDER BY timestamp DESC LIMIT {rows}",
            matching.clause()
        );
        let batches = state.backend.rows(tenant, &sql).await?;
        let spans = read_all(&batches, |row| {
            (row.text("trace_id"), row.integer("timestamp").unwrap_or_default())
        });
        for (hex, at) in &spans {
            let Ok(id) = TraceId::parse(hex) else { continue };
            if found.len() < limit && seen.insert(id) {
                found.push(Candidate { id, at: *at });
            }
        }
        older_than = spans.last().map(|(_, at)| *at);
        if found.len() >= limit || (spans.len() as u64) < rows {
            break;
        }
    }
    Ok(found)
}

async fn summaries(
    state: &AppState,
    tenant: &TenantId,
    candidates: &[Candidate],
) -> Result<Vec<TraceSummary>, ApiError> {
    let times = || candidates.iter().map(|candidate| candidate.at);
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return Ok(Vec::new());
    };
    let ids: Vec<String> = candidates
        .iter()
        .map(|candidate| predicate::trace_id(&candidate.id))
        .collect();
    let sql = format!(
        "SELECT trace_id, min(timestamp) AS start, \
         max(CAST(timestamp AS BIGINT) + duration) AS last, count(*) AS spans, \
         sum(CASE WHEN status_code = 'error' THEN 1 ELSE 0 END) AS errors, count(DISTINCT service_name) AS services, \
         first_value(name ORDER BY CASE WHEN parent_span_id IS NULL THEN 0 ELSE 1 END, timestamp) AS root_name, \
         first_value(service_name ORDER BY CASE WHEN parent_span_id IS NULL THEN 0 ELSE 1 END, timestamp) AS root_service \
         FROM spans WHERE trace_id IN ({}) AND timestamp >= {} AND timestamp <= {} GROUP BY trace_id",
        ids.join(", "),
        predicate::timestamp(first.saturating_sub(TRACE_REACH_NS)),
        predicate::timestamp(last.saturating_add(TRACE_REACH_NS)),
    );
    let batches = state.backend.rows(tenant, &sql).await?;
    Ok(read_all(&batches, summary))
}

fn summary(row: &Row<'_>) -> TraceSummary {
    TraceSummary {
        trace_id: row.text("trace_id"),
        root_name: row.text("root_name"),
        root_service: row.text("root_service"),
        timestamp: row.time("start").unwrap_or_default(),
        duration_ns: row
            .integer("last")
            .zip(row.integer("start"))
            .map_or(0, |(last, start)| last.saturating_sub(start)),
        span_count: row.integer("spans").unwrap_or_default(),
        error_count: row.integer("errors").unwrap_or_default(),
        service_count: row.integer("services").unwrap_or_default(),
    }
}

/// One trace: its spans and its logs.
#[utoipa::path(get, path = "/api/v1/traces/{id}", tag = "traces", operation_id = "readTrace",
    params(("X-Scope-OrgID" = Option<String>, Header, description = "Tenant"), ("id" = String, Path, description = "32 hex digits")),
    responses((status = 200, body = Trace), (status = 404, description = "There is no such trace", body = ErrorBody), QueryRefusals))]
pub(super) async fn read(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(id): Path<String>,
) -> Result<Json<Trace>, ApiError> {
    let id = parse_trace_id(&id)?;
    let literal = predicate::trace_id(&id);
    let select = |columns: &str, table: &str| {
        format!(
            "SELECT {columns} FROM {table} WHERE trace_id = {literal} ORDER BY timestamp LIMIT {}",
            TRACE_ITEMS_MAX + 1
        )
    };
    let spans = state.backend.rows(&tenant, &select("*", "spans")).await?;
    let logs = state.backend.rows(&tenant, &select(LOG_COLUMNS, "logs")).await?;
    let (mut spans, mut logs) = (read_all(&spans, span), read_all(&logs, log_record));
    if spans.is_empty() && logs.is_empty() {
        return Err(ApiError::not_found(format!("there is no trace {id}"))
            .with_hint("it may belong to another tenant, or be older than the retention"));
    }
    let truncated = spans.len() > TRACE_ITEMS_MAX || logs.len() > TRACE_ITEMS_MAX;
    spans.truncate(TRACE_ITEMS_MAX);
    logs.truncate(TRACE_ITEMS_MAX);
    Ok(Json(Trace {
        trace_id: id.to_string(),
        spans,
        logs,
        truncated,
    }))
}
