//! One call that sets everything up: settings from the environment and files, a subscriber of `tracing` for the whole process, the
//! `log` crate, panics, the providers of OpenTelemetry's API; and a guard that exports what is left at the end.
//!
//! What is odd in the settings is said on standard error and keeps nothing from starting, and neither does a backend that
//! cannot be reached; a file of configuration with mistakes does.

mod panics;

use std::sync::OnceLock;
use std::time::Duration;

use cupola_sdk_core::backend::{Backend, BackendHealth};
use cupola_sdk_core::configuration::watch::Watched;
use cupola_sdk_core::configuration::{self, ConfigurationError, Environment, Loaded};
use cupola_sdk_core::log::Severity;
use cupola_sdk_core::resource::OwnedValue;
use cupola_sdk_core::sampling::Sampler;
use cupola_sdk_core::settings::{ConsoleSettings, Settings};
use cupola_sdk_core::{Sdk, Surroundings};
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

use crate::console::Console;
use crate::layer::{self, FilterError, FilterHandle, Filters, Layer, LayerOptions};

/// Directives for what is recorded, as `tracing` has them.
const DIRECTIVES: &str = "RUST_LOG";
/// Where neither they nor a level are set.
const DIRECTIVES_USUAL: &str = "info";

static GLOBAL: OnceLock<Sdk> = OnceLock::new();

/// Why nothing was set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    #[error("`{DIRECTIVES}` cannot be used")]
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

/// Sets everything up as the environment and files say. What it returns is to be kept until the end of `main`.
///
/// ```no_run
/// fn main() -> Result<(), cupola_sdk::InitError> {
///     let _cupola = cupola_sdk::init()?;
///     tracing::info!(user.id = "alice", "order placed");
///     Ok(())
/// }
/// ```
pub fn init() -> Result<Cupola, InitError> {
    builder().init()
}

/// Sets things up that the environment and files do not say, or that are to count more than they.
pub fn builder() -> Builder {
    Builder {
        environment: None,
        changes: Vec::new(),
        directives: None,
        options: LayerOptions::default(),
        surroundings: Surroundings::default(),
        watches: true,
    }
}

/// The SDK that [`init`] has set up; `None` before.
pub fn sdk() -> Option<&'static Sdk> {
    GLOBAL.get()
}

type Change = Box<dyn Fn(&mut Settings) + Send>;

/// What is to be set up.
pub struct Builder {
    environment: Option<Environment>,
    changes: Vec<Change>,
    directives: Option<String>,
    options: LayerOptions,
    surroundings: Surroundings,
    watches: bool,
}

impl Builder {
    /// Anything that can be set. Also applied to what is read when a file has changed.
    #[must_use]
    pub fn with(mut self, change: impl Fn(&mut Settings) + Send + 'static) -> Builder {
        self.changes.push(Box::new(change));
        self
    }

    #[must_use]
    pub fn service_name(self, name: impl Into<String>) -> Builder {
        self.attribute("service.name", name)
    }

    #[must_use]
    pub fn service_version(self, version: impl Into<String>) -> Builder {
        self.attribute("service.version", version)
    }

    /// An attribute of the resource.
    #[must_use]
    pub fn attribute(self, key: impl Into<String>, value: impl Into<String>) -> Builder {
        let (key, value) = (key.into(), OwnedValue::String(value.into()));
        self.with(move |settings| {
            let attributes = &mut settings.resource.attributes;
            attributes.retain(|(known, _)| *known != key);
            attributes.push((key.clone(), value.clone()));
        })
    }

    /// What is recorded, as in `RUST_LOG`, which it counts more than: `info,my_crate=debug`.
    #[must_use]
    pub fn directives(mut self, directives: impl Into<String>) -> Builder {
        self.directives = Some(directives.into());
        self
    }

    /// A backend more. The first one that is added is in place of those that the environment and files have.
    #[must_use]
    pub fn backend(self, backend: Backend) -> Builder {
        self.with(move |settings| {
            let is_first = !settings
                .backends
                .iter()
                .any(|known| known.name.starts_with(ADDED));
            if is_first {
                settings.backends.clear();
            }
            let mut backend = backend.clone();
            backend.name = format!("{ADDED}{}", backend.name);
            settings.backends.push(backend);
        })
    }

    #[must_use]
    pub fn sampler(self, sampler: impl Sampler + Clone + 'static) -> Builder {
        self.with(move |settings| settings.traces.sampler = std::sync::Arc::new(sampler.clone()))
    }

    /// What is written for people, or nothing.
    #[must_use]
    pub fn console(self, console: Option<ConsoleSettings>) -> Builder {
        self.with(move |settings| settings.console = console)
    }

    /// Members of the baggage that become attributes of spans and log records.
    #[must_use]
    pub fn baggage<K: Into<String>>(self, keys: impl IntoIterator<Item = K>) -> Builder {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        self.with(move |settings| {
            let keys = cupola_sdk_core::settings::BaggageKeys::These(keys.clone());
            settings.baggage.spans = keys.clone();
            settings.baggage.logs = keys;
        })
    }

    /// What the layer of `tracing` adds.
    #[must_use]
    pub fn layer_options(mut self, options: LayerOptions) -> Builder {
        self.options = options;
        self
    }

    /// Other variables and files than those of the process.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Builder {
        self.environment = Some(environment);
        self
    }

    /// Another clock and other ids, for tests.
    #[must_use]
    pub fn surroundings(mut self, surroundings: Surroundings) -> Builder {
        self.surroundings = surroundings;
        self
    }

    /// Whether files of configuration are looked at again while the application runs; they are unless this says otherwise.
    #[must_use]
    pub fn watches_files(mut self, watches: bool) -> Builder {
        self.watches = watches;
        self
    }

    /// Sets everything up for the whole process.
    pub fn init(self) -> Result<Cupola, InitError> {
        if GLOBAL.get().is_some() {
            return Err(InitError::Twice);
        }
        let (cupola, layer) = self.build()?;
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))
            .map_err(|_| InitError::Subscriber)?;
        if GLOBAL.set(cupola.sdk.clone()).is_err() {
            return Err(InitError::Twice);
        }
        // Somebody else may have the `log` crate already: then it stays with them.
        let _ = tracing_log::LogTracer::init();
        #[cfg(feature = "opentelemetry")]
        crate::opentelemetry::install(&cupola.sdk);
        panics::install(&cupola.sdk);
        Ok(cupola)
    }

    /// Sets up nothing for the process: the layer is to be added to a subscriber, and the guard to be kept.
    pub fn build<S>(self) -> Result<(Cupola, Layer<S>), InitError>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        let environment = self.environment.clone().unwrap_or_else(Environment::system);
        let loaded = configuration::load(&environment)?;
        for warning in &loaded.warnings {
            say(&warning.render(None));
        }
        let watched = self.watches.then(|| Watched::new(environment.clone(), &loaded));
        let Loaded { mut settings, .. } = loaded;
        for change in &self.changes {
            change(&mut settings);
        }
        let directives = self.directives.clone();
        let directives = directives.or_else(|| environment.get(DIRECTIVES).map(str::to_owned));
        let filter = FilterHandle::new(Filters::parse(
            &directives.clone().unwrap_or_else(|| usual(&settings)),
        )?);
        let console = settings.console;
        let sdk = Sdk::new(settings, self.surroundings);
        let console = console.map(|console| Console::new(&console, &sdk.resource()));
        if let Some(watched) = watched {
            watch(&sdk, watched, self.changes, directives, filter.clone());
        }
        let layer = layer::layer(sdk.clone(), self.options, console, filter.clone());
        Ok((Cupola { sdk, filter }, layer))
    }
}

/// In front of the names of backends that a program has added.
const ADDED: &str = "added/";

fn watch(
    sdk: &Sdk,
    watched: Watched,
    changes: Vec<Change>,
    directives: Option<String>,
    filter: FilterHandle,
) {
    sdk.watch(watched, move |settings| {
        for change in &changes {
            change(settings);
        }
        if directives.is_none()
            && let Err(error) = filter.set_directives(&usual(settings))
        {
            say(&error.to_string());
        }
    });
}

/// Directives for a level that was set.
fn usual(settings: &Settings) -> String {
    match settings.logs.level {
        Severity::TRACE => DIRECTIVES_USUAL.to_owned(),
        level if level < Severity::DEBUG => "trace".to_owned(),
        level if level < Severity::INFO => "debug".to_owned(),
        level if level < Severity::WARN => "info".to_owned(),
        level if level < Severity::ERROR => "warn".to_owned(),
        _ => "error".to_owned(),
    }
}

fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().write_all(format!("cupola: {text}\n").as_bytes());
}

/// What was set up. When it is dropped, what has been recorded is exported, within the `exit_timeout` of the settings, and the
/// thread that exports ends.
#[derive(Debug)]
#[must_use = "what is recorded is exported until it is dropped"]
pub struct Cupola {
    sdk: Sdk,
    filter: FilterHandle,
}

impl Cupola {
    pub fn sdk(&self) -> &Sdk {
        &self.sdk
    }

    /// What is recorded, to be changed while the application runs.
    pub fn filter(&self) -> &FilterHandle {
        &self.filter
    }

    /// Exports what has been recorded until now, and waits for it, so long at most. Whether all has been delivered.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.sdk.flush(timeout)
    }

    /// The state of each backend; none before something has been recorded.
    pub fn health(&self) -> Vec<BackendHealth> {
        self.sdk.health()
    }
}

impl Drop for Cupola {
    fn drop(&mut self) {
        let timeout = self.sdk.settings().exit_timeout;
        if !self.sdk.shutdown(timeout) {
            let kept = match self.sdk.settings().spool {
                Some(_) => "it is in the spool and delivered after the next start",
                None => "it is lost; with a spool it would not be",
            };
            say(&format!(
                "warning: not all that was recorded could be delivered within {timeout:?}: {kept}"
            ));
        }
    }
}
