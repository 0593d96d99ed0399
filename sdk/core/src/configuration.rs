//! Configuration: [`Settings`] from variables, from a file of OpenTelemetry's declarative configuration, or from Cupola's own
//! file, with everything that is wrong told by its place and with a hint.
//!
//! - With `OTEL_CONFIG_FILE` that file says everything; of the variables only Cupola's own count besides, and those that the file
//!   refers to.
//! - Otherwise what a builder says goes before variables ([`variables`]), those before Cupola's own file ([`file`]), and that
//!   before the defaults. A builder sets variables of the [`Environment`] that it gives, or changes the settings after.
//!
//! A variable that is wrong is told and left out: variables never keep an application from starting. A file that is wrong is an
//! error with all that is wrong in it. Secrets are in no message.
//!
//! Only [`Environment::system`] looks at the process; [`watch::Watched`] looks at files again. No thread is started here.

mod backends;
mod declarative;
mod dotenv;
mod environment;
pub mod file;
mod levels;
mod metrics;
mod otlp;
mod pairs;
mod samplers;
mod substitute;
mod text;
pub mod variables;
pub mod watch;

use std::path::{Path, PathBuf};

use cupola_config::{Place, Problem};

use crate::settings::Settings;
pub use environment::Environment;
pub use text::ConfigurationError;
use variables::Variables;

/// What has been read.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub settings: Settings,
    /// What is odd, but does not keep the application from starting. Shows no secrets.
    pub warnings: Vec<Problem>,
    /// Files that were read.
    pub sources: Vec<PathBuf>,
    /// Files that would be read if they were there, and those that were.
    watched: Vec<PathBuf>,
}

/// Cupola's own file where no variable names another.
const FILE: &str = "cupola.yaml";
const OWN_FILE: &str = "CUPOLA_CONFIG";
const DECLARATIVE_FILE: &str = "OTEL_CONFIG_FILE";
const FORMER_DECLARATIVE_FILE: &str = "OTEL_EXPERIMENTAL_CONFIG_FILE";

/// Reads everything that `environment` has.
pub fn load(environment: &Environment) -> Result<Loaded, ConfigurationError> {
    let (environment, dotenv, problems) = environment.with_dotenv();
    let mut loaded = Loaded {
        settings: Settings::default(),
        warnings: problems,
        sources: dotenv.iter().map(PathBuf::from).collect(),
        watched: environment.dotenv_path().map(PathBuf::from).into_iter().collect(),
    };
    match declarative_path(&environment, &mut loaded.warnings) {
        Some(path) => load_declarative(&environment, &path, &mut loaded)?,
        None => load_own(&environment, &mut loaded)?,
    }
    Variables::new(&environment, &mut loaded.warnings).warn_of_others();
    warn_of_service_name(&mut loaded);
    let mut known: Vec<Problem> = Vec::new();
    loaded.warnings.retain(|warning| {
        let is_new = !known.contains(warning);
        if is_new {
            known.push(warning.clone());
        }
        is_new
    });
    Ok(loaded)
}

fn declarative_path(environment: &Environment, warnings: &mut Vec<Problem>) -> Option<String> {
    let former = environment.get(FORMER_DECLARATIVE_FILE);
    if former.is_some() {
        let place = environment.place(FORMER_DECLARATIVE_FILE);
        let problem = Problem::warning(
            place,
            FORMER_DECLARATIVE_FILE,
            "is the former name of OTEL_CONFIG_FILE",
        );
        warnings.push(problem.hint("set OTEL_CONFIG_FILE instead"));
    }
    environment.get(DECLARATIVE_FILE).or(former).map(str::to_owned)
}

fn load_declarative(
    environment: &Environment,
    path: &str,
    loaded: &mut Loaded,
) -> Result<(), ConfigurationError> {
    loaded.watched.push(PathBuf::from(path));
    let text = read(environment, path, DECLARATIVE_FILE)?;
    loaded.sources.push(PathBuf::from(path));
    let (settings, referred, warnings) = declarative::read(path, &text, environment)?;
    loaded.settings = settings;
    loaded.warnings.extend(warnings);
    let mut variables = Variables::new(environment, &mut loaded.warnings);
    variables::apply_own(&mut variables, &mut loaded.settings);
    variables.warn_of_ignored(path, |name| referred.contains(name));
    if environment.get(OWN_FILE).is_some() {
        variables.warn(
            OWN_FILE,
            format!("is not read, since {path} says everything"),
            Some("leave OTEL_CONFIG_FILE out to use Cupola's own file"),
        );
    }
    Ok(())
}

fn load_own(environment: &Environment, loaded: &mut Loaded) -> Result<(), ConfigurationError> {
    let named = environment.get(OWN_FILE);
    let path = named.unwrap_or(FILE);
    loaded.watched.push(PathBuf::from(path));
    let text = match named {
        Some(path) => Some(read(environment, path, OWN_FILE)?),
        None => match environment.read(Path::new(path)) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable(Place::whole(path), "", path, &error)),
        },
    };
    let mut has_backends = false;
    if let Some(text) = text {
        let read = file::read(path, &text, environment)?;
        loaded.sources.push(PathBuf::from(path));
        loaded.settings = read.settings;
        loaded.warnings.extend(read.warnings);
        has_backends = read.has_backends;
    }
    let mut variables = Variables::new(environment, &mut loaded.warnings);
    variables::apply(&mut variables, &mut loaded.settings, has_backends);
    Ok(())
}

fn read(environment: &Environment, path: &str, variable: &str) -> Result<String, ConfigurationError> {
    environment
        .read(Path::new(path))
        .map_err(|error| unreadable(environment.place(variable), variable, path, &error))
}

fn unreadable(place: Place, key: &str, path: &str, error: &std::io::Error) -> ConfigurationError {
    let problem = Problem::error(place, key, format!("{path} cannot be read: {error}"));
    ConfigurationError::of(problem.hint("name a file that is there and that may be read"))
}

fn warn_of_service_name(loaded: &mut Loaded) {
    if loaded.settings.is_disabled || loaded.settings.resource.names_service() {
        return;
    }
    let problem = Problem::warning(Place::whole("configuration"), "", "the service has no name");
    loaded
        .warnings
        .push(problem.hint("set OTEL_SERVICE_NAME, or `logger.service_name` in cupola.yaml"));
}
