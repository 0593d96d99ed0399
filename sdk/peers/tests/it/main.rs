//! What an application records through the SDK is read back from real destinations, equal in every field.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod application;
mod collector;
mod elasticsearch;
mod faults;
mod files;
mod kafka;
mod levels;
mod postgres;
mod together;
