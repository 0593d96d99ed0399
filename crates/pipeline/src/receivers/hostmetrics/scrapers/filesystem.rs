//! Mounted file systems: which there are from `/proc/1/mountinfo`, and how full they are from the kernel.
//!
//! A question about a network file system whose server does not answer can stay without an answer; see `timeout`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Scrape, Scraping, ratio};
use crate::processors::ConfigError;
use crate::receivers::hostmetrics::config::FilesystemConfig;
use crate::receivers::hostmetrics::filter::Filter;
use crate::receivers::hostmetrics::host::{Host, ReadError};
use crate::receivers::hostmetrics::metric::Metric;
use crate::receivers::hostmetrics::recorder::Recorder;
use crate::receivers::http::intake::now_unix_nano;

mod mounts;

use mounts::{Mount, mounts};

const INODES_USAGE: Metric = Metric::level(
    "system.filesystem.inodes.usage",
    "{inodes}",
    "FileSystem inodes used.",
    &["device", "mode", "mountpoint", "type", "state"],
);
const USAGE: Metric = Metric::level(
    "system.filesystem.usage",
    "By",
    "Filesystem bytes used.",
    &["device", "mode", "mountpoint", "type", "state"],
);
const UTILIZATION: Metric = Metric::gauge(
    "system.filesystem.utilization",
    "1",
    "Fraction of filesystem bytes used.",
    &["device", "mode", "mountpoint", "type"],
)
.off();
const METRICS: &[Metric] = &[INODES_USAGE, USAGE, UTILIZATION];

#[derive(Debug)]
pub(super) struct Filesystem {
    recorder: Recorder,
    include_virtual: bool,
    devices: Filter,
    types: Filter,
    mount_points: Filter,
}

impl Filesystem {
    pub(super) fn new(config: &FilesystemConfig) -> Result<Filesystem, ConfigError> {
        Ok(Filesystem {
            recorder: Recorder::new(METRICS, &config.metrics, "scrapers.filesystem.metrics")?,
            include_virtual: config.include_virtual_filesystems,
            devices: Filter::devices(
                (&config.include_devices, "scrapers.filesystem.include_devices"),
                (&config.exclude_devices, "scrapers.filesystem.exclude_devices"),
            )?,
            types: Filter::fs_types(
                (&config.include_fs_types, "scrapers.filesystem.include_fs_types"),
                (&config.exclude_fs_types, "scrapers.filesystem.exclude_fs_types"),
            )?,
            mount_points: Filter::mount_points(
                (
                    &config.include_mount_points,
                    "scrapers.filesystem.include_mount_points",
                ),
                (
                    &config.exclude_mount_points,
                    "scrapers.filesystem.exclude_mount_points",
                ),
            )?,
        })
    }

    fn is_wanted(&self, mount: &Mount) -> bool {
        self.devices.passes(&mount.device)
            && self.types.passes(&mount.fs_type)
            && self.mount_points.passes(&mount.mount_point)
    }

    fn record(&mut self, now: u64, mount: &Mount, usage: &Usage) {
        let place = [
            mount.device.as_str(),
            mount.mode,
            mount.mount_point.as_str(),
            mount.fs_type.as_str(),
        ];
        let mut record = |metric: &Metric, value: u64, state: &str| {
            let [device, mode, mount_point, fs_type] = place;
            let attributes = [device, mode, mount_point, fs_type, state];
            self.recorder.record(metric, now, value as i64, &attributes);
        };
        record(&USAGE, usage.used, "used");
        record(&USAGE, usage.free, "free");
        let reserved = usage.total.wrapping_sub(usage.used).wrapping_sub(usage.free);
        record(&USAGE, reserved, "reserved");
        record(&INODES_USAGE, usage.inodes_used, "used");
        record(&INODES_USAGE, usage.inodes_free, "free");
        let share = ratio(usage.used, usage.used.saturating_add(usage.free));
        self.recorder.record(&UTILIZATION, now, share, &place);
    }
}

impl Scrape for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn scrape(&mut self, host: &Host, scraping: &mut Scraping<'_>) {
        let now = now_unix_nano();
        let mounts = match mounts(host, self.include_virtual) {
            Ok(mounts) => mounts,
            Err(error) => return scraping.failed(2, &error),
        };
        let mut seen = BTreeSet::new();
        for mount in mounts {
            // Mounted twice at one place, as by a container runtime.
            let is_new = seen.insert((mount.mount_point.clone(), mount.device.clone()));
            if !is_new || !self.is_wanted(&mount) {
                continue;
            }
            match Usage::of(&here(host, &mount.mount_point)) {
                Ok(usage) => self.record(now, &mount, &usage),
                // Unmounted by now, or not for us to see.
                Err(error) => scraping.failed(0, &error),
            }
        }
        scraping.write(&mut self.recorder);
    }
}

/// Where a mount point of the host is seen here. A list that was read from within a container has them so already.
fn here(host: &Host, mount_point: &str) -> PathBuf {
    match host.root() != Path::new("/") && Path::new(mount_point).starts_with(host.root()) {
        true => PathBuf::from(mount_point),
        false => host.path(mount_point),
    }
}

/// Bytes and inodes. `free` is what others than root can have, so that a part of `total` is neither.
#[derive(Debug)]
struct Usage {
    total: u64,
    used: u64,
    free: u64,
    inodes_used: u64,
    inodes_free: u64,
}

impl Usage {
    fn of(path: &Path) -> Result<Usage, ReadError> {
        let stat = rustix::fs::statvfs(path)
            .map_err(|error| ReadError::new(path, &std::io::Error::from(error).to_string()))?;
        let bytes = |blocks: u64| blocks.wrapping_mul(stat.f_frsize);
        Ok(Usage {
            total: bytes(stat.f_blocks),
            used: bytes(stat.f_blocks.wrapping_sub(stat.f_bfree)),
            free: bytes(stat.f_bavail),
            inodes_used: stat.f_files.saturating_sub(stat.f_ffree),
            inodes_free: stat.f_ffree,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_found_below_the_root_once() {
        let host = Host::new(Path::new("/host"));
        assert_eq!(here(&host, "/boot"), Path::new("/host/boot"));
        assert_eq!(here(&host, "/host/boot"), Path::new("/host/boot"));
        assert_eq!(here(&host, "/hostile"), Path::new("/host/hostile"));
        assert_eq!(here(&Host::new(Path::new("/")), "/boot"), Path::new("/boot"));
    }
}
