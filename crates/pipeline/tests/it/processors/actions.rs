//! The attributes and the resource processor: actions, and what they are done to.

use cupola_pipeline::processors::attributes::{Attributes, AttributesConfig};
use cupola_pipeline::processors::resource::{Resource, ResourceConfig};
use cupola_telemetry::Batch;
use serde_json::{Value, json};

use crate::ottl::{log_attribute, log_batch, show};

fn attributes(json: Value) -> Batch {
    let config: AttributesConfig = serde_json::from_value(json).unwrap();
    config.validate().unwrap();
    Attributes::new(&config).unwrap().process(log_batch())
}

#[track_caller]
fn check(actions: Value, expected: &[(&str, Option<&str>)]) {
    let batch = attributes(json!({ "actions": actions }));
    for (key, expected) in expected {
        assert_eq!(log_attribute(&batch, key).as_deref(), *expected, "{key}");
    }
}

#[test]
fn actions_do_what_they_are_called() {
    check(
        json!([
            { "action": "insert", "key": "new", "value": 1 },
            { "action": "insert", "key": "count", "value": 1 },
            { "action": "update", "key": "ok", "value": false },
            { "action": "update", "key": "none", "value": 1 },
            { "action": "upsert", "key": "up", "value": [1, "a"] },
            { "action": "upsert", "key": "copy", "from_attribute": "http.method" },
            { "action": "upsert", "key": "missing", "from_attribute": "nowhere" },
            { "action": "delete", "key": "raw" },
            { "action": "delete", "pattern": "^nes" },
        ]),
        &[
            ("new", Some("1")),
            ("count", Some("3")),
            ("ok", Some("false")),
            ("none", None),
            ("up", Some("[1, \"a\"]")),
            ("copy", Some("\"GET\"")),
            ("missing", None),
            ("raw", None),
            ("nested", None),
        ],
    );
    check(
        json!([
            { "action": "insert", "key": "name", "value": "name" },
            { "action": "hash", "key": "name" },
            { "action": "insert", "key": "path", "value": "/api/v1/document/12/update" },
            { "action": "extract", "key": "path", "pattern": "^/api/v1/document/(?P<documentId>.*)/update$" },
            { "action": "convert", "key": "documentId", "converted_type": "int" },
            { "action": "convert", "key": "count", "converted_type": "string" },
            { "action": "convert", "key": "ratio", "converted_type": "int" },
            { "action": "convert", "key": "http.method", "converted_type": "double" },
        ]),
        &[
            (
                "name",
                Some(r#""82a3537ff0dbce7eec35d69edc3a189ee6f17d82f353a553f9aa96cb0be3ce89""#),
            ),
            ("documentId", Some("12")),
            ("count", Some("\"3\"")),
            ("ratio", Some("1")),
            ("http.method", Some("\"GET\"")),
        ],
    );
}

#[test]
fn only_what_is_included_and_not_excluded_is_worked_on() {
    let hit = |choice: Value| {
        let mut config = json!({ "actions": [{ "action": "insert", "key": "hit", "value": true }] });
        config
            .as_object_mut()
            .unwrap()
            .extend(choice.as_object().unwrap().clone());
        log_attribute(&attributes(config), "hit").is_some()
    };
    let strict = |rest: Value| {
        let mut config = json!({ "match_type": "strict" });
        config
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        config
    };
    let cases = [
        (json!({ "services": ["cart", "other"] }), true),
        (json!({ "services": ["other"] }), false),
        (
            json!({ "attributes": [{ "key": "count", "value": 3 }, { "key": "ok" }] }),
            true,
        ),
        (json!({ "attributes": [{ "key": "count", "value": 4 }] }), false),
        (
            json!({ "resources": [{ "key": "host.name", "value": "a-1" }] }),
            true,
        ),
        (
            json!({ "libraries": [{ "name": "lib", "version": "1.2" }] }),
            true,
        ),
        (json!({ "libraries": [{ "name": "lib", "version": "2" }] }), false),
        (
            json!({ "log_bodies": ["hello world"], "log_severity_texts": ["INFO"] }),
            true,
        ),
        (json!({ "log_severity_number": { "min": "WARN" } }), false),
        (json!({ "log_severity_number": { "min": "INFO" } }), true),
    ];
    for (choice, expected) in cases {
        assert_eq!(
            hit(json!({ "include": strict(choice.clone()) })),
            expected,
            "{choice}"
        );
        assert_eq!(
            hit(json!({ "exclude": strict(choice.clone()) })),
            !expected,
            "{choice}"
        );
    }
    assert!(hit(
        json!({ "include": { "match_type": "regexp", "services": ["^c.*t$"], "log_bodies": ["world"] } })
    ));
}

#[test]
fn resources_are_worked_on() {
    let config: ResourceConfig = serde_json::from_value(json!({
        "attributes": [
            { "action": "upsert", "key": "env", "value": "prod" },
            { "action": "delete", "key": "host.name" },
        ],
    }))
    .unwrap();
    let batch = Resource::new(&config).unwrap().process(log_batch());
    let attributes = batch.logs().resources().next().unwrap().resource().attributes;
    let all: Vec<String> = attributes
        .map(|pair| format!("{}={}", pair.key, show(pair.value)))
        .collect();
    assert_eq!(all, ["service.name=\"cart\"", "env=\"prod\""]);
}

#[test]
fn actions_that_cannot_work_are_refused() {
    for action in [
        json!({ "action": "insert", "key": "a" }),
        json!({ "action": "insert", "value": 1 }),
        json!({ "action": "insert", "key": "a", "value": 1, "from_attribute": "b" }),
        json!({ "action": "delete" }),
        json!({ "action": "delete", "key": "a", "value": 1 }),
        json!({ "action": "extract", "key": "a", "pattern": "(.*)" }),
        json!({ "action": "extract", "key": "a" }),
        json!({ "action": "hash", "key": "a", "pattern": "(" }),
        json!({ "action": "convert", "key": "a", "converted_type": "bool" }),
    ] {
        let config: AttributesConfig =
            serde_json::from_value(json!({ "actions": [action.clone()] })).unwrap();
        assert!(config.validate().is_err(), "{action}");
    }
    assert!(
        serde_json::from_value::<AttributesConfig>(
            json!({ "actions": [{ "action": "rename", "key": "a" }] })
        )
        .is_err()
    );
}
