//! Tables of figures: printed for people, kept as JSON for the next comparison.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

/// Minimum, median and maximum of repeated runs: the spread is the noise.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Spread {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        Spread {
            min: at(0),
            median: at(sorted.len() / 2),
            max: at(sorted.len().saturating_sub(1)),
        }
    }

    pub(crate) fn show(&self, digits: usize) -> String {
        format!(
            "{:.d$} ({:.d$}–{:.d$})",
            self.median,
            self.min,
            self.max,
            d = digits
        )
    }
}

/// Prints a Markdown table, so that a run can be pasted into `docs/benchmarks.md` as it is.
pub(crate) fn print_table(title: &str, head: &[&str], rows: &[Vec<String>]) {
    println!("\n### {title}\n");
    println!("| {} |", head.join(" | "));
    println!("|{}", " --- |".repeat(head.len()));
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
}

/// Keeps the figures of a run beside the build, one file a benchmark.
pub(crate) fn keep(name: &str, figures: &impl Serialize) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let directory = own
        .parent()
        .map(|p| p.join("bench-results"))
        .unwrap_or_else(|| PathBuf::from("."));
    std::fs::create_dir_all(&directory)?;
    let path = directory.join(format!("{name}.json"));
    std::fs::write(&path, serde_json::to_vec_pretty(figures)?)?;
    println!("\nfigures kept in {}", path.display());
    Ok(path)
}
