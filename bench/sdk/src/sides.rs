//! The SDKs, each set up as its documentation says, and called as an application would.

pub(crate) mod api_calls;
pub(crate) mod cupola_core;
pub(crate) mod cupola_opentelemetry;
pub(crate) mod cupola_tracing;
pub(crate) mod nothing;
pub(crate) mod tracing_calls;

#[cfg(feature = "peers")]
pub(crate) mod fastrace;
#[cfg(feature = "peers")]
pub(crate) mod logfire;
#[cfg(feature = "peers")]
pub(crate) mod opentelemetry_sdk;
#[cfg(feature = "peers")]
pub(crate) mod tracing_json;
