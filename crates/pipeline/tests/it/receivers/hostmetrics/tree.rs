//! Hosts to measure: one that was recorded, as a text, and a copy of this machine at one moment.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// Stands for a zero byte in the text.
const ZERO: &str = "\u{2400}";

/// The recorded host, below a folder. Each entry begins with `==== file PATH`, `link` or `dir`; a backslash at the end
/// says that there is no newline.
pub(super) fn recorded() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path());
    folder
}

pub(super) fn record(root: &Path) {
    for entry in include_str!("host.txt").split("==== ").skip(1) {
        let (head, text) = entry.split_once('\n').unwrap();
        let (kind, path) = head.split_once(' ').unwrap();
        let text = text.strip_suffix("\\\n").unwrap_or(text).replace(ZERO, "\0");
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match kind {
            "file" => fs::write(path, text).unwrap(),
            "link" => std::os::unix::fs::symlink(text, path).unwrap(),
            _ => fs::create_dir_all(path).unwrap(),
        }
    }
}

/// Of the host as a whole.
const FILES: &[&str] = &[
    "stat",
    "cpuinfo",
    "meminfo",
    "loadavg",
    "uptime",
    "diskstats",
    "swaps",
    "vmstat",
    "filesystems",
    "net/dev",
    "net/tcp",
    "net/tcp6",
    "sys/net/netfilter/nf_conntrack_count",
    "sys/net/netfilter/nf_conntrack_max",
    "1/mountinfo",
];
/// Of each process, and of each of its threads those that are there.
const PROCESS_FILES: &[&str] = &[
    "stat", "status", "comm", "cmdline", "statm", "io", "cgroup", "limits",
];

/// A copy of what of this machine is measured.
pub(super) fn freeze(root: &Path) {
    let proc = Path::new("/proc");
    for file in FILES {
        copy(&proc.join(file), root);
    }
    copy(Path::new("/etc/passwd"), root);
    for cpu in folders(Path::new("/sys/devices/system/cpu")) {
        copy(&cpu.join("topology/core_cpus_list"), root);
        copy(&cpu.join("topology/thread_siblings_list"), root);
    }
    for process in folders(proc) {
        let name = process.file_name().unwrap().to_string_lossy().into_owned();
        if name.parse::<i32>().is_ok() {
            copy_process(&process, root);
        }
    }
    for line in fs::read_to_string("/proc/1/mountinfo").unwrap().lines() {
        let mount_point = line.split(' ').nth(4).unwrap().trim_start_matches('/');
        let _ = fs::create_dir_all(root.join(mount_point));
    }
}

fn copy_process(process: &Path, root: &Path) {
    for file in PROCESS_FILES {
        copy(&process.join(file), root);
    }
    let link = |path: &Path| {
        if let Ok(target) = fs::read_link(path) {
            let _ = std::os::unix::fs::symlink(target, below(root, path));
        }
    };
    link(&process.join("exe"));
    let _ = fs::create_dir_all(below(root, &process.join("fd")));
    for open in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
        link(&open.path());
    }
    for thread in folders(&process.join("task")) {
        copy(&thread.join("stat"), root);
        copy(&thread.join("status"), root);
    }
}

fn folders(path: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.is_dir() && !path.is_symlink()).collect()
}

fn below(root: &Path, path: &Path) -> std::path::PathBuf {
    root.join(path.strip_prefix("/").unwrap())
}

/// Processes end while they are copied: what is no longer there is not there.
fn copy(path: &Path, root: &Path) {
    if let Ok(bytes) = fs::read(path) {
        let target = below(root, path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, bytes).unwrap();
    }
}
