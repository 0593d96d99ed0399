//! What the API measures of itself: requests by route and status, their duration, tails and their lag.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use parking_lot::Mutex;

use crate::metrics::PrometheusText;

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
}

#[derive(Debug, Default, Clone)]
struct Durations {
    buckets: [u64; DURATION_BOUNDS.len()],
    sum_seconds: f64,
    count: u64,
}

impl OwnMetrics {
    fn record(&self, method: &str, route: &str, status: u16, elapsed: Duration) {
        let mut requests = self.requests.lock();
        let key = (method.to_owned(), route.to_owned(), status);
        if requests.len() >= SERIES_MAX && !requests.contains_key(&key) {
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
    let response = next.run(request).await;
    own.record(&method, &route, response.status().as_u16(), started.elapsed());
    response
}
