//! Names of full files, and which of them go.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Local, NaiveDateTime, TimeDelta, Utc};

use super::Rotation;

const STAMP: &str = "%Y-%m-%dT%H-%M-%S%.3f";
const DAY: Duration = Duration::from_secs(86_400);

/// The name of a file that is full now: `name-STAMP.ext`, of which there is none yet.
pub(super) fn name(path: &Path, now: SystemTime, localtime: bool) -> PathBuf {
    let mut stamp = clock(now, localtime);
    loop {
        let candidate = stamped(path, &stamp);
        if !candidate.exists() {
            return candidate;
        }
        stamp += TimeDelta::milliseconds(1);
    }
}

/// Removes full files beyond the number and age that `rotation` keeps; how many were removed.
pub(super) fn prune(path: &Path, rotation: &Rotation, now: SystemTime) -> io::Result<u64> {
    if rotation.max_backups == 0 && rotation.max_days == 0 {
        return Ok(0);
    }
    let mut backups = list(path)?;
    backups.sort_by(|a, b| b.cmp(a));
    let age = u32::try_from(rotation.max_days)
        .ok()
        .map(|days| DAY.saturating_mul(days));
    let oldest = age
        .filter(|age| !age.is_zero())
        .and_then(|age| now.checked_sub(age))
        .map(|moment| clock(moment, rotation.localtime));
    let mut removed = 0;
    for (index, (stamp, backup)) in backups.iter().enumerate() {
        let too_many = rotation.max_backups > 0 && index >= rotation.max_backups;
        if too_many || oldest.is_some_and(|oldest| *stamp < oldest) {
            std::fs::remove_file(backup)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Full files of `path` with the moment in their names.
fn list(path: &Path) -> io::Result<Vec<(NaiveDateTime, PathBuf)>> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut backups = Vec::new();
    for entry in std::fs::read_dir(folder.unwrap_or(Path::new(".")))? {
        let entry = entry?.path();
        if let Some(stamp) = stamp_of(path, &entry) {
            backups.push((stamp, entry));
        }
    }
    Ok(backups)
}

fn stamp_of(path: &Path, backup: &Path) -> Option<NaiveDateTime> {
    let stem = path.file_stem()?.to_str()?;
    let rest = backup
        .file_name()?
        .to_str()?
        .strip_prefix(stem)?
        .strip_prefix('-')?;
    let stamp = match path.extension() {
        Some(extension) => rest.strip_suffix(extension.to_str()?)?.strip_suffix('.')?,
        None => rest,
    };
    NaiveDateTime::parse_from_str(stamp, STAMP).ok()
}

fn stamped(path: &Path, stamp: &NaiveDateTime) -> PathBuf {
    let mut name: OsString = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{}", stamp.format(STAMP)));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

fn clock(moment: SystemTime, localtime: bool) -> NaiveDateTime {
    if localtime {
        DateTime::<Local>::from(moment).naive_local()
    } else {
        DateTime::<Utc>::from(moment).naive_utc()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn full_files_are_named_by_their_moment_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["out.jsonl", "out", "a-b.json"] {
            let path = folder.path().join(file);
            let first = name(&path, at(1_000_000_000), false);
            std::fs::write(&first, "").unwrap();
            let second = name(&path, at(1_000_000_000), false);
            assert_ne!(first, second);
            assert_eq!(list(&path).unwrap().len(), 1, "{first:?}");
        }
        assert!(folder.path().join("out-2001-09-09T01-46-40.000.jsonl").exists());
        assert!(folder.path().join("out-2001-09-09T01-46-40.000").exists());
    }

    #[test]
    fn the_oldest_go_by_number_and_by_age_and_no_other_file_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        std::fs::write(&path, "").unwrap();
        std::fs::write(folder.path().join("out-notes.jsonl"), "").unwrap();
        for day in 0..6 {
            std::fs::write(name(&path, at(1_000_000_000 + day * 86_400), false), "").unwrap();
        }
        let by_number = Rotation {
            max_backups: 4,
            ..Rotation::default()
        };
        let now = at(1_000_000_000 + 5 * 86_400 + 1);
        assert_eq!(prune(&path, &by_number, now).unwrap(), 2);
        let by_age = Rotation {
            max_backups: 0,
            max_days: 2,
            ..Rotation::default()
        };
        assert_eq!(prune(&path, &by_age, now).unwrap(), 2);
        let left = list(&path).unwrap();
        assert!(
            left.iter()
                .all(|(stamp, _)| *stamp >= clock(at(1_000_000_000 + 4 * 86_400), false))
        );
        assert!(path.exists() && folder.path().join("out-notes.jsonl").exists());
    }
}
