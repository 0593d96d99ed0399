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
use cupola_sdk_core::{Sdk, Settings, Surroundings, say};
use tracing::metadata::LevelFilter;

use super::{Cupola, InitError, reload};
use crate::console::{Console, ConsoleHandle, Output};
use crate::layer::{Directives, FilterError, FilterHandle, Filters, LayerOptions};

/// Directives for what is recorded, as `tracing` has them.
const DIRECTIVES: &str = "RUST_LOG";

type Change = dyn Fn(&mut Settings) + Send + Sync;

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
    has_log_bridge: bool,
    has_panic_hook: bool,
    is_watching: bool,
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
            has_log_bridge: true,
            has_panic_hook: true,
            is_watching: true,
        }
    }
}

impl Builder {
    /// `service.name`.
    #[must_use]
    pub fn service_name(self, name: impl Into<String>) -> Builder {
        let name = name.into();
        let builder = self.change({
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
        self.resource_attribute("service.version", version)
    }

    /// An attribute of everything that is recorded.
    #[must_use]
    pub fn resource_attribute(self, key: impl Into<String>, value: impl Into<String>) -> Builder {
        let (key, value) = (key.into(), value.into());
        self.change(move |settings| {
            let attributes = &mut settings.resource.attributes;
            attributes.retain(|(known, _)| *known != key);
            attributes.push((key.clone(), OwnedValue::String(value.clone())));
        })
    }

    /// Less severe log records are not recorded; nor are less severe spans, but for those down to INFO.
    #[must_use]
    pub fn level(self, level: Severity) -> Builder {
        self.change(move |settings| {
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
        self.change(move |settings| settings.console = console)
    }

    /// Where the console writes, if not on standard output or error.
    #[must_use]
    pub fn console_output(mut self, output: Output) -> Builder {
        self.output = Some(output);
        self
    }

    /// One more destination.
    #[must_use]
    pub fn backend(self, backend: Backend) -> Builder {
        self.change(move |settings| settings.backends.push(backend.clone()))
    }

    #[must_use]
    pub fn sampler(self, sampler: Arc<dyn Sampler>) -> Builder {
        self.change(move |settings| settings.traces.sampler = sampler.clone())
    }

    /// Members of the baggage that become attributes of spans and log records.
    #[must_use]
    pub fn baggage_keys<K: Into<String>>(self, keys: impl IntoIterator<Item = K>) -> Builder {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        self.change(move |settings| {
            settings.baggage.spans = BaggageKeys::These(keys.clone());
            settings.baggage.logs = BaggageKeys::These(keys.clone());
        })
    }

    /// Changes anything else of the settings.
    #[must_use]
    pub fn change(mut self, change: impl Fn(&mut Settings) + Send + Sync + 'static) -> Builder {
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
        self.has_log_bridge = is_wanted;
        self
    }

    /// Whether panics are recorded.
    #[must_use]
    pub fn panic_hook(mut self, is_wanted: bool) -> Builder {
        self.has_panic_hook = is_wanted;
        self
    }

    /// Whether files of the configuration are read again when they change.
    #[must_use]
    pub fn watch(mut self, is_wanted: bool) -> Builder {
        self.is_watching = is_wanted;
        self
    }

    /// Sets up everything that a process has one of.
    pub fn init(self) -> Result<Cupola, InitError> {
        let (cupola, watched) = self.make()?;
        cupola.install()?;
        cupola.watch(watched);
        Ok(cupola)
    }

    /// Makes an SDK and leaves alone what the process has one of: its [layer](Cupola::layer) is to be added to a subscriber.
    pub fn build(self) -> Result<Cupola, InitError> {
        let (cupola, watched) = self.make()?;
        cupola.watch(watched);
        Ok(cupola)
    }

    fn make(self) -> Result<(Cupola, Option<Watched>), InitError> {
        let (settings, watched) = self.read()?;
        let filter = FilterHandle::new(self.filters(&settings)?);
        let console = settings.console;
        let sdk = Sdk::new(settings, self.surroundings.clone());
        let cupola = Cupola {
            console: ConsoleHandle::new(self.make_console(console.as_ref())),
            sdk,
            options: self.options,
            filter,
            builder: Arc::new(self),
            has_ended: false,
        };
        Ok((cupola, watched))
    }

    /// The settings, and the files that they came from.
    fn read(&self) -> Result<(Settings, Option<Watched>), InitError> {
        if let Some(settings) = &self.settings {
            return Ok((self.changed(settings.clone()), None));
        }
        let environment = self.environment.clone().unwrap_or_else(Environment::system);
        let loaded = configuration::load(&environment)?;
        let watched = self.is_watching.then(|| Watched::new(environment, &loaded));
        let settings = self.changed(loaded.settings);
        say::set_level(settings.own_level);
        loaded.warnings.iter().for_each(say::problem);
        Ok((settings, watched))
    }

    /// With what is said here.
    pub(super) fn changed(&self, mut settings: Settings) -> Settings {
        self.changes.iter().for_each(|change| change(&mut settings));
        settings
    }

    /// What is recorded: as is said here, else in `RUST_LOG`, else as the level of the settings.
    pub(super) fn filters(&self, settings: &Settings) -> Result<Filters, FilterError> {
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
                    true => reload::level_of(settings.logs.level),
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

    pub(super) fn make_console(&self, settings: Option<&ConsoleSettings>) -> Option<Console> {
        let console = Console::new(settings?);
        Some(match &self.output {
            Some(output) => console.with_output(output.clone()),
            None => console,
        })
    }

    pub(super) fn has_log_bridge(&self) -> bool {
        self.has_log_bridge
    }

    pub(super) fn has_panic_hook(&self) -> bool {
        self.has_panic_hook
    }
}
