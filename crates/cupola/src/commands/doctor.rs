//! `cupola doctor`: checks a data directory, repairs it if asked to, and says what it found.

use std::fmt::Write as _;

use cupola_store::{DoctorReport, Problem, ProblemKind, Store, StoreError};
use cupola_telemetry::memory::MemoryBudget;

use crate::cli::DoctorArguments;
use crate::config::file::File;
use crate::config::{LogFlags, ServeFlags};
use crate::failure::Failure;
use crate::{logging, output};

pub(crate) async fn run(arguments: &DoctorArguments, log: &LogFlags, file: File) -> Result<(), Failure> {
    let flags = ServeFlags {
        data_dir: arguments.data_dir.clone(),
        object_store_url: arguments.object_store_url.clone(),
        ..ServeFlags::default()
    };
    let settings = super::offline_settings(&flags, log, file)?;
    logging::start(&settings.log, None)?;
    super::require_directory(&settings)?;
    let memory = MemoryBudget::new(usize::try_from(settings.memory.limit).unwrap_or(usize::MAX));
    let report = Store::check(settings.store_config(memory), arguments.repair)
        .await
        .map_err(|error| match error {
            // Another directory would be another question.
            StoreError::Locked { .. } => Failure::from_error(&error)
                .hint("stop the server first: only a directory that nobody uses can be checked"),
            error => crate::kept::store_failed(&error),
        })?;
    if arguments.json {
        let json = serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::new("cannot write the report").caused_by(&error))?;
        output::print(&format!("{json}\n"))?;
    } else {
        output::print(&text(&report))?;
    }
    let left = report
        .problems
        .iter()
        .filter(|problem| !problem.repaired && is_harmful(problem.kind))
        .count();
    if left == 0 {
        return Ok(());
    }
    let failure = Failure::new(match left {
        1 => "1 problem is not repaired".to_owned(),
        many => format!("{many} problems are not repaired"),
    });
    Err(if arguments.repair {
        failure
    } else {
        failure.hint("repair with `cupola doctor --repair`")
    })
}

/// What reading puts right by itself is worth a line, but is not a failure.
fn is_harmful(kind: ProblemKind) -> bool {
    !matches!(kind, ProblemKind::Orphan | ProblemKind::TornLog)
}

/// What was done about a problem, and what it costs.
fn outcome(problem: &Problem) -> String {
    let rows = count(problem.rows, "row", "rows");
    match (&problem.moved_to, problem.repaired, problem.kind) {
        (Some(place), ..) => format!(" (moved to {place}; its {rows} can be read there, if at all)"),
        (None, true, ProblemKind::Orphan) => " (removed)".to_owned(),
        (None, true, _) => format!(" (taken from the catalog, with its {rows})"),
        (None, false, ProblemKind::Missing | ProblemKind::Unreadable) => {
            format!("; the catalog has {rows} in it")
        }
        (None, false, _) => String::new(),
    }
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn text(report: &DoctorReport) -> String {
    let mut text = format!(
        "{} with {}, {} in {}, manifest {}\n",
        count(report.segments, "segment", "segments"),
        count(report.rows, "row", "rows"),
        count(report.journal_records, "record", "records"),
        count(report.journal_files, "log file", "log files"),
        report.manifest_version
    );
    for problem in &report.problems {
        let what = match problem.kind {
            ProblemKind::Orphan => "orphan",
            ProblemKind::Missing => "missing",
            ProblemKind::Unreadable => "unreadable",
            ProblemKind::DamagedLog => "damaged log",
            ProblemKind::TornLog => "torn log",
        };
        let _ = writeln!(
            text,
            "{what}: {}: {}{}",
            problem.path,
            problem.detail,
            outcome(problem)
        );
    }
    let lost = report.problems.iter().filter(|problem| problem.repaired);
    match lost.map(|problem| problem.rows).sum() {
        0_u64 => {}
        rows => {
            let _ = writeln!(
                text,
                "repaired, with a loss: {} found by statements any more; restore the files from a copy to have them back",
                count(rows, "row is not", "rows are not")
            );
        }
    }
    if report.is_healthy() {
        text.push_str("nothing is wrong\n");
    }
    text
}
