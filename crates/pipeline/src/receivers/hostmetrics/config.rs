//! Settings of the receiver `hostmetrics`: those of the Collector.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cupola_config::present;
use cupola_config::units::TimeSpan;
use serde::Deserialize;

use super::filter::{Devices, FsTypes, Interfaces, MountPoints, ProcessNames};
use super::recorder::MetricConfigs;
use super::scrapers;
use crate::processors::ConfigError;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostMetricsConfig {
    pub collection_interval: TimeSpan,
    /// Before the first scrape.
    pub initial_delay: TimeSpan,
    /// How long a scrape may take; zero is no limit.
    pub timeout: TimeSpan,
    /// Where `/` of the host is seen, from within a container; empty is `/`.
    pub root_path: PathBuf,
    /// Without effect: there are no entity events.
    pub metadata_collection_interval: TimeSpan,
    pub scrapers: ScraperConfigs,
}

impl Default for HostMetricsConfig {
    fn default() -> Self {
        Self {
            collection_interval: TimeSpan(Duration::from_secs(60)),
            initial_delay: TimeSpan(Duration::from_secs(1)),
            timeout: TimeSpan(Duration::ZERO),
            root_path: PathBuf::new(),
            metadata_collection_interval: TimeSpan(Duration::from_secs(300)),
            scrapers: ScraperConfigs::default(),
        }
    }
}

impl HostMetricsConfig {
    /// Refuses scrapers and filters that cannot work. The root is looked for at the start, where it has to be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !cfg!(target_os = "linux") {
            return Err(ConfigError::setting(
                "",
                "metrics of the host are read from /proc, which is there on Linux alone",
            ));
        }
        if self.collection_interval.0.is_zero() {
            let problem = "it must be longer than nothing";
            return Err(ConfigError::setting("collection_interval", problem));
        }
        if self.scrapers == ScraperConfigs::default() {
            let problem = "there is none: name at least one, for example `cpu:`";
            return Err(ConfigError::setting("scrapers", problem));
        }
        scrapers::all(&self.scrapers).map(drop)
    }

    pub(super) fn root(&self) -> &Path {
        match self.root_path.as_os_str().is_empty() {
            true => Path::new("/"),
            false => &self.root_path,
        }
    }
}

/// A scraper that is not named is off.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScraperConfigs {
    #[serde(deserialize_with = "present")]
    pub cpu: Option<PlainConfig>,
    #[serde(deserialize_with = "present")]
    pub disk: Option<DiskConfig>,
    #[serde(deserialize_with = "present")]
    pub filesystem: Option<FilesystemConfig>,
    #[serde(deserialize_with = "present")]
    pub load: Option<LoadConfig>,
    #[serde(deserialize_with = "present")]
    pub memory: Option<PlainConfig>,
    #[serde(deserialize_with = "present")]
    pub network: Option<NetworkConfig>,
    #[serde(deserialize_with = "present")]
    pub nfs: Option<PlainConfig>,
    #[serde(deserialize_with = "present")]
    pub paging: Option<PlainConfig>,
    #[serde(deserialize_with = "present")]
    pub processes: Option<PlainConfig>,
    #[serde(deserialize_with = "present")]
    pub process: Option<ProcessConfig>,
    #[serde(deserialize_with = "present")]
    pub system: Option<PlainConfig>,
}

/// Of a scraper that has nothing to choose but its metrics.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlainConfig {
    pub metrics: MetricConfigs,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoadConfig {
    /// For each processor.
    pub cpu_average: bool,
    pub metrics: MetricConfigs,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskConfig {
    pub include: Devices,
    pub exclude: Devices,
    pub metrics: MetricConfigs,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    pub include: Interfaces,
    pub exclude: Interfaces,
    pub metrics: MetricConfigs,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilesystemConfig {
    /// Those without a device, as tmpfs.
    pub include_virtual_filesystems: bool,
    pub include_devices: Devices,
    pub exclude_devices: Devices,
    pub include_fs_types: FsTypes,
    pub exclude_fs_types: FsTypes,
    /// As the host sees them.
    pub include_mount_points: MountPoints,
    pub exclude_mount_points: MountPoints,
    pub metrics: MetricConfigs,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessConfig {
    pub include: ProcessNames,
    pub exclude: ProcessNames,
    /// Each of these keeps what may not be read out of `otelcol_scraper_errored_metric_points`.
    pub mute_process_all_errors: bool,
    pub mute_process_name_error: bool,
    pub mute_process_exe_error: bool,
    pub mute_process_io_error: bool,
    pub mute_process_user_error: bool,
    pub mute_process_cgroup_error: bool,
    /// Younger processes are left out.
    pub scrape_process_delay: Option<TimeSpan>,
    pub metrics: MetricConfigs,
    pub resource_attributes: ProcessResourceAttributes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enabled {
    pub enabled: bool,
}

const ON: Enabled = Enabled { enabled: true };
const OFF: Enabled = Enabled { enabled: false };

/// What the resource of a process says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessResourceAttributes {
    #[serde(rename = "process.cgroup")]
    pub cgroup: Enabled,
    #[serde(rename = "process.command")]
    pub command: Enabled,
    #[serde(rename = "process.command_line")]
    pub command_line: Enabled,
    #[serde(rename = "process.executable.name")]
    pub executable_name: Enabled,
    #[serde(rename = "process.executable.path")]
    pub executable_path: Enabled,
    #[serde(rename = "process.linux.cgroup")]
    pub linux_cgroup: Enabled,
    #[serde(rename = "process.owner")]
    pub owner: Enabled,
    #[serde(rename = "process.parent_pid")]
    pub parent_pid: Enabled,
    #[serde(rename = "process.pid")]
    pub pid: Enabled,
}

impl Default for ProcessResourceAttributes {
    fn default() -> Self {
        Self {
            cgroup: OFF,
            command: ON,
            command_line: ON,
            executable_name: ON,
            executable_path: ON,
            linux_cgroup: OFF,
            owner: ON,
            parent_pid: ON,
            pid: ON,
        }
    }
}
