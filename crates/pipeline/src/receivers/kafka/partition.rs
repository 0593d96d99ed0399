//! A partition that this member of the group reads: what has arrived of it, how far it is done, and whether its fetching
//! is paused. Owns the bound on what waits. Refuses to know the client: whoever polls it pauses, resumes and commits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bytes::Bytes;
use cupola_telemetry::memory::{MemoryBudget, Reservation};
use cupola_telemetry::{Signal, TenantId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A partition of which so much waits is paused, until half of it is gone.
const WAITING_BYTES_MAX: usize = 4 << 20;
const WAITING_MESSAGES_MAX: usize = 10_000;
/// What is taken together at most, and handed on as one batch.
const GROUP_BYTES_MAX: usize = 1 << 20;
const GROUP_MESSAGES_MAX: usize = 4_096;
/// What a message takes beside its payload and its headers.
const MESSAGE_BYTES: usize = 256;

/// A message, copied out of the client.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) offset: i64,
    /// `None` is a null, which says nothing.
    pub(super) payload: Option<Bytes>,
    pub(super) tenant: Result<TenantId, String>,
    /// What its header says that it is about.
    pub(super) signal: Option<Signal>,
    /// Names and values of the headers that become attributes.
    pub(super) headers: Vec<(String, String)>,
}

impl Message {
    pub(super) fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        MESSAGE_BYTES + self.payload.as_ref().map_or(0, Bytes::len) + headers.sum::<usize>()
    }
}

/// Messages that are worked on together, and the memory they are held in, but for one that there was none for.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) messages: Vec<Message>,
    pub(super) memory: Reservation,
}

#[derive(Debug)]
pub(super) struct Partition {
    pub(super) topic: String,
    pub(super) number: i32,
    /// What messages of the topic can be about.
    signals: Vec<Signal>,
    queue: Mutex<Queue>,
    arrived: Notify,
    /// The offset after the last message that is done; negative before the first.
    done: AtomicI64,
    /// As much has been told to the client.
    told: AtomicI64,
    /// The offset after the last message that has been written, as far as is known.
    written: AtomicI64,
    /// Nothing is read until another member, or this one again, gets the partition.
    stopped: AtomicBool,
    /// Cancelled when the partition is not this member's any more.
    pub(super) lost: CancellationToken,
}

#[derive(Debug)]
struct Queue {
    messages: VecDeque<(Message, Held)>,
    bytes: usize,
    paused: bool,
    memory: Reservation,
}

/// Whether memory is reserved for a message.
type Held = bool;

impl Partition {
    pub(super) fn new(topic: &str, number: i32, signals: Vec<Signal>, memory: &MemoryBudget) -> Partition {
        Partition {
            topic: topic.to_owned(),
            number,
            signals,
            queue: Mutex::new(Queue {
                messages: VecDeque::new(),
                bytes: 0,
                paused: false,
                memory: memory.reservation(),
            }),
            arrived: Notify::new(),
            done: AtomicI64::new(-1),
            told: AtomicI64::new(-1),
            written: AtomicI64::new(-1),
            stopped: AtomicBool::new(false),
            lost: CancellationToken::new(),
        }
    }

    /// Whether it is this one, and this member's still.
    pub(super) fn is(&self, topic: &str, number: i32) -> bool {
        self.number == number && self.topic == topic && !self.lost.is_cancelled()
    }

    /// What a message is about. Where several signals share a topic, its header says it.
    pub(super) fn signal(&self, said: Option<Signal>) -> Option<Signal> {
        match (said, self.signals.as_slice()) {
            (Some(said), of) if of.contains(&said) => Some(said),
            (None, [only]) => Some(*only),
            _ => None,
        }
    }

    /// Adds a message, whatever it takes: it has been read. True if the partition is to be paused now.
    pub(super) fn push(&self, message: Message) -> bool {
        let mut queue = self.queue.lock();
        if self.is_stopped() {
            return false;
        }
        let bytes = message.bytes();
        let held = queue.memory.try_grow(bytes);
        queue.messages.push_back((message, held));
        queue.bytes += bytes;
        let full = !held || queue.bytes >= WAITING_BYTES_MAX || queue.messages.len() >= WAITING_MESSAGES_MAX;
        let pause = full && !queue.paused;
        queue.paused |= full;
        drop(queue);
        self.arrived.notify_one();
        pause
    }

    /// The next messages, as soon as there are any. For one reader.
    pub(super) async fn take(&self) -> Group {
        loop {
            if let Some(group) = self.try_take() {
                return group;
            }
            self.arrived.notified().await;
        }
    }

    fn try_take(&self) -> Option<Group> {
        let mut queue = self.queue.lock();
        let (mut messages, mut bytes, mut reserved) = (Vec::new(), 0, 0);
        while let Some((next, held)) = queue.messages.front() {
            let more = next.bytes();
            let fits = bytes + more <= GROUP_BYTES_MAX && messages.len() < GROUP_MESSAGES_MAX;
            if !messages.is_empty() && !fits {
                break;
            }
            reserved += if *held { more } else { 0 };
            bytes += more;
            messages.extend(queue.messages.pop_front().map(|(message, _)| message));
        }
        if messages.is_empty() {
            return None;
        }
        queue.bytes -= bytes;
        let memory = queue.memory.split(reserved);
        Some(Group { messages, memory })
    }

    /// Whether it was paused and is to be fetched again.
    pub(super) fn resumes(&self) -> bool {
        let mut queue = self.queue.lock();
        let half_gone =
            queue.bytes <= WAITING_BYTES_MAX / 2 && queue.messages.len() <= WAITING_MESSAGES_MAX / 2;
        // Fetching for a single message at a time would cost more than it brings; where nothing waits it is worth it.
        let memory = queue.memory.budget();
        let room = queue.messages.is_empty() || memory.available() >= memory.ceiling() / 2;
        let resumes = queue.paused && !self.is_stopped() && half_gone && room;
        queue.paused &= !resumes;
        resumes
    }

    pub(super) fn is_paused(&self) -> bool {
        self.queue.lock().paused
    }

    /// Everything up to this offset is done: it was taken, or kept as a dead letter.
    pub(super) fn done(&self, offset: i64) {
        self.done.store(offset + 1, Ordering::Release);
    }

    /// Where to go on after what is done, if that has not been told yet.
    pub(super) fn untold(&self) -> Option<i64> {
        let done = self.done.load(Ordering::Acquire);
        (self.told.swap(done, Ordering::Relaxed) < done).then_some(done)
    }

    /// Reads nothing more, and forgets what waits: whoever gets the partition next reads it again.
    pub(super) fn stop(&self) {
        let mut queue = self.queue.lock();
        self.stopped.store(true, Ordering::Relaxed);
        let held = queue.memory.bytes();
        queue.memory.shrink(held);
        (queue.messages, queue.bytes) = (VecDeque::new(), 0);
    }

    /// Whether it has stopped and is to be paused for that.
    pub(super) fn halts(&self) -> bool {
        let mut queue = self.queue.lock();
        let halts = self.is_stopped() && !queue.paused;
        queue.paused |= halts;
        halts
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn set_written(&self, offset: i64) {
        self.written.store(offset, Ordering::Relaxed);
    }

    /// The offset of the last message that is done, and how many have been written after it, as far as either is known.
    pub(super) fn progress(&self) -> Option<(i64, Option<i64>)> {
        let done = self.done.load(Ordering::Relaxed);
        let written = self.written.load(Ordering::Relaxed);
        (done >= 0).then(|| (done - 1, (written >= 0).then(|| (written - done).max(0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(offset: i64, bytes: usize) -> Message {
        Message {
            offset,
            payload: Some(vec![0; bytes].into()),
            tenant: Ok(TenantId::default_tenant()),
            signal: None,
            headers: Vec::new(),
        }
    }

    #[tokio::test]
    async fn what_waits_is_bounded_by_pausing_and_taken_in_order() {
        let memory = MemoryBudget::unlimited();
        let partition = Partition::new("t", 0, vec![Signal::Logs], &memory);
        let mut pushed = 0;
        while !partition.push(message(pushed, 100_000)) {
            pushed += 1;
        }
        assert!(memory.used() >= WAITING_BYTES_MAX && memory.used() < WAITING_BYTES_MAX + 200_000);
        assert!(!partition.push(message(pushed + 1, 1)), "it is paused already");
        let mut next = 0;
        while !partition.resumes() {
            let group = partition.take().await;
            assert!(group.messages.iter().map(Message::bytes).sum::<usize>() <= GROUP_BYTES_MAX);
            for message in &group.messages {
                assert_eq!(message.offset, next);
                next += 1;
            }
        }
        assert!(memory.used() <= WAITING_BYTES_MAX / 2);
        partition.done(next - 1);
        assert_eq!((partition.untold(), partition.untold()), (Some(next), None));
        partition.set_written(next + 5);
        assert_eq!(partition.progress(), Some((next - 1, Some(5))));
    }

    #[test]
    fn a_partition_that_stands_still_holds_nothing_and_is_paused_once() {
        let memory = MemoryBudget::unlimited();
        let partition = Partition::new("t", 0, vec![Signal::Logs], &memory);
        partition.push(message(0, 1_000));
        assert!(!partition.halts());
        partition.stop();
        assert_eq!(memory.used(), 0);
        assert!(
            !partition.push(message(1, WAITING_BYTES_MAX)),
            "it takes nothing more"
        );
        assert_eq!(memory.used(), 0);
        assert_eq!((partition.halts(), partition.halts()), (true, false));
        assert!(!partition.resumes());
        let full = Partition::new("t", 1, vec![Signal::Logs], &memory);
        assert!(full.push(message(0, WAITING_BYTES_MAX)));
        full.stop();
        assert!(!full.halts(), "it is paused already");
        assert!(!full.resumes());
    }

    #[test]
    fn a_message_says_what_it_is_about_where_the_topic_does_not() {
        let of = |signals: &[Signal]| Partition::new("t", 0, signals.to_vec(), &MemoryBudget::unlimited());
        let one = of(&[Signal::Traces]);
        assert_eq!(one.signal(None), Some(Signal::Traces));
        assert_eq!(one.signal(Some(Signal::Logs)), None, "nobody takes logs from it");
        let two = of(&[Signal::Logs, Signal::Traces]);
        assert_eq!(two.signal(None), None);
        assert_eq!(two.signal(Some(Signal::Traces)), Some(Signal::Traces));
        assert!(one.is("t", 0) && !one.is("t", 1) && !one.is("u", 0));
        one.lost.cancel();
        assert!(!one.is("t", 0));
    }

    #[tokio::test]
    async fn a_message_without_memory_waits_alone_and_pauses() {
        let memory = MemoryBudget::new(10_000);
        let partition = Partition::new("t", 0, vec![Signal::Logs], &memory);
        assert!(!partition.push(message(0, 9_000)));
        assert!(partition.push(message(1, 9_000)));
        let group = partition.take().await;
        assert_eq!(group.messages.len(), 2);
        assert_eq!(group.memory.bytes(), message(0, 9_000).bytes());
        assert!(partition.resumes(), "nothing waits");
        assert!(partition.push(message(2, 9_000)), "there is no memory for it");
        assert!(!partition.resumes(), "there is none for another either");
        drop(group);
        assert_eq!(memory.used(), 0);
    }
}
