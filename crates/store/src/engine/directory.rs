//! The data directory itself: its lock, its format, and the clearing of what was being written when a process ended.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::io::{Lock, TEMPORARY_DIRECTORY, write_durably};
use crate::journal::{JOURNAL_DIRECTORY, has_files};

/// Newest format of the data directory this version reads, and the one it makes.
const DIRECTORY_FORMAT: u64 = 1;
const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";
/// What the file `FORMAT` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Format {
    format: u64,
    /// Names this directory's log in the catalog; a UUID.
    journal: String,
}

/// A locked data directory.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    pub(crate) journal_id: Uuid,
    pub(crate) created: bool,
    pub(crate) lock: Arc<dyn Lock>,
}

impl DataDirectory {
    /// Makes the directory if need be, locks it, reads or writes its format. Blocks.
    pub(crate) fn open(config: &StoreConfig) -> Result<DataDirectory, StoreError> {
        let (file_system, directory) = (config.file_system.as_ref(), &config.directory);
        let failed = |action: &'static str, path: &std::path::Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { action, path, source }
        };
        file_system
            .create_directories(directory)
            .map_err(failed("make the data directory", directory))?;
        let lock_path = directory.join(LOCK_FILE);
        let lock = file_system
            .lock(&lock_path, &format!("process {}", std::process::id()))
            .map_err(|source| match source.kind() {
                std::io::ErrorKind::WouldBlock => StoreError::Locked {
                    directory: directory.clone(),
                    holder: match source.to_string() {
                        holder if holder.is_empty() => holder,
                        holder => format!(" ({holder})"),
                    },
                },
                _ => failed("lock", &lock_path)(source),
            })?;
        let journal_directory = directory.join(JOURNAL_DIRECTORY);
        file_system
            .create_directories(&journal_directory)
            .map_err(failed("make the directory", &journal_directory))?;
        remove_temporary(config)?;
        let path = directory.join(FORMAT_FILE);
        let (format, created) = match file_system.read(&path) {
            Ok(data) => (read_format(&path, &data, config)?, false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let has_log = has_files(file_system, &journal_directory);
                if has_log.map_err(failed("list", &journal_directory))? {
                    return Err(StoreError::Inconsistent {
                        path,
                        reason: format!(
                            "it is missing, and there are log files in {JOURNAL_DIRECTORY}/, which could not be read \
                             without the name of their log that it holds. Put it back, or move {JOURNAL_DIRECTORY}/ \
                             elsewhere"
                        ),
                    });
                }
                let format = Format {
                    format: DIRECTORY_FORMAT,
                    journal: Uuid::new_v4().to_string(),
                };
                let text = serde_json::to_vec(&format).expect("a number and a text");
                let temporary = directory.join("FORMAT.part");
                let _ = file_system.remove(&temporary);
                write_durably(file_system, &path, &temporary, &text).map_err(failed("write", &path))?;
                (format, true)
            }
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let journal_id = Uuid::parse_str(&format.journal).map_err(|error| StoreError::Corrupt {
            path,
            reason: error.to_string(),
        })?;
        Ok(DataDirectory {
            journal_id,
            created,
            lock: lock.into(),
        })
    }
}

fn read_format(path: &std::path::Path, data: &[u8], config: &StoreConfig) -> Result<Format, StoreError> {
    #[derive(Deserialize)]
    struct Number {
        format: u64,
    }
    let corrupt = |error: serde_json::Error| StoreError::Corrupt {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let Number { format } = serde_json::from_slice(data).map_err(corrupt)?;
    if format > DIRECTORY_FORMAT {
        return Err(StoreError::NewerFormat {
            directory: config.directory.clone(),
            found: format,
            supported: DIRECTORY_FORMAT,
        });
    }
    serde_json::from_slice(data).map_err(corrupt)
}

/// Removes files that were being written when the process ended.
fn remove_temporary(config: &StoreConfig) -> Result<(), StoreError> {
    let directory = config.directory.join(TEMPORARY_DIRECTORY);
    let failed = |source| StoreError::Io {
        action: "clear",
        path: directory.clone(),
        source,
    };
    let entries = match config.file_system.list(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        listed => listed.map_err(failed)?,
    };
    for entry in entries.into_iter().filter(|entry| !entry.is_directory) {
        config
            .file_system
            .remove(&directory.join(entry.name))
            .map_err(failed)?;
    }
    Ok(())
}

/// Whether a store was made in this directory.
pub(crate) fn has_format(config: &StoreConfig) -> bool {
    config
        .file_system
        .metadata(&config.directory.join(FORMAT_FILE))
        .is_ok()
}
