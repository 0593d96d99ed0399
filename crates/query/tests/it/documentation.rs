//! Every statement that the documentation shows can be run.

use std::path::Path;

use crate::support::{Fixture, State, fixture_requests};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The parts of a text between two marks.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
    let begun = text.split(begin).skip(1);
    begun
        .map(|rest| rest.split(end).next().unwrap_or_default())
        .collect()
}

fn without_comments(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Statements of a block, or, of a block of expressions, a statement for each.
fn statements(block: &str) -> Vec<String> {
    let text = without_comments(block);
    let parts = |separator: char| {
        let parts = text.split(separator).map(str::trim);
        parts
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    if text.trim_start().starts_with("SELECT") {
        return parts(';');
    }
    parts('\n')
        .iter()
        .map(|expression| format!("SELECT {expression} FROM spans"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_of_the_documentation_runs() {
    let mut shown: Vec<String> = between(&read("docs/sql.md"), "```sql\n", "```")
        .into_iter()
        .flat_map(statements)
        .collect();
    assert!(shown.len() >= 8, "{shown:?}");
    let readme = read("README.md");
    let asked = between(&readme, "cupola query \"", "\"");
    assert!(asked.len() >= 2, "{asked:?}");
    shown.extend(asked.into_iter().map(str::to_owned));
    let posted = read("docs/http-api.md");
    let posted = between(&posted, "\"query\": \"", "\"");
    assert!(!posted.is_empty());
    shown.extend(posted.into_iter().map(str::to_owned));
    for state in [State::Memory, State::Compacted] {
        let fixture = Fixture::filled(state, &fixture_requests()).await;
        for sql in &shown {
            // Panics with the statement and its error.
            fixture.lines(sql).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_function_of_the_documentation_is_there() {
    let text = read("docs/sql.md");
    let table = between(&text, "## Functions", "\n## ")[0];
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let first_cells = rows.filter_map(|row| row.split('|').nth(1));
    let names: Vec<String> = first_cells
        .flat_map(|cell| between(cell, "`", "("))
        .map(|name| name.trim_start_matches([',', ' ', '`']).to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    for name in ["match", "time_bucket", "percentile", "quantile", "json_get_text"] {
        assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
    }
    let fixture = Fixture::empty().await;
    for name in names.iter().filter(|name| *name != "trace") {
        // Too few arguments; what is not known is another error.
        let error = fixture.ask(&format!("SELECT {name}()")).await.unwrap_err();
        let said = format!("{error} {}", error.hint().unwrap_or_default());
        assert!(!said.contains("Invalid function"), "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn percentile_and_quantile_are_the_same_approximation() {
    let fixture = Fixture::empty().await;
    let lines = fixture
        .lines(
            "SELECT percentile(value, 0.5), quantile(value, 0.5), approx_percentile_cont(value, 0.5), \
             percentile(value, 0.95) FROM generate_series(1, 101)",
        )
        .await;
    let values: Vec<f64> = lines[1]
        .split(" | ")
        .map(|value| value.parse().unwrap())
        .collect();
    assert_eq!((values[0], values[1]), (values[2], values[2]));
    assert!((values[0] - 51.0).abs() <= 1.0, "{values:?}");
    assert!((values[3] - 96.0).abs() <= 2.0, "{values:?}");
}
