//! What the store promises, one module a promise.

mod catalog;
mod compaction;
mod crash;
mod deletion;
mod directory;
mod doctor;
mod journal;
mod kill;
mod memory;
mod random;
mod readers;
mod remote;
mod retention;
mod rows;
mod simulated;
mod upgrade;
