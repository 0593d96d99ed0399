//! Rows in memory: generations of raw batches and the columns made of them.
//!
//! Batches are pushed raw, in the order of the log, by the journal thread alone. They become columns ("sealed") when a
//! tail grows large, when a snapshot is taken, or at a flush, once. A generation is frozen, flushed as a whole, and
//! forgotten when the segments it became are in the view.
//!
//! Refuses: knowing how columns are made, and IO.

mod buffer;
mod generation;
mod view;

pub(crate) use buffer::{Buffer, RawBatch, Sealed};
pub(crate) use generation::Generation;
pub(crate) use view::{Memtable, MemtableWriter, SealRequest, View};
