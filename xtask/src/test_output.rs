//! Reads what `cargo test -- --show-output` prints: how many passed, failed, were ignored, and which of the passing ones
//! said that they could not run (`skipped: reason`), which then do not count as passed.

use crate::report::Outcome;

/// What a test prints when a peer it needs cannot be had.
const SKIPPED: &str = "skipped: ";

/// So many lines of what a failed test said, from its panic on, stand with its name in the report.
const SAID_MAX: usize = 12;

/// Reads line by line; says of each whether it is worth showing.
#[derive(Default)]
pub(crate) struct TestOutput {
    outcome: Outcome,
    /// Tests that ran and passed only because they had nothing to do.
    passed_empty: usize,
    section: Section,
    /// The test whose output is being read.
    test: String,
    /// It has said why it was skipped; once is enough.
    test_skipped: bool,
    /// So many of its lines are in the report.
    said: usize,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Section {
    #[default]
    Results,
    Successes,
    Failures,
}

impl TestOutput {
    /// Whether `line` is worth showing: what passing tests print is kept in the log alone.
    pub(crate) fn see(&mut self, line: &str) -> bool {
        match line {
            "successes:" => {
                self.section = Section::Successes;
                return false;
            }
            "failures:" => {
                self.section = Section::Failures;
                self.test.clear();
                self.said = 0;
                return true;
            }
            _ => {}
        }
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.section = Section::Results;
            self.outcome.passed += count(counts, "passed");
            self.outcome.failed += count(counts, "failed");
            return true;
        }
        if let Some(name) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.test = name.to_owned();
            self.test_skipped = false;
            self.said = 0;
        }
        match self.section {
            Section::Results => self.see_result(line),
            Section::Failures => {
                self.see_failure(line);
                true
            }
            Section::Successes => {
                self.see_success(line);
                false
            }
        }
    }

    fn see_result(&mut self, line: &str) -> bool {
        let Some((name, verdict)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "))
        else {
            return !line.is_empty();
        };
        if let Some(reason) = verdict.strip_prefix("ignored") {
            let reason = reason.trim_start_matches([',', ' ']);
            let reason = if reason.is_empty() { "ignored" } else { reason };
            self.outcome.skipped.push(format!("{name}: {reason}"));
        } else if verdict == "FAILED" {
            self.outcome.failures.push(name.to_owned());
        }
        true
    }

    fn see_success(&mut self, line: &str) {
        let Some(reason) = line.strip_prefix(SKIPPED) else {
            return;
        };
        if !self.test_skipped {
            self.test_skipped = true;
            self.passed_empty += 1;
            self.outcome.skipped.push(format!("{}: {reason}", self.test));
        }
    }

    fn see_failure(&mut self, line: &str) {
        let starts = self.said > 0 || line.contains("panicked at");
        if !starts || line.is_empty() || self.said == SAID_MAX {
            return;
        }
        let mut failures = self.outcome.failures.iter_mut().rev();
        if let Some(failure) = failures.find(|failure| first_line(failure) == self.test) {
            self.said += 1;
            failure.push_str("\n    ");
            failure.push_str(line);
        }
    }

    /// The counts, once everything has been read. `succeeded` is whether cargo itself did.
    pub(crate) fn finish(mut self, succeeded: bool) -> Outcome {
        self.outcome.passed = self.outcome.passed.saturating_sub(self.passed_empty);
        if !succeeded && self.outcome.failed == 0 {
            self.outcome.failed = 1;
            self.outcome
                .failures
                .push("cargo test: it did not build, or a test ended the process".to_owned());
        }
        self.outcome
    }
}

fn first_line(text: &str) -> &str {
    text.split_once('\n').map_or(text, |(first, _)| first)
}

/// The number before `what` in `ok. 3 passed; 0 failed; …`.
fn count(counts: &str, what: &str) -> usize {
    let part = counts
        .split(['.', ';'])
        .find_map(|part| part.trim().strip_suffix(what));
    part.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 4 tests
test a::works ... ok
test a::needs_docker ... ok
test a::slow ... ignored, takes an hour
test a::breaks ... FAILED

successes:

---- a::needs_docker stdout ----
skipped: no docker here
skipped: said twice

---- a::works stdout ----
all is well

successes:
    a::needs_docker
    a::works

failures:

---- a::breaks stdout ----
skipped: this line is of a failed test

thread 'a::breaks' panicked at src/a.rs:1:2:
assertion failed

failures:
    a::breaks

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s

running 1 test
test other ... ok

successes:

successes:
    other

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn tests_that_could_not_run_are_not_counted_as_passed() {
        let mut output = TestOutput::default();
        let shown: Vec<&str> = OUTPUT.lines().filter(|line| output.see(line)).collect();
        let outcome = output.finish(false);
        assert_eq!((outcome.passed, outcome.failed), (2, 1));
        assert_eq!(
            outcome.skipped,
            ["a::slow: takes an hour", "a::needs_docker: no docker here"]
        );
        assert_eq!(
            outcome.failures,
            ["a::breaks\n    thread 'a::breaks' panicked at src/a.rs:1:2:\n    assertion failed"]
        );
        assert!(shown.contains(&"assertion failed"));
        assert!(!shown.contains(&"all is well"));
    }

    #[test]
    fn a_build_that_breaks_is_a_failure() {
        assert_eq!(TestOutput::default().finish(false).failed, 1);
        assert_eq!(TestOutput::default().finish(true), Outcome::default());
    }
}
