//! What processes have left that have ended: found, held, read and taken away.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::{Held, LOCK, OWED, QUEUES, RECORDS, RESOURCE, UNFINISHED, directories, file_name};
use crate::resource::Resource;

/// Within this, a process has made its directory.
const UNFINISHED_TIME: Duration = Duration::from_secs(60 * 60);

/// The directory of a process that has ended. Nobody else has it while this is there.
#[derive(Debug)]
pub(crate) struct Left {
    path: PathBuf,
    _lock: Held,
}

/// Finds what has been left in a spool and takes hold of it: of so many processes at most, and not of those that are passed over.
pub(crate) fn left_behind(
    spool: &Path,
    most: usize,
    is_passed_over: &dyn Fn(&Path) -> bool,
) -> io::Result<Vec<Left>> {
    let mut left = Vec::new();
    for entry in std::fs::read_dir(spool)? {
        let path = entry?.path();
        let is_finished = path
            .file_name()
            .is_some_and(|name| !name.to_string_lossy().starts_with(UNFINISHED));
        if !is_finished {
            remove_abandoned(&path);
            continue;
        }
        // Not one that somebody else has just taken away, of which an empty lock would stay.
        if !path.join(LOCK).is_file() || is_passed_over(&path) {
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

/// Takes away what a process began to make long ago and did not finish, which has no records yet. Where one is at it still, it
/// makes another.
fn remove_abandoned(unfinished: &Path) {
    let made = std::fs::metadata(unfinished).and_then(|metadata| metadata.modified());
    if made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > UNFINISHED_TIME)) {
        let _ = std::fs::remove_dir_all(unfinished);
    }
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

    /// Its segments that are for one backend alone, as its directory is called; the oldest of each first. While one is there for
    /// all, it is for that backend too.
    pub(crate) fn owed(&self) -> io::Result<Vec<PathBuf>> {
        let mut owed = Vec::new();
        for backend in entries(&self.path.join(OWED))? {
            let mut segments = entries(&backend)?;
            segments.sort();
            for segment in segments {
                match for_all(&self.path, &segment).exists() {
                    true => std::fs::remove_file(segment)?,
                    false => owed.push(segment),
                }
            }
        }
        Ok(owed)
    }

    /// Keeps a segment for a backend alone, beside what it is for the others: by that path.
    pub(crate) fn owe(&self, segment: &Path, backend: &str) -> io::Result<PathBuf> {
        owe(&self.path, segment, backend)
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

/// Keeps a segment in the directory of a process for a backend alone. That takes no room for the records.
pub(super) fn owe(process: &Path, segment: &Path, backend: &str) -> io::Result<PathBuf> {
    let directory = process.join(OWED).join(file_name(backend));
    directories(&directory)?;
    let owed = directory.join(segment.file_name().unwrap_or_default());
    match std::fs::hard_link(segment, &owed) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(owed),
    }
}

/// Where a segment is while it is for all backends.
fn for_all(process: &Path, segment: &Path) -> PathBuf {
    process
        .join(RECORDS)
        .join(segment.file_name().unwrap_or_default())
}

/// Whether a segment is for one backend alone: what this is called in files.
pub(crate) fn owed_to(segment: &Path) -> Option<&Path> {
    let backend = segment.parent()?;
    (backend.parent()?.file_name()? == OWED).then_some(backend)
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
