//! Taking over what ended processes of the application have left in its spool: their records go to the backends of this
//! process, and each of their queues is delivered by an exporter of its own, as long as it has something. What cannot be read or
//! opened is looked at again later, and what is of no backend is left alone until backends are others. Records stay where they are
//! while the queue of a backend that runs takes none: in memory there is no room for all that there may be.
//!
//! A segment is removed as soon as its records are in the queues on disk of all backends that run, or delivered where queues are
//! in memory: from then on it would only be delivered twice. A backend that has not started keeps nothing from the others: before
//! they are given a segment it becomes one that is owed to that backend, which is another name for the same file. An owed segment
//! is for its backend alone, in whatever process that starts.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cupola_telemetry::{Batch, TenantId};

use super::Exporting;
use super::backends::{Backends, Mark};
use crate::backend::{QueueOnDisk, Running};
use crate::recorder::{Batcher, RecorderLimits};
use crate::resource::Resource;
use crate::say;
use crate::scrub::Scrubber;
use crate::spool::{Left, SegmentRecords, Spool, is_queue_of, left_behind, owed_to};

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
}

/// The directory of an ended process.
struct Directory {
    left: Left,
    /// Segments that are to be exported, the oldest first.
    segments: VecDeque<PathBuf>,
    /// Those that are for one backend alone.
    owed: Vec<PathBuf>,
    /// Those that could not be read, and are tried again.
    unreadable: Vec<PathBuf>,
    /// Segments whose records are in queues, or are being held for them.
    exported: Vec<Exported>,
    /// Queues and who delivers them.
    queues: Vec<(PathBuf, Arc<Running>)>,
    /// Queues for which there is no backend now, or that could not be opened.
    others: Vec<PathBuf>,
    has_said: bool,
}

/// A segment that is to be removed when it is needed no more.
struct Exported {
    path: PathBuf,
    /// What of it is held has this number, or a greater one.
    held_from: u64,
    mark: Mark,
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

    fn look(&self, spool: &Spool) -> Vec<Left> {
        let path = &spool.settings().directory;
        let most = DIRECTORIES_MAX.saturating_sub(self.directories.len());
        let now = Instant::now();
        let is_passed_over = |path: &Path| {
            let until = self.aside.get(path);
            until.is_some_and(|until| until.is_none_or(|until| now < until))
        };
        left_behind(path, most, &is_passed_over).unwrap_or_else(|error| {
            say::text(&format!(
                "{} could not be searched for what was left: {error}",
                path.display()
            ));
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
            if !directory.is_idle(backends) || !directory.exported.is_empty() {
                self.directories.push(directory);
                continue;
            }
            for (_, queue) in &directory.queues {
                queue.shutdown().await;
            }
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
            for (path, queue) in std::mem::take(&mut directory.queues) {
                queue.shutdown().await;
                directory.others.push(path);
            }
        }
        self.look_again();
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
    fn new(left: Left, has_said: bool) -> io::Result<Directory> {
        Ok(Directory {
            owed: left.owed()?,
            segments: left.segments()?.into(),
            others: left.queues()?,
            unreadable: Vec::new(),
            exported: Vec::new(),
            queues: Vec::new(),
            has_said,
            left,
        })
    }

    fn has_more(&self, backends: &Backends) -> bool {
        !self.segments.is_empty() || self.next_owed(backends).is_some()
    }

    /// Nothing in it can be delivered now that has not been.
    fn is_idle(&self, backends: &Backends) -> bool {
        !self.has_more(backends) && self.queues.iter().all(|(_, queue)| queue.is_idle())
    }

    /// Nothing is left in it but what has been delivered.
    fn is_empty(&self) -> bool {
        self.unreadable.is_empty() && self.owed.is_empty() && self.others.is_empty()
    }

    /// Whether what is left in it is of a backend that there is, or may be.
    fn may_be_delivered(&self, backends: &Backends) -> bool {
        let owed = self.owed.iter().filter_map(|segment| owed_to(segment));
        let mut of_one = owed.chain(self.others.iter().map(PathBuf::as_path));
        !self.unreadable.is_empty() || of_one.any(|path| backends.has_queue(path))
    }

    /// Where a segment is among those that are owed whose backend runs.
    fn next_owed(&self, backends: &Backends) -> Option<usize> {
        let runs = |backend| {
            let mut running = backends.running().iter();
            running.any(|running| is_queue_of(backend, running.name()))
        };
        self.owed
            .iter()
            .position(|segment| owed_to(segment).is_some_and(runs))
    }

    fn remove_exported(&mut self, backends: &Backends) {
        self.exported.retain_mut(|exported| {
            !backends.has_kept(exported.held_from, &mut exported.mark)
                || std::fs::remove_file(&exported.path).is_err()
        });
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
        if !self.has_more(backends) {
            return;
        }
        let resource = self.left.resource();
        let resource = resource.unwrap_or_else(|| (*means.exporting.resource()).clone());
        while !backends.is_waiting_for_room()
            && let Some(path) = self.next_segment(backends)
        {
            let held_from = backends.next_held();
            match self.export(&path, &resource, means, backends).await {
                Ok(()) => {
                    let mark = backends.mark();
                    self.exported.push(Exported {
                        path,
                        held_from,
                        mark,
                    });
                    self.remove_exported(backends);
                }
                Err(error) => {
                    self.say_once(&path, &error.to_string());
                    self.unreadable.push(path);
                }
            }
        }
    }

    fn try_unreadable_again(&mut self) {
        for path in std::mem::take(&mut self.unreadable) {
            match owed_to(&path).is_some() {
                true => self.owed.push(path),
                false => self.segments.push_back(path),
            }
        }
    }

    fn next_segment(&mut self, backends: &Backends) -> Option<PathBuf> {
        self.segments.pop_front().or_else(|| {
            let at = self.next_owed(backends)?;
            Some(self.owed.remove(at))
        })
    }

    /// Gives the records of a segment to those that run and that it is for.
    async fn export(
        &mut self,
        path: &Path,
        resource: &Resource,
        means: &Means<'_>,
        backends: &mut Backends,
    ) -> io::Result<()> {
        let Some(records) = SegmentRecords::read(path)? else {
            return Ok(());
        };
        let counts = &means.exporting.counts;
        let (batches, damaged) = batches_of(&records, resource, means);
        if let Some(owed_to) = owed_to(path) {
            for batch in batches {
                let is_meant = |name: &str| is_queue_of(owed_to, name);
                backends.offer_to_running(&batch, counts, is_meant).await;
            }
            return Ok(());
        }
        for name in backends.not_started(records.signal()) {
            let owed = self.left.owe(path, name)?;
            if !self.owed.contains(&owed) {
                self.owed.push(owed);
            }
        }
        for batch in batches {
            counts.taken_over.add(batch.items() as u64);
            backends.offer_to_running(&batch, counts, |_| true).await;
        }
        if damaged > 0 {
            counts.dropped.add(damaged);
            say::text(&format!(
                "{damaged} damaged records were left in {}",
                path.display()
            ));
        }
        Ok(())
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
