//! What is left of the disk when a machine or a process starts again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Content, Disk, Simulated};

/// What a machine finds after a power loss of what was not synced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Survival {
    Nothing,
    Everything,
    /// Some names, and of each file a part, possibly with zeros at its end.
    Some(u64),
}

impl Simulated {
    /// The disk as the machine finds it after a power loss now.
    pub(crate) fn reboot(&self, survival: Survival) -> Simulated {
        let disk = self.disk();
        let mut random = StdRng::seed_from_u64(match survival {
            Survival::Some(seed) => seed,
            _ => 0,
        });
        let mut keep = || match survival {
            Survival::Nothing => false,
            Survival::Everything => true,
            Survival::Some(_) => random.random_bool(0.5),
        };
        let mut directories = disk.durable_directories.clone();
        let unsynced = disk.directories.difference(&disk.durable_directories);
        directories.extend(unsynced.filter(|_| keep()).cloned());
        // What is in a directory that is gone is gone.
        let mut kept = BTreeSet::new();
        for path in directories {
            let parent = path.parent().filter(|parent| *parent != Path::new("/"));
            if parent.is_none_or(|parent| kept.contains(parent)) {
                kept.insert(path);
            }
        }
        let mut names = disk.durable_names.clone();
        for (path, file) in &disk.names {
            if disk.durable_names.get(path) != Some(file) && keep() {
                names.insert(path.clone(), *file);
            }
        }
        for path in disk.durable_names.keys() {
            if !disk.names.contains_key(path) && keep() {
                names.remove(path);
            }
        }
        names.retain(|path, _| path.parent().is_some_and(|parent| kept.contains(parent)));
        let mut files = BTreeMap::new();
        for (id, file) in &disk.files {
            let data = surviving(file, survival, &mut random);
            files.insert(
                *id,
                Content {
                    synced: data.clone(),
                    data,
                    lost: false,
                },
            );
        }
        Simulated::of(Disk {
            durable_names: names.clone(),
            names,
            durable_directories: kept.clone(),
            directories: kept,
            files,
            next_file: disk.next_file,
            ..Disk::default()
        })
    }

    /// A copy, as if the process had ended and the machine gone on.
    pub(crate) fn copy(&self) -> Simulated {
        self.reboot(Survival::Everything)
    }

    /// The same disk for another process: what was not synced is there and still not durable.
    pub(crate) fn restarted(&self) -> Simulated {
        let disk = self.disk();
        Simulated::of(Disk {
            names: disk.names.clone(),
            durable_names: disk.durable_names.clone(),
            directories: disk.directories.clone(),
            durable_directories: disk.durable_directories.clone(),
            files: disk.files.clone(),
            next_file: disk.next_file,
            ..Disk::default()
        })
    }
}

fn surviving(file: &Content, survival: Survival, random: &mut StdRng) -> Vec<u8> {
    match survival {
        Survival::Everything if !file.lost => file.data.clone(),
        Survival::Some(_) if !file.lost && file.data.starts_with(&file.synced) => {
            let unsynced = file.data.len() - file.synced.len();
            let kept = file.synced.len() + random.random_range(0..=unsynced);
            let mut data = file.data[..kept].to_vec();
            if kept > file.synced.len() && random.random_bool(0.3) {
                let zeros = random.random_range(file.synced.len()..kept);
                data[zeros..].fill(0);
            }
            data
        }
        _ => file.synced.clone(),
    }
}
