//! The binary: command line, configuration, wiring, own telemetry, demo. Alone reads the environment and configuration
//! files; holds no telemetry logic of its own.

mod allocator;
mod cli;
mod client;
mod commands;
mod components;
mod config;
mod diagnostics;
mod failure;
mod health;
mod kept;
mod logging;
mod output;
mod own;
mod pprof;
mod readiness;
mod reload;
mod server;
mod signals;
mod sink;
mod terminal;
mod watch;
mod zpages;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

fn main() -> ExitCode {
    allocator::configure();
    let cli = cli::Cli::parse();
    let colour = terminal::colour_on_stderr(cli.color);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("cupola")
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            failure::Failure::new("cannot start the runtime")
                .caused_by(&error)
                .print(colour);
            return ExitCode::from(failure::EXIT_FAILURE);
        }
    };
    let outcome = runtime.block_on(commands::run(cli));
    // Work that is still running has been given its time by the command; nothing waits for it here.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(colour);
            ExitCode::from(failure.exit_code())
        }
    }
}
