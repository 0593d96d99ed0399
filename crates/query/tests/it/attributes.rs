//! Attribute filters mean the same whether the attribute is a column, in the map, or in memory.

use std::collections::BTreeMap;

use cupola_telemetry::{Batch, Signal, TenantId};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Fixture, State, request};

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Text(String),
    Int(i64),
    Double(f64),
    Bool(bool),
}

impl Value {
    fn json(&self) -> String {
        match self {
            Value::Text(text) => format!(r#"{{"stringValue":{}}}"#, serde_json::to_string(text).unwrap()),
            Value::Int(int) => format!(r#"{{"intValue":"{int}"}}"#),
            Value::Double(double) => format!(r#"{{"doubleValue":{double:?}}}"#),
            Value::Bool(bool) => format!(r#"{{"boolValue":{bool}}}"#),
        }
    }
}

const KEYS: [&str; 4] = ["a", "b.c", "often", "quo'te"];

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => prop::sample::select(vec!["x", "y", "", "10", "ä\"\\"]).prop_map(|text| Value::Text(text.to_owned())),
        3 => (-3i64..4).prop_map(Value::Int),
        2 => (-8i32..8).prop_map(|eighths| Value::Double(f64::from(eighths) / 8.0)),
        1 => any::<bool>().prop_map(Value::Bool),
    ]
}

type Row = BTreeMap<&'static str, Value>;

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = prop::collection::btree_map(prop::sample::select(KEYS.to_vec()), value(), 0..4);
    prop::collection::vec(row, 1..60)
}

fn requests(rows: &[Row]) -> Vec<Batch> {
    let record = |(index, row): (usize, &Row)| {
        let mut attributes: Vec<String> = row
            .iter()
            .map(|(key, value)| format!(r#"{{"key":"{key}","value":{}}}"#, value.json()))
            .collect();
        // Frequent enough to be a column, so that some keys are and some are not.
        attributes.push(r#"{"key":"always","value":{"stringValue":"yes"}}"#.to_owned());
        format!(
            r#"{{"timeUnixNano":"{}","body":{{"stringValue":"{index}"}},"attributes":[{}]}}"#,
            1_772_359_200_000_000_000u64 + index as u64 * 120_000_000_000,
            attributes.join(",")
        )
    };
    let records: Vec<String> = rows.iter().enumerate().map(record).collect();
    records
        .chunks(20)
        .map(|records| {
            let json = format!(
                r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{}]}}]}}]}}"#,
                records.join(",")
            );
            request(Signal::Logs, &TenantId::default_tenant(), &json)
        })
        .collect()
}

fn questions() -> Vec<String> {
    let mut questions = Vec::new();
    for key in KEYS {
        let key = key.replace('\'', "''");
        for condition in [
            "= 'x'",
            "= '10'",
            "<> 'y'",
            "IS NULL",
            "IS NOT NULL",
            "> '1'",
            "IN ('x', '', '-2')",
            "LIKE '%1%'",
        ] {
            questions.push(format!(
                "SELECT body FROM logs WHERE attributes->>'{key}' {condition} ORDER BY timestamp"
            ));
        }
        questions.push(format!(
            "SELECT body, attributes['{key}'] AS v FROM logs ORDER BY timestamp"
        ));
        questions.push(format!(
            "SELECT attributes['{key}'] AS v, count(*) AS n FROM logs GROUP BY v ORDER BY v, n"
        ));
        questions.push(format!(
            "SELECT body FROM logs WHERE attributes['{key}'] = attributes['{key}'] ORDER BY timestamp"
        ));
    }
    questions.push(
        "SELECT body FROM logs WHERE attributes->>'a' = 'x' OR attributes->>'b.c' = 'x' ORDER BY timestamp"
            .to_owned(),
    );
    questions
}

/// What a text comparison must find, from the rows themselves.
fn texts(rows: &[Row], key: &str) -> Vec<Option<String>> {
    rows.iter()
        .map(|row| {
            row.get(key).map(|value| match value {
                Value::Text(text) => text.clone(),
                Value::Int(int) => int.to_string(),
                Value::Double(double) => format!("{double:?}"),
                Value::Bool(bool) => bool.to_string(),
            })
        })
        .collect()
}

async fn check(rows: &[Row]) {
    let requests = requests(rows);
    let mut answers: Vec<Vec<Vec<String>>> = Vec::new();
    for state in State::ALL {
        let fixture = Fixture::filled(state, &requests).await;
        let mut found = Vec::new();
        for question in questions() {
            found.push(fixture.lines(&question).await);
        }
        answers.push(found);
        for key in KEYS {
            let key_sql = key.replace('\'', "''");
            let sql = format!(
                "SELECT coalesce(attributes->>'{key_sql}', 'NULL') AS v FROM logs ORDER BY timestamp"
            );
            let expected: Vec<String> = texts(rows, key)
                .into_iter()
                .map(|text| text.unwrap_or_else(|| "NULL".to_owned()))
                .collect();
            assert_eq!(fixture.lines(&sql).await[1..], expected, "{key} {state:?}");
        }
    }
    for (index, question) in questions().iter().enumerate() {
        assert_eq!(
            answers[0][index], answers[1][index],
            "memory and flushed differ: {question}"
        );
        assert_eq!(
            answers[0][index], answers[2][index],
            "memory and compacted differ: {question}"
        );
    }
}

#[test]
fn filters_find_the_same_rows_in_columns_maps_and_memory() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config {
        cases: 3,
        ..Config::default()
    });
    let result = runner.run(&rows(), |rows| {
        runtime.block_on(check(&rows));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
