//! What the API measures of itself: requests by route and status, their duration and spans, connections, tails and their
//! lag, prepared statements.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use cupola_telemetry::TenantId;
use http::HeaderMap;
use parking_lot::Mutex;
use tracing::{Instrument as _, Span, field};

use crate::connections::Connections;
use crate::metrics::PrometheusText;
use crate::tenant::tenant_of;

/// Upper bounds of the duration histogram in seconds, as the HTTP semantic conventions advise.
const DURATION_BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Routes × methods × statuses is small and fixed; this bound only guards against a mistake.
const SERIES_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct OwnMetrics {
    requests: Mutex<BTreeMap<(String, String, u16), Durations>>,
    pub(crate) tails_active: AtomicU64,
    pub(crate) tail_batches_skipped: AtomicU64,
    pub(crate) postgres_connections_active: AtomicU64,
    pub(crate) postgres_connections_refused: AtomicU64,
    pub(crate) flight_statements: AtomicU64,
    pub(crate) flight_statements_evicted: AtomicU64,
    /// Requests whose duration went unrecorded for want of a series.
    unmeasured: AtomicU64,
    /// By the name of the listener.
    connections: OnceLock<Vec<(&'static str, Connections)>>,
}

#[derive(Debug, Default, Clone)]
struct Durations {
    buckets: [u64; DURATION_BOUNDS.len()],
    sum_seconds: f64,
    count: u64,
}

impl OwnMetrics {
    /// The listeners whose connections are counted. Counts the first time.
    pub(crate) fn set_connections(&self, connections: Vec<(&'static str, Connections)>) {
        let _ = self.connections.set(connections);
    }

    fn record(&self, method: &str, route: &str, status: u16, elapsed: Duration) {
        let mut requests = self.requests.lock();
        let key = (method.to_owned(), route.to_owned(), status);
        if requests.len() >= SERIES_MAX && !requests.contains_key(&key) {
            self.unmeasured.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let durations = requests.entry(key).or_default();
        let seconds = elapsed.as_secs_f64();
        for (bucket, bound) in durations.buckets.iter_mut().zip(DURATION_BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
        durations.sum_seconds += seconds;
        durations.count += 1;
    }

    pub(crate) fn collect(&self, out: &mut PrometheusText) {
        let requests = self.requests.lock().clone();
        let mut family = out.histogram(
            "http_server_request_duration_seconds",
            "Time until the head of the answer of an HTTP request to the API.",
        );
        for ((method, route, status), durations) in &requests {
            let buckets: Vec<(f64, u64)> = DURATION_BOUNDS
                .into_iter()
                .zip(durations.buckets.iter().copied())
                .collect();
            let status = status.to_string();
            let labels = [
                ("http_request_method", method.as_str()),
                ("http_route", route.as_str()),
                ("http_response_status_code", status.as_str()),
            ];
            family.observe(&labels, &buckets, durations.sum_seconds, durations.count);
        }
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed) as f64;
        out.counter(
            "cupola_api_unmeasured_requests",
            "Requests missing in the durations because there are too many series.",
        )
        .value(read(&self.unmeasured));
        self.collect_connections(out);
        out.gauge(
            "cupola_api_flight_statements",
            "Prepared statements of Flight SQL kept.",
        )
        .value(read(&self.flight_statements));
        out.counter(
            "cupola_api_flight_evicted_statements",
            "Prepared statements of Flight SQL that made way for newer ones.",
        )
        .value(read(&self.flight_statements_evicted));
        out.gauge("cupola_api_tails", "Live tails connected.")
            .value(read(&self.tails_active));
        out.counter(
            "cupola_api_tail_skipped_batches",
            "Batches a live tail did not show because its reader was slow.",
        )
        .value(read(&self.tail_batches_skipped));
        out.gauge(
            "cupola_api_postgres_connections",
            "Connections of the PostgreSQL protocol.",
        )
        .value(read(&self.postgres_connections_active));
        out.counter(
            "cupola_api_postgres_refused_connections",
            "Connections of the PostgreSQL protocol closed because there were too many.",
        )
        .value(read(&self.postgres_connections_refused));
    }

    fn collect_connections(&self, out: &mut PrometheusText) {
        let listeners = self.connections.get().map_or(&[][..], Vec::as_slice);
        let mut open = out.gauge("cupola_api_connections", "Connections open now, by listener.");
        for (listener, connections) in listeners {
            open.sample(&[("listener", listener)], connections.open() as f64);
        }
        let mut refused = out.counter(
            "cupola_api_refused_connections",
            "Connections closed at once because there were too many, by listener.",
        );
        for (listener, connections) in listeners {
            refused.sample(&[("listener", listener)], connections.refused() as f64);
        }
    }
}

/// Middleware: counts and times every request.
pub(crate) async fn observe(State(own): State<Arc<OwnMetrics>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH") => known.to_owned(),
        _ => "_OTHER".to_owned(),
    };
    // Paths as asked would be unbounded; without a route it was the web page.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("/*", |path| path.as_str())
        .to_owned();
    let span = span_of(&method, &route, request.headers());
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("error.type", status.as_str());
    }
    own.record(&method, &route, status.as_u16(), started.elapsed());
    response
}

/// The span of a request to the API; of the page's files and of metrics, which are read all the time, there is none.
///
/// <https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span>
fn span_of(method: &str, route: &str, headers: &HeaderMap) -> Span {
    if !route.starts_with("/api/") {
        return Span::none();
    }
    let tenant = tenant_of(headers).ok();
    tracing::info_span!(
        "http.request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = field::Empty,
        error.type = field::Empty,
        cupola.tenant = tenant.as_ref().map(TenantId::as_str),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_beyond_the_bound_of_series_are_counted() {
        let own = OwnMetrics::default();
        for status in 0..=SERIES_MAX as u16 {
            own.record("GET", "/api/v1/sql", status, Duration::ZERO);
        }
        // Known ones are still measured.
        own.record("GET", "/api/v1/sql", 0, Duration::ZERO);
        assert_eq!(own.unmeasured.load(Ordering::Relaxed), 1);
        let mut out = PrometheusText::new();
        own.collect(&mut out);
        assert!(out.finish().contains("cupola_api_unmeasured_requests_total 1\n"));
    }
}
