//! Block devices, from `/proc/diskstats`.

use super::{Scrape, Scraping, seconds};
use crate::processors::ConfigError;
use crate::receivers::hostmetrics::config::DiskConfig;
use crate::receivers::hostmetrics::filter::Filter;
use crate::receivers::hostmetrics::host::Host;
use crate::receivers::hostmetrics::metric::Metric;
use crate::receivers::hostmetrics::recorder::Recorder;
use crate::receivers::http::intake::now_unix_nano;

const IO: Metric = Metric::counter(
    "system.disk.io",
    "By",
    "Disk bytes transferred.",
    &["device", "direction"],
);
const IO_TIME: Metric = Metric::counter(
    "system.disk.io_time",
    "s",
    "Time disk spent activated. On Windows, this is calculated as the inverse of disk idle time.",
    &["device"],
);
const MERGED: Metric = Metric::counter(
    "system.disk.merged",
    "{operations}",
    "The number of disk reads/writes merged into single physical disk access operations.",
    &["device", "direction"],
);
const OPERATION_TIME: Metric = Metric::counter(
    "system.disk.operation_time",
    "s",
    "Time spent in disk operations.",
    &["device", "direction"],
);
const OPERATIONS: Metric = Metric::counter(
    "system.disk.operations",
    "{operations}",
    "Disk operations count.",
    &["device", "direction"],
);
const PENDING_OPERATIONS: Metric = Metric::level(
    "system.disk.pending_operations",
    "{operations}",
    "The queue size of pending I/O operations.",
    &["device"],
);
const WEIGHTED_IO_TIME: Metric = Metric::counter(
    "system.disk.weighted_io_time",
    "s",
    "Time disk spent activated multiplied by the queue length.",
    &["device"],
);
const METRICS: &[Metric] = &[
    IO,
    IO_TIME,
    MERGED,
    OPERATION_TIME,
    OPERATIONS,
    PENDING_OPERATIONS,
    WEIGHTED_IO_TIME,
];

/// The kernel's, whatever the device has.
const SECTOR_BYTES: u64 = 512;
/// Columns that every kernel since 2.6 has.
const COLUMNS: usize = 11;

#[derive(Debug)]
pub(super) struct Disk {
    recorder: Recorder,
    filter: Filter,
}

impl Disk {
    pub(super) fn new(config: &DiskConfig) -> Result<Disk, ConfigError> {
        Ok(Disk {
            recorder: Recorder::new(METRICS, &config.metrics, "scrapers.disk.metrics")?,
            filter: Filter::devices(
                (&config.include, "scrapers.disk.include"),
                (&config.exclude, "scrapers.disk.exclude"),
            )?,
        })
    }

    fn record(&mut self, now: u64, device: &str, columns: [u64; COLUMNS]) {
        let [
            reads,
            reads_merged,
            read_sectors,
            read_time,
            writes,
            writes_merged,
            written_sectors,
            write_time,
            pending,
            io_time,
            weighted_time,
        ] = columns;
        let mut count = |metric: &Metric, read: u64, written: u64| {
            self.recorder.record(metric, now, read as i64, &[device, "read"]);
            self.recorder
                .record(metric, now, written as i64, &[device, "write"]);
        };
        let bytes = |sectors: u64| sectors.wrapping_mul(SECTOR_BYTES);
        count(&IO, bytes(read_sectors), bytes(written_sectors));
        count(&OPERATIONS, reads, writes);
        count(&MERGED, reads_merged, writes_merged);
        for (time, direction) in [(read_time, "read"), (write_time, "write")] {
            self.recorder
                .record(&OPERATION_TIME, now, seconds(time), &[device, direction]);
        }
        self.recorder.record(&IO_TIME, now, seconds(io_time), &[device]);
        self.recorder
            .record(&PENDING_OPERATIONS, now, pending as i64, &[device]);
        self.recorder
            .record(&WEIGHTED_IO_TIME, now, seconds(weighted_time), &[device]);
    }
}

impl Scrape for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn scrape(&mut self, host: &Host, scraping: &mut Scraping<'_>) {
        let now = now_unix_nano();
        match host.read("proc/diskstats") {
            Ok(text) => {
                for (device, columns) in text.lines().filter_map(device) {
                    if self.filter.passes(device) {
                        self.record(now, device, columns);
                    }
                }
            }
            Err(error) => scraping.failed(METRICS.len() as u64, &error),
        }
        scraping.write(&mut self.recorder);
    }
}

/// Name and columns; nothing of a device that was never used, of which kernels make many (`loop7`, `ram3`).
fn device(line: &str) -> Option<(&str, [u64; COLUMNS])> {
    let mut words = line.split_ascii_whitespace().skip(2);
    let name = words.next()?;
    let mut columns = [0; COLUMNS];
    for column in &mut columns {
        *column = words.next()?.parse().ok()?;
    }
    columns
        .iter()
        .any(|column| *column > 0)
        .then_some((name, columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_never_used_and_lines_cut_short_are_left_out() {
        let used = "   8       0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17";
        assert_eq!(device(used), Some(("sda", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])));
        assert_eq!(device("   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0"), None);
        assert_eq!(device("   8       0 sda 1 2 3"), None);
        assert_eq!(device("   8       0 sda 1 2 3 4 x 6 7 8 9 10 11"), None);
        assert_eq!(device(""), None);
    }
}
