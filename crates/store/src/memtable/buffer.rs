//! The batches of one tenant and signal in one generation: a raw tail, and sealed columns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cupola_telemetry::Batch;
use cupola_telemetry::memory::Reservation;
use parking_lot::Mutex;

use crate::columns::SealedChunks;

/// A batch that is not in columns yet.
#[derive(Debug)]
pub(crate) struct RawBatch {
    pub(crate) batch: Batch,
    pub(crate) sequence: u64,
    pub(crate) received_unix_nano: i64,
    pub(crate) reservation: Reservation,
}

/// Columns of some batches, and the memory they hold.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) chunks: SealedChunks,
    _memory: Option<Reservation>,
}

/// A tail is sealed as well when memory reserved for it is so many times what its payloads may be.
const TAIL_MEMORY_FACTOR: usize = 8;

#[derive(Debug)]
pub(crate) struct Buffer {
    state: Mutex<State>,
    /// Memory that the generation holds, of all its buffers.
    held: Arc<AtomicUsize>,
    /// Somebody has been asked to seal the tail.
    seal_requested: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    tail: Vec<RawBatch>,
    tail_bytes: usize,
    /// Reserved for the tail.
    tail_memory: usize,
    sealed: Vec<Arc<Sealed>>,
}

/// The first batches of a tail, to be sealed.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) batches: Vec<Batch>,
    pub(crate) sequences: Vec<u64>,
    /// When the last of them was received.
    pub(crate) received_unix_nano: i64,
}

impl Buffer {
    pub(super) fn new(held: Arc<AtomicUsize>) -> Buffer {
        Buffer {
            state: Mutex::default(),
            held,
            seal_requested: AtomicBool::new(false),
        }
    }

    /// Adds a batch; `true` when the tail is longer than `seal_bytes_max` and nobody was asked to seal it.
    pub(super) fn push(&self, raw: RawBatch, seal_bytes_max: usize) -> bool {
        let memory = raw.reservation.bytes();
        self.held.fetch_add(memory, Ordering::Relaxed);
        let mut state = self.state.lock();
        state.tail_bytes += raw.batch.payload().len();
        state.tail_memory += memory;
        state.tail.push(raw);
        let is_long =
            state.tail_bytes > seal_bytes_max || state.tail_memory / TAIL_MEMORY_FACTOR > seal_bytes_max;
        is_long && !self.seal_requested.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn has_tail(&self) -> bool {
        !self.state.lock().tail.is_empty()
    }

    /// How many batches the tail has.
    pub(crate) fn tail_batches(&self) -> usize {
        self.state.lock().tail.len()
    }

    /// The first batches of the tail, at most `bytes_max` with at most `memory_max` reserved for them unless the first is
    /// larger, at most `batches_max`.
    pub(crate) fn tail(&self, bytes_max: usize, memory_max: usize, batches_max: usize) -> Tail {
        self.seal_requested.store(false, Ordering::Relaxed);
        let state = self.state.lock();
        let mut tail = Tail {
            batches: Vec::new(),
            sequences: Vec::new(),
            received_unix_nano: 0,
        };
        let (mut bytes, mut memory) = (0, 0);
        for raw in state.tail.iter().take(batches_max) {
            bytes += raw.batch.payload().len();
            memory += raw.reservation.bytes();
            if (bytes > bytes_max || memory > memory_max) && !tail.batches.is_empty() {
                break;
            }
            tail.batches.push(raw.batch.clone());
            tail.sequences.push(raw.sequence);
            tail.received_unix_nano = raw.received_unix_nano;
        }
        tail
    }

    /// Puts columns in the place of the first `batches` of the tail, at once for every reader. One caller at a time.
    pub(crate) fn replace(&self, batches: usize, chunks: SealedChunks) {
        let mut state = self.state.lock();
        let taken: Vec<RawBatch> = state.tail.drain(..batches).collect();
        let bytes: usize = taken.iter().map(|raw| raw.batch.payload().len()).sum();
        state.tail_bytes -= bytes;
        let reserved: usize = taken.iter().map(|raw| raw.reservation.bytes()).sum();
        state.tail_memory -= reserved;
        let needed = chunks.chunks.iter().map(|chunk| chunk.memory_bytes).sum();
        self.held.fetch_add(needed, Ordering::Relaxed);
        self.held.fetch_sub(reserved, Ordering::Relaxed);
        let memory = taken.into_iter().next().map(|raw| {
            let mut memory = raw.reservation;
            if !memory.try_resize(needed) {
                // Held already: the next append pays.
                memory.grow(needed - memory.bytes());
            }
            memory
        });
        if !chunks.chunks.is_empty() {
            state.sealed.push(Arc::new(Sealed {
                chunks,
                _memory: memory,
            }));
        }
    }

    /// The columns made so far.
    pub(crate) fn sealed(&self) -> Vec<Arc<Sealed>> {
        self.state.lock().sealed.clone()
    }
}
