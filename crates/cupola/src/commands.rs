//! The commands. Each parses nothing more and prints its own answer; what goes wrong comes back as a failure.

mod configuration;
mod deadletter;
mod demo;
mod doctor;
mod generate;
mod query;
mod serve;
mod table;
mod tail;
mod trace;
mod waterfall;

use crate::cli::{Cli, Command, ConfigCommand};
use crate::config::file::{self, File};
use crate::config::{LogFlags, ServeFlags, Settings};
use crate::failure::Failure;
use crate::{output, terminal};

/// Of a command on a data directory: its own answer is what counts, the store's routine is not part of it.
const OFFLINE_LOG_FILTER: &str = "warn";

pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    // Read by the commands that need it: a mistake there must not keep `version` or `tail` from working.
    let config = &cli.config[..];
    let colour = terminal::colour_on_stdout(cli.color);
    match cli.command {
        Command::Serve(flags) => serve::run(&flags, &cli.log, config).await,
        Command::Demo(arguments) => demo::run(&arguments, &cli.log, file::load(config)?).await,
        Command::DemoService { service } => demo::serve(service).await,
        Command::Generate(arguments) => generate::run(&arguments, &cli.log, config).await,
        Command::Query(arguments) => query::run(&arguments, &cli.log, config).await,
        Command::Tail(arguments) => tail::run(&arguments, terminal::Paint(colour)).await,
        Command::Trace(arguments) => trace::run(&arguments, &cli.log, config, terminal::Paint(colour)).await,
        Command::Doctor(arguments) => doctor::run(&arguments, &cli.log, file::load(config)?).await,
        Command::Deadletter { command } => deadletter::run(&command, &cli.log, config).await,
        Command::Config {
            command: ConfigCommand::Check { files, flags },
        } => configuration::check(&[config, &files].concat(), &flags, &cli.log),
        Command::Config {
            command: ConfigCommand::Show { files, flags },
        } => configuration::show(&[config, &files].concat(), &flags, &cli.log),
        Command::Config {
            command: ConfigCommand::Schema,
        } => configuration::schema(),
        Command::Version => output::print(&format!("cupola {}\n", env!("CARGO_PKG_VERSION"))),
    }
}

/// Settings of a command that works on a data directory without serving anybody: those of `serve`, so that it finds the
/// segments where `serve` puts them.
fn offline_settings(flags: &ServeFlags, log: &LogFlags, mut file: File) -> Result<Settings, Failure> {
    let level = &mut file.service.telemetry.logs.level;
    level.get_or_insert_with(|| OFFLINE_LOG_FILTER.to_owned());
    let mut settings = Settings::resolve(flags, log, file)?;
    settings.own_tenant = None;
    Ok(settings)
}

/// Refuses a path that is no directory. Opening would make one, which whoever only looks must not.
pub(crate) fn require_directory(settings: &Settings) -> Result<(), Failure> {
    let path = settings.directory.display();
    if settings.directory.is_dir() {
        return Ok(());
    }
    Err(match settings.directory.exists() {
        true => Failure::new(format!("{path} is a file, not a directory")),
        false => Failure::new(format!("there is no data directory {path}")),
    }
    .hint("name one with --data-dir DIR"))
}
