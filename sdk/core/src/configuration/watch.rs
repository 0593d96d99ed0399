//! Files of configuration, looked at again: whoever exports asks from time to time, and gives the SDK the settings that have
//! changed. A file that is broken, or gone, changes nothing and is told once. Starts no thread.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::{ConfigurationError, Loaded, load};

/// The files that settings came from, or would come from if they were there.
#[derive(Debug)]
pub struct Watched {
    environment: Environment,
    files: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    path: PathBuf,
    stamp: Option<Stamp>,
    /// Of the contents.
    hash: Option<u64>,
}

/// What tells that a file may have changed, without its contents.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    size: u64,
    inode: u64,
}

impl From<Metadata> for Stamp {
    fn from(metadata: Metadata) -> Stamp {
        Stamp {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
            inode: metadata.ino(),
        }
    }
}

impl Watched {
    /// Watches what `loaded` was read from. The variables are those of `environment`, which does not change.
    pub fn new(environment: Environment, loaded: &Loaded) -> Watched {
        let mut watched = Watched {
            environment,
            files: Vec::new(),
        };
        watched.add(&loaded.watched);
        watched
    }

    /// Whether there is a file that could change.
    pub fn has_files(&self) -> bool {
        self.files.iter().any(|file| file.stamp.is_some())
    }

    /// What there is to be read if a file has changed since it was asked last; `None` if none has. With an error the settings
    /// stay as they are.
    pub fn changed(&mut self) -> Option<Result<Loaded, ConfigurationError>> {
        let mut has_changed = false;
        for file in &mut self.files {
            let stamp = stamp(&file.path);
            if stamp == file.stamp {
                continue;
            }
            file.stamp = stamp;
            let hash = hash(&self.environment, &file.path);
            has_changed |= hash != file.hash;
            file.hash = hash;
        }
        if !has_changed {
            return None;
        }
        let loaded = load(&self.environment);
        if let Ok(loaded) = &loaded {
            self.add(&loaded.watched);
        }
        Some(loaded)
    }

    fn add(&mut self, paths: &[PathBuf]) {
        for path in paths {
            if self.files.iter().any(|file| file.path == *path) {
                continue;
            }
            self.files.push(Seen {
                path: path.clone(),
                stamp: stamp(path),
                hash: hash(&self.environment, path),
            });
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    std::fs::metadata(path).ok().map(Stamp::from)
}

fn hash(environment: &Environment, path: &Path) -> Option<u64> {
    let text = environment.read(path).ok()?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Some(hasher.finish())
}
