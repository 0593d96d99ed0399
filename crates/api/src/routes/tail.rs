//! `GET /api/v1/tail`: log records or spans as they arrive, as server-sent events. Never holds up ingestion: a reader that
//! is too slow misses batches and is told how many.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use cupola_telemetry::{Batch, Signal};
use futures::stream;
use futures::{Stream, StreamExt as _};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::error::{ApiError, ErrorBody};
use crate::live::{LiveFilter, words_of};
use crate::own_metrics::OwnMetrics;
use crate::predicate::{key_value, parse_level, parse_trace_id};
use crate::query_string::QueryString;
use crate::state::AppState;
use crate::tenant::Tenant;

const PARAMETERS: [&str; 7] = [
    "signal",
    "service",
    "level",
    "words",
    "trace_id",
    "attribute",
    "errors",
];

/// Log records or spans as they arrive.
///
/// Events: `ready` once the tail has begun; `log` and `span`, whose data are those of the lists; `lag` with
/// `{"skipped_batches": n}` when the reader was too slow and batches were left out.
#[utoipa::path(get, path = "/api/v1/tail", tag = "logs", operation_id = "tail",
    params(
        ("X-Scope-OrgID" = Option<String>, Header, description = "Tenant"),
        ("signal" = Option<String>, Query, description = "`logs` (default) or `spans`"),
        ("service" = Option<String>, Query),
        ("level" = Option<String>, Query, description = "Of logs: this level or a worse one"),
        ("words" = Option<String>, Query, description = "Words of the body, or of the name of a span, all of them"),
        ("trace_id" = Option<String>, Query),
        ("attribute" = Option<Vec<String>>, Query, description = "`key=value`; repeatable"),
        ("errors" = Option<bool>, Query, description = "Only failed spans, or logs of level error and worse")),
    responses((status = 200, description = "Events until the reader leaves", body = String, content_type = "text/event-stream"),
        (status = 400, description = "The request is malformed", body = ErrorBody), (status = 429, description = "Too many tails", body = ErrorBody)))]
pub(super) async fn tail(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    RawQuery(raw): RawQuery,
) -> Result<impl IntoResponse, ApiError> {
    let query = QueryString::parse(raw.as_deref(), &PARAMETERS)?;
    let signal = match query.text("signal")? {
        None | Some("logs") => Signal::Logs,
        Some("spans" | "traces") => Signal::Traces,
        Some(other) => {
            return Err(ApiError::bad_request(format!(
                "parameter `signal` is `{other}`; it must be `logs` or `spans`"
            )));
        }
    };
    let mut attributes = Vec::new();
    for pair in query.all("attribute") {
        let (key, value) = key_value("attribute", pair)?;
        attributes.push((key.to_owned(), value.to_owned()));
    }
    let filter = LiveFilter {
        tenant,
        signal,
        service: query.text("service")?.map(str::to_owned),
        severity_floor: parse_level(&query)?,
        words: words_of(query.text("words")?.unwrap_or_default()),
        trace_id: query.text("trace_id")?.map(parse_trace_id).transpose()?,
        attributes,
        errors: query.flag("errors")?,
    };
    let permit = state.tails.clone().try_acquire_owned().map_err(|_| {
        let mut error = ApiError::overloaded(
            format!("{} tails are connected already", state.config.tails_max),
            None,
        );
        error.status = StatusCode::TOO_MANY_REQUESTS;
        error
    })?;
    let tail = Tail::new(state.store.subscribe(), filter, permit, state.own.clone());
    let events = events(tail).take_until(state.stop.clone().cancelled_owned());
    let keep_alive = KeepAlive::new().interval(state.config.tail_keep_alive);
    // Proxies that buffer answers would hold events back.
    let unbuffered = [(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    )];
    Ok((unbuffered, Sse::new(events).keep_alive(keep_alive)))
}

/// One connected reader.
struct Tail {
    batches: Receiver<Batch>,
    filter: LiveFilter,
    /// Events of the batch last received that have not been sent.
    pending: VecDeque<Event>,
    own: Arc<OwnMetrics>,
    _permit: OwnedSemaphorePermit,
}

impl Tail {
    fn new(
        batches: Receiver<Batch>,
        filter: LiveFilter,
        permit: OwnedSemaphorePermit,
        own: Arc<OwnMetrics>,
    ) -> Self {
        own.tails_active.fetch_add(1, Ordering::Relaxed);
        let pending = VecDeque::from([event("ready", &json!({}))]);
        Self {
            batches,
            filter,
            pending,
            own,
            _permit: permit,
        }
    }

    /// The next event; `None` once the store has closed.
    async fn next(&mut self) -> Option<Event> {
        while self.pending.is_empty() {
            match self.batches.recv().await {
                Ok(batch) if self.filter.wants(&batch) => self.show(&batch),
                Ok(_) => {}
                Err(RecvError::Lagged(skipped)) => {
                    self.own
                        .tail_batches_skipped
                        .fetch_add(skipped, Ordering::Relaxed);
                    self.pending
                        .push_back(event("lag", &json!({ "skipped_batches": skipped })));
                }
                Err(RecvError::Closed) => return None,
            }
        }
        self.pending.pop_front()
    }

    fn show(&mut self, batch: &Batch) {
        if self.filter.signal == Signal::Logs {
            self.pending
                .extend(self.filter.logs(batch).iter().map(|log| event("log", log)));
        } else {
            self.pending
                .extend(self.filter.spans(batch).iter().map(|span| event("span", span)));
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.own.tails_active.fetch_sub(1, Ordering::Relaxed);
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    // serde_json writes no line breaks, the one thing an event's data cannot hold.
    let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    Event::default().event(name).data(data)
}

fn events(tail: Tail) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(tail, |mut tail| async move {
        tail.next().await.map(|event| (Ok(event), tail))
    })
}
