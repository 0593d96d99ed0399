//! What is counted of files. The names are the Collector's where it has one.

use std::sync::atomic::{AtomicU64, Ordering};

use cupola_export::Sample;

#[derive(Debug, Default)]
pub(super) struct FileStats {
    pub(super) open: AtomicU64,
    pub(super) reading: AtomicU64,
    pub(super) known: AtomicU64,
    pub(super) read_bytes: AtomicU64,
    pub(super) truncations: AtomicU64,
    pub(super) lost_bytes: AtomicU64,
    pub(super) cut_bytes: AtomicU64,
    pub(super) hole_bytes: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) checkpoint_errors: AtomicU64,
    pub(super) over_memory: AtomicU64,
}

impl FileStats {
    /// Whether each file is open, and has something to be read.
    pub(super) fn levels(&self, files: impl Iterator<Item = (bool, bool)>) {
        let (mut open, mut reading, mut known) = (0, 0, 0);
        for (is_open, pending) in files {
            open += u64::from(is_open);
            reading += u64::from(pending);
            known += 1;
        }
        self.open.store(open, Ordering::Relaxed);
        self.reading.store(reading, Ordering::Relaxed);
        self.known.store(known, Ordering::Relaxed);
    }

    pub(super) fn collect(&self, samples: &mut Vec<Sample>) {
        for (name, help, value) in [
            ("otelcol_fileconsumer_open_files", "Files held open.", &self.open),
            (
                "otelcol_fileconsumer_reading_files",
                "Files with something to be read.",
                &self.reading,
            ),
            (
                "cupola_receiver_files_known",
                "Files of which something is known.",
                &self.known,
            ),
        ] {
            samples.push(Sample::level(name, help, value.load(Ordering::Relaxed) as f64));
        }
        for (name, help, value) in [
            (
                "cupola_receiver_file_read_bytes_total",
                "Bytes read of files.",
                &self.read_bytes,
            ),
            (
                "cupola_receiver_file_truncations_total",
                "Files found truncated or replaced.",
                &self.truncations,
            ),
            (
                "cupola_receiver_file_lost_bytes_total",
                "Bytes that were truncated away or removed before they were read, and that no copy has.",
                &self.lost_bytes,
            ),
            (
                "cupola_receiver_file_cut_bytes_total",
                "Bytes beyond max_log_size that were dropped, as max_log_size_behavior says.",
                &self.cut_bytes,
            ),
            (
                "cupola_receiver_file_hole_bytes_total",
                "Bytes of NUL passed over: what truncation leaves before the place of a program that does not append.",
                &self.hole_bytes,
            ),
            (
                "cupola_receiver_file_errors_total",
                "Files that could not be looked at or read.",
                &self.errors,
            ),
            (
                "cupola_receiver_checkpoint_errors_total",
                "Checkpoints that could not be written.",
                &self.checkpoint_errors,
            ),
            (
                "cupola_receiver_file_over_memory_total",
                "Times that reading waited because memory is at its ceiling.",
                &self.over_memory,
            ),
        ] {
            samples.push(Sample::count(name, help, value.load(Ordering::Relaxed)));
        }
    }
}
