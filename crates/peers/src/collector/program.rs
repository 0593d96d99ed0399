//! A part of the Collector as a program of its own, which a test runs beside ours and compares with it. Owns how such a
//! program is built and run; what it takes and gives is its caller's.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::{Missing, found, once, slow};

/// What the programs have in common: beginning, settings and results.
pub(super) const SUPPORT: (&str, &str) = ("support.go", include_str!("support.go"));

/// A program, built.
#[derive(Debug)]
pub(super) struct Program(PathBuf);

impl Program {
    /// Builds the Go module that `files` are, if it is not there yet; that takes minutes, so that it has to be asked for.
    pub(super) fn install(name: &str, files: &[(&str, &str)]) -> Result<Program, Missing> {
        slow(&format!("the Collector's {name}"))?;
        let go = found("go", &["/usr/local/go/bin"]).ok_or("there is no Go")?;
        let folder = once(&format!("collector-{name}"), |folder| {
            for (name, text) in files {
                std::fs::write(folder.join(name), text)
                    .map_err(|error| format!("cannot write {name}: {error}"))?;
            }
            let output = Command::new(go)
                .args(["build", "-o", "program", "."])
                .current_dir(folder)
                // Otherwise `cargo clean` could not remove what was fetched.
                .env("GOFLAGS", "-modcacherw")
                .output()
                .map_err(|error| format!("cannot run go: {error}"))?;
            printed(output)
                .map(drop)
                .map_err(|error| format!("go build: {error}"))
        })?;
        Ok(Program(folder.join("program")))
    }

    /// To be given arguments, and run.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Runs `command` over `input`: what it prints.
pub(super) fn run(mut command: Command, input: Vec<u8>) -> Result<Vec<u8>, Missing> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| format!("cannot run {program}: {error}");
    let mut child = command.stdin(Stdio::piped()).spawn().map_err(failed)?;
    let stdin = child.stdin.take();
    // Some answer while they still read.
    let writing = std::thread::spawn(move || stdin.map_or(Ok(()), |mut stdin| stdin.write_all(&input)));
    let printed = printed(child.wait_with_output().map_err(failed)?)?;
    match writing.join() {
        Ok(Ok(())) => Ok(printed),
        _ => Err(format!("{program} did not read all of its input")),
    }
}

/// What a program that ended well printed, or what it complained of.
pub(super) fn printed(output: Output) -> Result<Vec<u8>, Missing> {
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
