//! An SQL answer as text for people: columns aligned, numbers to the right, long values cut where a terminal ends; or
//! one column below the other. Plans are text already and stay as they are.

use std::fmt::Write as _;

use cupola_api::SqlAnswer;
use serde_json::Value;

use crate::terminal::{cut, printable};

/// Between two columns.
const GAP: &str = "  ";
/// No column is made narrower than this to fit the terminal: below it a value says nothing.
const COLUMN_WIDTH_MIN: usize = 20;
/// Of values longer than this the next ones do not keep a distance, lest one long value widens every line.
const PADDING_MAX: usize = 120;
/// The columns of `EXPLAIN`.
const PLAN_COLUMNS: [&str; 2] = ["plan_type", "plan"];

/// What there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A table in a terminal of this width. What fits in no way is shown vertically.
    Within(usize),
    /// A table with all of every value: no terminal ends its lines.
    Uncut,
    /// One column on a line.
    Vertical,
}

pub(crate) fn render(answer: &SqlAnswer, layout: Layout) -> String {
    let mut out = String::new();
    if answer
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .eq(PLAN_COLUMNS)
    {
        plan(&mut out, answer);
        return out;
    }
    let cells: Vec<Vec<String>> = answer
        .rows
        .iter()
        .map(|row| row.iter().map(|value| printable(&text(value))).collect())
        .collect();
    let names: Vec<String> = answer
        .columns
        .iter()
        .map(|column| printable(&column.name))
        .collect();
    match widths(&names, &cells, layout) {
        Some(widths) => table(&mut out, answer, &names, &cells, &widths, layout),
        None => vertical(&mut out, &names, &cells),
    }
    summary(&mut out, answer);
    out
}

/// Widths of the columns of a table; `None` where there is no room for one.
fn widths(names: &[String], cells: &[Vec<String>], layout: Layout) -> Option<Vec<usize>> {
    let mut widths: Vec<usize> = names.iter().map(|name| name.chars().count()).collect();
    for row in cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    match layout {
        Layout::Vertical => None,
        Layout::Uncut => {
            widths
                .iter_mut()
                .for_each(|width| *width = (*width).min(PADDING_MAX));
            Some(widths)
        }
        Layout::Within(available) => fit(&mut widths, available).then_some(widths),
    }
}

fn table(
    out: &mut String,
    answer: &SqlAnswer,
    names: &[String],
    cells: &[Vec<String>],
    widths: &[usize],
    layout: Layout,
) {
    let right: Vec<bool> = answer
        .columns
        .iter()
        .map(|column| is_number(&column.column_type))
        .collect();
    let is_cut = layout != Layout::Uncut;
    line(out, names, widths, &right, is_cut);
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    line(out, &rule, widths, &right, is_cut);
    for row in cells {
        line(out, row, widths, &right, is_cut);
    }
}

fn vertical(out: &mut String, names: &[String], cells: &[Vec<String>]) {
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (number, row) in cells.iter().enumerate() {
        let _ = writeln!(out, "── row {}", number + 1);
        for (name, cell) in names.iter().zip(row) {
            let text = format!("{name:<width$}{GAP}{cell}");
            out.push_str(text.trim_end());
            out.push('\n');
        }
    }
}

/// `EXPLAIN`: its lines, which are indented to be read as they are.
fn plan(out: &mut String, answer: &SqlAnswer) {
    for row in &answer.rows {
        for value in row {
            for line in text(value).lines() {
                out.push_str(&printable(line));
                out.push('\n');
            }
        }
    }
}

fn summary(out: &mut String, answer: &SqlAnswer) {
    let rows = answer.rows.len();
    let _ = write!(out, "({rows} {}", if rows == 1 { "row" } else { "rows" });
    if let Some(stats) = &answer.stats {
        let _ = write!(out, ", {} ms", stats.elapsed_ms);
    }
    out.push_str(")\n");
}

/// Makes the widest columns narrower until the line fits; false if that would leave too little of them.
fn fit(widths: &mut [usize], available: usize) -> bool {
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(available);
    while excess > 0 {
        match widths.iter_mut().max() {
            Some(widest) if *widest > COLUMN_WIDTH_MIN => {
                // Long values are many characters too long: in one step to the size of the terminal.
                let step = widest.saturating_sub(available).clamp(1, excess);
                *widest -= step;
                excess -= step;
            }
            _ => return false,
        }
    }
    true
}

fn line(out: &mut String, cells: &[String], widths: &[usize], right: &[bool], is_cut: bool) {
    let mut text = String::new();
    for (index, ((cell, width), right)) in cells.iter().zip(widths).zip(right).enumerate() {
        if index > 0 {
            text.push_str(GAP);
        }
        let cell = if is_cut { cut(cell, *width) } else { cell.clone() };
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
        assert_eq!(render(&answer(), Layout::Within(80)), expected);
        assert_eq!(render(&answer(), Layout::Uncut), expected);
        let mut long = answer();
        long.rows[0][0] = Value::from("x".repeat(500));
        let narrow = render(&long, Layout::Within(40));
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
        assert!(narrow.contains("xxx…"), "{narrow}");
        let uncut = render(&long, Layout::Uncut);
        assert!(uncut.contains(&"x".repeat(500)), "{uncut}");
        assert!(uncut.lines().nth(3).unwrap().chars().count() < 130, "{uncut}");
    }

    #[test]
    fn what_does_not_fit_is_shown_column_by_column() {
        let expected = "── row 1\nservice_name  orders\nn             12\n── row 2\nservice_name\nn             7\n\
                        ── row 3\nservice_name  a b\nn             1234\n(3 rows)\n";
        assert_eq!(render(&answer(), Layout::Vertical), expected);
        assert_eq!(render(&answer(), Layout::Within(14)), expected);
    }

    #[test]
    fn a_plan_keeps_its_lines() {
        let plan = serde_json::from_value(serde_json::json!({
            "columns": [{"name": "plan_type", "type": "text"}, {"name": "plan", "type": "text"}],
            "rows": [["logical_plan", "Sort\n  TableScan\u{1b}[2J"]],
        }))
        .unwrap();
        let expected = "logical_plan\nSort\n  TableScan\u{fffd}[2J\n";
        assert_eq!(render(&plan, Layout::Within(10)), expected);
    }
}
