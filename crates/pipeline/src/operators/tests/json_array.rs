//! Rows of JSON: what the Collector's documentation shows, and what is refused.

use serde_json::json;

use super::{one, problems, run, text};
use crate::operators::value::{Fields, Value};

const ROW: &str = r#"[1,"debug","Debug Message", true]"#;

fn row() -> Vec<Value> {
    vec![
        Value::Int(1),
        Value::from("debug"),
        Value::from("Debug Message"),
        Value::Bool(true),
    ]
}

#[test]
fn a_row_becomes_a_list_where_one_can_be() {
    for settings in [
        json!([{ "type": "json_array_parser", "parse_to": "body" }]),
        json!([{ "type": "json_array_parser" }]),
    ] {
        assert_eq!(one(settings, ROW).body, Value::List(row()));
    }
    let entry = one(
        json!([{ "type": "json_array_parser", "parse_to": "attributes.output" }]),
        ROW,
    );
    assert_eq!(entry.attributes.get("output"), Some(&Value::List(row())));
    assert_eq!(entry.body, Value::from(ROW));
}

#[test]
fn with_a_header_it_becomes_a_map() {
    let named = json!([{ "type": "json_array_parser", "header": "origin,sev,message,isBool", "severity": { "parse_from": "attributes.sev" } }]);
    let entry = one(named, ROW);
    for (name, value) in ["origin", "sev", "message", "isBool"].into_iter().zip(row()) {
        assert_eq!(entry.attributes.get(name), Some(&value), "{name}");
    }
    assert_eq!(entry.severity, 5);
    let to_body = one(
        json!([{ "type": "json_array_parser", "header": "a,b,c,d", "parse_to": "body" }]),
        ROW,
    );
    let names = ["a", "b", "c", "d"].map(str::to_owned);
    assert_eq!(
        to_body.body,
        Value::Map(names.into_iter().zip(row()).collect::<Fields>())
    );
}

#[test]
fn each_kind_of_value_is_what_it_is_and_objects_are_text() {
    let row = r#" [ null, false, -7, 2.5, 1e3, 9223372036854775808, "a\u00e9\n", {"name": "Ali \"ce\" ", "of": [1, {"a" : 2.50}]} ] "#;
    let Value::List(values) = one(json!([{ "type": "json_array_parser" }]), row).body else {
        panic!("no list");
    };
    assert_eq!(
        values,
        [
            Value::Nil,
            Value::Bool(false),
            Value::Int(-7),
            Value::Float(2.5),
            Value::Float(1000.0),
            Value::Float(9_223_372_036_854_775_808.0),
            Value::from("a\u{e9}\n"),
            Value::from(r#"{"name":"Ali \"ce\" ","of":[1,{"a":2.50}]}"#),
        ]
    );
    assert_eq!(
        one(json!([{ "type": "json_array_parser" }]), "[]").body,
        Value::List(Vec::new())
    );
}

#[test]
fn what_is_no_row_stays_as_it_came() {
    let nested = format!("[{}", "[".repeat(100_000));
    for body in ["{\"a\":1}", "[1,", "[1] 2", "plain", "7", "[1,[2]]", &nested] {
        let entry = one(json!([{ "type": "json_array_parser" }]), body);
        assert_eq!(entry.body, Value::from(body));
        let dropped = json!([{ "type": "json_array_parser", "on_error": "drop_quiet" }]);
        assert!(run(dropped, &[body]).is_empty(), "{body}");
    }
    let entry = one(
        json!([{ "type": "json_array_parser", "header": "a,b" }]),
        "[1,2,3]",
    );
    assert_eq!(
        (text(&entry, "a"), entry.body),
        (String::new(), Value::from("[1,2,3]"))
    );
}

#[test]
fn a_list_cannot_be_all_attributes() {
    for parse_to in ["attributes", "resource"] {
        let found = problems(json!([{ "type": "json_array_parser", "parse_to": parse_to }]));
        assert_eq!(found[0].0, "operators[0].parse_to", "{found:?}");
    }
    let unknown = problems(json!([{ "type": "json_array_parser", "headers": "a" }]));
    assert!(unknown[0].1.contains("headers"), "{unknown:?}");
}
