//! Taking over what ended processes of the application have left in its spool: their records go to the backends of this
//! process, and each of their queues is delivered by an exporter of its own, as long as it has something. What cannot be read or
//! opened is looked at again later, and what is of no backend is left alone until backends are others. Records stay where they are
//! while a queue takes none: in memory there is no room for all that there may be.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use cupola_telemetry::{Batch, TenantId};

use super::Exporting;
use super::backends::Backends;
use crate::backend::{QueueOnDisk, Running};
use crate::recorder::{Batcher, RecorderLimits};
use crate::resource::Resource;
use crate::say;
use crate::scrub::Scrubber;
use crate::spool::{Left, SegmentRecords, Spool, is_queue_of, left_behind};

/// Processes whose leavings are delivered at the same time; others wait for their turn, or for another process.
const DIRECTORIES_MAX: usize = 8;

/// What is being taken over.
#[derive(Default)]
pub(super) struct Leavings {
    directories: Vec<Directory>,
    /// Directories in which nothing is but what is of no backend. Nobody has hold of them.
    aside: HashSet<PathBuf>,
}

/// The directory of an ended process.
struct Directory {
    left: Left,
    /// Segments that are to be exported, the oldest first.
    segments: VecDeque<PathBuf>,
    /// Those that could not be read, and are tried again.
    unreadable: Vec<PathBuf>,
    /// Segments whose records are in queues, or are being held for them: to be removed when nothing is held.
    exported: Vec<PathBuf>,
    /// Queues and who delivers them.
    queues: Vec<(PathBuf, Arc<Running>)>,
    /// Queues for which there is no backend now, or that could not be opened.
    others: Vec<PathBuf>,
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
            directory.segments.extend(directory.unreadable.drain(..));
            directory.open_queues(means.spool, backends).await;
        }
        self.go_on(means, backends).await;
        let path = &means.spool.settings().directory;
        let most = DIRECTORIES_MAX.saturating_sub(self.directories.len());
        match left_behind(path, most, &self.aside) {
            Ok(found) => self.take_over(found, means, backends).await,
            Err(error) => say::text(&format!(
                "{} could not be searched for what was left: {error}",
                path.display()
            )),
        }
        self.go_on(means, backends).await;
    }

    /// Exports what there is room for now.
    pub(super) async fn go_on(&mut self, means: &Means<'_>, backends: &mut Backends) {
        for directory in &mut self.directories {
            directory.export_segments(means, backends).await;
        }
        self.take_away(backends).await;
    }

    /// Whether there are records that have not been exported yet.
    pub(super) fn has_more(&self) -> bool {
        self.directories
            .iter()
            .any(|directory| !directory.segments.is_empty())
    }

    async fn take_over(&mut self, found: Vec<Left>, means: &Means<'_>, backends: &Backends) {
        for left in found {
            // Let go of, and found again, if it cannot be looked into.
            match Directory::new(left) {
                Ok(mut directory) => {
                    directory.open_queues(means.spool, backends).await;
                    self.directories.push(directory);
                }
                Err(error) => say::text(&format!("what a process has left could not be read: {error}")),
            }
        }
    }

    /// Removes the directories from which everything has been delivered, and lets go of those from which nothing can be.
    async fn take_away(&mut self, backends: &Backends) {
        for mut directory in std::mem::take(&mut self.directories) {
            if backends.is_holding() || !directory.is_idle() || !directory.unreadable.is_empty() {
                self.directories.push(directory);
                continue;
            }
            directory
                .exported
                .retain(|segment| std::fs::remove_file(segment).is_err());
            let is_strange = |queue: &PathBuf| !backends.has_queue(queue);
            if !directory.exported.is_empty() || !directory.others.iter().all(is_strange) {
                // Not exported again by this process, which has them in mind.
                self.directories.push(directory);
                continue;
            }
            for (_, queue) in &directory.queues {
                queue.shutdown().await;
            }
            if !directory.others.is_empty() {
                self.aside.insert(directory.left.path().to_owned());
            } else if let Err(error) = directory.left.remove() {
                say::text(&format!("what has been delivered could not be removed: {error}"));
            }
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.directories.iter().all(Directory::is_idle)
    }

    /// Lets go of queues, as their backends are others from now on; they are opened again with those.
    pub(super) async fn let_go(&mut self) {
        for directory in &mut self.directories {
            for (path, queue) in std::mem::take(&mut directory.queues) {
                queue.shutdown().await;
                directory.others.push(path);
            }
        }
        self.aside.clear();
    }

    /// Stops delivering; what is left is left again.
    pub(super) async fn shutdown(&mut self, deadline: Instant, backends: &Backends) {
        let all = async {
            for (_, queue) in self.directories.iter().flat_map(|directory| &directory.queues) {
                queue.shutdown().await;
            }
            self.take_away(backends).await;
        };
        let _ = tokio::time::timeout_at(deadline.into(), all).await;
    }
}

impl Directory {
    fn new(left: Left) -> io::Result<Directory> {
        Ok(Directory {
            segments: left.segments()?.into(),
            others: left.queues()?,
            unreadable: Vec::new(),
            exported: Vec::new(),
            queues: Vec::new(),
            has_said: false,
            left,
        })
    }

    fn is_idle(&self) -> bool {
        self.segments.is_empty() && self.queues.iter().all(|(_, queue)| queue.is_idle())
    }

    /// Has the queues delivered for which there is a backend.
    async fn open_queues(&mut self, spool: &Spool, backends: &Backends) {
        for path in std::mem::take(&mut self.others) {
            let problem = match open(path.clone(), spool, backends).await {
                Ok(running) => {
                    self.queues.push((path, Arc::new(running)));
                    continue;
                }
                Err(problem) => problem,
            };
            self.say_once(&path, &problem);
            self.others.push(path);
        }
    }

    fn say_once(&mut self, path: &Path, problem: &str) {
        if !std::mem::replace(&mut self.has_said, true) {
            say::text(&format!("{} is left alone for now: {problem}", path.display()));
        }
    }

    /// One segment after the other, since together they may be more than there is memory for; until a queue takes no more.
    async fn export_segments(&mut self, means: &Means<'_>, backends: &mut Backends) {
        if self.segments.is_empty() {
            return;
        }
        let resource = self.left.resource();
        let resource = resource.unwrap_or_else(|| (*means.exporting.resource()).clone());
        while !backends.is_holding()
            && let Some(path) = self.segments.pop_front()
        {
            match SegmentRecords::read(&path) {
                Ok(records) => {
                    if let Some(records) = records {
                        export(&records, &path, &resource, means, backends).await;
                    }
                    self.exported.push(path);
                }
                Err(error) => {
                    self.say_once(&path, &error.to_string());
                    self.unreadable.push(path);
                }
            }
        }
    }
}

async fn open(path: PathBuf, spool: &Spool, backends: &Backends) -> Result<Running, String> {
    let mut running = backends.running().iter();
    let Some(owner) = running.find(|running| is_queue_of(&path, running.name())) else {
        return Err("it is of no backend that there is".to_owned());
    };
    let queue = QueueOnDisk {
        directory: path,
        bytes_max: spool.settings().bytes_max,
    };
    let started = Running::start(owner.backend(), Some(queue), backends.budget().clone()).await;
    started.map_err(|error| error.to_string())
}

async fn export(
    records: &SegmentRecords,
    path: &Path,
    resource: &Resource,
    means: &Means<'_>,
    backends: &mut Backends,
) {
    let counts = &means.exporting.counts;
    let (batches, damaged) = batches_of(records, resource, means);
    for batch in batches {
        counts.taken_over.add(batch.items() as u64);
        backends.offer(batch, counts).await;
    }
    if damaged > 0 {
        counts.dropped.add(damaged);
        say::text(&format!(
            "{damaged} damaged records were left in {}",
            path.display()
        ));
    }
}

/// Records of a segment as batches, without secrets, and how many were damaged.
fn batches_of(records: &SegmentRecords, resource: &Resource, means: &Means<'_>) -> (Vec<Batch>, u64) {
    let mut batcher = Batcher::new(records.signal(), RecorderLimits::default(), 0);
    let (mut unread, mut buffer) = (Vec::new(), Vec::new());
    records.each(&mut |scope, record| {
        let record = means.scrubber.scrub(records.signal(), record, &mut buffer);
        if batcher.add(scope, record) {
            unread.extend(batcher.finish(resource, means.tenant));
        }
    });
    unread.extend(batcher.finish(resource, means.tenant));
    let mut damaged = 0;
    let read = unread.into_iter().filter_map(|batch| {
        // A file may say anything.
        let read = Batch::decode_protobuf(batch.signal(), means.tenant.clone(), batch.payload().clone());
        if read.is_err() {
            damaged += batch.items() as u64;
        }
        read.ok()
    });
    (read.collect(), damaged)
}
