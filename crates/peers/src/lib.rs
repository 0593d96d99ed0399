//! Real servers that tests talk to: found, or installed below `target/peers` from a package registry, started on
//! loopback with a port and a directory of their own, and ended with the test.
//!
//! Whatever stands in the way of having one is an `Err` with the reason, which a test prints as `skipped: reason`.
//! Refuses to pretend: there are no imitations here.

pub mod certificates;
pub mod collector;
pub mod expected;
pub mod far_end;
mod install;
pub mod kafka;
pub mod mariadb;
pub mod opensearch;
pub mod postgres;
mod process;
pub mod prometheus;
pub mod redis;
pub mod small_disk;

pub use install::{debian, found, once, slow};
pub use process::{Process, free_port, wait_until};

/// Why a server cannot be had here.
pub type Missing = String;

/// The server, or the end of the test with the reason why there is none.
#[macro_export]
macro_rules! peer_or_skip {
    ($peer:expr) => {
        match $peer {
            Ok(peer) => peer,
            Err(reason) => {
                eprintln!("skipped: {reason}");
                return;
            }
        }
    };
}
