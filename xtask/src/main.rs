//! `cargo xtask`: everything a contributor or the continuous integration runs. Delegates to cargo, npm and the tests;
//! holds only the rules about the source tree itself (layering, tidiness). Refuses to guess: an unknown word is an error.

mod commands;
mod layering;
mod process;
mod report;
mod steps;
mod test_output;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;

const HELP: &str = "\
cargo xtask COMMAND

  test [--only STEP]... [--skip STEP]...   everything, as the continuous integration runs it
  steps                                    the steps of `test`, one per line
  layering                                 check the table of crate edges
  tidy                                     check the rules about source files
  e2e                                      the web page in a browser, against a running demo
  fuzz [SECONDS]                           every fuzz target for so long (default 20)
  crash [ROUNDS]                           kill -9 in a loop under load (default 50 rounds)
  peers                                    the tests whose peers take minutes to build
  openapi                                  write docs/openapi.json and the types of the web page again
  bench NAME [ARGUMENTS]                   bench/NAME: ingest, query, footprint, pipeline
  fixture NAME                             write a new on-disk fixture, such as v2 (once per released format)
  soak [MINUTES]                           crash rounds for so long (default 60)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<bool> {
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", arguments),
    };
    match command {
        "test" => steps::test(&steps::Selection::parse(rest)?),
        "e2e" => steps::test(&steps::Selection::only(&["web-install", "e2e"])),
        "steps" => {
            steps::print_names();
            Ok(true)
        }
        "layering" => steps::test(&steps::Selection::only(&["layering"])),
        "tidy" => steps::test(&steps::Selection::only(&["tidy"])),
        "fuzz" => commands::fuzz(rest),
        "crash" => commands::crash(rest),
        "soak" => commands::soak(rest),
        "peers" => commands::peers(),
        "openapi" => commands::openapi(rest),
        "fixture" => commands::fixture(rest),
        "bench" => commands::bench(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(true)
        }
        other => anyhow::bail!("unknown command `{other}`\n\n{HELP}"),
    }
}
