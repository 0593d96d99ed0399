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
use crate::terminal;

pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    let file = match &cli.config {
        Some(path) => file::load(path)?,
        None => File::default(),
    };
    let colour = terminal::colour_on_stdout(cli.color);
    match cli.command {
        Command::Serve(flags) => serve::run(&Settings::resolve(&flags, &cli.log, file)?).await,
        Command::Demo(arguments) => demo::run(&arguments, &cli.log, file).await,
        Command::Generate(arguments) => generate::run(&arguments, &cli.log).await,
        Command::Query(arguments) => query::run(&arguments, &cli.log).await,
        Command::Tail(arguments) => tail::run(&arguments, terminal::Paint(colour)).await,
        Command::Trace(arguments) => trace::run(&arguments, &cli.log, terminal::Paint(colour)).await,
        Command::Doctor(arguments) => doctor::run(&arguments, &cli.log).await,
        Command::Config {
            command: ConfigCommand::Check(flags),
        } => configuration::check(cli.config.as_deref(), &flags, &cli.log, file),
        Command::Config {
            command: ConfigCommand::Show(flags),
        } => configuration::show(&flags, &cli.log, file),
        Command::Version => {
            println!("cupola {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}

/// Settings of a command that works on a data directory without serving anybody.
fn offline_settings(directory: &std::path::Path, log: &LogFlags) -> Result<Settings, Failure> {
    let flags = ServeFlags {
        data_dir: Some(directory.to_owned()),
        ..ServeFlags::default()
    };
    let mut settings = Settings::resolve(&flags, log, File::default())?;
    settings.own_tenant = None;
    if log.log.is_none() {
        // A command's own answer is what counts; the store's routine is not part of it.
        settings.log.filter = "warn".to_owned();
    }
    Ok(settings)
}
