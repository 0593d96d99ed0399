//! Seeded, realistic telemetry: for benchmarks, tests and `cupola generate`.
//!
//! A fleet of services with pods answers users' calls. Traces cross services; logs are written inside their spans;
//! points carry exemplars that name them. Services, routes, users, tenants and words are skewed as in production.
//!
//! Equal configurations give equal bytes, in every later version too: randomness is ChaCha with 8 rounds, and draws are
//! derived from its raw words. (Powers and logarithms may round differently on another platform's mathematics library;
//! on one platform nothing varies.) This crate does no IO and reads no clock.

mod attributes;
mod config;
mod generator;
mod instruments;
mod logs;
pub mod ndjson;
mod plan;
mod points;
mod random;
mod topology;
mod traces;
mod wire;
mod words;

pub use config::{
    GeneratorConfig, METRIC_INTERVAL_MAX, PODS_MAX, ROUTES_MAX, SERVICES_MAX, START_UNIX_NANO_MAX,
};
pub use generator::Generator;
pub use words::{ABSENT_WORD, COMMON_WORD, RARE_WORD};
