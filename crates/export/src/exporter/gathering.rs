//! `sending_queue.batch`: small batches of a queue become larger ones before they are sent.
//!
//! Owns what has been taken out of the queue and waits for more of its kind: of one signal, tenant and values of the
//! `partition` keys. All of it still counts as held by the queue, is given back to it if the end comes first, and is on the
//! disk if the queue is. One consumer gathers at a time, the others send. A batch that is refused for good is sent again in
//! the parts it was made of, so that one that cannot be delivered takes no others into the dead letters; unless it had to be
//! split for `max_size`: a piece has a fate of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cupola_config::units::{ByteSize, TimeSpan};
use cupola_telemetry::{Batch, Client, Signal, TenantId};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::otlp::split_items;
use crate::queue::{Delivery, SendingQueue, SettingError};

/// Bytes that wait for others, and kinds of them; beyond, what has waited longest goes on.
const GATHERED_BYTES_MAX: usize = 64 << 20;
const KINDS_MAX: usize = 1000;

/// What a batch's size is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchSizer {
    /// Log records, spans and data points.
    #[default]
    Items,
    /// Payload bytes before compression.
    Bytes,
}

/// `batch` of `sending_queue`, with the Collector's names and defaults.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSettings {
    /// Longest that a batch waits for others.
    pub flush_timeout: TimeSpan,
    /// From this size on nothing is waited for.
    pub min_size: ByteSize,
    /// Larger ones are split; no bound if zero.
    pub max_size: ByteSize,
    pub sizer: BatchSizer,
    pub partition: PartitionSettings,
}

/// What is kept apart beside signals and tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartitionSettings {
    /// Headers of those who sent.
    pub metadata_keys: Vec<String>,
}

impl Default for BatchSettings {
    fn default() -> BatchSettings {
        BatchSettings {
            flush_timeout: TimeSpan(Duration::from_millis(200)),
            min_size: ByteSize(8192),
            max_size: ByteSize(0),
            sizer: BatchSizer::default(),
            partition: PartitionSettings::default(),
        }
    }
}

impl BatchSettings {
    pub(crate) fn validate(&self) -> Result<(), SettingError> {
        if self.flush_timeout.0.is_zero() {
            let problem = "must be greater than zero";
            return Err(SettingError::new("sending_queue.batch.flush_timeout", problem));
        }
        if self.max_size.0 > 0 && self.max_size.0 < self.min_size.0 {
            let problem = "must not be less than `min_size`";
            return Err(SettingError::new("sending_queue.batch.max_size", problem));
        }
        Ok(())
    }

    fn size(&self, batch: &Batch) -> u64 {
        match self.sizer {
            BatchSizer::Items => batch.items() as u64,
            BatchSizer::Bytes => batch.payload().len() as u64,
        }
    }

    /// A batch in pieces of `max_size`.
    pub(super) fn pieces(&self, batch: Batch) -> Vec<Batch> {
        let max = usize::try_from(self.max_size.0).unwrap_or(usize::MAX);
        if max == 0 || self.size(&batch) <= self.max_size.0 {
            return vec![batch];
        }
        match self.sizer {
            BatchSizer::Items => split_items(&batch, max).collect(),
            BatchSizer::Bytes => halves(batch, max),
        }
    }

    /// What is still known of the sender of a batch in a larger one.
    fn client(&self, batch: &Batch) -> Option<Arc<Client>> {
        let keys = &self.partition.metadata_keys;
        let client = batch.client().filter(|_| !keys.is_empty())?.only(keys);
        (!client.is_empty()).then(|| Arc::new(client))
    }
}

/// What is alike: signal, tenant, values of the keys, and whether senders wait for the result.
type Kind = (Signal, TenantId, Option<Arc<Client>>, bool);

/// Batches of one kind.
pub(super) struct Group {
    pub(super) deliveries: Vec<Delivery>,
    pub(super) client: Option<Arc<Client>>,
    pub(super) senders_wait: bool,
    size: u64,
    bytes: usize,
    due: Instant,
}

impl Group {
    /// All of it as one batch; the parts are left as they are.
    pub(super) fn whole(&self) -> Option<Batch> {
        let part = |delivery: &Delivery| delivery.batch.clone().with_client(self.client.clone());
        let parts: Vec<Batch> = self.deliveries.iter().map(part).collect();
        Batch::concat(&parts)
    }

    /// Bytes that are held, the more of which are payloads, which are copied to make one of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

pub(super) struct Gathering {
    pub(super) settings: BatchSettings,
    groups: Mutex<HashMap<Kind, Group>>,
}

impl Gathering {
    pub(super) fn new(settings: BatchSettings) -> Gathering {
        Gathering {
            settings,
            groups: Mutex::default(),
        }
    }

    /// The next group to be sent. `None` at the end of the queue, when nothing waits any more. Nothing is lost if this is
    /// dropped while it waits.
    pub(super) async fn next(&self, queue: &SendingQueue) -> Option<Group> {
        let mut groups = self.groups.lock().await;
        loop {
            let first_due = groups.values().map(|group| group.due).min();
            let overdue = async {
                match first_due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let delivery = tokio::select! {
                biased;
                () = overdue => return longest_waiting(&mut groups),
                delivery = queue.next() => delivery,
            };
            let Some(delivery) = delivery else {
                return longest_waiting(&mut groups);
            };
            if let Some(kind) = self.add(&mut groups, queue, delivery) {
                return groups.remove(&kind);
            }
            let bytes: usize = groups.values().map(Group::bytes).sum();
            if bytes > GATHERED_BYTES_MAX || groups.len() > KINDS_MAX {
                return longest_waiting(&mut groups);
            }
        }
    }

    /// Gives the kind if there is enough of it.
    fn add(
        &self,
        groups: &mut HashMap<Kind, Group>,
        queue: &SendingQueue,
        delivery: Delivery,
    ) -> Option<Kind> {
        let batch = &delivery.batch;
        let client = self.settings.client(batch);
        let senders_wait = queue.has_waiter(&delivery);
        let kind = (
            batch.signal(),
            batch.tenant().clone(),
            client.clone(),
            senders_wait,
        );
        let group = groups.entry(kind.clone()).or_insert_with(|| Group {
            deliveries: Vec::new(),
            client,
            senders_wait,
            size: 0,
            bytes: 0,
            due: Instant::now() + self.settings.flush_timeout.0,
        });
        group.size += self.settings.size(batch);
        group.bytes += batch.bytes_held();
        group.deliveries.push(delivery);
        (group.size >= self.settings.min_size.0).then_some(kind)
    }

    /// What waits goes back to the queue, oldest first in it; after the consumers have ended.
    pub(super) async fn give_back(&self, queue: &SendingQueue) {
        let groups = std::mem::take(&mut *self.groups.lock().await);
        for group in groups.into_values() {
            for delivery in group.deliveries.into_iter().rev() {
                queue.give_back(delivery);
            }
        }
    }
}

/// Pieces of at most `bytes_max`; an item that is larger is one by itself.
fn halves(batch: Batch, bytes_max: usize) -> Vec<Batch> {
    if batch.payload().len() <= bytes_max || batch.items() <= 1 {
        return vec![batch];
    }
    split_items(&batch, batch.items().div_ceil(2))
        .flat_map(|half| halves(half, bytes_max))
        .collect()
}

fn longest_waiting(groups: &mut HashMap<Kind, Group>) -> Option<Group> {
    let kind = groups.iter().min_by_key(|(_, group)| group.due)?.0.clone();
    groups.remove(&kind)
}
