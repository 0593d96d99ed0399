//! Statements, conditions and redactions beside the Collector's own processors.
//!
//! `cases/*.txt` has cases with the answers that the Collector gave; the format is told in `cases.rs`. They are compared in
//! every run; where another answer is meant, it is compared with the one that stands beside the reason, which
//! `CUPOLA_WRITE_DIFFERENCES=1` writes anew. Where the Collector can be built (`cargo xtask peers`), the answers themselves
//! are compared with what it says now, and written anew with `CUPOLA_WRITE_ANSWERS=1`; and generated statements are run by
//! both over generated telemetry.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod cases;
mod generated;
mod render;
mod run;

use std::path::{Path, PathBuf};

use cupola_peers::collector::Processors;
use cupola_peers::peer_or_skip;

use cases::{Answer, Case, Difference, File, Processor};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/cases")
}

fn files() -> Vec<File> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    names.sort();
    names.into_iter().map(File::read).collect()
}

#[test]
fn every_case_comes_out_as_in_the_collector() {
    let write = std::env::var_os("CUPOLA_WRITE_DIFFERENCES").is_some();
    let (mut failures, mut cases) = (Vec::new(), 0);
    for mut file in files() {
        let name = file.name();
        for case in file.cases_mut() {
            cases += 1;
            let ours = run::ours(case);
            let alike = ours.is_like(&case.answer);
            let wrong = match &mut case.difference {
                None if alike => continue,
                None => "",
                // The list of differences can only shrink.
                Some(_) if alike => "There is no difference any more. ",
                Some(difference) if difference.here == ours => continue,
                Some(difference) if write => {
                    difference.here = ours;
                    continue;
                }
                Some(_) => "It is not the difference that is meant. ",
            };
            failures.push(format!("{name}: {case}\n{wrong}Here:\n{ours}"));
        }
        if write {
            file.write();
        }
    }
    assert!(cases > 500, "{cases} cases");
    let total = failures.len();
    assert!(
        failures.is_empty(),
        "{total} of {cases} differ:\n{}",
        failures.join("\n")
    );
}

/// Every difference has its reason in the documentation.
#[test]
fn differences_are_documented() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ottl.md");
    let page = std::fs::read_to_string(page).unwrap();
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for file in files() {
        for case in file.cases() {
            if let Some(Difference { reason, .. }) = &case.difference {
                assert!(page.contains(reason), "{}: {case}: {reason}", file.name());
            }
        }
    }
}

#[test]
fn the_answers_are_those_of_the_collector() {
    let statements = peer_or_skip!(Processors::statements());
    let redaction = peer_or_skip!(Processors::redaction());
    let write = std::env::var_os("CUPOLA_WRITE_ANSWERS").is_some();
    let mut stale = Vec::new();
    for mut file in files() {
        for (processors, of_redaction) in [(&statements, false), (&redaction, true)] {
            let mut cases: Vec<&mut Case> = file
                .cases_mut()
                .filter(|case| (case.processor == Processor::Redaction) == of_redaction)
                .collect();
            let asked: Vec<&Case> = cases.iter().map(|case| &**case).collect();
            let answers: Vec<Answer> = run::theirs(processors, &asked);
            for (case, answer) in cases.iter_mut().zip(answers) {
                // Errors have names of types and addresses in them, in an order that changes.
                if !case.answer.is_like(&answer) {
                    case.answer = answer;
                    stale.push(case.to_string());
                }
            }
        }
        if write {
            file.write();
        }
    }
    assert!(
        write || stale.is_empty(),
        "the Collector says now:\n{}",
        stale.join("\n")
    );
}
