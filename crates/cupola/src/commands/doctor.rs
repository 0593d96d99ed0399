//! `cupola doctor`: checks a data directory, repairs it if asked to, and says what it found.

use std::fmt::Write as _;

use cupola_store::{DoctorReport, ProblemKind, Store};
use cupola_telemetry::memory::MemoryBudget;

use crate::cli::DoctorArguments;
use crate::config::file::File;
use crate::config::{LogFlags, ServeFlags};
use crate::failure::Failure;
use crate::{logging, output, server};

pub(crate) async fn run(arguments: &DoctorArguments, log: &LogFlags, file: File) -> Result<(), Failure> {
    let flags = ServeFlags {
        data_dir: arguments.data_dir.clone(),
        object_store_url: arguments.object_store_url.clone(),
        ..ServeFlags::default()
    };
    let settings = super::offline_settings(&flags, log, file)?;
    logging::start(&settings.log, None)?;
    // Opening would make the directory; a checker must not.
    if !settings.directory.is_dir() {
        return Err(Failure::new(format!(
            "there is no data directory {}",
            settings.directory.display()
        ))
        .hint("name one with --data-dir DIR"));
    }
    let memory = MemoryBudget::new(usize::try_from(settings.memory.limit).unwrap_or(usize::MAX));
    let report = Store::check(settings.store_config(memory), arguments.repair)
        .await
        .map_err(|error| server::store_failed(&error))?;
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

fn text(report: &DoctorReport) -> String {
    let mut text = format!(
        "{} segments with {} rows, {} records in {} log files, manifest {}\n",
        report.segments, report.rows, report.journal_records, report.journal_files, report.manifest_version
    );
    for problem in &report.problems {
        let what = match problem.kind {
            ProblemKind::Orphan => "orphan",
            ProblemKind::Missing => "missing",
            ProblemKind::Unreadable => "unreadable",
            ProblemKind::DamagedLog => "damaged log",
            ProblemKind::TornLog => "torn log",
        };
        let done = if problem.repaired { " (repaired)" } else { "" };
        let _ = writeln!(text, "{what}: {}: {}{done}", problem.path, problem.detail);
    }
    if report.is_healthy() {
        text.push_str("nothing is wrong\n");
    }
    text
}
