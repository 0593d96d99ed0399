//! Cupola's SDK behind the API of OpenTelemetry: the calls are those that the SDK of OpenTelemetry is measured with.

use cupola_sdk::opentelemetry::{Logger, LoggerProvider, MeterProvider, Tracer, TracerProvider};
use cupola_sdk_core::{Sdk, Surroundings};
use opentelemetry::logs::LoggerProvider as _;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;

use super::api_calls::{Calls, Instruments};
use super::cupola_core::{FLUSH_TIMEOUT, end, settings};
use crate::operation::{Operation, data};
use crate::side::Side;

pub(crate) struct Api {
    sdk: Sdk,
    calls: Calls<Tracer, Logger>,
}

impl Api {
    pub(crate) fn start(endpoint: &str, is_sampled: bool) -> Api {
        let sdk = Sdk::new(settings(endpoint, is_sampled), Surroundings::default());
        let meter = MeterProvider::new(sdk.clone()).meter(data::SCOPE);
        Api {
            calls: Calls {
                tracer: TracerProvider::new(sdk.clone()).tracer(data::SCOPE),
                logger: LoggerProvider::new(sdk.clone()).logger(data::SCOPE),
                instruments: Instruments::of(&meter),
            },
            sdk,
        }
    }
}

impl Side for Api {
    fn run(&self, operation: Operation, count: usize) {
        self.calls.run(operation, count);
    }

    fn flush(&self) {
        self.sdk.flush(FLUSH_TIMEOUT);
    }

    fn finish(&self) -> Option<u64> {
        end(&self.sdk);
        None
    }
}
