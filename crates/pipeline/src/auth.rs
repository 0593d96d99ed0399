//! The server's side of authenticators: whether the credentials of a request are right.
//!
//! Owns the ways to find that out, each of which takes as long for wrong credentials as for right ones, and bounds what
//! finding out may cost. Refuses to know of receivers: these ask before they read a body. [`Authenticators`] is what a configuration has of either
//! side, by name.

mod authenticators;
mod basic;
mod bearer;
mod htpasswd;

pub use authenticators::{Authenticators, NoAuthenticator};
pub use basic::{BasicServer, Htpasswd};
pub use bearer::BearerServer;
