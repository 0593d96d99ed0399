//! How much memory there is, how much Cupola may take, and how it is divided. Knows the machine and control groups of
//! both versions.

use std::path::{Path, PathBuf};

use cupola_config::units::MemoryLimit;

/// Of the machine or of its control group, when nothing else is said.
pub(crate) const SHARE_DEFAULT: MemoryLimit = MemoryLimit::Percent(25.0);
/// With less than this, a single large batch and a query do not fit beside each other.
pub(crate) const LIMIT_MIN: u64 = 128 << 20;
/// Assumed where neither the machine nor a control group tells.
const MACHINE_FALLBACK: u64 = 2 << 30;

/// Parts of the limit. What is missing to the whole is for code, threads, connections and the allocator's slack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryPlan {
    /// The ceiling on resident memory.
    pub(crate) limit: u64,
    /// Requests being received; apart from the rest, so that closing ingest does not starve a flush.
    pub(crate) ingest: u64,
    /// Store and queries together.
    pub(crate) shared: u64,
    /// Memtables and background work of the store.
    pub(crate) store: u64,
    /// Queries; beyond it they spill or are refused.
    pub(crate) query: u64,
}

impl MemoryPlan {
    pub(crate) fn new(limit: u64) -> Self {
        let part = |percent: u64| limit / 100 * percent;
        MemoryPlan {
            limit,
            ingest: part(20),
            shared: part(60),
            store: part(45),
            query: part(35),
        }
    }

    /// The same where nothing is kept and nobody asks: all but the rest is for what is being received and handed on.
    pub(crate) fn without_store(self) -> Self {
        MemoryPlan {
            ingest: self.limit / 100 * 65,
            shared: 0,
            store: 0,
            query: 0,
            ..self
        }
    }
}

/// Bytes that `limit` means on this machine.
pub(crate) fn resolve(limit: MemoryLimit) -> u64 {
    match limit {
        MemoryLimit::Bytes(bytes) => bytes,
        MemoryLimit::Percent(percent) => (available() as f64 * percent / 100.0) as u64,
    }
}

/// Memory of the machine, or of the control group of this process where that is less.
pub(crate) fn available() -> u64 {
    available_below(Path::new("/proc"), Path::new("/sys/fs/cgroup"))
}

fn available_below(proc: &Path, cgroup: &Path) -> u64 {
    let machine = machine(proc).unwrap_or(MACHINE_FALLBACK);
    control_groups(proc, cgroup).into_iter().fold(machine, u64::min)
}

fn machine(proc: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(proc.join("meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Limits of the control groups from this process's own up to the root: the least of them holds.
fn control_groups(proc: &Path, cgroup: &Path) -> Vec<u64> {
    let own = std::fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
    let mut limits = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        // Version 2 has one hierarchy without a name; version 1 has one for memory.
        let (root, file): (PathBuf, &str) = match controllers {
            "" => (cgroup.to_owned(), "memory.max"),
            named if named.split(',').any(|name| name == "memory") => {
                (cgroup.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for ancestor in Path::new(path.trim_start_matches('/')).ancestors() {
            limits.extend(limit_in(&root.join(ancestor).join(file)));
        }
    }
    limits
}

/// `max` and absent files mean no limit.
fn limit_in(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Resident memory of this process in bytes, 0 where it cannot be read.
pub(crate) fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    pages * page_bytes()
}

fn page_bytes() -> u64 {
    // SAFETY: `sysconf` reads a constant of the system and touches no memory of ours.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4_096)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    fn read(files: &[(&str, &str)]) -> u64 {
        let root = tree(files);
        available_below(&root.path().join("proc"), &root.path().join("cgroup"))
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16384 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_least_limit_from_the_process_to_the_root_holds() {
        assert_eq!(read(&[MEMINFO]), 16 << 20);
        let version_2 = [
            MEMINFO,
            ("proc/self/cgroup", "0::/pod/box\n"),
            ("cgroup/pod/box/memory.max", "max\n"),
            ("cgroup/pod/memory.max", "4194304\n"),
        ];
        assert_eq!(read(&version_2), 4 << 20);
        let version_1 = [
            MEMINFO,
            ("proc/self/cgroup", "5:cpu:/x\n4:memory,pids:/box\n"),
            ("cgroup/memory/box/memory.limit_in_bytes", "2097152\n"),
        ];
        assert_eq!(read(&version_1), 2 << 20);
    }

    #[test]
    fn this_machine_has_memory_and_this_process_uses_some() {
        assert!(available() > 64 << 20);
        assert!(resident() > 1 << 20);
    }

    #[test]
    fn parts_stay_within_the_limit() {
        let plan = MemoryPlan::new(1 << 30);
        assert!(plan.ingest + plan.shared < plan.limit);
        assert!(plan.store.max(plan.query) < plan.shared);
    }
}
