//! What TCP and UDP share: messages become entries, pass the operators, and are handed over as a batch.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use cupola_telemetry::memory::{MemoryBudget, Reservation};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::operators::{Entry, Operators, batch};
use crate::receivers::http::stats::count;
use crate::receivers::text::Templates;
use crate::receivers::text::delivery::{Delivered, Delivery};
use crate::receivers::text::encoding::Encoding;
use crate::receivers::text::split::trim;

/// The scope of records: the Collector's name of the receiver.
const SCOPE: &str = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/syslogreceiver";
/// Records of one batch.
pub(super) const BATCH_RECORDS_MAX: usize = 1024;
/// Memory that a record takes for each of its bytes, and beside them.
const WORK_GROWTH: usize = 5;
const RECORD_BYTES: usize = 1024;
/// Between looks for memory.
const MEMORY_PAUSE: Duration = Duration::from_millis(50);
/// How often operators are asked for what they have held for too long.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// Who sent a message, and to which address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) local: Option<SocketAddr>,
}

/// One message.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) bytes: Bytes,
    pub(super) peer: Peer,
}

impl Record {
    /// Memory that work on it takes.
    pub(super) fn memory(&self) -> usize {
        record_memory(self.bytes.len())
    }
}

/// Memory that work on a record of so many bytes takes.
pub(super) fn record_memory(bytes: usize) -> usize {
    bytes * WORK_GROWTH + RECORD_BYTES
}

#[derive(Debug, Default)]
pub(super) struct SyslogStats {
    pub(super) connections: AtomicU64,
    pub(super) connections_over_memory: AtomicU64,
    pub(super) packets: AtomicU64,
    pub(super) packets_dropped: AtomicU64,
    pub(super) over_memory: AtomicU64,
}

/// Everything that connections of a receiver share.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) operators: Arc<Mutex<Operators>>,
    pub(super) attributes: Arc<Templates>,
    pub(super) resource: Arc<Templates>,
    pub(super) delivery: Delivery,
    pub(super) memory: MemoryBudget,
    /// The part of it that messages may take which are not complete yet: work on others goes on with the rest.
    pub(super) waiting: MemoryBudget,
    pub(super) stats: Arc<SyslogStats>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Work {
    /// Returns when the sink has taken the records, or never will; `transport` is given where peers are to be named.
    /// `reserved` is the memory of the records.
    pub(super) async fn hand_over(
        &self,
        (records, mut reserved): (Vec<Record>, Reservation),
        encoding: Encoding,
        keep: (bool, bool),
        transport: Option<&'static str>,
    ) -> Delivered {
        let mut out = Vec::new();
        {
            let mut operators = self.operators.lock();
            let now = Utc::now();
            for record in &records {
                if let Some(entry) = self.entry(record, encoding, keep, transport, now) {
                    operators.process(entry, now, &mut out);
                }
            }
        }
        drop(records);
        if out.is_empty() {
            return Delivered::Done;
        }
        let made = batch(&out, SCOPE);
        drop(out);
        reserved.shrink(reserved.bytes().saturating_sub(made.payload().len()));
        self.delivery.send(made, &self.stop).await
    }

    /// Memory of records. More than what waits leaves of it is all that it leaves.
    pub(super) fn try_reserve(&self, records: &[Record]) -> Option<Reservation> {
        let bytes = records.iter().map(Record::memory).sum::<usize>();
        self.memory
            .try_reserve(bytes.min(self.memory.ceiling() - self.waiting.ceiling()))
    }

    /// Waits for memory: whoever sends waits with it.
    pub(super) async fn reserve(&self, records: &[Record]) -> Option<Reservation> {
        loop {
            if let Some(reserved) = self.try_reserve(records) {
                return Some(reserved);
            }
            count(&self.stats.over_memory, 1);
            tokio::select! {
                () = tokio::time::sleep(MEMORY_PAUSE) => {}
                () = self.stop.cancelled() => return None,
            }
        }
    }

    fn entry(
        &self,
        record: &Record,
        encoding: Encoding,
        (leading, trailing): (bool, bool),
        transport: Option<&'static str>,
        now: chrono::DateTime<Utc>,
    ) -> Option<Entry> {
        let (from, to) = trim(&record.bytes, (0, record.bytes.len()), leading, trailing);
        if from == to {
            return None;
        }
        let mut entry = Entry {
            observed: now.timestamp_nanos_opt().unwrap_or_default(),
            body: encoding.body(&record.bytes[from..to]),
            ..Entry::default()
        };
        if let Some(transport) = transport {
            name_peer(&mut entry, record.peer, transport);
        }
        self.attributes.apply(&mut entry, |entry| &mut entry.attributes);
        self.resource.apply(&mut entry, |entry| &mut entry.resource);
        Some(entry)
    }

    /// Hands over in time what operators hold.
    pub(super) async fn flush_in_time(self) {
        let mut timer = tokio::time::interval(FLUSH_INTERVAL);
        loop {
            tokio::select! {
                _ = timer.tick() => self.flush(false).await,
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Hands over what operators have held for too long, or everything that they hold.
    pub(super) async fn flush(&self, all: bool) {
        let mut out = Vec::new();
        self.operators.lock().flush(Utc::now(), all, &mut out);
        if !out.is_empty() {
            self.delivery.send(batch(&out, SCOPE), &self.stop).await;
        }
    }
}

/// Names of hosts are not looked up: the address stands for them.
fn name_peer(entry: &mut Entry, peer: Peer, transport: &str) {
    let attributes = &mut entry.attributes;
    attributes.set("net.transport", transport);
    let both = [("peer", Some(peer.address)), ("host", peer.local)];
    for (side, address) in both {
        let Some(address) = address else {
            continue;
        };
        let ip = address.ip().to_canonical().to_string();
        attributes.set(&format!("net.{side}.ip"), ip.as_str());
        attributes.set(&format!("net.{side}.port"), address.port().to_string());
        attributes.set(&format!("net.{side}.name"), ip);
    }
}
