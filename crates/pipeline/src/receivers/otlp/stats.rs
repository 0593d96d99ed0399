//! What the receiver counts about itself. Plain atomics, read by whoever publishes metrics. The names are
//! those of the OpenTelemetry Collector's self-telemetry where it has one, so that dashboards made for it
//! work: `otelcol_receiver_accepted_log_records`, `…_spans`, `…_metric_points`, and the same with
//! `refused` and `failed`, labelled by `transport`.

use std::sync::atomic::{AtomicU64, Ordering};

use cupola_telemetry::Signal;

pub(super) use crate::receivers::http::stats::count;
pub use crate::receivers::http::stats::{SignalStats, StatSample};

/// Counts since the start, by transport.
#[derive(Debug, Default)]
pub struct ReceiverStats {
    pub grpc: TransportStats,
    pub http: TransportStats,
}

/// Counts of one transport.
#[derive(Debug, Default)]
pub struct TransportStats {
    pub logs: SignalStats,
    pub metrics: SignalStats,
    pub traces: SignalStats,
    /// Connections open now.
    pub connections: AtomicU64,
    /// Connections accepted.
    pub connections_total: AtomicU64,
    /// Connections that had to wait because as many as may be were open.
    pub connections_waited: AtomicU64,
    /// Requests for no known path, method or content type.
    pub requests_unknown: AtomicU64,
}

impl TransportStats {
    pub fn signal(&self, signal: Signal) -> &SignalStats {
        match signal {
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
            Signal::Traces => &self.traces,
        }
    }
}

impl ReceiverStats {
    /// All numbers, those of one name together.
    pub fn samples(&self) -> Vec<StatSample> {
        let mut samples = Vec::with_capacity(64);
        for (transport, stats) in [("grpc", &self.grpc), ("http", &self.http)] {
            for signal in [Signal::Logs, Signal::Metrics, Signal::Traces] {
                stats.signal(signal).collect(transport, signal, &mut samples);
            }
            let mut add = |name, help, value: &AtomicU64, gauge| {
                let value = value.load(Ordering::Relaxed);
                samples.push(StatSample {
                    name,
                    help,
                    transport,
                    signal: None,
                    value,
                    gauge,
                });
            };
            let connections = ("cupola_receiver_connections", "Connections open now.");
            add(connections.0, connections.1, &stats.connections, true);
            let accepted = ("cupola_receiver_connections_total", "Connections accepted.");
            add(accepted.0, accepted.1, &stats.connections_total, false);
            let waited = (
                "cupola_receiver_connections_waited_total",
                "Connections that had to wait because too many were open.",
            );
            add(waited.0, waited.1, &stats.connections_waited, false);
            let unknown = (
                "cupola_receiver_requests_unknown_total",
                "Requests for no known path, method or type.",
            );
            add(unknown.0, unknown.1, &stats.requests_unknown, false);
        }
        samples.sort_by_key(|sample| sample.name);
        samples
    }
}
