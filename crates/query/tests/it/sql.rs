//! Every case of `tests/sql/cases` has the same answer in memory, flushed and compacted.

use std::path::{Path, PathBuf};

use crate::support::{Fixture, State, fixture_requests, lines};

struct Case {
    line: usize,
    sql: String,
    expected: Expected,
    rowsort: bool,
}

enum Expected {
    Rows(Vec<String>),
    Error(String),
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql/cases")
}

fn read(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut cases = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
        if !matches!(head, "query" | "error") {
            assert!(
                line.is_empty() || line.starts_with('#'),
                "{}:{}: {line}",
                path.display(),
                index + 1
            );
            continue;
        }
        let mut sql = Vec::new();
        let mut rows = Vec::new();
        let mut in_answer = false;
        while let Some((_, line)) = lines.next_if(|(_, line)| !line.is_empty()) {
            match (in_answer, line) {
                (false, "----") => in_answer = true,
                (false, line) => sql.push(line),
                (true, line) => rows.push(line.to_owned()),
            }
        }
        let expected = match head {
            "error" => Expected::Error(rest.to_owned()),
            _ => Expected::Rows(rows),
        };
        cases.push(Case {
            line: index + 1,
            sql: sql.join("\n"),
            expected,
            rowsort: rest == "rowsort",
        });
    }
    cases
}

/// The answer, line by line; or the message of the error.
async fn answer(fixture: &Fixture, case: &Case) -> Result<Vec<String>, String> {
    match fixture.ask(&case.sql).await {
        Ok(batches) => {
            let mut lines: Vec<String> = lines(&batches)
                .into_iter()
                .map(|line| line.replace('\n', "\\n"))
                .collect();
            if case.rowsort {
                lines[1..].sort();
            }
            Ok(lines)
        }
        Err(error) => Err(format!("{error}; {}", error.hint().unwrap_or_default())),
    }
}

async fn check(fixture: &Fixture, state: State, path: &Path, failures: &mut Vec<String>) {
    for case in read(path) {
        let place = format!("{}:{} ({state:?})\n{}", path.display(), case.line, case.sql);
        match (answer(fixture, &case).await, &case.expected) {
            (Ok(found), Expected::Rows(rows)) if found == *rows => {}
            (Err(message), Expected::Error(part)) if message.contains(part.as_str()) => {}
            (Ok(found), Expected::Rows(rows)) => failures.push(format!(
                "{place}\nexpected\n  {}\nfound\n  {}\n",
                rows.join("\n  "),
                found.join("\n  ")
            )),
            (Err(message), _) => failures.push(format!("{place}\nfailed: {message}\n")),
            (Ok(found), Expected::Error(part)) => {
                failures.push(format!(
                    "{place}\nexpected an error with {part:?}, found\n  {}\n",
                    found.join("\n  ")
                ));
            }
        }
    }
}

/// Puts the answers found into the file.
async fn update(fixture: &Fixture, path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut cases = read(path).into_iter();
    let mut out: Vec<String> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        out.push(line.to_owned());
        if !line.starts_with("query") {
            continue;
        }
        let case = cases
            .find(|case| matches!(case.expected, Expected::Rows(_)))
            .unwrap();
        while let Some(line) = lines.next_if(|line| !line.is_empty() && *line != "----") {
            out.push(line.to_owned());
        }
        while lines.next_if(|line| !line.is_empty()).is_some() {}
        out.push("----".to_owned());
        match answer(fixture, &case).await {
            Ok(found) => out.extend(found),
            Err(message) => out.push(format!("FAILED: {message}")),
        }
    }
    std::fs::write(path, out.join("\n") + "\n").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_has_the_same_answer_in_every_state() {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    if std::env::var_os("CUPOLA_SQL_UPDATE").is_some() {
        let fixture = Fixture::filled(State::Memory, &fixture_requests()).await;
        for path in &paths {
            update(&fixture, path).await;
        }
    }
    let mut failures = Vec::new();
    for state in State::ALL {
        let fixture = Fixture::filled(state, &fixture_requests()).await;
        for path in &paths {
            check(&fixture, state, path, &mut failures).await;
        }
        fixture.store.shutdown().await.unwrap();
    }
    assert!(
        failures.is_empty(),
        "{} cases failed\n\n{}",
        failures.len(),
        failures.join("\n")
    );
}
