//! JSON text: structured attribute values and bodies.

mod get;
mod plain;

pub(crate) use get::{JsonGet, member};
pub(crate) use plain::plain_json;
