//! The real binary, from outside: what a user types, sends and sees. Each module is one guarantee.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod agent;
mod commands;
mod configuration;
mod crash;
mod demo;
mod disk_full;
mod failures;
mod fixture;
mod generate;
mod health;
mod ledger;
mod offline;
mod output;
mod own_telemetry;
mod pipelines;
mod pprof;
mod query;
mod reader;
mod readiness;
mod retention;
mod sdk;
mod serve;
mod support;
mod tail;
mod zpages;
