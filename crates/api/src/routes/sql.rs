//! `POST /api/v1/sql`: one statement, its rows streamed in the format asked for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::Response;
use cupola_query::{QueryLimits, QueryName};
use futures::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::refusals::QueryRefusals;
use crate::backend::Answer;
use crate::encode::stream::{CHUNK_ROWS_MAX, Encoder, Format};
use crate::error::{ApiError, ErrorBody};
use crate::model::{SqlAnswer, SqlStats};
use crate::state::AppState;
use crate::tenant::Tenant;

/// The first bytes of an answer are held back until there are this many or the statement has ended, so that one that
/// fails early is answered with the status of its error instead of a cut-off success.
const HELD_BACK_BYTES_MAX: usize = 64 * 1024;

/// A statement and what it may cost.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SqlRequest {
    /// SQL in the PostgreSQL flavour over `logs`, `spans`, `metrics` and `records`. One statement that reads.
    #[schema(example = "SELECT service_name, count(*) FROM spans GROUP BY 1 ORDER BY 2 DESC")]
    query: String,
    #[serde(default)]
    limits: Option<SqlLimits>,
}

/// Limits of one statement; they can only lower those of the server.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SqlLimits {
    timeout_ms: Option<u64>,
    /// Rows of the answer.
    rows_max: Option<u64>,
    /// Bytes of the answer, as they are in memory.
    bytes_max: Option<u64>,
    /// Memory for sorting, grouping and joining.
    memory_bytes_max: Option<u64>,
}

impl From<SqlLimits> for QueryLimits {
    fn from(limits: SqlLimits) -> Self {
        Self {
            time: limits.timeout_ms.map(Duration::from_millis),
            rows_max: limits.rows_max,
            memory_bytes_max: limits
                .memory_bytes_max
                .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            bytes_max: limits.bytes_max,
        }
    }
}

/// The header by which a statement is named, and in which its name or id comes back.
const QUERY_ID: HeaderName = HeaderName::from_static("x-query-id");

/// Runs one statement that reads.
///
/// `Accept` selects the format: `application/json` (default), `text/csv`, `application/x-ndjson` or
/// `application/vnd.apache.arrow.stream`. Rows are sent while the statement runs, as fast as they are read. Closing the
/// connection cancels it, and so does `DELETE /api/v1/queries/{id}`: with an `X-Query-Id` of the caller's own from the
/// beginning, otherwise with the id that `GET /api/v1/queries` lists.
#[utoipa::path(post, path = "/api/v1/sql", tag = "sql", operation_id = "runSql",
    params(("X-Scope-OrgID" = Option<String>, Header, description = "Tenant"),
        ("X-Query-Id" = Option<String>, Header, description = "Id by which the statement is listed and cancelled while it runs: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, not a number with or without a `q` before it")),
    request_body = SqlRequest,
    responses(
        (status = 200, description = "The rows", headers(("X-Query-Id" = String, description = "Id of the running statement")), content(
            (SqlAnswer = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"),
        )),
        (status = 406, description = "No format of `Accept` is spoken", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 415, description = "The body is not said to be JSON", body = ErrorBody),
        QueryRefusals,
    ))]
pub(super) async fn run(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    headers: HeaderMap,
    body: Result<Json<SqlRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(request) = body?;
    let format = negotiate(&headers)?;
    if request.query.trim().is_empty() {
        return Err(ApiError::bad_request("the query is empty"));
    }
    let limits = request.limits.unwrap_or_default().into();
    let name = query_name(&headers)?;
    let started = Instant::now();
    let answer = state
        .backend
        .sql_named(&tenant, &request.query, name, limits)
        .await?;
    let id = answer.id.clone();
    // Fused: a short answer is at its end before the response begins, and is polled once more there.
    let mut chunks = Box::pin(encoded(answer, format, started)?.fuse());

    let mut held = Vec::new();
    let mut held_bytes = 0;
    while held_bytes < HELD_BACK_BYTES_MAX {
        match chunks.next().await {
            None => break,
            Some(Ok(chunk)) => {
                held_bytes += chunk.len();
                held.push(Ok(chunk));
            }
            // Nothing has been sent: the error gets its own status.
            Some(Err(error)) => return Err(error),
        }
    }
    let rest = stream::iter(held).chain(late_failure(until_stopped(chunks, state.stop.clone()), format));
    let mut response = Response::new(Body::from_stream(rest));
    let fields = response.headers_mut();
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(format.media_type()),
    );
    if let Ok(id) = HeaderValue::from_str(&id) {
        fields.insert(QUERY_ID, id);
    }
    Ok(response)
}

/// The name a caller gives to its statement.
fn query_name(headers: &HeaderMap) -> Result<Option<QueryName>, ApiError> {
    let mut values = headers.get_all(QUERY_ID).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let name = value.to_str().ok().and_then(QueryName::parse);
    match (name, values.next()) {
        (Some(name), None) => Ok(Some(name)),
        _ => Err(
            ApiError::bad_request("the X-Query-Id header is not an id a statement can have").with_hint(
                "give one of 1 to 64 characters of A-Z a-z 0-9 . _ -, which is not a number with or without a q before it",
            ),
        ),
    }
}

/// A server that shuts down cuts answers off; it does not end them as if they were whole.
fn until_stopped(
    chunks: impl Stream<Item = Result<Bytes, ApiError>>,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Bytes, ApiError>> {
    let stopped = stop.clone();
    let last = stream::once(async move {
        stopped
            .is_cancelled()
            .then(|| Err(ApiError::overloaded("the server is shutting down", None)))
    });
    chunks
        .take_until(stop.cancelled_owned())
        .chain(last.filter_map(std::future::ready))
}

/// Once the head has been sent, an error can only end the body: JSON says so in its last member, the others are cut off.
fn late_failure(
    chunks: impl Stream<Item = Result<Bytes, ApiError>>,
    format: Format,
) -> impl Stream<Item = Result<Bytes, ApiError>> {
    chunks.map(move |chunk| match chunk {
        Err(error) if format == Format::Json => {
            let detail = serde_json::to_string(&error.body().error).unwrap_or_else(|_| "null".to_owned());
            Ok(Bytes::from(format!("],\"error\":{detail}}}")))
        }
        other => other,
    })
}

struct Encoding {
    answer: Answer,
    encoder: Encoder,
    started: Instant,
    /// Rows of the batch last read that have not been encoded.
    pending: VecDeque<RecordBatch>,
    rows: u64,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Begin,
    Rows,
    Done,
}

fn encoded(
    answer: Answer,
    format: Format,
    started: Instant,
) -> Result<impl Stream<Item = Result<Bytes, ApiError>>, ApiError> {
    let encoder = Encoder::new(format, &answer.schema).map_err(|error| cannot_encode(&error))?;
    let state = Encoding {
        answer,
        encoder,
        started,
        pending: VecDeque::new(),
        rows: 0,
        step: Step::Begin,
    };
    Ok(stream::unfold(state, |mut state| async move {
        let chunk = state.advance().await?;
        if chunk.is_err() {
            state.step = Step::Done;
        }
        Some((chunk, state))
    }))
}

impl Encoding {
    async fn advance(&mut self) -> Option<Result<Bytes, ApiError>> {
        match self.step {
            Step::Done => None,
            Step::Begin => {
                self.step = Step::Rows;
                Some(Ok(self.encoder.begin().into()))
            }
            Step::Rows => Some(self.rows().await),
        }
    }

    async fn rows(&mut self) -> Result<Bytes, ApiError> {
        while self.pending.is_empty() {
            match self.answer.batches.next().await {
                Some(batch) => cut(&batch?, &mut self.pending),
                None => return self.finish(),
            }
        }
        let Some(batch) = self.pending.pop_front() else {
            return Ok(Bytes::new());
        };
        self.rows += batch.num_rows() as u64;
        Ok(self
            .encoder
            .batch(&batch)
            .map_err(|error| cannot_encode(&error))?
            .into())
    }

    fn finish(&mut self) -> Result<Bytes, ApiError> {
        self.step = Step::Done;
        let progress = self.answer.progress();
        let stats = SqlStats {
            query_id: self.answer.id.clone(),
            elapsed_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            rows: self.rows,
            rows_scanned: progress.rows_scanned,
            bytes_scanned: progress.bytes_scanned,
        };
        Ok(self
            .encoder
            .finish(&stats)
            .map_err(|error| cannot_encode(&error))?
            .into())
    }
}

fn cut(batch: &RecordBatch, into: &mut VecDeque<RecordBatch>) {
    let mut offset = 0;
    while offset < batch.num_rows() {
        let rows = CHUNK_ROWS_MAX.min(batch.num_rows() - offset);
        into.push_back(batch.slice(offset, rows));
        offset += rows;
    }
}

fn cannot_encode(error: &arrow::error::ArrowError) -> ApiError {
    ApiError::internal("the answer could not be encoded", error)
}

/// The best format of `Accept` by its weights; JSON when all are equal or nothing is said.
fn negotiate(headers: &HeaderMap) -> Result<Format, ApiError> {
    let accepted: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let accepted = accepted.join(",");
    if accepted.trim().is_empty() {
        return Ok(Format::Json);
    }
    let mut best: Option<(f32, Format)> = None;
    for range in accepted.split(',') {
        let mut parts = range.split(';');
        let format = match parts
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
            .as_str()
        {
            "*/*" | "application/*" | "application/json" => Format::Json,
            "text/csv" | "text/*" => Format::Csv,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Format::Ndjson,
            "application/vnd.apache.arrow.stream" => Format::Arrow,
            _ => continue,
        };
        let weight = parts
            .find_map(|part| part.trim().strip_prefix("q="))
            .and_then(|q| q.trim().parse::<f32>().ok());
        let weight = weight.unwrap_or(1.0);
        if weight > 0.0 && best.is_none_or(|(known, _)| weight > known) {
            best = Some((weight, format));
        }
    }
    best.map(|(_, format)| format).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_ACCEPTABLE,
            "not_acceptable",
            format!("no format of `{accepted}` is spoken"),
        )
        .with_hint(
            "application/json, text/csv, application/x-ndjson and application/vnd.apache.arrow.stream are",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_selects_the_format() {
        let check = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
            negotiate(&headers).ok()
        };
        assert_eq!(negotiate(&HeaderMap::new()).ok(), Some(Format::Json));
        assert_eq!(check("*/*"), Some(Format::Json));
        assert_eq!(check("text/csv"), Some(Format::Csv));
        assert_eq!(
            check("text/html, application/x-ndjson;q=0.9, */*;q=0.1"),
            Some(Format::Ndjson)
        );
        assert_eq!(check("application/vnd.apache.arrow.stream"), Some(Format::Arrow));
        assert_eq!(check("text/html"), None);
        assert_eq!(check("application/json;q=0"), None);
    }
}
