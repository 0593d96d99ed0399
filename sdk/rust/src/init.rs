//! Setting up in one call: reads the configuration, makes the SDK, and puts it behind `tracing`, `log`, panics and the API of
//! OpenTelemetry. Never fails because a destination cannot be reached, only for what is written wrongly or set up twice.

mod builder;
mod panics;

use std::sync::OnceLock;
use std::time::Duration;

use cupola_sdk_core::Sdk;
use cupola_sdk_core::backend::BackendHealth;
use cupola_sdk_core::configuration::ConfigurationError;
use cupola_sdk_core::metrics::Meter;
use cupola_sdk_core::recorder::Scope;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

use builder::Bridges;
pub use builder::Builder;

use crate::layer::{FilterError, FilterHandle, Layer};

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
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error(
        "cupola_sdk has been set up already; call `init` once, at the beginning of `main`, and keep what it returns"
    )]
    Twice,
    #[error(
        "another subscriber of `tracing` has been set for the process; add the layer of `cupola_sdk::builder().build()` to it instead"
    )]
    Subscriber,
}

/// An SDK that has been set up. When it is dropped, what was recorded is delivered, within the `exit_timeout` of the settings, and
/// the thread that exports ends.
#[derive(Debug)]
#[must_use = "what is recorded is delivered as long as it lives"]
pub struct Cupola {
    sdk: Sdk,
    filter: FilterHandle,
    has_ended: bool,
}

static GLOBAL: OnceLock<Sdk> = OnceLock::new();

/// The SDK that [`init`] has set up; `None` before.
pub fn sdk() -> Option<&'static Sdk> {
    GLOBAL.get()
}

impl Cupola {
    pub fn sdk(&self) -> &Sdk {
        &self.sdk
    }

    /// Makes instruments of this scope.
    pub fn meter(&self, scope: &str) -> Meter {
        self.sdk.meter(Scope::of(scope, "", "", &[]))
    }

    /// What is recorded, to be changed while the application runs.
    pub fn filter(&self) -> &FilterHandle {
        &self.filter
    }

    /// Puts other directives in force, such as `info,my_crate=debug`.
    pub fn set_directives(&self, directives: &str) -> Result<(), FilterError> {
        self.filter.set_directives(directives)
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
                Some(_) => "it is in the spool and delivered after the next start",
                None => "it is lost; with a spool it would not be",
            };
            say(&format!(
                "warning: not all that was recorded could be delivered within {timeout:?}: {kept}"
            ));
        }
    }
}

/// Puts an SDK behind everything that the process has one of.
fn install(cupola: &Cupola, layer: Layer<Registry>, bridges: Bridges) -> Result<(), InitError> {
    if GLOBAL.get().is_some() {
        return Err(InitError::Twice);
    }
    let subscriber = tracing_subscriber::registry().with(layer);
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        return Err(InitError::Subscriber);
    }
    // Of two threads that are here at once, one has got no further than the subscriber.
    let _ = GLOBAL.set(cupola.sdk.clone());
    if bridges.log {
        let bridge = tracing_log::LogTracer::builder().with_max_level(cupola.filter.log_level());
        if bridge.init().is_err() {
            say(
                "warning: records of the crate `log` do not come here: another logger is there for them already",
            );
        }
        cupola.filter.lead_log();
    }
    if bridges.panics {
        panics::install(&cupola.sdk);
    }
    #[cfg(feature = "opentelemetry")]
    crate::opentelemetry::install(&cupola.sdk);
    Ok(())
}

/// Tells whoever runs the application, on standard error.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().write_all(format!("cupola: {text}\n").as_bytes());
}
