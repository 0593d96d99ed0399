//! The component graph: what a configuration says is what runs, mistakes are all told, and changes lose nothing.

mod batching;
pub(crate) mod bench_components;
mod options;
mod passing;
mod plans;
mod reloads;
mod running;
mod simulation;
