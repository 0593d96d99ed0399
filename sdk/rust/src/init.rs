//! Setting up in one call: reads the configuration, makes the SDK, and puts it behind `tracing`, `log`, panics and the API of
//! OpenTelemetry. Never fails because a destination cannot be reached, only for what is written wrongly or set up twice.

mod builder;
mod reload;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cupola_sdk_core::backend::BackendHealth;
use cupola_sdk_core::configuration::ConfigurationError;
use cupola_sdk_core::metrics::Meter;
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::{Sdk, say};
use tracing::Subscriber;
use tracing_subscriber::registry::LookupSpan;

pub use builder::Builder;

use crate::console::ConsoleHandle;
use crate::layer::{self, FilterError, FilterHandle, Filters, Layer, LayerOptions};
use crate::panics;

/// Sets up everything from the environment, `cupola.yaml`, or the file that `OTEL_CONFIG_FILE` names. What is odd in them is
/// told once on standard error.
///
/// ```no_run
/// # fn main() -> Result<(), cupola_sdk::InitError> {
/// let _cupola = cupola_sdk::init()?;
/// tracing::info!(user.id = 7, "order placed");
/// # Ok(())
/// # }
/// ```
///
/// The guard is to live as long as the application: when it is dropped, what was recorded is delivered, for as long as
/// [`exit_timeout`](cupola_sdk_core::Settings::exit_timeout) at most.
pub fn init() -> Result<Cupola, InitError> {
    builder().init()
}

/// The same with something to say about it in code, which goes before variables and files.
pub fn builder() -> Builder {
    Builder::default()
}

/// Why nothing was set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("cannot read the configuration")]
    Configuration(#[from] ConfigurationError),
    #[error("cannot set up what is recorded")]
    Filter(#[from] FilterError),
    #[error("Cupola has been set up already; call `init` once, where the application begins")]
    Twice,
    #[error(
        "another subscriber of `tracing` has been set up already; use `builder().build()` and add the layer to it"
    )]
    Subscriber,
}

/// An SDK that has been set up. Ends when it is dropped: what was recorded is delivered, within a bound.
#[must_use = "what is recorded is delivered as long as it lives"]
pub struct Cupola {
    sdk: Sdk,
    options: LayerOptions,
    filter: FilterHandle,
    console: ConsoleHandle,
    builder: Arc<Builder>,
    has_ended: bool,
}

impl fmt::Debug for Cupola {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cupola").finish_non_exhaustive()
    }
}

static IS_INSTALLED: AtomicBool = AtomicBool::new(false);

impl Cupola {
    pub fn sdk(&self) -> &Sdk {
        &self.sdk
    }

    /// Makes instruments of this scope.
    pub fn meter(&self, scope: &str) -> Meter {
        self.sdk.meter(Scope::of(scope, "", "", &[]))
    }

    /// The layer of `tracing`, to be added to a subscriber of one's own.
    pub fn layer<S>(&self) -> Layer<S>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        layer::layer(
            self.sdk.clone(),
            self.options,
            self.console.clone(),
            self.filter.clone(),
        )
    }

    /// Puts other directives in force, such as `info,my_crate=debug`.
    pub fn set_directives(&self, directives: &str) -> Result<(), FilterError> {
        self.filter.set_directives(directives)
    }

    /// Puts other filters in force.
    pub fn set_filters(&self, filters: Filters) {
        self.filter.set(filters);
    }

    /// Delivers what has been recorded until now, within so long. Whether it was.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.sdk.flush(timeout)
    }

    /// How the destinations are.
    pub fn health(&self) -> Vec<BackendHealth> {
        self.sdk.health()
    }

    /// Ends, as when it is dropped, within so long. Whether all was delivered.
    pub fn shutdown(mut self, timeout: Duration) -> bool {
        self.has_ended = true;
        self.sdk.shutdown(timeout)
    }

    /// A subscriber that does what the layer does, at less cost; no other layer can look up its spans.
    pub fn subscriber(&self) -> impl Subscriber + Send + Sync + 'static {
        let (options, console) = (self.options, self.console.clone());
        layer::subscriber(self.sdk.clone(), options, console, self.filter.clone())
    }

    /// Puts it behind everything that the process has one of.
    fn install(&self) -> Result<(), InitError> {
        if IS_INSTALLED.swap(true, Ordering::AcqRel) {
            return Err(InitError::Twice);
        }
        let subscriber = self.subscriber();
        if tracing::subscriber::set_global_default(subscriber).is_err() {
            IS_INSTALLED.store(false, Ordering::Release);
            return Err(InitError::Subscriber);
        }
        if self.builder.has_log_bridge() {
            self.install_log_bridge();
        }
        if self.builder.has_panic_hook() {
            panics::install(&self.sdk);
        }
        #[cfg(feature = "opentelemetry")]
        crate::opentelemetry::install(&self.sdk);
        Ok(())
    }

    /// Records of the crate `log` as events.
    fn install_log_bridge(&self) {
        let bridge = tracing_log::LogTracer::builder().with_max_level(self.filter.log_level());
        if bridge.init().is_err() {
            say::text("records of the crate `log` do not come here: another logger has been set up for them");
            return;
        }
        self.filter.lead_log();
    }
}

impl Drop for Cupola {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let settings = self.sdk.settings();
        let timeout = settings.exit_timeout;
        if !self.sdk.shutdown(timeout) {
            let kept = match settings.spool {
                Some(_) => "the rest is in the spool, and delivered after the next start",
                None => "the rest is lost; with a spool it would not be",
            };
            say::text(&format!(
                "not all that was recorded could be delivered within {timeout:?}: {kept}"
            ));
        }
    }
}
