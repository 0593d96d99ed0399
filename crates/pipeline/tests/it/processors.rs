//! Processors read the Collector's configuration and do what it says.

mod actions;
mod filter;
mod transform;
