//! Taking over what ended processes of the application have left in its spool: their records go to the backends of this
//! process, and each of their queues is delivered by an exporter of its own, as long as it has something. What cannot be read or
//! opened is looked at again later, and what is of no backend is left alone until backends are others. Records stay where they are
//! while the queue of a backend that runs takes none: in memory there is no room for all that there may be.
//!
//! A segment is removed as soon as its records are in the queues on disk of all backends that run, or delivered where queues are
//! in memory: from then on it would only be delivered twice. A backend that has not started keeps nothing from the others: before
//! they are given a segment it becomes one that is owed to that backend, which is another name for the same file. An owed segment
//! is for its backend alone, in whatever process that starts.

mod directory;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cupola_telemetry::TenantId;

use self::directory::Directory;
use super::Exporting;
use super::backends::Backends;
use crate::say;
use crate::scrub::Scrubber;
use crate::spool::{Left, Spool, left_behind};

/// Processes whose leavings are delivered at the same time; others wait for their turn, or for another process.
const DIRECTORIES_MAX: usize = 8;
/// How often it is looked for others at a time, when those that were found have nothing that can be delivered now.
const ROUNDS_MAX: usize = 8;
/// After what time a directory with nothing that could be delivered is looked at again.
const ASIDE_TIME: Duration = Duration::from_secs(60);

/// What is being taken over.
#[derive(Default)]
pub(super) struct Leavings {
    directories: Vec<Directory>,
    /// Directories in which nothing is that can be delivered now, and until when they are passed over; `None` if nothing in them
    /// is of any backend. Nobody has hold of them.
    aside: HashMap<PathBuf, Option<Instant>>,
    /// That the spool could not be searched.
    has_said: bool,
}

/// What is needed to take something over.
pub(super) struct Means<'m> {
    pub(super) spool: &'m Spool,
    pub(super) exporting: &'m Exporting,
    pub(super) scrubber: &'m Scrubber,
    pub(super) tenant: &'m TenantId,
}

impl Leavings {
    /// Looks for what has been left, and takes away what has been delivered.
    pub(super) async fn see_to(&mut self, means: &Means<'_>, backends: &mut Backends) {
        for directory in &mut self.directories {
            directory.try_unreadable_again();
            directory.open_queues(means.spool, backends).await;
        }
        self.go_on(means, backends).await;
        for _ in 0..ROUNDS_MAX {
            let found = self.look(means.spool);
            if found.is_empty() {
                break;
            }
            self.take_over(found, means, backends).await;
            self.go_on(means, backends).await;
        }
    }

    fn look(&mut self, spool: &Spool) -> Vec<Left> {
        let path = &spool.settings().directory;
        let most = DIRECTORIES_MAX.saturating_sub(self.directories.len());
        let now = Instant::now();
        let is_passed_over = |path: &Path| {
            let until = self.aside.get(path);
            until.is_some_and(|until| until.is_none_or(|until| now < until))
        };
        left_behind(path, most, &is_passed_over).unwrap_or_else(|error| {
            if !std::mem::replace(&mut self.has_said, true) {
                say::text(&format!(
                    "{} could not be searched for what was left: {error}",
                    path.display()
                ));
            }
            Vec::new()
        })
    }

    /// Exports what there is room for now.
    pub(super) async fn go_on(&mut self, means: &Means<'_>, backends: &mut Backends) {
        for directory in &mut self.directories {
            directory.export_segments(means, backends).await;
        }
        self.take_away(backends).await;
    }

    /// Whether there are records that have not been exported yet, and can be when there is room.
    pub(super) fn has_more(&self, backends: &Backends) -> bool {
        self.directories
            .iter()
            .any(|directory| directory.has_more(backends))
    }

    async fn take_over(&mut self, found: Vec<Left>, means: &Means<'_>, backends: &Backends) {
        for left in found {
            let path = left.path().to_owned();
            let has_said = self.aside.remove(&path).is_some();
            match Directory::new(left, has_said) {
                Ok(mut directory) => {
                    directory.open_queues(means.spool, backends).await;
                    self.directories.push(directory);
                }
                Err(error) => self.fail("read", path, has_said, &error),
            }
        }
    }

    /// Sets a directory aside with which something could not be done.
    fn fail(&mut self, what: &str, path: PathBuf, has_said: bool, error: &io::Error) {
        if !has_said {
            say::text(&format!("{} could not be {what}: {error}", path.display()));
        }
        self.aside.insert(path, Some(Instant::now() + ASIDE_TIME));
    }

    /// Removes segments that are needed no more.
    pub(super) fn remove_exported(&mut self, backends: &Backends) {
        for directory in &mut self.directories {
            directory.remove_exported(backends);
        }
    }

    /// Has what was set aside looked at again, as what it waited for may be there.
    pub(super) fn look_again(&mut self) {
        let now = Instant::now();
        self.aside.values_mut().for_each(|until| *until = Some(now));
    }

    /// Removes the directories from which everything has been delivered, and lets go of those from which nothing can be.
    async fn take_away(&mut self, backends: &Backends) {
        for mut directory in std::mem::take(&mut self.directories) {
            directory.remove_exported(backends);
            // What has been exported is not exported again by this process, which has it in mind.
            if !directory.is_idle(backends) || directory.has_exported() {
                self.directories.push(directory);
                continue;
            }
            directory.shutdown().await;
            let path = directory.left.path().to_owned();
            if !directory.is_empty() {
                let is_known = directory.may_be_delivered(backends);
                let until = is_known.then(|| Instant::now() + ASIDE_TIME);
                self.aside.insert(path, until);
            } else if let Err(error) = directory.left.remove() {
                self.fail("removed", path, directory.has_said, &error);
            }
        }
    }

    pub(super) fn is_idle(&self, backends: &Backends) -> bool {
        self.directories
            .iter()
            .all(|directory| directory.is_idle(backends))
    }

    /// Lets go of queues, as their backends are others from now on; they are opened again with those.
    pub(super) async fn let_go(&mut self) {
        for directory in &mut self.directories {
            directory.let_go().await;
        }
        self.look_again();
    }

    /// Stops delivering; what is left is left again.
    pub(super) async fn shutdown(&mut self, deadline: Instant, backends: &Backends) {
        let all = async {
            for directory in &self.directories {
                directory.shutdown().await;
            }
            self.take_away(backends).await;
        };
        let _ = tokio::time::timeout_at(deadline.into(), all).await;
    }
}
