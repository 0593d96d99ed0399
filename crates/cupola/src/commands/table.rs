//! An SQL answer as a table for people: columns aligned, long values cut, numbers to the right.

use std::fmt::Write as _;

use cupola_api::SqlAnswer;
use serde_json::Value;

use crate::terminal::{cut, printable};

/// Between two columns.
const GAP: &str = "  ";
/// No column is made narrower than this to fit the terminal.
const COLUMN_WIDTH_MIN: usize = 8;
/// Values longer than this are cut even where the terminal is wide.
const COLUMN_WIDTH_MAX: usize = 120;

pub(crate) fn render(answer: &SqlAnswer, width: usize) -> String {
    let cells: Vec<Vec<String>> = answer
        .rows
        .iter()
        .map(|row| row.iter().map(|value| printable(&text(value))).collect())
        .collect();
    let mut widths: Vec<usize> = answer
        .columns
        .iter()
        .map(|column| column.name.chars().count())
        .collect();
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count()).min(COLUMN_WIDTH_MAX);
        }
    }
    fit(&mut widths, width);
    let mut out = String::new();
    let names: Vec<String> = answer
        .columns
        .iter()
        .map(|column| printable(&column.name))
        .collect();
    let right: Vec<bool> = answer
        .columns
        .iter()
        .map(|column| is_number(&column.column_type))
        .collect();
    line(&mut out, &names, &widths, &right);
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    line(&mut out, &rule, &widths, &right);
    for row in &cells {
        line(&mut out, row, &widths, &right);
    }
    summary(&mut out, answer);
    out
}

fn summary(out: &mut String, answer: &SqlAnswer) {
    let rows = answer.rows.len();
    let _ = write!(out, "({rows} {}", if rows == 1 { "row" } else { "rows" });
    if let Some(stats) = &answer.stats {
        let _ = write!(out, ", {} ms", stats.elapsed_ms);
    }
    out.push_str(")\n");
}

/// Makes the widest columns narrower until the line fits, or nothing more can be taken.
fn fit(widths: &mut [usize], available: usize) {
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > available {
        match widths.iter_mut().max() {
            Some(widest) if *widest > COLUMN_WIDTH_MIN => *widest -= 1,
            _ => return,
        }
    }
}

fn line(out: &mut String, cells: &[String], widths: &[usize], right: &[bool]) {
    let mut text = String::new();
    for (index, ((cell, width), right)) in cells.iter().zip(widths).zip(right).enumerate() {
        if index > 0 {
            text.push_str(GAP);
        }
        let cell = cut(cell, *width);
        let _ = if *right {
            write!(text, "{cell:>width$}")
        } else {
            write!(text, "{cell:<width$}")
        };
    }
    out.push_str(text.trim_end());
    out.push('\n');
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_number(column_type: &str) -> bool {
    ["int", "uint", "float", "decimal", "duration"]
        .iter()
        .any(|prefix| column_type.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> SqlAnswer {
        serde_json::from_value(serde_json::json!({
            "columns": [{"name": "service_name", "type": "text"}, {"name": "n", "type": "int64"}],
            "rows": [["orders", 12], [null, 7], ["a\nb", 1234]],
        }))
        .unwrap()
    }

    #[test]
    fn columns_are_aligned_and_cut_to_the_terminal() {
        let expected = "service_name     n\n────────────  ────\norders          12\n                 7\na b           1234\n\
                        (3 rows)\n";
        assert_eq!(render(&answer(), 80), expected);
        let narrow = render(&answer(), 14);
        assert!(
            narrow.lines().take(5).all(|line| line.chars().count() <= 14),
            "{narrow}"
        );
        assert!(narrow.contains("service…"), "{narrow}");
    }
}
