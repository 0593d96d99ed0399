//! What processes have left that have ended: found, held, read and taken away.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use super::process::{Held, LOCK, QUEUES, RECORDS, RESOURCE, UNFINISHED};
use crate::resource::Resource;

/// The directory of a process that has ended. Nobody else has it while this is there.
#[derive(Debug)]
pub(crate) struct Left {
    path: PathBuf,
    _lock: Held,
}

/// Finds what has been left in a spool and takes hold of it: of so many processes at most, and not of those to be passed over.
pub(crate) fn left_behind(
    spool: &Path,
    most: usize,
    passed_over: &HashSet<PathBuf>,
) -> io::Result<Vec<Left>> {
    let mut left = Vec::new();
    for entry in std::fs::read_dir(spool)? {
        let path = entry?.path();
        let is_finished = path
            .file_name()
            .is_some_and(|name| !name.to_string_lossy().starts_with(UNFINISHED));
        // Not one that somebody else has just taken away, of which an empty lock would stay.
        if !is_finished || !path.join(LOCK).is_file() || passed_over.contains(&path) {
            continue;
        }
        if left.len() >= most {
            break;
        }
        if let Ok(lock) = Held::new(&path.join(LOCK))
            && path.join(LOCK).is_file()
        {
            left.push(Left { path, _lock: lock });
        }
    }
    Ok(left)
}

impl Left {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What its records have in common; `None` if the process did not get so far as to keep it.
    pub(crate) fn resource(&self) -> Option<Resource> {
        let bytes = std::fs::read(self.path.join(RESOURCE)).ok()?;
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (message, schema_url) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        Some(Resource {
            message: message.to_vec(),
            schema_url: String::from_utf8(schema_url.to_vec()).ok()?,
        })
    }

    /// Its segments, the oldest first.
    pub(crate) fn segments(&self) -> io::Result<Vec<PathBuf>> {
        segments_of(&self.path)
    }

    /// Its queues that hold something: what their backend is called in files, and where they are.
    pub(crate) fn queues(&self) -> io::Result<Vec<PathBuf>> {
        queues_of(&self.path)
    }

    /// Takes it away.
    pub(crate) fn remove(self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.path)
    }
}

/// Files with records in the directory of a process, the oldest first.
pub(super) fn segments_of(process: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = entries(&process.join(RECORDS))?;
    paths.sort();
    Ok(paths)
}

/// Queues in the directory of a process.
fn queues_of(process: &Path) -> io::Result<Vec<PathBuf>> {
    let mut queues = Vec::new();
    for path in entries(&process.join(QUEUES))? {
        let files = entries(&path)?;
        if files
            .iter()
            .any(|file| file.extension() == Some("spool".as_ref()))
        {
            queues.push(path);
        }
    }
    Ok(queues)
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
