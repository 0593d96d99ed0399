//! JSON text: structured attribute values and bodies.

mod get;

pub(crate) use cupola_telemetry::json::plain_of_stored as plain_json;
pub(crate) use get::{JsonGet, member};
