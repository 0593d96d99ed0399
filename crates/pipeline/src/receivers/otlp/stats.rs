//! What the receiver counts about itself. Plain atomics, read by whoever publishes metrics. The names are
//! those of the OpenTelemetry Collector's self-telemetry where it has one, so that dashboards made for it
//! work: `otelcol_receiver_accepted_log_records`, `…_spans`, `…_metric_points`, and the same with
//! `refused` and `failed`, labelled by `transport`.

use std::sync::atomic::{AtomicU64, Ordering};

use cupola_telemetry::Signal;

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

/// Counts of one signal over one transport.
#[derive(Debug, Default)]
pub struct SignalStats {
    /// Requests begun.
    pub requests: AtomicU64,
    /// Items taken by the sink.
    pub accepted_items: AtomicU64,
    /// Items refused in a way that asks the client to send them again.
    pub refused_items: AtomicU64,
    /// Items refused for good, by the sink or with a partial success.
    pub failed_items: AtomicU64,
    /// Bytes of bodies and messages as they came, compressed or not.
    pub wire_bytes: AtomicU64,
    /// Bytes of OTLP after decompression.
    pub payload_bytes: AtomicU64,
    /// Requests that could not be read: not protobuf, not JSON, not OTLP, corrupt compression.
    pub requests_invalid: AtomicU64,
    /// Requests over the size limit.
    pub requests_too_large: AtomicU64,
    /// Requests refused, retryably, because memory is at its ceiling.
    pub requests_over_memory: AtomicU64,
    /// Requests refused, retryably, because their body did not arrive in time.
    pub requests_slow: AtomicU64,
}

/// One number, ready for a metrics page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatSample {
    pub name: &'static str,
    pub help: &'static str,
    /// `grpc` or `http`.
    pub transport: &'static str,
    /// `None` where the name has the signal in it, or the number is about none.
    pub signal: Option<Signal>,
    pub value: u64,
    /// A level rather than a count.
    pub gauge: bool,
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

const ACCEPTED: &str = "Items taken by the next component.";
const REFUSED: &str = "Items refused in a way that asks the client to send them again.";
const FAILED: &str = "Items refused for good.";

/// Accepted, refused and failed, by signal.
fn item_names(signal: Signal) -> [&'static str; 3] {
    match signal {
        Signal::Logs => [
            "otelcol_receiver_accepted_log_records",
            "otelcol_receiver_refused_log_records",
            "otelcol_receiver_failed_log_records",
        ],
        Signal::Metrics => [
            "otelcol_receiver_accepted_metric_points",
            "otelcol_receiver_refused_metric_points",
            "otelcol_receiver_failed_metric_points",
        ],
        Signal::Traces => [
            "otelcol_receiver_accepted_spans",
            "otelcol_receiver_refused_spans",
            "otelcol_receiver_failed_spans",
        ],
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

impl SignalStats {
    fn collect(&self, transport: &'static str, signal: Signal, samples: &mut Vec<StatSample>) {
        let mut add = |name, help, signal, value: &AtomicU64| {
            let value = value.load(Ordering::Relaxed);
            samples.push(StatSample {
                name,
                help,
                transport,
                signal,
                value,
                gauge: false,
            });
        };
        let [accepted, refused, failed] = item_names(signal);
        add(accepted, ACCEPTED, None, &self.accepted_items);
        add(refused, REFUSED, None, &self.refused_items);
        add(failed, FAILED, None, &self.failed_items);
        let signal = Some(signal);
        add(
            "cupola_receiver_requests_total",
            "Requests begun.",
            signal,
            &self.requests,
        );
        add(
            "cupola_receiver_wire_bytes_total",
            "Bytes of bodies as they came.",
            signal,
            &self.wire_bytes,
        );
        add(
            "cupola_receiver_payload_bytes_total",
            "Bytes after decompression.",
            signal,
            &self.payload_bytes,
        );
        let name = "cupola_receiver_requests_invalid_total";
        add(
            name,
            "Requests that could not be read.",
            signal,
            &self.requests_invalid,
        );
        let name = "cupola_receiver_requests_too_large_total";
        add(
            name,
            "Requests over the size limit.",
            signal,
            &self.requests_too_large,
        );
        let name = "cupola_receiver_requests_over_memory_total";
        add(
            name,
            "Requests refused because memory is at its ceiling.",
            signal,
            &self.requests_over_memory,
        );
        let name = "cupola_receiver_requests_slow_total";
        add(
            name,
            "Requests refused because their body did not arrive in time.",
            signal,
            &self.requests_slow,
        );
    }
}

pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
