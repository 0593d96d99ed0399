//! Structured values: from OTLP/JSON, as stored, to plain JSON, as queries see it.
//!
//! `{"arrayValue":{"values":[{"intValue":"1"}]}}` reads `[1]`, a key-value list reads as an object, bytes as base64.
//! Text that is not OTLP/JSON passes as it is.

use serde_json::{Map, Number, Value};

/// Plain JSON of OTLP/JSON text: of an `AnyValue`, an `ArrayValue`, a `KeyValueList`, or their bare `values`.
pub(crate) fn plain_json(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(value) => plain_root(value).to_string(),
        Err(_) => text.to_owned(),
    }
}

fn plain_root(value: Value) -> Value {
    match value {
        Value::Array(values) => plain_list(values),
        Value::Object(mut object) => match object.remove("values") {
            Some(Value::Array(values)) if object.is_empty() => plain_list(values),
            Some(other) => {
                object.insert("values".to_owned(), other);
                plain_any(object)
            }
            None => plain_any(object),
        },
        other => other,
    }
}

fn plain_list(values: Vec<Value>) -> Value {
    let is_pairs = values.first().is_some_and(|first| first.get("key").is_some());
    if is_pairs {
        return Value::Object(values.into_iter().filter_map(plain_pair).collect());
    }
    Value::Array(values.into_iter().map(plain_element).collect())
}

fn plain_pair(pair: Value) -> Option<(String, Value)> {
    let Value::Object(mut pair) = pair else {
        return None;
    };
    let key = pair.get("key")?.as_str()?.to_owned();
    Some((key, pair.remove("value").map_or(Value::Null, plain_element)))
}

fn plain_element(value: Value) -> Value {
    match value {
        Value::Object(object) => plain_any(object),
        other => other,
    }
}

fn plain_any(mut object: Map<String, Value>) -> Value {
    if object.len() != 1 {
        return if object.is_empty() {
            Value::Null
        } else {
            Value::Object(object)
        };
    }
    let Some(tag) = object.keys().next().cloned() else {
        return Value::Null;
    };
    let Some(inner) = object.remove(&tag) else {
        return Value::Null;
    };
    match tag.as_str() {
        "stringValue" | "bytesValue" | "boolValue" => inner,
        "intValue" => plain_int(inner),
        "doubleValue" => plain_double(inner),
        "arrayValue" | "kvlistValue" => match inner {
            Value::Object(mut list) => match list.remove("values") {
                Some(Value::Array(values)) => plain_list(values),
                _ if tag == "kvlistValue" => Value::Object(Map::new()),
                _ => Value::Array(Vec::new()),
            },
            other => other,
        },
        _ => {
            object.insert(tag, inner);
            Value::Object(object)
        }
    }
}

fn plain_int(value: Value) -> Value {
    match &value {
        Value::String(text) => text
            .parse::<i64>()
            .map_or(value.clone(), |int| Value::Number(Number::from(int))),
        _ => value,
    }
}

fn plain_double(value: Value) -> Value {
    match &value {
        Value::Number(number) => number
            .as_f64()
            .and_then(Number::from_f64)
            .map_or(value.clone(), Value::Number),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::plain_json;

    #[test]
    fn otlp_json_reads_as_plain_json() {
        for (otlp, plain) in [
            (
                r#"{"arrayValue":{"values":[{"intValue":"1"},{"stringValue":"a"},{"boolValue":true}]}}"#,
                r#"[1,"a",true]"#,
            ),
            (r#"{"values":[{"doubleValue":1.5},{}]}"#, "[1.5,null]"),
            (
                r#"{"values":[{"key":"a","value":{"intValue":"7"}}]}"#,
                r#"{"a":7}"#,
            ),
            (
                r#"{"kvlistValue":{"values":[{"key":"n","value":{"kvlistValue":{"values":[{"key":"m","value":{"stringValue":"x"}}]}}}]}}"#,
                r#"{"n":{"m":"x"}}"#,
            ),
            (r#"{"arrayValue":{}}"#, "[]"),
            ("not json", "not json"),
        ] {
            assert_eq!(plain_json(otlp), plain, "{otlp}");
        }
    }
}
