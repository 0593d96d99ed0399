//! What an exporter counts, under the Collector's names where it has them.

use std::sync::atomic::{AtomicU64, Ordering};

use cupola_telemetry::Signal;

use super::Core;
use crate::Sample;
use crate::queue::{PerSignal, SendingQueue};

/// Items since the start, and attempts.
#[derive(Debug, Default)]
pub(super) struct ExporterCounters {
    pub(super) sent: PerSignal,
    /// Refused for good or given up, whether kept as dead letters or not.
    pub(super) send_failed: PerSignal,
    /// Neither sent nor kept.
    pub(super) lost: PerSignal,
    /// Refused retryably because of the rate limit.
    pub(super) limited: PerSignal,
    pub(super) retries: AtomicU64,
}

const SENT: [&str; 3] = [
    "otelcol_exporter_sent_log_records",
    "otelcol_exporter_sent_metric_points",
    "otelcol_exporter_sent_spans",
];
const SEND_FAILED: [&str; 3] = [
    "otelcol_exporter_send_failed_log_records",
    "otelcol_exporter_send_failed_metric_points",
    "otelcol_exporter_send_failed_spans",
];
const ENQUEUE_FAILED: [&str; 3] = [
    "otelcol_exporter_enqueue_failed_log_records",
    "otelcol_exporter_enqueue_failed_metric_points",
    "otelcol_exporter_enqueue_failed_spans",
];

pub(super) fn collect(core: &Core, samples: &mut Vec<Sample>) {
    let counters = &core.counters;
    for signal in Signal::ALL {
        let index = signal as usize;
        let sent = counters.sent.get(signal);
        samples.push(Sample::count(SENT[index], "Items the destination took.", sent));
        let failed = counters.send_failed.get(signal);
        let help = "Items given up: refused for good, or tried for too long.";
        samples.push(Sample::count(SEND_FAILED[index], help, failed));
        let limited = counters.limited.get(signal);
        let help = "Items refused because a rate limit was reached; their senders were told.";
        samples.push(
            Sample::count("cupola_exporter_limited_items", help, limited).with("signal", signal.as_str()),
        );
        let mut refused = limited;
        if let Some(queue) = &core.queue {
            refused += queue.counters.refused.get(signal);
        }
        let help = "Items not taken into the queue; their senders were told.";
        samples.push(Sample::count(ENQUEUE_FAILED[index], help, refused));
        let lost = counters.lost.get(signal);
        let help = "Items neither sent nor kept as dead letters.";
        samples.push(Sample::count("cupola_exporter_lost_items", help, lost).with("signal", signal.as_str()));
    }
    let up = if core.health.is_up() { 1.0 } else { 0.0 };
    let help = "1 while the destination answers, 0 while it fails.";
    samples.push(Sample::level("cupola_exporter_up", help, up));
    let retries = counters.retries.load(Ordering::Relaxed);
    samples.push(Sample::count(
        "cupola_exporter_retries",
        "Attempts after the first.",
        retries,
    ));
    if let Some(queue) = &core.queue {
        of_queue(queue, samples);
    }
    if let Some(letters) = &core.dead_letters {
        let counters = letters.counters();
        let mut count = |name, help, counter: &AtomicU64| {
            samples.push(Sample::count(name, help, counter.load(Ordering::Relaxed)));
        };
        let help = "Items kept as dead letters.";
        count("cupola_exporter_dead_letter_items", help, &counters.written_items);
        let help = "Items of dead letters lost because of their bound.";
        count(
            "cupola_exporter_dead_letter_dropped_items",
            help,
            &counters.dropped_items,
        );
        let help = "Dead letters lost because of their bound.";
        count(
            "cupola_exporter_dead_letter_dropped",
            help,
            &counters.dropped_requests,
        );
        let help = "Dead letters that could not be written at once.";
        count(
            "cupola_exporter_dead_letter_write_failures",
            help,
            &counters.write_failures,
        );
        let (name, help) = ("cupola_exporter_dead_letter_bytes", "Bytes of dead letters.");
        samples.push(Sample::level(name, help, letters.bytes() as f64));
    }
}

fn of_queue(queue: &SendingQueue, samples: &mut Vec<Sample>) {
    let size = queue.gate().size() as f64;
    let help = "What the queue holds, in the unit of its sizer.";
    samples.push(Sample::level("otelcol_exporter_queue_size", help, size));
    let capacity = queue.gate().capacity() as f64;
    let help = "What the queue may hold, in the unit of its sizer.";
    samples.push(Sample::level("otelcol_exporter_queue_capacity", help, capacity));
    let mut count = |name, help, counter: &AtomicU64| {
        samples.push(Sample::count(name, help, counter.load(Ordering::Relaxed)));
    };
    let help = "Items taken into the queue.";
    count("cupola_exporter_enqueued_items", help, &queue.counters.enqueued);
    let help = "Items lost because the queue was full and its settings say so.";
    count(
        "cupola_exporter_queue_dropped_items",
        help,
        &queue.counters.dropped,
    );
    let Some((spool, disk_bytes)) = queue.spool() else {
        return;
    };
    let help = "Places at which a file of the queue was damaged.";
    count("cupola_exporter_queue_damages", help, &spool.damages);
    let help = "Items lost because a file of the queue was damaged.";
    count("cupola_exporter_queue_damaged_items", help, &spool.damaged_items);
    let help = "Batches lost because a file of the queue was damaged.";
    count(
        "cupola_exporter_queue_damaged_batches",
        help,
        &spool.damaged_requests,
    );
    let help = "Files of the queue that were set aside because of damage.";
    count("cupola_exporter_queue_files_set_aside", help, &spool.set_aside);
    let help = "Bytes of writes that a crash had cut short.";
    count("cupola_exporter_queue_torn_bytes", help, &spool.torn_bytes);
    let help = "Syncs of the queue's files.";
    count("cupola_exporter_queue_syncs", help, &spool.syncs);
    let help = "Groups of batches refused because the queue could not be written.";
    count(
        "cupola_exporter_queue_write_failures",
        help,
        &spool.write_failures,
    );
    let help = "Times that it could not be written down what is delivered.";
    count(
        "cupola_exporter_queue_cursor_failures",
        help,
        &spool.cursor_failures,
    );
    let help = "Bytes of the queue's files.";
    samples.push(Sample::level(
        "cupola_exporter_queue_disk_bytes",
        help,
        disk_bytes as f64,
    ));
}
