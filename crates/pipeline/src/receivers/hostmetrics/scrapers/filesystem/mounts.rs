//! What is mounted on the host, as `/proc/1/mountinfo` says it.
//! <https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>

use std::collections::{BTreeMap, BTreeSet};

use crate::receivers::hostmetrics::host::{Host, ReadError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) device: String,
    /// As the host sees it.
    pub(super) mount_point: String,
    pub(super) fs_type: String,
    /// `rw`, `ro`, or `unknown`.
    pub(super) mode: &'static str,
}

/// What is mounted; without `all`, only what has a device, and each only where it is mounted as a whole.
pub(super) fn mounts(host: &Host, all: bool) -> Result<Vec<Mount>, ReadError> {
    // The first process sees the mounts of the host, this one may see those of a container.
    let text = host
        .read("proc/1/mountinfo")
        .or_else(|_| host.read("proc/self/mountinfo"))?;
    let types = match all {
        true => None,
        false => Some(host.read("proc/filesystems")?),
    };
    let types = types.as_deref().map(types_with_devices);
    let mut mounts = parse(&text, types.as_ref());
    for (mount, device_id) in &mut mounts {
        resolve(host, mount, device_id);
    }
    Ok(mounts.into_iter().map(|(mount, _)| mount).collect())
}

/// With the number of the device, as `8:1`.
fn parse<'t>(text: &'t str, types: Option<&BTreeSet<&str>>) -> Vec<(Mount, &'t str)> {
    let mut devices: BTreeMap<&str, String> = BTreeMap::new();
    let mut mounts = Vec::new();
    for entry in text.lines().filter_map(Entry::parse) {
        if types.is_some_and(|types| !types.contains(entry.fs_type)) {
            continue;
        }
        let device = devices
            .entry(entry.device_id)
            .or_insert_with(|| entry.device().to_owned())
            .clone();
        if types.is_some() && entry.is_part() {
            continue;
        }
        let mount = Mount {
            device,
            mount_point: unescaped(entry.mount_point),
            fs_type: entry.fs_type.to_owned(),
            mode: entry.mode(),
        };
        mounts.push((mount, entry.device_id));
    }
    mounts
}

/// One line: `36 35 98:0 /root /mnt rw,noatime shared:1 - ext3 /dev/sda1 rw,errors=continue`.
#[derive(Debug)]
struct Entry<'a> {
    device_id: &'a str,
    /// What of the file system is mounted.
    root: &'a str,
    mount_point: &'a str,
    options: &'a str,
    fs_type: &'a str,
    source: &'a str,
    super_options: &'a str,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Entry<'a>> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split_ascii_whitespace().skip(2);
        let mut filesystem = filesystem.split_ascii_whitespace();
        Some(Entry {
            device_id: mount.next()?,
            root: mount.next()?,
            mount_point: mount.next()?,
            options: mount.next().unwrap_or_default(),
            fs_type: filesystem.next()?,
            source: filesystem.next()?,
            super_options: filesystem.next().unwrap_or_default(),
        })
    }

    /// What virtual file systems call their source means something to them alone; of parts of them, the root does.
    fn device(&self) -> &'a str {
        match self.source.starts_with('/') || self.root == "/" {
            true => self.source,
            false => self.root,
        }
    }

    /// A bind mount of a folder, which has no bytes of its own. A subvolume of btrfs is none.
    fn is_part(&self) -> bool {
        let mut options = self.super_options.split(',');
        let is_subvolume = options.any(|option| option.strip_prefix("subvol=") == Some(self.root));
        self.source.starts_with('/') && self.root != "/" && !is_subvolume
    }

    /// A mount can be read-only by itself, and with its file system.
    fn mode(&self) -> &'static str {
        let has = |options: &str, wanted: &str| options.split(',').any(|option| option == wanted);
        match () {
            () if has(self.options, "ro") || has(self.super_options, "ro") => "ro",
            () if has(self.options, "rw") => "rw",
            () => "unknown",
        }
    }
}

/// File systems that the kernel does not call `nodev`; and ZFS, which it does.
fn types_with_devices(text: &str) -> BTreeSet<&str> {
    let one = |line: &'_ str| match line.split_once('\t') {
        Some(("nodev", name)) => name == "zfs",
        _ => true,
    };
    let lines = text.lines().filter(|line| one(line));
    lines
        .filter_map(|line| line.split_ascii_whitespace().last())
        .collect()
}

/// Names that the kernel shows instead of that of the device.
fn resolve(host: &Host, mount: &mut Mount, device_id: &str) {
    if mount.device.starts_with("/dev/mapper/") {
        let real = std::fs::canonicalize(host.path(&mount.device)).ok();
        let real = real
            .as_deref()
            .and_then(|real| real.strip_prefix(host.root()).ok());
        if let Some(real) = real {
            mount.device = format!("/{}", real.to_string_lossy().trim_start_matches('/'));
        }
    }
    if mount.device == "/dev/root"
        && let Ok(link) = host.link(&format!("sys/dev/block/{device_id}"))
        && let Some(name) = link.rsplit('/').next()
    {
        mount.device = format!("/dev/{name}");
    }
}

/// Blanks and backslashes stand as three octal digits.
fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|_| *first == b'\\');
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 28 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw
28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 28 8:1 /var/lib/docker /mnt/bound rw shared:1 - ext4 /dev/sda1 rw
31 28 8:2 / /mnt/a\\040b\\134c rw - vfat /dev/sdb1 ro
32 28 0:40 /@home /home rw,noatime - btrfs /dev/sdc rw,subvolid=257,subvol=/@home
33 28 0:40 /@home/me /srv rw - btrfs /dev/sdc rw,subvolid=257,subvol=/@home
34 28 0:50 / /tmp rw - tmpfs tmpfs rw
35 28 0:4 net:[4026532] /run/netns/x rw - nsfs nsfs rw
36 28 0:60 / /tank rw - zfs tank rw
not a mount
37 28 8:3 / /odd nosuid - ext4 /dev/sdd1
";
    const FILESYSTEMS: &str =
        "nodev\tsysfs\nnodev\ttmpfs\n\text4\n\tvfat\n\tbtrfs\nnodev\tzfs\nnodev\tnsfs\n";

    fn found(types: Option<&BTreeSet<&str>>) -> Vec<(String, String, &'static str)> {
        let mounts = parse(MOUNTS, types).into_iter();
        mounts
            .map(|(mount, _)| (mount.device, mount.mount_point, mount.mode))
            .collect()
    }

    #[test]
    fn only_whole_file_systems_with_a_device_are_there_by_default() {
        let expected = [
            ("/dev/sda1", "/", "rw"),
            ("/dev/sdb1", "/mnt/a b\\c", "ro"),
            ("/dev/sdc", "/home", "rw"),
            ("tank", "/tank", "rw"),
            ("/dev/sdd1", "/odd", "unknown"),
        ];
        let expected = expected.map(|(device, at, mode)| (device.to_owned(), at.to_owned(), mode));
        assert_eq!(found(Some(&types_with_devices(FILESYSTEMS))), expected);
    }

    #[test]
    fn all_are_there_if_asked_for_and_parts_have_the_device_of_the_whole() {
        let all = found(None);
        assert_eq!(all.len(), 10);
        assert!(all.contains(&("/dev/sda1".to_owned(), "/mnt/bound".to_owned(), "rw")));
        assert!(all.contains(&("net:[4026532]".to_owned(), "/run/netns/x".to_owned(), "rw")));
    }

    #[test]
    fn backslashes_that_escape_nothing_stay() {
        assert_eq!(unescaped("a\\04"), "a\\04");
        assert_eq!(unescaped("\\999\\"), "\\999\\");
        assert_eq!(unescaped("caf\\303\\251"), "café");
    }
}
