//! References resolve as in the Collector, within bounds, and what they insert is never shown.

use std::collections::HashMap;
use std::io;

use cupola_config::{Node, Origin, Problems, Severity, Sources, expand};

#[derive(Default)]
struct Given {
    env: HashMap<&'static str, String>,
    files: HashMap<&'static str, String>,
}

impl Sources for Given {
    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn file(&self, path: &str) -> io::Result<String> {
        self.files
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn env<const N: usize>(variables: [(&'static str, &str); N]) -> Given {
    Given {
        env: variables.map(|(name, text)| (name, text.to_owned())).into(),
        files: HashMap::new(),
    }
}

fn expanded(text: &str, given: &Given) -> (Node, Problems) {
    let mut problems = Problems::new();
    let node = Node::parse("f.yaml", text).unwrap();
    (expand(&node, given, &mut problems), problems)
}

/// What a value becomes as a typed value and as a text, without problems.
#[track_caller]
fn check(value: &str, given: &Given, typed: &str, text: &str) {
    let (node, problems) = expanded(&format!("field: {value}"), given);
    assert!(problems.is_empty(), "{value}: {problems:?}");
    let field = node.get("field").unwrap();
    assert_eq!(field.text(), Some(text), "{value}");
    let expected = Node::parse("", typed).unwrap();
    assert!(field == &expected, "{value}: {field:?} is not {expected:?}");
}

#[test]
fn a_value_that_is_one_reference_is_typed_and_keeps_its_text() {
    for (value, typed) in [
        ("123", "123"),
        ("0123", "0123"),
        ("0xdeadbeef", "0xdeadbeef"),
        ("1e3", "1e3"),
        ("true", "true"),
        ("\"0123\"", "'\"0123\"'"),
        ("!!str 0123", "'!!str 0123'"),
        ("1111:1111:1111::", "{'1111:1111:1111:': }"),
        ("2006-01-02T15:04:05Z07:00", "'2006-01-02T15:04:05Z07:00'"),
        ("{a: [1, x]}", "{a: [1, x]}"),
        ("{broken", "'{broken'"),
        ("@at", "'@at'"),
        ("", ""),
    ] {
        let given = env([("ENV", value), ("VIA", "${env:ENV}")]);
        for reference in ["${env:ENV}", "${ENV}", "${env:VIA}", "${env:UNSET:-${ENV}}"] {
            let (node, problems) = expanded(&format!("field: {reference}"), &given);
            let field = node.get("field").unwrap();
            assert!(problems.is_empty(), "{value}: {problems:?}");
            assert_eq!(field.text(), Some(value), "{reference} of {value}");
            assert!(
                *field == Node::parse("", typed).unwrap(),
                "{reference} of {value}"
            );
            assert!(!field.origin().is_written());
        }
    }
}

#[test]
fn within_a_text_the_text_is_inserted() {
    let given = env([("N", "0123"), ("M", "{value: 1}"), ("A", "a ${env:N} a")]);
    check(
        "inline ${env:N} and ${N}",
        &given,
        "inline 0123 and 0123",
        "inline 0123 and 0123",
    );
    check("x ${env:M}", &given, "'x {value: 1}'", "x {value: 1}");
    check("b ${env:A} b", &given, "b a 0123 a b", "b a 0123 a b");
    check("${N}${N}", &given, "'01230123'", "01230123");
}

#[test]
fn dollars_are_escaped_by_doubling() {
    let given = env([("N", "1"), ("PRICE", "5$$ $x")]);
    check("$$", &given, "$", "$");
    check("$${env:N}", &given, "'${env:N}'", "${env:N}");
    check("$$$${N}", &given, "'$${N}'", "$${N}");
    check("$$${N}", &given, "'$1'", "$1");
    check("a $1 b$", &given, "'a $1 b$'", "a $1 b$");
    check("${PRICE}", &given, "'5$ $x'", "5$ $x");
    check("${UNSET:-$$$$}", &given, "'$$'", "$$");
}

#[test]
fn defaults_are_used_when_the_variable_is_not_set() {
    let given = env([("SET", "s"), ("EMPTY", ""), ("NAME", "SET")]);
    check("${env:UNSET:-8080}", &given, "8080", "8080");
    check("${UNSET:-a:-b}", &given, "'a:-b'", "a:-b");
    check("${env:SET:-${env:NOT_ASKED_FOR}}", &given, "s", "s");
    check("${env:UNSET:-}", &given, "''", "");
    check("${env:UNSET:-x ${SET} y}", &given, "x s y", "x s y");
    check("${env:UNSET:-${ALSO_UNSET:-[1, 2]}}", &given, "[1, 2]", "[1, 2]");
    check("${env:EMPTY:-x}", &given, "", "");
    check("${env:${NAME}}", &given, "s", "s");
    check(
        "\"${env:UNSET:-http://h:1/p}\"",
        &given,
        "'http://h:1/p'",
        "http://h:1/p",
    );
}

#[test]
fn files_are_read_as_values_and_as_configuration() {
    let given = Given {
        env: HashMap::from([("DIR", "/run".to_owned())]),
        files: HashMap::from([
            ("/run/token", "s3cr3t\n".to_owned()),
            ("part.yaml", "\nport: 1\nname: ${env:DIR}\n".to_owned()),
            ("broken.yaml", "a: [".to_owned()),
        ]),
    };
    check("${file:/run/token}", &given, "s3cr3t", "s3cr3t");
    check("${file:${env:DIR}/token}", &given, "s3cr3t", "s3cr3t");
    check(
        "Bearer ${file:/run/token}",
        &given,
        "Bearer s3cr3t",
        "Bearer s3cr3t",
    );
    let (node, problems) = expanded("a: ${file:part.yaml}", &given);
    assert!(problems.is_empty());
    let port = node.at(&["a", "port"]).unwrap();
    assert_eq!(
        (port.as_int(), port.place().to_string().as_str()),
        (Some(1), "part.yaml:2:7")
    );
    assert_eq!(
        node.at(&["a", "name"]).unwrap().origin(),
        &Origin::File("part.yaml".into())
    );
    for (text, wrong) in [
        ("a: ${file:none}", "f.yaml:1:4: a: the file `none`"),
        ("a: ${file:broken.yaml}", "broken.yaml:"),
    ] {
        let (_, problems) = expanded(text, &given);
        assert_eq!(problems.errors(), 1, "{problems:?}");
        assert!(
            problems.iter().next().unwrap().to_string().starts_with(wrong),
            "{problems:?}"
        );
    }
}

#[test]
fn an_unset_variable_is_a_warning_and_an_empty_text() {
    let (node, problems) = expanded("a: {b: ['${env:GONE}', 'x${GONE}y']}", &env([]));
    assert_eq!(problems.errors(), 0);
    let first = problems.iter().next().unwrap();
    assert_eq!(
        (first.severity, first.key.as_str()),
        (Severity::Warning, "a.b[0]")
    );
    assert!(first.message.contains("`GONE`"));
    let alone = node.at(&["a", "b", "0"]).unwrap();
    assert!(alone.is_null() && alone.text() == Some(""));
    assert_eq!(node.at(&["a", "b", "1"]).unwrap().as_str(), Some("xy"));
}

#[test]
fn what_cannot_be_resolved_is_reported_with_its_place() {
    let given = env([
        ("A", "${env:B}"),
        ("B", "x${env:A}"),
        ("SECRET", "hunter2 ${no such}"),
        ("SELF", "{a: \"${SELF}\"}"),
    ]);
    for (value, wrong) in [
        ("${env:no-name}", "`no-name`"),
        ("${}", "no name"),
        ("${1}", "`1`"),
        ("${http://x}", "`http:`"),
        ("${env:A}", "env:A -> env:B -> env:A"),
        ("${SELF}", "back to itself"),
        ("${SECRET}", "no name of an environment variable"),
    ] {
        let (_, problems) = expanded(&format!("\na: {{b: '{value}'}}"), &given);
        let problem = problems
            .iter()
            .next()
            .unwrap_or_else(|| panic!("{value} is taken"));
        assert_eq!(problem.severity, Severity::Error);
        assert!(problem.to_string().starts_with("f.yaml:2:8: a.b"), "{problem}");
        assert!(problem.message.contains(wrong), "{problem}");
        assert!(!problem.render(None).contains("hunter2"), "{problem}");
    }
    let (node, problems) = expanded("a: 'x ${env:A'", &given);
    assert_eq!((problems.len(), problems.errors()), (1, 0));
    assert_eq!(node.get("a").unwrap().as_str(), Some("x ${env:A"));
}

#[test]
fn references_that_multiply_are_stopped() {
    let names: Vec<&'static str> = (0..30)
        .map(|level| &*Box::leak(format!("V{level}").into_boxed_str()))
        .collect();
    let mut given = Given::default();
    for pair in names.windows(2) {
        given.env.insert(pair[0], format!("${{{0}}}${{{0}}}", pair[1]));
    }
    given.env.insert(names[29], "x".repeat(100));
    let (_, problems) = expanded("a: ${V0}\nb: ${V0}", &given);
    assert_eq!(problems.errors(), 1, "{problems:?}");
    let mut given = Given::default();
    for pair in names.windows(2) {
        given
            .env
            .insert(pair[0], format!("[\"${{{0}}}\", \"${{{0}}}\"]", pair[1]));
    }
    let (_, problems) = expanded("a: ${V0}", &given);
    assert!(problems.errors() > 0, "{problems:?}");
    let (_, problems) = expanded(&format!("a: '{}'", "${A:-".repeat(2_000)), &env([]));
    assert_eq!(problems.errors(), 0, "{problems:?}");
}

#[test]
fn a_variable_that_is_not_set_is_told_once_with_all_its_places() {
    let mut problems = Problems::new();
    let node = Node::parse(
        "f",
        "a: ${env:UNSET}\nb:\n  - ${UNSET}\n  - x${env:UNSET}\nc: ${env:UNSET:-y}\n",
    )
    .unwrap();
    expand(&node, &env([]), &mut problems);
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "f:1:4: warning: a: the environment variable `UNSET` is not set; an empty text is used, also at f:3:5, f:4:5"
        ]
    );
}
