//! The directory of an ended process: its segments, which are exported, and its queues, which are delivered.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_telemetry::Batch;

use super::super::backends::{Backends, Mark};
use super::Means;
use crate::backend::{QueueOnDisk, Running};
use crate::recorder::{Batcher, RecorderLimits};
use crate::resource::Resource;
use crate::say;
use crate::spool::{Left, SegmentRecords, Spool, is_queue_of, owed_to};

/// The directory of an ended process.
pub(super) struct Directory {
    pub(super) left: Left,
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
    pub(super) has_said: bool,
}

/// A segment that is to be removed when it is needed no more.
struct Exported {
    path: PathBuf,
    /// What of it is held has this number, or a greater one.
    held_from: u64,
    mark: Mark,
}

impl Directory {
    pub(super) fn new(left: Left, has_said: bool) -> io::Result<Directory> {
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

    pub(super) fn has_more(&self, backends: &Backends) -> bool {
        !self.segments.is_empty() || self.next_owed(backends).is_some()
    }

    /// Nothing in it can be delivered now that has not been.
    pub(super) fn is_idle(&self, backends: &Backends) -> bool {
        !self.has_more(backends) && self.queues.iter().all(|(_, queue)| queue.is_idle())
    }

    /// Nothing is left in it but what has been delivered.
    pub(super) fn is_empty(&self) -> bool {
        self.unreadable.is_empty() && self.owed.is_empty() && self.others.is_empty()
    }

    /// Segments are there still that are needed no more, or will be when there is room.
    pub(super) fn has_exported(&self) -> bool {
        !self.exported.is_empty()
    }

    /// Whether what is left in it is of a backend that there is, or may be.
    pub(super) fn may_be_delivered(&self, backends: &Backends) -> bool {
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

    pub(super) fn remove_exported(&mut self, backends: &Backends) {
        self.exported.retain_mut(|exported| {
            !backends.has_kept(exported.held_from, &mut exported.mark)
                || std::fs::remove_file(&exported.path).is_err()
        });
    }

    /// Has the queues delivered for which there is a backend.
    pub(super) async fn open_queues(&mut self, spool: &Spool, backends: &Backends) {
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

    /// Lets go of its queues, which are opened again with other backends.
    pub(super) async fn let_go(&mut self) {
        for (path, queue) in std::mem::take(&mut self.queues) {
            queue.shutdown().await;
            self.others.push(path);
        }
    }

    pub(super) async fn shutdown(&self) {
        for (_, queue) in &self.queues {
            queue.shutdown().await;
        }
    }

    fn say_once(&mut self, path: &Path, problem: &str) {
        if !std::mem::replace(&mut self.has_said, true) {
            say::text(&format!("{} is left alone for now: {problem}", path.display()));
        }
    }

    /// One segment after the other, since together they may be more than there is memory for; until a queue takes no more.
    pub(super) async fn export_segments(&mut self, means: &Means<'_>, backends: &mut Backends) {
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

    pub(super) fn try_unreadable_again(&mut self) {
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
