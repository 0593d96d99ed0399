//! What the steps came to: counts, reasons for what was skipped, times, and the closing line. A skipped thing is never
//! counted as passed.

use std::time::Duration;

/// What one step came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// One reason for each thing skipped.
    pub(crate) skipped: Vec<String>,
    /// What failed: a line each, and below it what it said.
    pub(crate) failures: Vec<String>,
}

impl Outcome {
    /// One thing was checked and is right.
    pub(crate) fn passed() -> Self {
        Self {
            passed: 1,
            ..Self::default()
        }
    }

    pub(crate) fn skipped(reason: impl Into<String>) -> Self {
        Self {
            skipped: vec![reason.into()],
            ..Self::default()
        }
    }

    /// As many things failed as there are lines; passed when there are none.
    pub(crate) fn from_failures(failures: Vec<String>) -> Self {
        if failures.is_empty() {
            return Self::passed();
        }
        Self {
            failed: failures.len(),
            failures,
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
        self.failures.extend(other.failures);
    }

    fn word(&self) -> &'static str {
        match (self.failed, self.passed) {
            (0, 0) => "skipped",
            (0, _) => "ok",
            _ => "FAILED",
        }
    }
}

/// The steps that have run.
#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<(String, Duration, Outcome)>,
}

impl Report {
    pub(crate) fn add(&mut self, step: &str, time: Duration, outcome: Outcome) {
        println!("== {step}: {} in {:.1} s", outcome.word(), time.as_secs_f64());
        for failure in &outcome.failures {
            println!("   failed: {failure}");
        }
        for reason in &outcome.skipped {
            println!("   skipped: {reason}");
        }
        self.lines.push((step.to_owned(), time, outcome));
    }

    pub(crate) fn total(&self) -> Outcome {
        let mut total = Outcome::default();
        for (_, _, outcome) in &self.lines {
            total.add(outcome.clone());
        }
        total
    }

    /// The table of steps and the closing line. The line stands alone, so that other programs can read it.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (step, time, outcome) in &self.lines {
            text.push_str(&format!(
                "{step:<14} {:<8} {:>7.1} s   {} passed, {} failed, {} skipped\n",
                outcome.word(),
                time.as_secs_f64(),
                outcome.passed,
                outcome.failed,
                outcome.skipped.len()
            ));
        }
        let total = self.total();
        for reason in &total.skipped {
            text.push_str(&format!("skipped: {reason}\n"));
        }
        for failure in &total.failures {
            text.push_str(&format!("failed: {failure}\n"));
        }
        text.push_str(&format!(
            "{} passed, {} failed, {} skipped\n",
            total.passed,
            total.failed,
            total.skipped.len()
        ));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_is_not_counted_as_passed() {
        let mut report = Report::default();
        report.add("a", Duration::ZERO, Outcome::passed());
        report.add("b", Duration::ZERO, Outcome::skipped("no browser"));
        report.add(
            "c",
            Duration::ZERO,
            Outcome::from_failures(vec!["x".to_owned(), "y".to_owned()]),
        );
        let text = report.text();
        assert!(text.ends_with("1 passed, 2 failed, 1 skipped\n"), "{text}");
        assert!(text.contains("skipped: no browser"), "{text}");
    }
}
