//! What is counted of one signal of a receiver. Plain atomics, read by whoever publishes metrics. The names are
//! those of the OpenTelemetry Collector's self-telemetry where it has one.

use std::sync::atomic::{AtomicU64, Ordering};

use cupola_export::Sample;
use cupola_telemetry::Signal;

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
    /// Requests refused before they were read, because what is behind the receiver would have refused them.
    pub requests_unread: AtomicU64,
    /// Requests refused, retryably, because their body did not arrive in time.
    pub requests_slow: AtomicU64,
    /// Items whose sender went away before it was answered. They may have been taken, and may come again.
    pub unanswered_items: AtomicU64,
}

/// A sender that waits for what becomes of its items: counted, if it is dropped before it is answered.
pub(crate) struct Waiting<'s> {
    counter: &'s AtomicU64,
    items: u64,
}

impl Waiting<'_> {
    pub(crate) fn answered(mut self) {
        self.items = 0;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        count(self.counter, self.items);
    }
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

impl From<StatSample> for Sample {
    fn from(one: StatSample) -> Sample {
        let sample = Sample {
            name: one.name,
            help: one.help,
            labels: vec![("transport", one.transport.to_owned())],
            value: one.value as f64,
            gauge: one.gauge,
        };
        match one.signal {
            Some(signal) => sample.with("signal", signal.as_str()),
            None => sample,
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

impl SignalStats {
    pub(crate) fn waiting(&self, items: u64) -> Waiting<'_> {
        Waiting {
            counter: &self.unanswered_items,
            items,
        }
    }

    pub(crate) fn collect(&self, transport: &'static str, signal: Signal, samples: &mut Vec<StatSample>) {
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
        let name = "cupola_receiver_requests_unread_total";
        let help = "Requests refused before they were read, because the pipeline refused everything.";
        add(name, help, signal, &self.requests_unread);
        let name = "cupola_receiver_requests_slow_total";
        add(
            name,
            "Requests refused because their body did not arrive in time.",
            signal,
            &self.requests_slow,
        );
        let name = "cupola_receiver_unanswered_items_total";
        let help = "Items whose sender went away before it was answered; they may have been taken.";
        add(name, help, signal, &self.unanswered_items);
    }
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
