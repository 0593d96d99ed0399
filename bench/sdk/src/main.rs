//! What the SDK costs an application, beside its peers in the same run: nanoseconds of CPU time an operation, how many of
//! the records that were made arrived, and what a web server pays. Every measurement is a process of its own, which has
//! one SDK and one operation; another takes what is exported and counts it, so that its work is nobody's cost.
//!
//! `cargo run --release -p cupola-bench-sdk --features peers`. Without the feature there is Cupola alone.

mod cpu;
mod operation;
mod receiver;
mod report;
mod run;
mod side;
mod sides;
#[cfg(feature = "peers")]
mod web;
mod work;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cupola-bench-sdk",
    about = "Measures what Cupola's SDK costs an application, beside its peers"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Options,
}

#[derive(Subcommand)]
enum Command {
    /// Measures one operation of one SDK in this process, and prints the figures as JSON.
    #[command(hide = true)]
    Work(work::Options),
    /// Takes what is exported, and counts it.
    #[command(hide = true)]
    Receive,
    /// Serves requests that ask SQLite, instrumented by one SDK or by none.
    #[cfg(feature = "peers")]
    #[command(hide = true)]
    Serve(web::Options),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        None => run::run(&arguments.run),
        Some(Command::Work(options)) => work::run(&options),
        Some(Command::Receive) => receiver::run(),
        #[cfg(feature = "peers")]
        Some(Command::Serve(options)) => web::run(&options),
    }
}
