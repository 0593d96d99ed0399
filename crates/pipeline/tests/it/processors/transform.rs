//! The transform processor: statements bare and in groups, contexts inferred, errors with their place.

use cupola_pipeline::processors::ConfigError;
use cupola_pipeline::processors::transform::{Transform, TransformConfig};
use serde_json::json;

use crate::ottl::{Still, log_attribute, log_batch};

fn config(json: serde_json::Value) -> TransformConfig {
    serde_json::from_value(json).unwrap()
}

#[test]
fn bare_statements_find_their_context() {
    let config = config(json!({
        "error_mode": "propagate",
        "log_statements": [
            "set(resource.attributes[\"seen\"], true)",
            "set(log.attributes[\"service\"], resource.attributes[\"service.name\"])",
            "set(log.attributes[\"seen\"], resource.attributes[\"seen\"]) where scope.name == \"lib\"",
        ],
        "trace_statements": ["set(span.name, \"x\")", "set(spanevent.name, span.name)"],
        "metric_statements": ["convert_sum_to_gauge()", "set(datapoint.attributes[\"n\"], metric.name)"],
    }));
    let transform = Transform::new(&config).unwrap();
    let outcome = transform.process(log_batch(), &Still).unwrap();
    let batch = outcome.batch.unwrap();
    assert_eq!(log_attribute(&batch, "service").as_deref(), Some("\"cart\""));
    assert_eq!(log_attribute(&batch, "seen").as_deref(), Some("true"));
}

#[test]
fn groups_have_their_own_settings() {
    let config = config(json!({
        "error_mode": "propagate",
        "log_statements": [
            {
                "context": "log",
                "error_mode": "silent",
                "conditions": ["body == \"other\"", "severity_number == 9"],
                "statements": ["set(severity_text, 1)", "set(attributes[\"a\"], 1)"],
            },
            { "conditions": ["log.body == \"other\""], "statements": ["set(log.attributes[\"b\"], 1)"] },
        ],
    }));
    let outcome = Transform::new(&config)
        .unwrap()
        .process(log_batch(), &Still)
        .unwrap();
    assert_eq!((outcome.errors, outcome.first_error), (1, None));
    let batch = outcome.batch.unwrap();
    assert_eq!(log_attribute(&batch, "a").as_deref(), Some("1"));
    assert_eq!(log_attribute(&batch, "b"), None);
}

#[test]
fn errors_are_ignored_unless_told_otherwise() {
    let failing = json!({ "log_statements": ["set(log.severity_text, 1)"] });
    let outcome = Transform::new(&config(failing.clone()))
        .unwrap()
        .process(log_batch(), &Still)
        .unwrap();
    assert_eq!((outcome.errors, outcome.batch), (1, Some(log_batch())));
    let mut strict = failing;
    strict["error_mode"] = json!("propagate");
    assert!(
        Transform::new(&config(strict))
            .unwrap()
            .process(log_batch(), &Still)
            .is_err()
    );
}

#[test]
fn mistakes_have_their_place() {
    let config = config(json!({
        "log_statements": ["set(log.body, 1)", "set(log.bdy, 1)", "set(span.name, log.body)"],
        "trace_statements": [{ "context": "span", "statements": ["set(name, 1) where", "nope(1)"] }],
    }));
    let Err(ConfigError::Statements(problems)) = config.validate() else {
        panic!("no mistake was found");
    };
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "trace_statements[0].statements[0]",
            "trace_statements[0].statements[1]",
            "log_statements[1]",
            "log_statements[2]"
        ]
    );
}

#[test]
fn unknown_settings_are_refused() {
    for json in [
        json!({ "error_modes": "ignore" }),
        json!({ "error_mode": "loud" }),
        json!({ "log_statements": [{ "statement": [] }] }),
        json!({ "log_statements": [{ "context": "planet", "statements": [] }] }),
        json!({ "log_statements": [1] }),
    ] {
        assert!(
            serde_json::from_value::<TransformConfig>(json.clone()).is_err(),
            "{json}"
        );
    }
}
