//! The data directory itself: whether it is one, its lock, its format, and the clearing of what was being written when a
//! process ended.
//!
//! Refuses: making a store among files of somebody else, and removing what Cupola did not name.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use crate::catalog::{MANIFEST_PREFIX, is_manifest};
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::io::{Entry, Lock, TEMPORARY_DIRECTORY, is_temporary, write_durably};
use crate::journal::{JOURNAL_DIRECTORY, has_files};

/// Newest format of the data directory this version reads, and the one it makes.
const DIRECTORY_FORMAT: u64 = 1;
const FORMAT_FILE: &str = "FORMAT";
const FORMAT_UNFINISHED: &str = "FORMAT.part";
const LOCK_FILE: &str = "LOCK";
/// What a first start may have made before `FORMAT`, and what a new file system has by itself.
const BEFORE_FORMAT: [&str; 4] = [LOCK_FILE, FORMAT_UNFINISHED, JOURNAL_DIRECTORY, "lost+found"];
/// How a directory that holds its segments itself says so.
const OBJECTS_HERE: &str = "the directory itself";

/// What the file `FORMAT` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Format {
    format: u64,
    /// Names this directory's log in the catalog; a UUID.
    journal: String,
    /// Where the segments are: a URL without credentials. Absent until somebody has found them there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    objects: Option<String>,
}

/// A data directory that is this process's as long as this is held.
#[derive(Clone, Debug)]
pub struct HeldDirectory {
    _lock: Arc<dyn Lock>,
    /// Whether there is a store in it.
    pub has_store: bool,
}

impl HeldDirectory {
    /// Makes the directory if need be and takes it, without a store: for a process that keeps other things there, which no
    /// second one may touch. Blocks.
    pub fn take(config: &StoreConfig) -> Result<HeldDirectory, StoreError> {
        let (file_system, directory) = (config.file_system.as_ref(), &config.directory);
        refuse_foreign(config)?;
        file_system
            .create_directories(directory)
            .map_err(|source| directory_failed(config, "make the data directory", source))?;
        let lock = take_lock(config)?;
        Ok(HeldDirectory {
            _lock: lock.into(),
            has_store: file_system.read(&directory.join(FORMAT_FILE)).is_ok(),
        })
    }
}

/// A locked data directory.
#[derive(Clone, Debug)]
pub(crate) struct DataDirectory {
    pub(crate) journal_id: Uuid,
    pub(crate) created: bool,
    pub(crate) lock: Arc<dyn Lock>,
    format: Format,
}

impl DataDirectory {
    /// Makes the directory if need be, locks it, reads its format or thinks of one, which `establish` writes. Refuses a
    /// directory of something else, and a configuration that looks for the segments elsewhere: with an empty catalog, the
    /// log would be flushed there and removed. Blocks.
    pub(crate) fn open(config: &StoreConfig) -> Result<DataDirectory, StoreError> {
        let (file_system, directory) = (config.file_system.as_ref(), &config.directory);
        let failed = |action: &'static str, path: &std::path::Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { action, path, source }
        };
        refuse_foreign(config)?;
        file_system
            .create_directories(directory)
            .map_err(|source| directory_failed(config, "make the data directory", source))?;
        let lock = take_lock(config)?;
        let journal_directory = directory.join(JOURNAL_DIRECTORY);
        file_system
            .create_directories(&journal_directory)
            .map_err(failed("make the directory", &journal_directory))?;
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
                    // There is no log: nothing is yet that could be elsewhere.
                    objects: Some(objects_name(config)?),
                };
                (format, true)
            }
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let journal_id = Uuid::parse_str(&format.journal).map_err(|error| StoreError::Corrupt {
            path,
            reason: error.to_string(),
        })?;
        let given = objects_name(config)?;
        if let Some(recorded) = format.objects.as_ref().filter(|recorded| **recorded != given) {
            return Err(StoreError::OtherObjects {
                directory: directory.clone(),
                recorded: recorded.clone(),
                given,
            });
        }
        Ok(DataDirectory {
            journal_id,
            created,
            lock: lock.into(),
            format,
        })
    }

    /// Makes it a data directory, now that nothing speaks against opening it: clears what was being written when the last
    /// process ended, and writes the format of a new one. Blocks.
    pub(crate) fn establish(&self, config: &StoreConfig) -> Result<(), StoreError> {
        remove_temporary(config)?;
        match self.created {
            true => write_format(config, &self.format),
            false => Ok(()),
        }
    }

    /// Remembers where the segments are, once that is certain: they were found there, or there is nothing yet that could
    /// be elsewhere. Blocks.
    pub(crate) fn record_objects(
        &self,
        config: &StoreConfig,
        segments_known: bool,
    ) -> Result<(), StoreError> {
        if self.format.objects.is_some() || !(segments_known || has_no_log(config)) {
            return Ok(());
        }
        let objects = Some(objects_name(config)?);
        write_format(
            config,
            &Format {
                objects,
                ..self.format.clone()
            },
        )
    }
}

/// Names the place of the segments without what may change or is secret: user, password, query.
fn objects_name(config: &StoreConfig) -> Result<String, StoreError> {
    let Some(text) = &config.object_store_url else {
        return Ok(OBJECTS_HERE.to_owned());
    };
    let mut url = Url::parse(text).map_err(|error| StoreError::ObjectStoreUrl {
        url: text.clone(),
        source: error.into(),
    })?;
    // A URL that cannot have a user has none to remove.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn has_no_log(config: &StoreConfig) -> bool {
    let files = config.file_system.list(&config.directory.join(JOURNAL_DIRECTORY));
    files.is_ok_and(|files| files.is_empty())
}

fn write_format(config: &StoreConfig, format: &Format) -> Result<(), StoreError> {
    let path = config.directory.join(FORMAT_FILE);
    let temporary = config.directory.join(FORMAT_UNFINISHED);
    let text = serde_json::to_vec(format).expect("a number and texts");
    let _ = config.file_system.remove(&temporary);
    write_durably(config.file_system.as_ref(), &path, &temporary, &text).map_err(|source| StoreError::Io {
        action: "write",
        path,
        source,
    })
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

/// Refuses a directory that holds files and no store. Changes nothing.
///
/// A store that has lost its `FORMAT` is known by its log or its manifests, and is no foreign directory.
fn refuse_foreign(config: &StoreConfig) -> Result<(), StoreError> {
    let (file_system, directory) = (config.file_system.as_ref(), &config.directory);
    let entries = match file_system.list(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(directory_failed(config, "list the data directory", source)),
    };
    let foreign = |entry: &Entry| {
        !BEFORE_FORMAT.contains(&entry.name.as_str()) && !config.other_entries.contains(&entry.name)
    };
    let is_store = entries.iter().any(|entry| entry.name == FORMAT_FILE);
    if is_store || !entries.iter().any(foreign) {
        return Ok(());
    }
    let has_log = has_files(file_system, &directory.join(JOURNAL_DIRECTORY)).unwrap_or(false);
    let manifests = file_system
        .list(&directory.join(MANIFEST_PREFIX))
        .unwrap_or_default();
    if has_log || manifests.iter().any(|entry| is_manifest(&entry.name)) {
        return Ok(());
    }
    Err(StoreError::Foreign {
        directory: directory.clone(),
    })
}

fn take_lock(config: &StoreConfig) -> Result<Box<dyn Lock>, StoreError> {
    let path = config.directory.join(LOCK_FILE);
    let holder = format!("process {}", std::process::id());
    let locked = config.file_system.lock(&path, &holder);
    locked.map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => StoreError::Locked {
            directory: config.directory.clone(),
            holder: match source.to_string() {
                holder if holder.is_empty() => holder,
                holder => format!(" ({holder})"),
            },
        },
        _ => directory_failed(config, "lock the data directory", source),
    })
}

/// Why nothing can be done in the directory: it is a file, somebody else's, or can be none.
fn directory_failed(config: &StoreConfig, action: &'static str, source: std::io::Error) -> StoreError {
    let directory = config.directory.clone();
    match source.kind() {
        std::io::ErrorKind::PermissionDenied => StoreError::Denied { directory, source },
        std::io::ErrorKind::NotADirectory if config.file_system.metadata(&directory).is_ok() => {
            StoreError::NotADirectory { directory }
        }
        std::io::ErrorKind::NotADirectory
        | std::io::ErrorKind::NotFound
        | std::io::ErrorKind::ReadOnlyFilesystem => StoreError::Unusable { directory, source },
        _ => StoreError::Io {
            action,
            path: directory,
            source,
        },
    }
}

/// Removes files that were being written when the process ended. Other names than the ones given by us stay.
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
    for entry in entries {
        if !entry.is_directory && is_temporary(&entry.name) {
            config
                .file_system
                .remove(&directory.join(entry.name))
                .map_err(failed)?;
        }
    }
    Ok(())
}

/// Refuses a directory in which no store was made: whoever only looks must not make one.
pub(crate) fn require_format(config: &StoreConfig) -> Result<(), StoreError> {
    let path = config.directory.join(FORMAT_FILE);
    let directory = config.directory.clone();
    match config.file_system.metadata(&path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(StoreError::NotAStore { directory })
        }
        Err(source) => Err(directory_failed(config, "look into the data directory", source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_the_segments_is_named_without_secrets() {
        let name = |url: &str| {
            let mut config = StoreConfig::new("/data");
            config.object_store_url = Some(url.to_owned());
            objects_name(&config).unwrap()
        };
        assert_eq!(
            name("s3://key:secret@bucket/prefix/?token=secret#x"),
            "s3://bucket/prefix"
        );
        assert_eq!(name("file:///srv/segments/"), name("file:///srv/segments"));
        assert_ne!(name("s3://bucket/a"), name("s3://bucket/b"));
    }
}
