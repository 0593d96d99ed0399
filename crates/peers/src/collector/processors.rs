//! Processors of the Collector as programs of their own: many cases in, an answer for each out.

use super::program::{Program, run};
use crate::Missing;

/// A program with some of the Collector's processors.
#[derive(Debug)]
pub struct Processors(Program);

impl Processors {
    /// The `filter` and `transform` processors of the newest release whose modules the Go proxy serves completely.
    pub fn statements() -> Result<Self, Missing> {
        Self::install(
            "statements",
            include_str!("statements.go"),
            include_str!("statements.mod"),
            include_str!("statements.sum"),
        )
    }

    /// The `redaction` processor.
    pub fn redaction() -> Result<Self, Missing> {
        Self::install(
            "redaction",
            include_str!("redaction.go"),
            include_str!("redaction.mod"),
            include_str!("redaction.sum"),
        )
    }

    fn install(name: &str, factories: &str, module: &str, sums: &str) -> Result<Self, Missing> {
        let files = [
            ("main.go", include_str!("processors.go")),
            ("factories.go", factories),
            ("go.mod", module),
            ("go.sum", sums),
        ];
        Program::install(name, &files).map(Self)
    }

    /// One line of JSON for each line of JSON; what they are is said in `processors.go`.
    pub fn answer(&self, cases: String) -> Result<String, Missing> {
        let answers = run(self.0.command(), cases.into_bytes())?;
        String::from_utf8(answers).map_err(|error| error.to_string())
    }
}
