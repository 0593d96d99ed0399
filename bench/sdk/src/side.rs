//! Who is measured: one SDK, or one way to use it.

use std::sync::Arc;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::operation::{Leaves, Operation};
use crate::sides;

/// An SDK at work, as an application has it: it exports by OTLP over HTTP, in protobuf, without compression.
pub(crate) trait Side: Send + Sync {
    /// Does it so many times; a multiple of a hundred.
    fn run(&self, operation: Operation, count: usize);

    /// Has everything exported that was recorded so far.
    fn flush(&self);

    /// Ends it, everything exported. Records that have arrived, if that is not at the receiver.
    fn finish(&self) -> Option<u64>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SideName {
    /// No SDK: what the measuring itself takes.
    Nothing,
    /// The core, called directly.
    CupolaCore,
    /// The same without its search for secrets, which the peers do not have.
    CupolaCoreUnscrubbed,
    /// Through its layer of `tracing`.
    CupolaTracing,
    /// Behind the API of OpenTelemetry.
    CupolaOpentelemetry,
    #[cfg(feature = "peers")]
    OpentelemetrySdk,
    #[cfg(feature = "peers")]
    TracingOpentelemetry,
    #[cfg(feature = "peers")]
    Fastrace,
    #[cfg(feature = "peers")]
    Logfire,
    /// `tracing-subscriber`, lines of JSON to a file.
    #[cfg(feature = "peers")]
    TracingJson,
}

impl SideName {
    /// As it is written in tables and on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    pub(crate) fn is_cupola(self) -> bool {
        self.name().starts_with("cupola")
    }

    /// Whether it has got such an operation.
    pub(crate) fn supports(self, operation: Operation) -> bool {
        match self {
            SideName::Nothing | SideName::CupolaCore => true,
            SideName::CupolaCoreUnscrubbed => operation.is_record(),
            SideName::CupolaTracing => operation.leaves() != Leaves::Measurements,
            // It has no levels.
            SideName::CupolaOpentelemetry => operation != Operation::DisabledLog,
            #[cfg(feature = "peers")]
            SideName::OpentelemetrySdk => operation != Operation::DisabledLog,
            #[cfg(feature = "peers")]
            SideName::Fastrace => {
                operation.leaves() == Leaves::Spans || operation == Operation::UnsampledSpan
            }
            #[cfg(feature = "peers")]
            SideName::TracingOpentelemetry => operation.leaves() != Leaves::Measurements,
            #[cfg(feature = "peers")]
            SideName::Logfire => true,
            #[cfg(feature = "peers")]
            SideName::TracingJson => {
                operation.leaves() != Leaves::Measurements && operation != Operation::UnsampledSpan
            }
        }
    }

    /// Starts it, for one operation.
    pub(crate) fn start(self, endpoint: &str, operation: Operation) -> Result<Arc<dyn Side>> {
        let is_sampled = operation != Operation::UnsampledSpan;
        // The client of the peers cannot be made without, although nothing is encrypted here.
        #[cfg(feature = "peers")]
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(match self {
            SideName::Nothing => Arc::new(sides::nothing::Nothing),
            SideName::CupolaCore => Arc::new(sides::cupola_core::Core::start(endpoint, is_sampled, true)),
            SideName::CupolaCoreUnscrubbed => {
                Arc::new(sides::cupola_core::Core::start(endpoint, is_sampled, false))
            }
            SideName::CupolaTracing => Arc::new(sides::cupola_tracing::Tracing::start(endpoint, is_sampled)?),
            SideName::CupolaOpentelemetry => {
                Arc::new(sides::cupola_opentelemetry::Api::start(endpoint, is_sampled))
            }
            #[cfg(feature = "peers")]
            SideName::OpentelemetrySdk => {
                Arc::new(sides::opentelemetry_sdk::Direct::start(endpoint, is_sampled)?)
            }
            #[cfg(feature = "peers")]
            SideName::TracingOpentelemetry => {
                Arc::new(sides::opentelemetry_sdk::Tracing::start(endpoint, is_sampled)?)
            }
            #[cfg(feature = "peers")]
            SideName::Fastrace => Arc::new(sides::fastrace::Fastrace::start(endpoint, is_sampled)?),
            #[cfg(feature = "peers")]
            SideName::Logfire => Arc::new(sides::logfire::Logfire::start(endpoint, is_sampled)?),
            #[cfg(feature = "peers")]
            SideName::TracingJson => Arc::new(sides::tracing_json::Json::start(operation)?),
        })
    }
}
