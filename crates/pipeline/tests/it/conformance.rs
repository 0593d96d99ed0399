//! One test per numbered rule of `CONFORMANCE.md`, named by its number.

mod answers;
mod cors;
mod json;
mod limits;
mod overload;
mod protobuf;
mod routing;

use std::collections::BTreeSet;
use std::path::Path;

/// Names of the form `c07_…` in a text, where `before` comes before and none of the name's own characters.
fn rule_names(text: &str, before: &str) -> BTreeSet<String> {
    let names = text.match_indices(before).map(|(at, _)| {
        let rest = &text[at + before.len()..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        &rest[..end]
    });
    let is_rule = |name: &&str| matches!(name.as_bytes(), [b'c', b'0'..=b'9', b'0'..=b'9', b'_', ..]);
    names.filter(is_rule).map(str::to_owned).collect()
}

fn rule_tests(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rule_tests(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(rule_names(&std::fs::read_to_string(&path).unwrap(), "fn "));
        }
    }
}

#[test]
fn the_page_of_rules_lists_every_test_and_no_other() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(here.join("CONFORMANCE.md")).unwrap();
    let mut tests = BTreeSet::new();
    rule_tests(&here.join("tests/it"), &mut tests);
    rule_tests(&here.join("../export/tests/it"), &mut tests);
    assert_eq!(rule_names(&page, "`"), tests);
    for rule in 1..=29 {
        assert!(
            tests.iter().any(|name| name.starts_with(&format!("c{rule:02}_"))),
            "no test of rule {rule}"
        );
    }
}
