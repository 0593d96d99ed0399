//! What an application says about its set-up in code.

use std::fmt;
use std::sync::Arc;

use cupola_sdk_core::backend::Backend;
use cupola_sdk_core::configuration::watch::Watched;
use cupola_sdk_core::configuration::{self, Environment};
use cupola_sdk_core::log::Severity;
use cupola_sdk_core::resource::OwnedValue;
use cupola_sdk_core::sampling::Sampler;
use cupola_sdk_core::settings::{BaggageKeys, ConsoleSettings};
use cupola_sdk_core::{Sdk, Settings, Surroundings};
use tracing::Subscriber;
use tracing::metadata::LevelFilter;
use tracing_subscriber::registry::LookupSpan;

use super::{Cupola, InitError, install, say};
use crate::console::{Console, ConsoleHandle, Output};
use crate::layer::{self, Directives, FilterError, FilterHandle, Filters, Layer, LayerOptions};

type Change = dyn Fn(&mut Settings) + Send;

/// In front of the names of backends that a program has added.
const ADDED: &str = "added/";
/// Directives for what is recorded, as `tracing` has them.
const DIRECTIVES: &str = "RUST_LOG";

/// What else of a process comes here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bridges {
    pub(super) log: bool,
    pub(super) panics: bool,
}

/// A set-up. What is said here goes before variables and files, also when those change later.
pub struct Builder {
    environment: Option<Environment>,
    /// In place of what would be read.
    settings: Option<Settings>,
    changes: Vec<Box<Change>>,
    directives: Option<String>,
    span_directives: Option<String>,
    console_directives: Option<String>,
    options: LayerOptions,
    surroundings: Surroundings,
    output: Option<Output>,
    bridges: Bridges,
    watches: bool,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            environment: None,
            settings: None,
            changes: Vec::new(),
            directives: None,
            span_directives: None,
            console_directives: None,
            options: LayerOptions::default(),
            surroundings: Surroundings::default(),
            output: None,
            bridges: Bridges {
                log: true,
                panics: true,
            },
            watches: true,
        }
    }
}

impl Builder {
    /// `service.name`.
    #[must_use]
    pub fn service_name(self, name: impl Into<String>) -> Builder {
        let name = name.into();
        let builder = self.with({
            let name = name.clone();
            move |settings| settings.resource.service_name = Some(name.clone())
        });
        // Also said here, so that nobody is told that it is missing.
        let environment = builder.environment.clone().unwrap_or_else(Environment::system);
        builder.environment(environment.with("OTEL_SERVICE_NAME", name))
    }

    /// `service.version`.
    #[must_use]
    pub fn service_version(self, version: impl Into<String>) -> Builder {
        self.attribute("service.version", version)
    }

    /// An attribute of the resource.
    #[must_use]
    pub fn attribute(self, key: impl Into<String>, value: impl Into<String>) -> Builder {
        let (key, value) = (key.into(), value.into());
        self.with(move |settings| {
            let attributes = &mut settings.resource.attributes;
            attributes.retain(|(known, _)| *known != key);
            attributes.push((key.clone(), OwnedValue::String(value.clone())));
        })
    }

    /// Less severe log records are not recorded; nor are less severe spans, but for those down to INFO.
    #[must_use]
    pub fn level(self, level: Severity) -> Builder {
        self.with(move |settings| {
            settings.logs.level = level;
            settings.logs.is_level_given = true;
        })
    }

    /// What is recorded, as `RUST_LOG` says it: `info,my_crate::module=debug`. Goes before that variable.
    #[must_use]
    pub fn directives(mut self, directives: impl Into<String>) -> Builder {
        self.directives = Some(directives.into());
        self
    }

    /// Others for spans.
    #[must_use]
    pub fn span_directives(mut self, directives: impl Into<String>) -> Builder {
        self.span_directives = Some(directives.into());
        self
    }

    /// Others for the console.
    #[must_use]
    pub fn console_directives(mut self, directives: impl Into<String>) -> Builder {
        self.console_directives = Some(directives.into());
        self
    }

    /// How records look on the console; `None` for none there.
    #[must_use]
    pub fn console(self, console: Option<ConsoleSettings>) -> Builder {
        self.with(move |settings| settings.console = console)
    }

    /// Where the console writes, if not on standard output or error.
    #[must_use]
    pub fn console_output(mut self, output: Output) -> Builder {
        self.output = Some(output);
        self
    }

    /// A backend more. The first one that is added is in place of those that the environment and files have.
    #[must_use]
    pub fn backend(self, backend: Backend) -> Builder {
        self.with(move |settings| {
            let is_added = |known: &Backend| known.name.starts_with(ADDED);
            if !settings.backends.iter().any(is_added) {
                settings.backends.clear();
            }
            let mut backend = backend.clone();
            backend.name = format!("{ADDED}{}", backend.name);
            settings.backends.push(backend);
        })
    }

    #[must_use]
    pub fn sampler(self, sampler: impl Sampler + 'static) -> Builder {
        let sampler: Arc<dyn Sampler> = Arc::new(sampler);
        self.with(move |settings| settings.traces.sampler = sampler.clone())
    }

    /// Members of the baggage that become attributes of spans and log records.
    #[must_use]
    pub fn baggage<K: Into<String>>(self, keys: impl IntoIterator<Item = K>) -> Builder {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        self.with(move |settings| {
            settings.baggage.spans = BaggageKeys::These(keys.clone());
            settings.baggage.logs = BaggageKeys::These(keys.clone());
        })
    }

    /// Anything that can be set. Also applied to what is read when a file has changed.
    #[must_use]
    pub fn with(mut self, change: impl Fn(&mut Settings) + Send + 'static) -> Builder {
        self.changes.push(Box::new(change));
        self
    }

    /// What the layer of `tracing` adds.
    #[must_use]
    pub fn layer_options(mut self, options: LayerOptions) -> Builder {
        self.options = options;
        self
    }

    /// Where variables and files are, instead of the process's own.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Builder {
        self.environment = Some(environment);
        self
    }

    /// Settings in place of all that would be read.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Builder {
        self.settings = Some(settings);
        self
    }

    /// Ids and clock, for tests.
    #[must_use]
    pub fn surroundings(mut self, surroundings: Surroundings) -> Builder {
        self.surroundings = surroundings;
        self
    }

    /// Whether records of the crate `log` come here.
    #[must_use]
    pub fn log_bridge(mut self, is_wanted: bool) -> Builder {
        self.bridges.log = is_wanted;
        self
    }

    /// Whether panics are recorded.
    #[must_use]
    pub fn panic_hook(mut self, is_wanted: bool) -> Builder {
        self.bridges.panics = is_wanted;
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
        let bridges = self.bridges;
        if super::sdk().is_some() {
            return Err(InitError::Twice);
        }
        let (cupola, layer) = self.build()?;
        install(&cupola, layer, bridges)?;
        Ok(cupola)
    }

    /// Sets up nothing for the process: the layer is to be added to a subscriber, and the guard to be kept.
    pub fn build<S>(self) -> Result<(Cupola, Layer<S>), InitError>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        let (settings, watched) = self.read()?;
        let filter = FilterHandle::new(self.filters(&settings)?);
        let console = ConsoleHandle::new(self.make_console(settings.console.as_ref()));
        let sdk = Sdk::new(settings, self.surroundings.clone());
        let layer = layer::layer(sdk.clone(), self.options, console.clone(), filter.clone());
        if let Some(watched) = watched {
            let filter = filter.clone();
            sdk.watch(watched, move |settings| self.adapt(settings, &filter, &console));
        }
        let cupola = Cupola {
            sdk,
            filter,
            has_ended: false,
        };
        Ok((cupola, layer))
    }

    /// Puts in force what files say now.
    fn adapt(&self, settings: &mut Settings, filter: &FilterHandle, console: &ConsoleHandle) {
        self.changes.iter().for_each(|change| change(settings));
        match self.filters(settings) {
            Ok(filters) => filter.set(filters),
            Err(error) => say(&format!("warning: {error}")),
        }
        console.set(self.make_console(settings.console.as_ref()));
    }

    /// The settings, and the files that they came from.
    fn read(&self) -> Result<(Settings, Option<Watched>), InitError> {
        if let Some(settings) = &self.settings {
            return Ok((self.changed(settings.clone()), None));
        }
        let environment = self.environment.clone().unwrap_or_else(Environment::system);
        let loaded = configuration::load(&environment)?;
        for warning in &loaded.warnings {
            say(&warning.render(None));
        }
        let watched = self.watches.then(|| Watched::new(environment, &loaded));
        Ok((self.changed(loaded.settings), watched))
    }

    /// With what is said here.
    fn changed(&self, mut settings: Settings) -> Settings {
        self.changes.iter().for_each(|change| change(&mut settings));
        settings
    }

    /// What is recorded: as is said here, else in `RUST_LOG`, else as the level of the settings.
    fn filters(&self, settings: &Settings) -> Result<Filters, FilterError> {
        if settings.is_disabled && settings.console.is_none() {
            return Filters::parse("off");
        }
        let environment = self.environment.as_ref();
        let variable = match environment {
            Some(environment) => environment.get(DIRECTIVES).map(str::to_owned),
            None => std::env::var(DIRECTIVES).ok(),
        };
        let said = self.directives.clone().or(variable);
        let said = said.filter(|said| !said.trim().is_empty());
        let mut filters = match said {
            Some(directives) => Filters::parse(&directives)?,
            None => {
                let level = match settings.logs.is_level_given {
                    true => level_of(settings.logs.level),
                    false => LevelFilter::INFO,
                };
                Filters {
                    spans: Directives::level(level.max(LevelFilter::INFO)),
                    logs: Directives::level(level),
                    console: None,
                }
            }
        };
        if let Some(directives) = &self.span_directives {
            filters.spans = directives.parse()?;
        }
        if let Some(directives) = &self.console_directives {
            filters.console = Some(directives.parse()?);
        }
        Ok(filters)
    }

    fn make_console(&self, settings: Option<&ConsoleSettings>) -> Option<Console> {
        let console = Console::new(settings?);
        Some(match &self.output {
            Some(output) => console.with_output(output.clone()),
            None => console,
        })
    }
}

/// The level of `tracing` that lets through what is at least as severe.
fn level_of(severity: Severity) -> LevelFilter {
    match severity.number() {
        ..=4 => LevelFilter::TRACE,
        5..=8 => LevelFilter::DEBUG,
        9..=12 => LevelFilter::INFO,
        13..=16 => LevelFilter::WARN,
        17..=20 => LevelFilter::ERROR,
        // There is none above ERROR.
        _ => LevelFilter::OFF,
    }
}
