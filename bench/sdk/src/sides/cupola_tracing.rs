//! Cupola's SDK as an application with `tracing` has it: what `init()` installs, with everything that it adds by default.

use anyhow::Result;
use cupola_sdk::layer::{FilterHandle, Filters, LayerOptions, subscriber};
use cupola_sdk_core::{Sdk, Surroundings};

use super::cupola_core::{FLUSH_TIMEOUT, end, settings};
use super::tracing_calls;
use crate::operation::Operation;
use crate::side::Side;

pub(crate) struct Tracing {
    sdk: Sdk,
}

impl Tracing {
    pub(crate) fn start(endpoint: &str, is_sampled: bool) -> Result<Tracing> {
        let sdk = Sdk::new(settings(endpoint, is_sampled), Surroundings::default());
        Tracing::install(&sdk)?;
        Ok(Tracing { sdk })
    }

    /// What an application wants to see is what it is for the peers.
    pub(crate) fn install(sdk: &Sdk) -> Result<()> {
        let filter = FilterHandle::new(Filters::parse("info,loud=debug")?);
        let subscriber = subscriber(sdk.clone(), LayerOptions::default(), None, filter);
        Ok(tracing::subscriber::set_global_default(subscriber)?)
    }
}

impl Side for Tracing {
    fn run(&self, operation: Operation, count: usize) {
        tracing_calls::run(operation, count);
    }

    fn flush(&self) {
        self.sdk.flush(FLUSH_TIMEOUT);
    }

    fn finish(&self) -> Option<u64> {
        end(&self.sdk);
        None
    }
}
