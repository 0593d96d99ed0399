//! Room for what decoding makes: how large it may become, and the budget it is taken from before it exists.

use bytes::Bytes;

use crate::decode::Problem;
use crate::memory::Reservation;

/// First allocation of an output that nothing is known about.
const CAPACITY_MIN: usize = 64;
/// Space is asked for in upper bounds, of keys and lengths above all; the limit itself is checked at the end.
const SLACK_BYTES: usize = 32;

/// Bounds of one decoding.
#[derive(Debug)]
pub struct DecodeLimits<'m> {
    /// Largest canonical payload.
    pub bytes_max: usize,
    /// Grows before anything is allocated. After a success it has grown by the payload, if that is a new one, and
    /// after an error by nothing.
    pub memory: &'m mut Reservation,
}

impl DecodeLimits<'_> {
    /// Runs a decoder within these limits; what it took and did not give back goes with its failure.
    pub(crate) fn apply<T, E>(self, decode: impl FnOnce(&mut Room<'_>) -> Result<T, E>) -> Result<T, E> {
        let before = self.memory.bytes();
        let decoded = decode(&mut Room {
            bytes_max: self.bytes_max,
            memory: Some(&mut *self.memory),
        });
        if decoded.is_err() {
            self.memory.shrink(self.memory.bytes().saturating_sub(before));
        }
        decoded
    }
}

/// What is left to a decoding under way.
pub(crate) struct Room<'m> {
    bytes_max: usize,
    memory: Option<&'m mut Reservation>,
}

impl Room<'_> {
    pub(crate) fn unlimited() -> Self {
        Self {
            bytes_max: usize::MAX,
            memory: None,
        }
    }

    /// Reserves `bytes` that are about to be allocated.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        let granted = self.memory.as_mut().is_none_or(|memory| memory.try_grow(bytes));
        if granted { Ok(()) } else { Err(Problem::OverMemory) }
    }

    pub(crate) fn give_back(&mut self, bytes: usize) {
        if let Some(memory) = &mut self.memory {
            memory.shrink(bytes);
        }
    }
}

/// Bytes that grow within their room. Writers append to `bytes` what they have reserved before.
pub(crate) struct Output<'r, 'm> {
    pub(crate) bytes: Vec<u8>,
    pub(crate) room: &'r mut Room<'m>,
}

impl<'r, 'm> Output<'r, 'm> {
    pub(crate) fn with_capacity(capacity: usize, room: &'r mut Room<'m>) -> Result<Self, Problem> {
        let capacity = capacity.min(room.bytes_max);
        room.take(capacity)?;
        Ok(Self {
            bytes: Vec::with_capacity(capacity),
            room,
        })
    }

    /// Makes room for `more` bytes.
    #[inline]
    pub(crate) fn reserve(&mut self, more: usize) -> Result<(), Problem> {
        if self.bytes.capacity() - self.bytes.len() >= more {
            return Ok(());
        }
        self.grow(more)
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, more: usize) -> Result<(), Problem> {
        let bytes_max = self.room.bytes_max;
        let length = self.bytes.len().saturating_add(more);
        let ceiling = bytes_max.saturating_add(SLACK_BYTES);
        if length > ceiling {
            return Err(Problem::TooLarge { bytes_max });
        }
        let before = self.bytes.capacity();
        let doubled = before.saturating_mul(2).max(CAPACITY_MIN);
        let capacity = doubled.min(ceiling).max(length);
        // Both exist while the one is copied into the other.
        self.room.take(capacity)?;
        self.bytes.reserve_exact(capacity - self.bytes.len());
        self.room.give_back(before);
        Ok(())
    }

    /// What was written, without spare capacity: a payload may be kept for long.
    pub(crate) fn finish(mut self) -> Result<Bytes, Problem> {
        let bytes_max = self.room.bytes_max;
        if self.bytes.len() > bytes_max {
            return Err(Problem::TooLarge { bytes_max });
        }
        let before = self.bytes.capacity();
        self.bytes.shrink_to_fit();
        self.room.give_back(before - self.bytes.capacity());
        Ok(Bytes::from(self.bytes))
    }
}
