//! The rules about source files that no compiler knows. The one list of exceptions (`xtask/long-files.txt`) may only
//! shrink: a file leaves it when it has become short, and may not grow while it is there.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::process::{command, output, succeeds};
use crate::report::Outcome;
use crate::workspace;

/// A longer file has more than one responsibility, or is on the list.
const LINES_MAX: usize = 600;
const LONG_FILES: &str = "xtask/long-files.txt";

/// Written by tools, never by hand.
const GENERATED: &[&str] = &[
    "Cargo.lock",
    "fuzz/Cargo.lock",
    "docs/openapi.json",
    "web/src/api/schema.ts",
];

/// Words for work that nobody will do. Put together here, so that this file passes its own test.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

/// Hosts of package registries: which one is used is a matter of the machine, not of the source.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("registry.", "npmjs.org"),
    concat!("registry.", "yarnpkg.com"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("pypi", ".org"),
    concat!("files.", "pythonhosted.org"),
    concat!("proxy.", "golang.org"),
    concat!("deb.", "debian.org"),
];

/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: &[&str] = &[
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
];

pub(crate) fn check() -> Result<Outcome> {
    let root = workspace::root();
    if !succeeds(&mut command("git", &["rev-parse", "--is-inside-work-tree"])) {
        return Ok(Outcome::skipped(
            "tidy: this is no git checkout, which says which files are ours",
        ));
    }
    // Tracked files and new ones that are not ignored.
    let listed = output(&mut command(
        "git",
        &[
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "--deduplicate",
        ],
    ))?;
    let long = parse_long_files(&std::fs::read_to_string(root.join(LONG_FILES)).unwrap_or_default())?;
    let mut found = Vec::new();
    let mut checked = 0;
    for path in listed.lines() {
        let Ok(bytes) = std::fs::read(root.join(path)) else {
            continue;
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            continue;
        };
        checked += 1;
        found.extend(violations(path, text, &long));
    }
    for path in long.keys() {
        if !root.join(path).is_file() {
            found.push(format!(
                "{LONG_FILES} lists {path}, which does not exist: remove the line"
            ));
        }
    }
    println!("   {checked} files, {} on the list of long files", long.len());
    Ok(Outcome::from_failures(found))
}

/// `path lines` on each line; `#` begins a comment.
fn parse_long_files(text: &str) -> Result<BTreeMap<String, usize>> {
    let mut long = BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (path, lines) = line
            .rsplit_once(' ')
            .with_context(|| format!("{LONG_FILES}: `{line}` has no number"))?;
        long.insert(
            path.to_owned(),
            lines
                .parse()
                .with_context(|| format!("{LONG_FILES}: `{lines}` is no number"))?,
        );
    }
    Ok(long)
}

fn violations(path: &str, text: &str, long: &BTreeMap<String, usize>) -> Vec<String> {
    if GENERATED.contains(&path) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut say = |what: String| found.push(format!("{path}: {what}"));
    let extension = Path::new(path)
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    let source = matches!(extension, "rs" | "ts" | "tsx" | "css" | "py" | "sh" | "mjs");

    if source {
        if let Some(complaint) = length_complaint(text.lines().count(), long.get(path).copied()) {
            say(complaint);
        }
        for word in UNFINISHED {
            if let Some(line) = line_of(text, word, |_| true) {
                say(format!("line {line} has {word}: do it, or file an issue"));
            }
        }
    }
    if extension == "rs" && !text.starts_with("//!") {
        say("does not open with `//!`: say what the file owns and what it refuses".to_owned());
    }
    if matches!(extension, "ts" | "tsx") && !path.ends_with(".test.ts") && !text.starts_with("/**") {
        say("does not open with `/** … */`: say what the file owns and what it refuses".to_owned());
    }
    if path.ends_with("/mod.rs") {
        say("modules live in `name.rs` beside `name/`, not in `mod.rs`".to_owned());
    }
    if path.ends_with("package-lock.json") && text.contains("\"resolved\"") {
        say("names registries: install with `omit-lockfile-registry-resolved`".to_owned());
    }
    if path.ends_with(".npmrc") && !text.lines().any(|line| line == "ignore-scripts=true") {
        say("lets npm packages run code when they are installed: say `ignore-scripts=true`".to_owned());
    }
    for host in REGISTRY_HOSTS {
        if let Some(line) = line_of(text, host, |_| true) {
            say(format!("line {line} names the registry {host}"));
        }
    }
    for prefix in MACHINE_PATHS {
        if let Some(line) = line_of(text, prefix, begins_a_path) {
            say(format!("line {line} has a path of one machine ({prefix}…)"));
        }
    }
    found
}

fn length_complaint(lines: usize, listed: Option<usize>) -> Option<String> {
    match listed {
        None if lines > LINES_MAX => Some(format!(
            "has {lines} lines, at most {LINES_MAX}: split it by responsibility"
        )),
        Some(_) if lines <= LINES_MAX => Some(format!("is short again: remove it from {LONG_FILES}")),
        Some(listed) if lines > listed => Some(format!(
            "has grown from {listed} to {lines} lines; it may only shrink"
        )),
        _ => None,
    }
}

/// The first line with `word` where `counts` agrees with what stands before it.
fn line_of(text: &str, word: &str, counts: impl Fn(&str) -> bool) -> Option<usize> {
    let position = text
        .match_indices(word)
        .map(|(position, _)| position)
        .find(|position| counts(&text[..*position]))?;
    Some(text[..position].lines().count().max(1))
}

/// Whether a path begins after `before`: `/…` after a letter, a dot or a closing brace belongs to a longer one.
fn begins_a_path(before: &str) -> bool {
    !before
        .ends_with(|last: char| last.is_alphanumeric() || matches!(last, '.' | '_' | '-' | '}' | '*' | '~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        violations(path, text, &BTreeMap::from([("long.rs".to_owned(), 700)])).len()
    }

    #[test]
    fn each_rule_finds_what_it_is_for() {
        assert_eq!(found("a.rs", "//! Owns a.\n"), 0);
        assert_eq!(found("a.rs", "fn a() {}\n"), 1);
        assert_eq!(found("a/mod.rs", "//! Owns a.\n"), 1);
        assert_eq!(found("a.rs", concat!("//! A.\n// TO", "DO: more\n")), 1);
        assert_eq!(found("web/a.ts", "export {};\n"), 1);
        assert_eq!(found("web/a.test.ts", "export {};\n"), 0);
        assert_eq!(found("a.md", concat!("see https://pypi", ".org/x")), 1);
        assert_eq!(found("a.md", concat!("cd /ro", "ot/x")), 1);
        assert_eq!(
            found(
                "a.md",
                concat!("cd ./target/ro", "ot/x and s3://bucket/ho", "me/x")
            ),
            0
        );
        assert_eq!(found("web/package-lock.json", "{\"resolved\": 1}"), 1);
        assert_eq!(found("web/.npmrc", "fund=false\n"), 1);
        assert_eq!(found("web/.npmrc", "; ours\nignore-scripts=true\n"), 0);
        assert_eq!(found("Cargo.lock", concat!("TO", "DO")), 0);
    }

    #[test]
    fn long_files_may_only_shrink() {
        let lines = |count: usize| format!("//! Long.\n{}", "\n".repeat(count - 1));
        assert_eq!(found("new.rs", &lines(601)), 1);
        assert_eq!(found("new.rs", &lines(600)), 0);
        assert_eq!(found("long.rs", &lines(700)), 0);
        assert_eq!(found("long.rs", &lines(701)), 1);
        assert_eq!(found("long.rs", &lines(600)), 1);
        assert!(parse_long_files("# comment\na b.rs 12\n").is_ok_and(|long| long.get("a b.rs") == Some(&12)));
        assert!(parse_long_files("a\n").is_err());
    }
}
