//! Every mistake of a configuration is reported, with its place, its key and what to do, and no secret is shown.

use std::collections::{BTreeMap, HashMap};

use cupola_config::units::{ByteSize, TimeSpan};
use cupola_config::{Endpoint, Node, Problems, Secret, Sources, expand, read, read_at};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Outer {
    endpoint: Option<Endpoint>,
    timeout: Option<TimeSpan>,
    size: Option<ByteSize>,
    tls: Option<Tls>,
    headers: HashMap<String, String>,
    ports: Vec<u16>,
    brokers: Vec<String>,
    rules: Vec<Rule>,
    named: BTreeMap<String, Rule>,
    mode: Mode,
    value: Option<Loose>,
    token: Option<Secret>,
    count: u8,
    flag: bool,
    name: String,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Tls {
    ca_file: String,
    insecure: bool,
    #[serde(alias = "insecure_skip")]
    insecure_skip_verify: bool,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Rule {
    keep: TimeSpan,
    #[serde(default)]
    signal: Mode,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Automatic,
    Manual,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum Loose {
    Number(i64),
    Flag(bool),
}

fn problems(text: &str) -> Vec<String> {
    let mut problems = Problems::new();
    read::<Outer>(&Node::parse("f", text).unwrap(), &mut problems);
    problems
        .into_sorted()
        .iter()
        .map(|problem| problem.render(None).replace("\nhint:", " |"))
        .collect()
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(problems(text), expected, "{text}");
}

fn value(text: &str) -> Outer {
    let mut problems = Problems::new();
    let read = read(&Node::parse("f", text).unwrap(), &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    read.unwrap()
}

#[test]
fn values_of_all_kinds_are_read() {
    let read = value(
        "{endpoint: 4317, timeout: 5s, tls: {ca_file: 0123}, ports: [1, 2], mode: manual, value: 3, name: 1e3,\n\
         rules: [{keep: 1d}], named: {a: {keep: 0}}, headers: {x: 1, y: true}, token: 0777}",
    );
    assert_eq!(read.name, "1e3");
    assert_eq!(read.tls.unwrap().ca_file, "0123");
    assert_eq!(read.headers["y"], "true");
    assert_eq!(read.token.unwrap().expose(), "0777");
    assert_eq!(read.mode, Mode::Manual);
    assert_eq!(value("brokers: 'a:9092, b:9092'").brokers, ["a:9092", "b:9092"]);
}

#[test]
fn a_key_without_a_value_says_nothing() {
    assert_eq!(
        value("tls:\ncount:\nname:\nports:\nheaders:\nmode:\ntimeout:\n"),
        Outer::default()
    );
    assert_eq!(value(""), Outer::default());
}

#[test]
fn a_required_key_without_a_value_is_missing() {
    check(
        "rules: [{keep: }, {keep: 1s}]",
        &["f:1:9: rules[0].keep: this key is missing | add `keep:`"],
    );
    check(
        "named: {a: }",
        &["f:1:9: named.a.keep: this key is missing | add `keep:`"],
    );
    check(
        "ports: [1, ]\nbrokers: [~]",
        &["f:2:11: brokers[0]: a text is expected, not nothing"],
    );
}

#[test]
fn every_mistake_is_reported_at_its_place() {
    check(
        "endpont: x\n\
         timeout: 10\n\
         tls:\n  ca_fil: x\n  insecure: maybe\n\
         ports: [1, x, 70000, 2]\n\
         rules:\n  - keep: soon\n  - signal: manul\n  - keep: 1d\n    sgnal: x\n\
         named: {a: {keep: 1d}, b: {kep: 1d}}\n\
         mode: automatical\n\
         value: x\n\
         size: [1]\n\
         count: 300\n",
        &[
            "f:1:1: endpont: unknown key | did you mean `endpoint`?",
            "f:2:10: timeout: `10` has no unit; write for example 10s, or 500ms, 1h30m or 90d",
            "f:4:3: tls.ca_fil: unknown key | did you mean `ca_file`?",
            "f:5:13: tls.insecure: true or false is expected, not the text \"maybe\"",
            "f:6:12: ports[1]: a whole number from 0 to 65535 is expected, not the text \"x\"",
            "f:6:15: ports[2]: a whole number from 0 to 65535 is expected, not integer `70000`",
            "f:8:11: rules[0].keep: `soon` is not a duration; write for example 500ms, 10s, 1h30m or 90d",
            "f:9:5: rules[1].keep: this key is missing | add `keep:`",
            "f:9:13: rules[1].signal: `manul` is none of the known words | did you mean `manual`?",
            "f:11:5: rules[2].sgnal: unknown key | did you mean `signal`?",
            "f:12:24: named.b.keep: this key is missing | add `keep:`",
            "f:12:28: named.b.kep: unknown key | did you mean `keep`?",
            "f:13:7: mode: `automatical` is none of the known words | did you mean `automatic`?",
            "f:14:8: value: a text has none of the forms that are taken here",
            "f:15:7: size: a size is expected, not a list | write for example 512MiB, 2GiB or 1000000",
            "f:16:8: count: a whole number from 0 to 255 is expected, not integer `300`",
        ],
    );
}

#[test]
fn what_no_known_key_is_near_to_lists_those_there_are() {
    check(
        "tls: {colour: red}",
        &[
            "f:1:7: tls.colour: unknown key | known keys: ca_file, insecure, insecure_skip, insecure_skip_verify",
        ],
    );
    check(
        "tls: {insecure_skip: true, insecure_skip_verify: true}",
        &[
            "f:1:28: tls.insecure_skip_verify: `insecure_skip_verify` is set twice, under two names | keep one of the two",
        ],
    );
    check(
        "[1]",
        &[
            "f:1:1: a mapping is expected, not a list | write its keys in the lines below, further to the right",
        ],
    );
}

#[test]
fn what_is_right_is_read_all_the_same() {
    let mut problems = Problems::new();
    let node = Node::parse("f", "count: 7\nports: [1, x, 2]\nnope: 1\n").unwrap();
    let read: Outer = read_at(&node, "exporters.otlp/2", &mut problems).unwrap();
    assert_eq!((read.count, read.ports), (7, vec![1, 2]));
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["exporters.otlp/2.ports[1]", "exporters.otlp/2.nope"]);
}

struct Everything(&'static str);

impl Sources for Everything {
    fn env(&self, _name: &str) -> Option<String> {
        Some(self.0.to_owned())
    }

    fn file(&self, _path: &str) -> std::io::Result<String> {
        Ok(self.0.to_owned())
    }
}

#[test]
fn no_message_shows_what_came_from_elsewhere_or_is_a_secret() {
    #[derive(Debug, Deserialize)]
    struct Text {
        text: String,
        address: Option<Endpoint>,
    }
    let node = Node::parse("f", "text: ${A}\naddress: ${A}\n").unwrap();
    let mut problems = Problems::new();
    let text: Text = read(
        &expand(&node, &Everything("a: {b: 1}"), &mut problems),
        &mut problems,
    )
    .unwrap();
    assert_eq!((text.text.as_str(), text.address), ("a: {b: 1}", None));
    let text: Text = read(
        &expand(&node, &Everything("[::1]:4317"), &mut problems),
        &mut problems,
    )
    .unwrap();
    assert_eq!(text.address.unwrap().to_string(), "[::1]:4317");
    let fields = [
        "endpoint", "timeout", "tls", "ports", "rules", "named", "mode", "value", "count", "flag", "size",
        "headers",
    ];
    for secret in [
        "hunter2",
        "{hunter2: 1}",
        "[hunter2]",
        "{keep: hunter2}",
        "[{keep: hunter2}]",
        "{a: {b: hunter2}}",
    ] {
        for field in fields {
            for reference in [
                "${env:PASSWORD}",
                "${file:PASSWORD}",
                "[\"${env:PASSWORD}\"]",
                "x${PASSWORD}",
            ] {
                let file = reference.contains("file");
                if file && secret.contains("{") {
                    continue;
                }
                let mut problems = Problems::new();
                let node = Node::parse("f", &format!("{field}: {reference}\n")).unwrap();
                let node = expand(&node, &Everything(secret), &mut problems);
                read::<Outer>(&node, &mut problems);
                for problem in &problems {
                    let rendered = problem.render(Some(&format!("{field}: {reference}")));
                    assert!(!rendered.contains("hunter2"), "{rendered}");
                    assert!(rendered.contains("PASSWORD") || field == "headers", "{rendered}");
                }
            }
        }
    }
    for text in [
        "token: [hunter2]",
        "token: {hunter2: x}",
        "tls: {ca_file: [hunter2], password: hunter2}",
    ] {
        let mut problems = Problems::new();
        read::<Outer>(&Node::parse("f", text).unwrap(), &mut problems);
        assert!(problems.errors() > 0);
        for problem in &problems {
            assert!(!problem.to_string().contains("hunter2"), "{problem}");
        }
    }
}
