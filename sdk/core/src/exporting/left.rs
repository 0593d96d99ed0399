//! Taking over what ended processes of the application have left in its spool: their records go to the backends of this
//! process, and each of their queues is delivered by an exporter of its own, as long as it has something.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use cupola_telemetry::{Batch, TenantId};

use super::Exporting;
use super::backends::Backends;
use crate::backend::{QueueOnDisk, Running};
use crate::recorder::{Batcher, RecorderLimits};
use crate::resource::Resource;
use crate::say;
use crate::spool::{Left, SegmentRecords, Spool, is_queue_of, left_behind};

/// What is being taken over.
#[derive(Default)]
pub(super) struct Leavings {
    directories: Vec<Directory>,
}

/// The directory of an ended process.
struct Directory {
    left: Left,
    /// Queues and who delivers them.
    queues: Vec<Arc<Running>>,
    /// Queues for which there is no backend, or that could not be opened: the directory stays.
    others: Vec<PathBuf>,
}

impl Leavings {
    /// Looks for what has been left, and takes away what has been delivered.
    pub(super) async fn see_to(
        &mut self,
        spool: &Spool,
        exporting: &Exporting,
        backends: &mut Backends,
        tenant: &TenantId,
    ) {
        self.take_away().await;
        let found = match left_behind(&spool.settings().directory) {
            Ok(found) => found,
            Err(error) => {
                say::text(&format!(
                    "{} could not be searched for what was left: {error}",
                    spool.settings().directory.display()
                ));
                return;
            }
        };
        for left in found {
            match take_over(left, exporting, backends, tenant).await {
                Ok(directory) => self.directories.push(directory),
                Err(error) => say::text(&format!("what a process has left could not be read: {error}")),
            }
        }
        self.take_away().await;
    }

    /// Removes the directories from which everything has been delivered.
    async fn take_away(&mut self) {
        for directory in std::mem::take(&mut self.directories) {
            if !directory.queues.iter().all(|queue| queue.is_idle()) {
                self.directories.push(directory);
                continue;
            }
            for queue in &directory.queues {
                queue.shutdown().await;
            }
            if !directory.others.is_empty() {
                // Not looked at again by this process, nor by others while it lives.
                self.directories.push(Directory {
                    queues: Vec::new(),
                    ..directory
                });
            } else if let Err(error) = directory.left.remove() {
                say::text(&format!("what has been delivered could not be removed: {error}"));
            }
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.directories
            .iter()
            .all(|directory| directory.queues.iter().all(|queue| queue.is_idle()))
    }

    /// Stops delivering; what is left is left again.
    pub(super) async fn shutdown(&mut self, deadline: Instant) {
        let all = async {
            for queue in self.directories.iter().flat_map(|directory| &directory.queues) {
                queue.shutdown().await;
            }
            self.take_away().await;
        };
        let _ = tokio::time::timeout_at(deadline.into(), all).await;
    }
}

/// Exports the records of an ended process, and has its queues delivered.
async fn take_over(
    left: Left,
    exporting: &Exporting,
    backends: &mut Backends,
    tenant: &TenantId,
) -> io::Result<Directory> {
    let resource = left.resource().unwrap_or_else(|| (*exporting.resource()).clone());
    for (path, records) in left.segments()? {
        let (batches, damaged) = batches_of(&records, &resource, tenant);
        for batch in batches {
            exporting.counts.taken_over.add(batch.items() as u64);
            backends.offer(batch, &exporting.counts).await;
        }
        if damaged > 0 {
            exporting.counts.dropped.add(damaged);
            say::text(&format!(
                "{damaged} damaged records were left in {}",
                path.display()
            ));
        }
        std::fs::remove_file(path)?;
    }
    let mut directory = Directory {
        queues: Vec::new(),
        others: Vec::new(),
        left,
    };
    for path in directory.left.queues()? {
        let owner = backends
            .running()
            .iter()
            .find(|running| is_queue_of(&path, running.name()))
            .cloned();
        let Some(owner) = owner else {
            say::text(&format!(
                "{} is of no backend that there is, and is left alone",
                path.display()
            ));
            directory.others.push(path);
            continue;
        };
        let queue = QueueOnDisk {
            directory: path.clone(),
            bytes_max: exporting
                .spool
                .as_ref()
                .map_or(u64::MAX, |spool| spool.settings().bytes_max),
        };
        match Running::start(owner.backend(), Some(queue), backends.budget().clone()).await {
            Ok(running) => directory.queues.push(Arc::new(running)),
            Err(error) => {
                say::text(&format!("{} could not be opened: {error}", path.display()));
                directory.others.push(path);
            }
        }
    }
    Ok(directory)
}

/// Records of a segment as batches, and how many were damaged.
fn batches_of(records: &SegmentRecords, resource: &Resource, tenant: &TenantId) -> (Vec<Batch>, u64) {
    let mut batcher = Batcher::new(records.signal(), RecorderLimits::default());
    let mut unread = Vec::new();
    records.each(&mut |scope, record| {
        if batcher.add(scope, record) {
            unread.extend(batcher.finish(resource, tenant));
        }
    });
    unread.extend(batcher.finish(resource, tenant));
    let mut damaged = 0;
    let read = unread.into_iter().filter_map(|batch| {
        // A file may say anything.
        let read = Batch::decode_protobuf(batch.signal(), tenant.clone(), batch.payload().clone());
        if read.is_err() {
            damaged += batch.items() as u64;
        }
        read.ok()
    });
    (read.collect(), damaged)
}
