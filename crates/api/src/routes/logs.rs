//! `GET /api/v1/logs`: pages of log records, newest first, exact across pages.

use axum::Json;
use axum::extract::{RawQuery, State};
use cupola_telemetry::TenantId;

use super::refusals::QueryRefusals;
use crate::encode::json::rfc3339;
use crate::error::ApiError;
use crate::model::{LogPage, LogRecord};
use crate::predicate::{self, Predicate, parse_level, parse_trace_id};
use crate::query_string::QueryString;
use crate::rows::{log_record, read_all};
use crate::state::AppState;
use crate::tenant::Tenant;

const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 1000;

/// Most records of one and the same nanosecond that pages can step through.
const SKIP_MAX: u64 = 1_000_000;

pub(super) const LOG_COLUMNS: &str = "timestamp, observed_timestamp, severity_number, severity_text, body, body_type, event_name, \
    trace_id, span_id, service_name, scope_name, scope_version, attributes, resource_attributes, scope_attributes";

/// Order among records of one nanosecond, so that skipping some of them skips the same ones every time.
const TIE_ORDER: &str = ", service_name, span_id, trace_id, severity_number, body";

const PARAMETERS: [&str; 10] = [
    "from",
    "to",
    "service",
    "level",
    "words",
    "trace_id",
    "attribute",
    "resource_attribute",
    "cursor",
    "limit",
];

/// Log records, newest first.
#[utoipa::path(get, path = "/api/v1/logs", tag = "logs", operation_id = "listLogs",
    params(
        ("X-Scope-OrgID" = Option<String>, Header, description = "Tenant"),
        ("from" = Option<String>, Query), ("to" = Option<String>, Query),
        ("service" = Option<String>, Query, description = "Value of `service.name`"),
        ("level" = Option<String>, Query, description = "This level or a worse one: `trace`, `debug`, `info`, `warn`, `error`, `fatal`"),
        ("words" = Option<String>, Query, description = "Words the body must have, all of them, in any order and case"),
        ("trace_id" = Option<String>, Query, description = "32 hex digits"),
        ("attribute" = Option<Vec<String>>, Query, description = "`key=value`: an attribute with exactly this value, as text; repeatable"),
        ("resource_attribute" = Option<Vec<String>>, Query, description = "The same of the resource"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, 100 by default; a page may be shorter and not the last")),
    responses((status = 200, body = LogPage), QueryRefusals))]
pub(super) async fn list(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    RawQuery(raw): RawQuery,
) -> Result<Json<LogPage>, ApiError> {
    let query = QueryString::parse(raw.as_deref(), &PARAMETERS)?;
    let limit = query.number("limit", LIMIT_DEFAULT, LIMIT_MAX)?;
    let cursor = query.text("cursor")?.map(Cursor::parse).transpose()?;
    let mut filter = Predicate::default();
    filter
        .range(query.range()?)
        .equals("service_name", query.text("service")?)
        .attributes(&query)?;
    if let Some(floor) = parse_level(&query)? {
        filter.add(format!("severity_number >= {floor}"));
    }
    if let Some(words) = query.text("words")? {
        filter.add(format!("match(body, {})", predicate::text(words)));
    }
    if let Some(id) = query.text("trace_id")? {
        filter.add(format!(
            "trace_id = {}",
            predicate::trace_id(&parse_trace_id(id)?)
        ));
    }
    page(&state, &tenant, &filter, cursor, limit).await.map(Json)
}

/// Where a page begins: after every record of `timestamp` (`skip` 0), or after `skip` records of it in [`TIE_ORDER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    timestamp: i64,
    skip: u64,
}

impl Cursor {
    fn parse(text: &str) -> Result<Self, ApiError> {
        let parsed = text.split_once('.').and_then(|(timestamp, skip)| {
            Some(Self {
                timestamp: timestamp.parse().ok()?,
                skip: skip.parse().ok()?,
            })
        });
        parsed.filter(|cursor| cursor.skip <= SKIP_MAX).ok_or_else(|| {
            ApiError::bad_request("the cursor is not one this server gave").with_hint("leave it out")
        })
    }

    fn text(self) -> String {
        format!("{}.{}", self.timestamp, self.skip)
    }
}

/// Cuts pages between two nanoseconds wherever it can, so that the next page is simply "older than". Only where a whole
/// page is of one nanosecond does it count records within it.
async fn page(
    state: &AppState,
    tenant: &TenantId,
    filter: &Predicate,
    cursor: Option<Cursor>,
    limit: u64,
) -> Result<LogPage, ApiError> {
    let skip = cursor.map_or(0, |cursor| cursor.skip);
    let mut filter = filter.clone();
    if let Some(Cursor { timestamp, .. }) = cursor {
        let comparison = if skip == 0 { "<" } else { "<=" };
        filter.add(format!(
            "timestamp {comparison} {}",
            predicate::timestamp(timestamp)
        ));
    }
    let mut records = fetch(state, tenant, &filter, skip > 0, skip, limit + 1).await?;
    let wanted = limit as usize;
    if records.len() <= wanted {
        return Ok(LogPage {
            logs: bare(records),
            next_cursor: None,
        });
    }
    let edge = records[wanted].0;
    let before_edge = records
        .iter()
        .position(|(timestamp, _)| *timestamp == edge)
        .unwrap_or(wanted);
    if before_edge > 0 {
        records.truncate(before_edge);
        let timestamp = records[before_edge - 1].0;
        return Ok(LogPage {
            logs: bare(records),
            next_cursor: Some(Cursor { timestamp, skip: 0 }.text()),
        });
    }
    // All of the page is of one nanosecond.
    if skip == 0 {
        records = fetch(state, tenant, &filter, true, 0, limit).await?;
    }
    records.truncate(wanted);
    let of_edge = if cursor.is_some_and(|cursor| cursor.timestamp == edge) {
        skip
    } else {
        0
    };
    let next = Cursor {
        timestamp: edge,
        skip: of_edge + limit,
    };
    if next.skip > SKIP_MAX {
        return Err(ApiError::limit_exceeded(format!(
            "more than {SKIP_MAX} records have the time {}",
            rfc3339(edge)
        ))
        .with_hint("narrow the search, or read them with SQL"));
    }
    Ok(LogPage {
        logs: bare(records),
        next_cursor: Some(next.text()),
    })
}

async fn fetch(
    state: &AppState,
    tenant: &TenantId,
    filter: &Predicate,
    ordered: bool,
    skip: u64,
    limit: u64,
) -> Result<Vec<(i64, LogRecord)>, ApiError> {
    let ties = if ordered { TIE_ORDER } else { "" };
    let sql = format!(
        "SELECT {LOG_COLUMNS} FROM logs{} ORDER BY timestamp DESC{ties} LIMIT {limit} OFFSET {skip}",
        filter.clause()
    );
    let batches = state.backend.rows(tenant, &sql).await?;
    Ok(read_all(&batches, |row| {
        (row.integer("timestamp").unwrap_or_default(), log_record(row))
    }))
}

fn bare(records: Vec<(i64, LogRecord)>) -> Vec<LogRecord> {
    records.into_iter().map(|(_, record)| record).collect()
}
