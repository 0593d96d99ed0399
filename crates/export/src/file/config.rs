//! Settings of the file exporter, under the Collector's names. Owns what is refused before anything is opened.

use std::path::PathBuf;
use std::time::Duration;

use cupola_config::units::TimeSpan;
use serde::Deserialize;

/// How a request is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// OTLP/JSON, one request a line.
    #[default]
    Json,
    /// OTLP protobuf, each request after its length in four bytes, the highest first.
    Proto,
}

/// How each request is compressed. Compressed requests stand after their length, whatever the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum FileCompression {
    #[default]
    #[serde(rename = "none", alias = "")]
    None,
    #[serde(rename = "zstd")]
    Zstd,
}

/// When a file is full, and which full ones are kept. A full file is named after the moment it was full:
/// `name-2006-01-02T15-04-05.000.ext`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rotation {
    /// Size at which a new file is begun, in MiB. A single request larger than this has a file of its own.
    pub max_megabytes: u64,
    /// Full files older than this many days are removed; 0 keeps them whatever their age.
    pub max_days: u64,
    /// Full files kept, the newest; 0 keeps all.
    pub max_backups: usize,
    /// Names full files by local time instead of UTC.
    pub localtime: bool,
}

impl Default for Rotation {
    fn default() -> Self {
        Rotation {
            max_megabytes: 100,
            max_days: 0,
            max_backups: 100,
            localtime: false,
        }
    }
}

/// The Collector's way to write a file per resource. Read so that a file that turns it off is accepted; it is not
/// available.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupBy {
    pub enabled: bool,
    pub resource_attribute: String,
    pub max_open_files: u64,
}

/// Settings of the exporter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileConfig {
    pub path: PathBuf,
    pub format: FileFormat,
    pub compression: FileCompression,
    /// Without it the file grows for ever.
    pub rotation: Option<Rotation>,
    /// With `sync: false`, how often the file is synced.
    pub flush_interval: TimeSpan,
    /// The Collector empties a file that is there unless this is set. Here it is set by default, and `false` begins a
    /// new file and keeps the old one as if it had been full.
    pub append: bool,
    /// Makes the directory of `path`, and those above it.
    pub create_directory: bool,
    /// Permissions of directories that are made, octal.
    pub directory_permissions: String,
    pub group_by: Option<GroupBy>,
    /// Ours: acknowledges a batch once it is on the disk.
    pub sync: bool,
}

impl Default for FileConfig {
    fn default() -> Self {
        FileConfig {
            path: PathBuf::new(),
            format: FileFormat::default(),
            compression: FileCompression::default(),
            rotation: None,
            flush_interval: TimeSpan(Duration::from_secs(1)),
            append: true,
            create_directory: false,
            directory_permissions: "0755".to_owned(),
            group_by: None,
            sync: true,
        }
    }
}

/// A file exporter that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum FileConfigError {
    #[error("`{key}` {problem}")]
    Setting { key: &'static str, problem: String },
    #[error("{path} is held by another exporter or process; give each a path of its own", path = path.display())]
    InUse { path: PathBuf },
    #[error("cannot open {path}", path = path.display())]
    Open { path: PathBuf, source: std::io::Error },
}

impl FileConfig {
    /// Refuses what cannot work.
    pub fn validate(&self) -> Result<(), FileConfigError> {
        let refuse = |key, problem: &str| {
            let problem = problem.to_owned();
            Err(FileConfigError::Setting { key, problem })
        };
        if self.path.file_name().is_none() {
            return refuse("path", "must name a file");
        }
        if self
            .rotation
            .as_ref()
            .is_some_and(|rotation| rotation.max_megabytes == 0)
        {
            return refuse("rotation.max_megabytes", "must be at least 1");
        }
        if self.group_by.as_ref().is_some_and(|group_by| group_by.enabled) {
            return refuse(
                "group_by.enabled",
                "is not available: route to one file exporter per group instead",
            );
        }
        if self.flush_interval.0.is_zero() {
            return refuse("flush_interval", "must be longer than 0s");
        }
        self.directory_mode().map(drop)
    }

    pub(super) fn directory_mode(&self) -> Result<u32, FileConfigError> {
        let mode = u32::from_str_radix(&self.directory_permissions, 8).ok();
        mode.filter(|mode| *mode <= 0o7777)
            .ok_or_else(|| FileConfigError::Setting {
                key: "directory_permissions",
                problem: format!(
                    "is {:?}, which is not an octal mode such as 0755",
                    self.directory_permissions
                ),
            })
    }
}
