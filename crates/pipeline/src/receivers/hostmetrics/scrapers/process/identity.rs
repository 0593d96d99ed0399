//! Which process it is: what its resource says.

use std::collections::HashMap;

use cupola_telemetry::encode::Resource;

use super::files::{Files, Status};
use crate::receivers::hostmetrics::config::{ProcessConfig, ProcessResourceAttributes};
use crate::receivers::hostmetrics::filter::Filter;
use crate::receivers::hostmetrics::host::{Host, ReadError};

/// The kernel cuts names after this many bytes.
const NAME_BYTES_MAX: usize = 15;

#[derive(Debug)]
pub(super) struct Identity {
    name: String,
    /// Empty where there is none, or it may not be read.
    path: String,
    cgroup: String,
    /// The words of the command line.
    command: Option<Vec<String>>,
    owner: Option<String>,
    pub(super) status: Status,
    /// What could not be read, and whether the settings mute it.
    pub(super) unread: Vec<(bool, ReadError)>,
}

impl Identity {
    /// Nothing if the settings do not want a process of this name; an error if it has none.
    pub(super) fn read(
        files: &Files<'_>,
        config: &ProcessConfig,
        filter: &Filter,
        owners: &Owners,
    ) -> Result<Option<Identity>, ReadError> {
        let status = files.status()?;
        let command = files.read("cmdline").map(|text| words(&text));
        let name = match files.read("comm") {
            Ok(name) if !name.trim_end_matches('\n').is_empty() => {
                name.strip_suffix('\n').unwrap_or(&name).to_owned()
            }
            _ => status.name.clone(),
        };
        let name = whole(name, command.as_deref().unwrap_or_default());
        if !filter.passes(&name) {
            return Ok(None);
        }
        let mut unread = Vec::new();
        let path = files.link("exe").unwrap_or_else(|error| {
            unread.push((config.mute_process_exe_error, error));
            String::new()
        });
        let wanted = &config.resource_attributes;
        let cgroup = match wanted.cgroup.enabled || wanted.linux_cgroup.enabled {
            true => files.read("cgroup").unwrap_or_else(|error| {
                unread.push((config.mute_process_cgroup_error, error));
                String::new()
            }),
            false => String::new(),
        };
        let owner = status.user.and_then(|user| owners.name(user));
        let command = command.map_err(|error| unread.push((false, error))).ok();
        Ok(Some(Identity {
            name,
            path,
            cgroup: cgroup.strip_suffix('\n').unwrap_or(&cgroup).to_owned(),
            command,
            owner: owner.map(str::to_owned),
            status,
            unread,
        }))
    }

    pub(super) fn describe(
        &self,
        pid: i32,
        parent: i64,
        wanted: &ProcessResourceAttributes,
        resource: &mut Resource<'_>,
    ) {
        if wanted.pid.enabled {
            resource.attribute("process.pid", i64::from(pid));
        }
        if wanted.parent_pid.enabled {
            resource.attribute("process.parent_pid", parent);
        }
        let first = self
            .command
            .as_ref()
            .map(|words| words.first().cloned().unwrap_or_default());
        let line = self.command.as_ref().map(|words| words.join(" "));
        for (key, is_wanted, value) in [
            (
                "process.executable.name",
                wanted.executable_name,
                Some(&self.name),
            ),
            (
                "process.executable.path",
                wanted.executable_path,
                Some(&self.path),
            ),
            ("process.cgroup", wanted.cgroup, Some(&self.cgroup)),
            ("process.linux.cgroup", wanted.linux_cgroup, Some(&self.cgroup)),
            ("process.command", wanted.command, first.as_ref()),
            ("process.command_line", wanted.command_line, line.as_ref()),
            ("process.owner", wanted.owner, self.owner.as_ref()),
        ] {
            if let Some(value) = value.filter(|_| is_wanted.enabled) {
                resource.attribute(key, value);
            }
        }
    }
}

/// A name that the kernel may have cut, as the command line has it.
fn whole(name: String, command: &[String]) -> String {
    let first = command.first().filter(|_| name.len() >= NAME_BYTES_MAX);
    let file = first.and_then(|first| first.rsplit('/').next());
    match file.filter(|file| file.starts_with(&name)) {
        Some(file) => file.to_owned(),
        None => name,
    }
}

/// Of a thread of the kernel there are none.
fn words(command: &str) -> Vec<String> {
    match command.trim_end_matches('\0') {
        "" => Vec::new(),
        words => words.split('\0').map(str::to_owned).collect(),
    }
}

/// Names of users, as `/etc/passwd` of the host has them.
#[derive(Debug, Default)]
pub(super) struct Owners(HashMap<u32, String>);

impl Owners {
    pub(super) fn read(host: &Host) -> Owners {
        Owners::parse(&host.read("etc/passwd").unwrap_or_default())
    }

    fn parse(text: &str) -> Owners {
        let one = |line: &str| {
            let mut fields = line.split(':');
            let name = fields
                .next()
                .filter(|name| !name.is_empty() && !name.starts_with('#'))?;
            Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
        };
        let mut names = HashMap::new();
        for (user, name) in text.lines().filter_map(one) {
            // The first entry of a number is the one that counts.
            names.entry(user).or_insert(name);
        }
        Owners(names)
    }

    fn name(&self, user: u32) -> Option<&str> {
        self.0.get(&user).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_cut_are_made_whole() {
        let words = |line: &str| words(line);
        let cut = "kube-controller".to_owned();
        assert_eq!(
            whole(cut.clone(), &words("/usr/bin/kube-controller-manager\0--v=2\0")),
            "kube-controller-manager"
        );
        assert_eq!(whole(cut.clone(), &words("/usr/bin/other\0")), cut);
        assert_eq!(whole(cut.clone(), &[]), cut);
        assert_eq!(whole("sh".to_owned(), &words("/bin/sh-static\0")), "sh");
        assert_eq!(words("a\0\0b\0\0"), ["a", "", "b"]);
        assert_eq!(words("\0\0"), Vec::<String>::new());
    }

    #[test]
    fn users_have_the_name_of_their_first_entry() {
        let owners = Owners::parse(
            "root:x:0:0:root:/root:/bin/sh\n#bin:x:1:1\nmine:x:7\ntoor:x:0:0::/:\nodd\nx:y:z\n",
        );
        assert_eq!((owners.name(0), owners.name(7)), (Some("root"), Some("mine")));
        assert_eq!(owners.name(1), None);
    }
}
