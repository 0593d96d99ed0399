//! The files of the host that is measured: `/proc` and `/sys`, below another root where the settings name one.
//!
//! Each is read whole and within a bound, and bytes that are no UTF-8 are replaced: names of processes and mount points
//! can have any. Refuses to know what files mean.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest file that is read: the TCP sockets of a machine that has several hundred thousand.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A file that cannot be read, or does not say what it should.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub(super) struct ReadError {
    path: PathBuf,
    source: io::Error,
}

impl ReadError {
    pub(super) fn new(path: &Path, problem: &str) -> ReadError {
        let source = io::Error::new(io::ErrorKind::InvalidData, problem.to_owned());
        ReadError {
            path: path.to_owned(),
            source,
        }
    }

    /// What the file was about is no longer there, as of a process that has ended.
    pub(super) fn is_gone(&self) -> bool {
        const ESRCH: i32 = 3;
        self.source.kind() == io::ErrorKind::NotFound || self.source.raw_os_error() == Some(ESRCH)
    }
}

/// The machine that is measured.
#[derive(Clone, Debug)]
pub(super) struct Host {
    root: PathBuf,
    /// Of the kernel, in which it counts processor time.
    pub(super) ticks_per_second: u64,
    pub(super) page_bytes: u64,
}

impl Host {
    /// The host whose `/` is seen at `root`.
    pub(super) fn new(root: &Path) -> Host {
        Host {
            root: root.to_owned(),
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
            page_bytes: rustix::param::page_size() as u64,
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a path of the host, with or without `/` in front, is found here.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(super) fn read(&self, path: &str) -> Result<String, ReadError> {
        read(&self.path(path))
    }

    /// Where a symbolic link of the host leads to.
    pub(super) fn link(&self, path: &str) -> Result<String, ReadError> {
        let path = self.path(path);
        match std::fs::read_link(&path) {
            Ok(target) => Ok(target.to_string_lossy().into_owned()),
            Err(source) => Err(ReadError { path, source }),
        }
    }

    /// Names in a folder of the host.
    pub(super) fn names(&self, path: &str) -> Result<Vec<String>, ReadError> {
        let path = self.path(path);
        let entries = std::fs::read_dir(&path).and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
                .collect()
        });
        entries.map_err(|source| ReadError { path, source })
    }

    /// Names in a folder that are numbers: processes, or the threads of one. Ascending.
    pub(super) fn numbers(&self, path: &str) -> Result<Vec<i32>, ReadError> {
        let names = self.names(path)?;
        let mut numbers: Vec<i32> = names.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Seconds since the epoch at which the kernel began.
    pub(super) fn boot_time(&self) -> Result<u64, ReadError> {
        let stat = self.read("proc/stat")?;
        let time = stat.lines().find_map(|line| line.strip_prefix("btime "));
        let time = time.and_then(|time| time.trim().parse().ok());
        time.ok_or_else(|| ReadError::new(&self.path("proc/stat"), "it has no `btime`"))
    }

    pub(super) fn logical_cpus(&self) -> Result<u64, ReadError> {
        let info = self.read("proc/cpuinfo").unwrap_or_default();
        let is_processor = |line: &&str| {
            let Some((key, value)) = line.split_once(':') else {
                return false;
            };
            key.trim_end().eq_ignore_ascii_case("processor") && value.trim().parse::<u32>().is_ok()
        };
        let named = info.lines().filter(is_processor).count() as u64;
        if named > 0 {
            return Ok(named);
        }
        let stat = self.read("proc/stat")?;
        let is_cpu = |line: &&str| {
            let rest = line.strip_prefix("cpu");
            rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        };
        Ok(stat.lines().filter(is_cpu).count() as u64)
    }
}

fn read(path: &Path) -> Result<String, ReadError> {
    let failed = |source| ReadError {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    let read = read.map_err(failed)? as u64;
    if read > FILE_BYTES_MAX {
        return Err(ReadError::new(path, "it is larger than any such file should be"));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let host = Host::new(folder.path());
        (folder, host)
    }

    #[test]
    fn processors_are_counted_as_cpuinfo_names_them_and_otherwise_as_stat_does() {
        let arm = "Processor\t: AArch64\nprocessor\t: 0\nprocessor\t: 1\n";
        let stat = "cpu  1 2 3\ncpu0 1 2 3\ncpu1 1 2\ncpu2 1\nbtime 17\n";
        let (_folder, named) = host(&[("proc/cpuinfo", arm), ("proc/stat", stat)]);
        assert_eq!(named.logical_cpus().unwrap(), 2);
        let (_folder, unnamed) = host(&[("proc/cpuinfo", "vendor_id : IBM\n"), ("proc/stat", stat)]);
        assert_eq!(unnamed.logical_cpus().unwrap(), 3);
        assert_eq!(unnamed.boot_time().unwrap(), 17);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_what_is_missing_is_said() {
        let (folder, host) = host(&[]);
        std::fs::write(folder.path().join("name"), b"a\xffb").unwrap();
        assert_eq!(host.read("/name").unwrap(), "a\u{fffd}b");
        let error = host.read("proc/stat").unwrap_err();
        assert!(
            error.is_gone() && error.to_string().contains("proc/stat"),
            "{error}"
        );
        assert!(!ReadError::new(Path::new("/x"), "odd").is_gone());
    }
}
