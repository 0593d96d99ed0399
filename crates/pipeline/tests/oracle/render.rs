//! A batch as lines of a path and a value each, and what two batches have more or less.
//!
//! The order of attributes and of data points is of no meaning, and is not kept; nor is whether a field that has its
//! default is written, which the Collector does for some.

use cupola_telemetry::Batch;
use serde_json::Value;

/// The lines of `after` that `before` does not have, and the other way round.
pub(super) fn difference(before: &Batch, after: &Batch) -> Vec<String> {
    let (before, after) = (lines(before), lines(after));
    let without = |these: &[String], those: &[String], mark: &str| {
        let mut rest = those.to_vec();
        let mut left = Vec::new();
        for line in these {
            match rest.iter().position(|other| other == line) {
                Some(place) => drop(rest.swap_remove(place)),
                None => left.push(format!("{mark} {line}")),
            }
        }
        left
    };
    let mut difference = without(&before, &after, "-");
    difference.extend(without(&after, &before, "+"));
    difference
}

fn lines(batch: &Batch) -> Vec<String> {
    let json: Value =
        serde_json::from_str(&batch.to_json()).unwrap_or_else(|error| panic!("{error}: {}", batch.to_json()));
    let mut lines = Vec::new();
    push(&mut lines, "", &json);
    lines
}

fn push(lines: &mut Vec<String>, path: &str, value: &Value) {
    match value {
        Value::Object(fields) if fields.is_empty() && !path.ends_with("body") => {}
        Value::String(text) if text.is_empty() => {}
        Value::Object(fields) if is_any_value(fields) || fields.is_empty() => {
            lines.push(format!("{path}: {}", any_value(value)));
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = match path {
                    "" => name.clone(),
                    _ => format!("{path}.{name}"),
                };
                push(lines, &path, value);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            if let Some(pairs) = pairs(items) {
                for (key, value) in pairs {
                    lines.push(format!("{path}[{key}]: {value}"));
                }
                return;
            }
            let mut each: Vec<Vec<String>> = items
                .iter()
                .map(|item| {
                    let mut lines = Vec::new();
                    push(&mut lines, "", item);
                    lines
                })
                .collect();
            if path.ends_with("dataPoints") {
                each.sort();
            }
            for (index, item) in each.into_iter().enumerate() {
                lines.push(format!("{path}[{index}]"));
                lines.extend(item.into_iter().map(|line| format!("{path}[{index}].{line}")));
            }
        }
        Value::Number(number) if number.is_f64() => {
            lines.push(format!("{path}: {}", rounded(number.as_f64().unwrap())));
        }
        other => lines.push(format!("{path}: {other}")),
    }
}

fn is_any_value(fields: &serde_json::Map<String, Value>) -> bool {
    fields.len() == 1
        && fields
            .keys()
            .all(|key| key.ends_with("Value") && key != "zeroValue")
}

/// Keys and values of attributes, sorted.
fn pairs(items: &[Value]) -> Option<Vec<(String, String)>> {
    let pair = |item: &Value| {
        let key = item.get("key")?.as_str()?.to_owned();
        Some((key, item.get("value").map_or_else(|| "nil".to_owned(), any_value)))
    };
    let mut pairs: Vec<_> = items.iter().map(pair).collect::<Option<_>>()?;
    pairs.sort();
    Some(pairs)
}

/// Without the digits in which calculations of the same may differ.
fn rounded(value: f64) -> String {
    let rounded: f64 = format!("{value:.12e}").parse().unwrap();
    format!("{rounded:?}")
}

/// `"a"`, `1`, `1.0`, `[…]`, `{k: v}`, `bytes …`, `nil`.
fn any_value(value: &Value) -> String {
    let Some((kind, inner)) = value.as_object().and_then(|fields| fields.iter().next()) else {
        return "nil".to_owned();
    };
    let text = || inner.as_str().map_or_else(|| inner.to_string(), str::to_owned);
    match kind.as_str() {
        "intValue" => text(),
        "doubleValue" => match inner.as_f64() {
            Some(value) => rounded(value),
            None => text(),
        },
        "bytesValue" => format!("bytes {}", text()),
        "arrayValue" => {
            let items = inner
                .get("values")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let items: Vec<String> = items.iter().map(any_value).collect();
            format!("[{}]", items.join(", "))
        }
        "kvlistValue" => {
            let items = inner
                .get("values")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let pairs = pairs(&items).unwrap_or_default();
            let pairs: Vec<String> = pairs
                .into_iter()
                .map(|(key, value)| format!("{key}: {value}"))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        _ => inner.to_string(),
    }
}
