//! Profiles by the stacks of this process, on systems where they can be taken.
//!
//! ```text
//! cpu, heap ──▶ unwind (memory) ──▶ profile ──▶ symbols
//! ```

mod cpu;
pub(crate) mod heap;
mod memory;
mod profile;
mod symbols;
mod unwind;

pub(crate) use cpu::CpuProfile;
