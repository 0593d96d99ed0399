//! The API as its clients see it: every endpoint against a store filled with OTLP.

#![expect(clippy::unwrap_used, reason = "a failed unwrap here is a failed test")]

mod admin;
mod connections;
mod endpoints;
mod flight;
mod logs;
mod openapi;
mod outside;
mod postgres;
mod server;
mod sql;
mod support;
mod tail;
mod tenants;
mod wire;
