//! The commands. Each parses nothing more and prints its own answer; what goes wrong comes back as a failure.

mod configuration;
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
    let config = cli.config.as_deref();
    let colour = terminal::colour_on_stdout(cli.color);
    match cli.command {
        Command::Serve(flags) => {
            let file = file::load_if_given(config)?;
            serve::run(&Settings::resolve(&flags, &cli.log, file)?).await
        }
        Command::Demo(arguments) => demo::run(&arguments, &cli.log, file::load_if_given(config)?).await,
        Command::Generate(arguments) => generate::run(&arguments, &cli.log, config).await,
        Command::Query(arguments) => query::run(&arguments, &cli.log, config).await,
        Command::Tail(arguments) => tail::run(&arguments, terminal::Paint(colour)).await,
        Command::Trace(arguments) => trace::run(&arguments, &cli.log, config, terminal::Paint(colour)).await,
        Command::Doctor(arguments) => doctor::run(&arguments, &cli.log, file::load_if_given(config)?).await,
        Command::Config {
            command: ConfigCommand::Check(flags),
        } => configuration::check(config, &flags, &cli.log, file::load_if_given(config)?),
        Command::Config {
            command: ConfigCommand::Show(flags),
        } => configuration::show(&flags, &cli.log, file::load_if_given(config)?),
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
