//! Operators at work: settings in JSON, as a file has them, and what becomes of entries.

mod bounds;
mod json_array;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{Entry, OperatorConfig, OperatorStats, Operators, Origin, Value, Variables, compile};

fn now() -> DateTime<Utc> {
    "2024-01-02T00:00:00Z".parse().unwrap()
}

fn configs(json: serde_json::Value) -> Vec<OperatorConfig> {
    serde_json::from_value(json).unwrap()
}

fn operators(json: serde_json::Value) -> Operators {
    compile("operators", &configs(json), &Variables::new(), &Arc::default()).unwrap()
}

fn problems(json: serde_json::Value) -> Vec<(String, String)> {
    compile("operators", &configs(json), &Variables::new(), &Arc::default())
        .err()
        .unwrap_or_default()
}

fn entry(body: &str) -> Entry {
    let mut entry = Entry {
        body: Value::from(body),
        ..Entry::default()
    };
    entry
        .attributes
        .set("log.file.path", "/var/log/pods/ns_pod_0a-b1/main/3.log");
    entry
}

/// What comes out for these bodies.
fn run(json: serde_json::Value, bodies: &[&str]) -> Vec<Entry> {
    let mut operators = operators(json);
    let mut out = Vec::new();
    for body in bodies {
        operators.process(entry(body), now(), &mut out);
    }
    operators.flush(now(), true, &mut out);
    out
}

fn one(json: serde_json::Value, body: &str) -> Entry {
    let mut out = run(json, &[body]);
    assert_eq!(out.len(), 1);
    out.remove(0)
}

fn text(entry: &Entry, key: &str) -> String {
    entry
        .attributes
        .get(key)
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[test]
fn json_of_an_application_gets_time_severity_and_trace() {
    let entry = one(
        json!([{
            "type": "json_parser",
            "timestamp": { "parse_from": "attributes.ts", "layout": "%Y-%m-%dT%H:%M:%S.%LZ" },
            "severity": { "parse_from": "attributes.level" },
            "trace": { "trace_id": { "parse_from": "attributes.trace" }, "span_id": { "parse_from": "attributes.span" } },
            "scope_name": { "parse_from": "attributes.logger" },
            "body": "attributes.msg",
        }]),
        r#"{"ts":"2024-01-01T10:00:00.250Z","level":"Warning","msg":"slow","n":3,"trace":"0af7651916cd43dd8448eb211c80319c","span":"b7ad6b7169203331","logger":"db","in":{"a":[1,null,true]}}"#,
    );
    assert_eq!(entry.time, Some(1_704_103_200_250_000_000));
    assert_eq!((entry.severity, entry.severity_text.as_str()), (13, "Warning"));
    assert_eq!(
        (entry.trace_id.len(), entry.span_id.len(), entry.scope.as_str()),
        (16, 8, "db")
    );
    assert_eq!(entry.body, Value::from("slow"));
    assert_eq!(
        entry.attributes.get("n"),
        Some(&Value::Float(3.0)),
        "as the Collector has numbers"
    );
    assert_eq!(text(&entry, "in"), "map[a:[1 nil true]]");
}

#[test]
fn parsers_find_what_is_in_text() {
    let entry = one(
        json!([{ "type": "regex_parser", "regex": r"^(?P<ip>\S+) (?P<code>\d+)(?P<rest> .*)?$", "parse_to": "attributes.web",
                 "severity": { "parse_from": "attributes.web.code", "mapping": { "error": "5xx", "info": ["2xx", 304], "debug": { "min": 400, "max": 499 } }, "overwrite_text": true } }]),
        "10.0.0.1 404",
    );
    assert_eq!(text(&entry, "web"), "map[ip:10.0.0.1 code:404 rest:]");
    assert_eq!((entry.severity, entry.severity_text.as_str()), (5, "DEBUG"));
    let entry = one(
        json!([{ "type": "key_value_parser" }]),
        r#"level=info msg="a = b" path='/x y' empty="#,
    );
    assert_eq!(
        (text(&entry, "msg"), text(&entry, "path"), text(&entry, "empty")),
        ("a = b".into(), "/x y".into(), String::new())
    );
    let entry = one(
        json!([{ "type": "csv_parser", "header": "a,b,c" }]),
        "1,\"2,\"\"two\"\"\",3",
    );
    assert_eq!(text(&entry, "b"), "2,\"two\"");
    let entry = one(
        json!([{ "type": "csv_parser", "header": "a\tb", "delimiter": "\t", "ignore_quotes": true }]),
        "x\"\ty",
    );
    assert_eq!(text(&entry, "a"), "x\"");
    let entry = one(
        json!([{ "type": "uri_parser" }]),
        "https://bob@[::1]:443/a/b?x=1&x=2&y=%20z#f",
    );
    assert_eq!(
        ["scheme", "user", "host", "port", "path", "query"].map(|key| text(&entry, key)),
        ["https", "bob", "::1", "443", "/a/b", "map[x:[1 2] y:[ z#f]]"],
        "the Collector knows no fragments either"
    );
}

#[test]
fn transforms_change_what_they_name() {
    let entry = one(
        json!([
            { "type": "json_parser", "parse_to": "body", "parse_ints": true },
            { "type": "add", "field": "attributes.by", "value": "EXPR(body.user.name + '!')" },
            { "type": "add", "field": "resource.team", "value": { "a": [1, 2.5] } },
            { "type": "move", "from": "body.user.name", "to": "attributes[\"user.name\"]" },
            { "type": "copy", "from": "body.n", "to": "attributes.n" },
            { "type": "flatten", "field": "body.nested" },
            { "type": "remove", "field": "body.secret" },
            { "type": "regex_replace", "field": "body.text", "regex": "\\d+", "replace_with": "#" },
            { "type": "assign_keys", "field": "body.list", "keys": ["x", "y"] },
            { "type": "unquote", "field": "body.quoted" },
            { "type": "retain", "fields": ["body.n", "body.deep", "body.text", "body.list", "body.quoted", "body.none"] },
        ]),
        r#"{"user":{"name":"ann"},"n":7,"nested":{"deep":true},"secret":1,"text":"a1b22","list":["p","q"],"quoted":"\"a\\tb\""}"#,
    );
    assert_eq!(
        entry.body.to_string(),
        "map[n:7 deep:true text:a#b# list:map[x:p y:q] quoted:a\tb]"
    );
    assert_eq!(
        (text(&entry, "by"), text(&entry, "user.name"), text(&entry, "n")),
        ("ann!".into(), "ann".into(), "7".into())
    );
    assert_eq!(entry.resource.get("team").unwrap().to_string(), "map[a:[1 2.5]]");
}

#[test]
fn entries_go_where_routes_say() {
    let json = json!([
        { "type": "router", "default": "other", "routes": [
            { "expr": "body startsWith '{'", "output": "json" },
            { "expr": "body contains '='", "output": ["pairs", "copy"], "attributes": { "route": "EXPR('kv')" } },
        ] },
        { "type": "json_parser", "id": "json", "output": "end" },
        { "type": "key_value_parser", "id": "pairs", "output": "end" },
        { "type": "add", "id": "copy", "field": "attributes.copy", "value": "yes", "output": "end" },
        { "type": "add", "id": "other", "field": "attributes.other", "value": true },
        { "type": "filter", "expr": "body == 'drop me'" },
        { "type": "noop", "id": "end" },
    ]);
    let out = run(json, &["{\"a\":1}", "k=v", "plain", "drop me"]);
    let shown: Vec<[String; 5]> = out
        .iter()
        .map(|entry| ["a", "k", "copy", "other", "route"].map(|key| text(entry, key)))
        .collect();
    let expected = [
        ["1", "", "", "", ""],
        ["", "v", "", "", "kv"],
        ["", "", "yes", "", "kv"],
        ["", "", "", "true", ""],
    ];
    assert_eq!(shown, expected);
}

#[test]
fn an_operator_that_fails_hands_on_or_drops_as_it_is_told() {
    for (on_error, kept) in [("send", 1), ("send_quiet", 1), ("drop", 0), ("drop_quiet", 0)] {
        let stats: Arc<OperatorStats> = Arc::default();
        let json = json!([{ "type": "json_parser", "on_error": on_error }]);
        let mut operators = compile("operators", &configs(json), &Variables::new(), &stats).unwrap();
        let mut out = Vec::new();
        operators.process(entry("no json"), now(), &mut out);
        assert_eq!(out.len(), kept, "{on_error}");
        assert_eq!(stats.errors.load(Ordering::Relaxed), 1);
        assert_eq!(stats.dropped.load(Ordering::Relaxed), 1 - kept as u64);
    }
    let out = run(
        json!([{ "type": "json_parser", "if": "body startsWith '{'" }]),
        &["plain"],
    );
    assert_eq!(out[0].attributes.len(), 1, "the condition does not hold");
}

#[test]
fn patterns_are_those_of_go() {
    let config =
        json!([{ "type": "regex_parser", "regex": "^{(?P<number>\\d+)", "if": "body matches '^{'" }]);
    let out = run(config, &["{12", "{\u{663}", "12"]);
    let found: Vec<_> = out.iter().map(|entry| text(entry, "number")).collect();
    assert_eq!(found, ["12", "", ""]);
}

#[test]
fn stack_traces_are_joined_and_told_of_while_they_are_held() {
    let json = json!([{ "type": "recombine", "is_first_entry": "body matches '^\\\\S'", "combine_field": "body", "max_unmatched_batch_size": 3 }]);
    let mut operators = operators(json);
    let (mut out, mut at) = (Vec::new(), 0);
    for body in [" early", " lines", " go", "Error: x", "  at a", "  at b", "next"] {
        let origin = Origin { source: 1, start: at };
        operators.process(
            Entry {
                origin,
                ..entry(body)
            },
            now(),
            &mut out,
        );
        at += 10;
    }
    let bodies = |out: &[Entry]| out.iter().map(|entry| entry.body.to_string()).collect::<Vec<_>>();
    assert_eq!(bodies(&out), [" early\n lines\n go", "Error: x\n  at a\n  at b"]);
    assert_eq!(operators.held(), [Origin { source: 1, start: 60 }]);
    operators.flush(now() + TimeDelta::seconds(4), false, &mut out);
    assert_eq!(out.len(), 2, "not yet");
    operators.flush(now() + TimeDelta::seconds(5), false, &mut out);
    assert_eq!(bodies(&out)[2..], ["next"]);
    assert_eq!(operators.held(), []);
}

#[test]
fn lines_of_containers_are_read_and_their_parts_joined() {
    let lines = [
        "2024-01-01T10:00:00.5Z stdout P one ",
        "2024-01-01T10:00:01Z stdout F line",
        r#"{"log":"from docker\n","stream":"stderr","time":"2024-01-01T10:00:02.25Z"}"#,
        "2024-01-01T10:00:03.123456789+02:00 stderr F crio",
        "no container",
    ];
    let out = run(json!([{ "type": "container" }]), &lines);
    let shown: Vec<_> = out
        .iter()
        .map(|entry| (entry.body.to_string(), text(entry, "log.iostream")))
        .collect();
    let expected = [
        ("one line", "stdout"),
        ("from docker\n", "stderr"),
        ("crio", "stderr"),
        ("no container", ""),
    ];
    assert_eq!(
        shown,
        expected.map(|(body, stream)| (body.to_owned(), stream.to_owned()))
    );
    assert_eq!(out[0].time, Some(1_704_103_200_500_000_000));
    let resource: Vec<_> = out[0]
        .resource
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(
        resource,
        [
            "k8s.namespace.name=ns",
            "k8s.pod.name=pod",
            "k8s.pod.uid=0a-b1",
            "k8s.container.name=main",
            "k8s.container.restart_count=3"
        ]
    );
}

#[test]
fn syslog_is_read_by_its_protocol() {
    let parse = |protocol: &str, more: serde_json::Value, line: &str| {
        let mut config = json!({ "type": "syslog_parser", "protocol": protocol });
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        one(
            json!([config, { "type": "remove", "field": "attributes[\"log.file.path\"]" }]),
            line,
        )
    };
    let shown = |entry: &Entry| {
        entry
            .attributes
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let entry = parse(
        "rfc3164",
        json!({ "location": "Europe/Berlin" }),
        "<34>Dec 31 23:14:15 mymachine su[231]: 'su root' failed",
    );
    assert_eq!(
        shown(&entry),
        "hostname=mymachine appname=su proc_id=231 message='su root' failed priority=34 facility=4 facility_text=auth"
    );
    assert_eq!((entry.severity, entry.severity_text.as_str()), (18, "crit"));
    let time = DateTime::from_timestamp_nanos(entry.time.unwrap()).to_rfc3339();
    assert_eq!(
        time, "2023-12-31T22:14:15+00:00",
        "of the last year, in the time of Berlin"
    );
    let entry = parse(
        "rfc3164",
        json!({}),
        "<13>Jan  1 00:00:00 10.1.2.3 no tag here\nmore",
    );
    assert_eq!(
        shown(&entry),
        "hostname=10.1.2.3 message=no tag here\nmore priority=13 facility=1 facility_text=user"
    );
    let line =
        r#"<165>1 2003-10-11T22:14:15.003-07:00 host app - ID47 [ex@1 iut="3" q="a\"b\]"][e2] BOMAn event"#;
    let entry = parse("rfc5424", json!({}), line);
    assert_eq!(
        shown(&entry),
        "hostname=host appname=app msg_id=ID47 message=BOMAn event structured_data=map[ex@1:map[iut:3 q:a\"b]] e2:map[]] version=1 priority=165 facility=20 facility_text=local4"
    );
    assert_eq!(
        (entry.severity, entry.time),
        (10, Some(1_065_935_655_003_000_000))
    );
    let entry = parse("rfc5424", json!({}), "<0>1 - - - - - -");
    assert_eq!(
        (entry.severity, entry.time, shown(&entry).as_str()),
        (21, None, "version=1 priority=0 facility=0 facility_text=kern")
    );
    let entry = parse(
        "rfc5424",
        json!({ "enable_octet_counting": true }),
        "21 <14>1 - h a - - - hi!tail",
    );
    // What is behind the counted octets is not cut off: they were counted before the text was decoded.
    assert_eq!(text(&entry, "message"), "hi!tail");
    let entry = parse(
        "rfc3164",
        json!({ "allow_skip_pri_header": true }),
        "Jan  1 00:00:00 h app: x",
    );
    assert_eq!(
        (entry.severity, shown(&entry).as_str()),
        (0, "hostname=h appname=app message=x")
    );
    // What is not quite a tag is known, and is part of the message.
    for (message, process) in [
        ("app:x y", None),
        ("app[12]:x y", Some("12")),
        ("app[12] x y", Some("12")),
        ("app[12]:", Some("12")),
        ("app[12 x y", None),
        ("app[1[2]: x", None),
    ] {
        let entry = parse("rfc3164", json!({}), &format!("<14>Jan  1 00:00:00 h {message}"));
        let process = process.map_or(String::new(), |process| format!(" proc_id={process}"));
        let told = shown(&entry);
        assert!(
            told.contains(&format!("appname=app{process} message=")),
            "{message}: {told}"
        );
        assert_eq!(text(&entry, "message"), message);
    }
    let entry = parse("none", json!({}), "<14>whatever");
    assert_eq!(
        (entry.severity, text(&entry, "message").as_str()),
        (9, "<14>whatever")
    );
    for line in [
        "<192>Jan  1 00:00:00 h m",
        "Jan  1 00:00:00 h m",
        "<1>soon h m",
        "<1>Jan 32 00:00:00 h m",
        "<13>Feb 30 00:00:00 h m",
    ] {
        assert_eq!(
            parse("rfc3164", json!({}), line).body,
            Value::from(line),
            "handed on as it came"
        );
    }
}

#[test]
fn mistakes_are_told_with_their_keys() {
    for (json, key, says) in [
        (
            json!([{ "type": "json_praser" }]),
            "operators[0].type",
            "`json_parser`",
        ),
        (
            json!([{ "type": "otlp_json" }]),
            "operators[0].type",
            "receiver `otlp`",
        ),
        (
            json!([{ "type": "json_parser", "regx": "x" }]),
            "operators[0]",
            "`regx`",
        ),
        (
            json!([{ "type": "regex_parser", "regex": "(" }]),
            "operators[0].regex",
            "cannot",
        ),
        (
            json!([{ "type": "regex_parser", "regex": "a" }]),
            "operators[0].regex",
            "named group",
        ),
        (
            json!([{ "type": "noop", "if": "body ==" }]),
            "operators[0].if",
            "^",
        ),
        (
            json!([{ "type": "filter", "expr": "nobody" }]),
            "operators[0].expr",
            "nobody",
        ),
        (
            json!([{ "type": "add", "field": "attributes", "value": 1 }]),
            "operators[0]",
            "member",
        ),
        (
            json!([{ "type": "noop", "output": "there" }]),
            "operators[0].output",
            "there",
        ),
        (
            json!([{ "type": "noop", "id": "a" }, { "type": "noop", "output": "a" }]),
            "operators[1].output",
            "later",
        ),
        (
            json!([{ "type": "noop", "id": "a" }, { "type": "noop", "id": "a" }]),
            "operators[1].id",
            "another",
        ),
        (
            json!([{ "type": "json_parser", "timestamp": { "parse_from": "body.t", "layout": "%!" } }]),
            "operators[0].timestamp.layout",
            "%!",
        ),
        (
            json!([{ "type": "json_parser", "on_error": "explode" }]),
            "operators[0]",
            "explode",
        ),
        (
            json!([{ "type": "syslog_parser" }]),
            "operators[0].protocol",
            "missing",
        ),
        (
            json!([{ "type": "recombine", "is_first_entry": "true", "is_last_entry": "true", "combine_field": "body" }]),
            "operators[0].is_last_entry",
            "together",
        ),
    ] {
        let found = problems(json.clone());
        assert!(
            found.len() == 1 && found[0].0 == key && found[0].1.contains(says),
            "{json}: {found:?}"
        );
    }
}
