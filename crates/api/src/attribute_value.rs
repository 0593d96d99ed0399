//! Attribute values as plain JSON, by the rules of `encode::json`: integers a double cannot hold and numbers that are none
//! are strings, bytes are base64.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::{Map, Number, Value};

use crate::encode::json::INTEGER_EXACT_MAX;
use crate::model::Attributes;

/// Fewest digits an integer beyond `INTEGER_EXACT_MAX` has.
const INEXACT_DIGITS_MIN: usize = 16;

pub(crate) fn integer(value: i64) -> Value {
    if value.unsigned_abs() > INTEGER_EXACT_MAX {
        Value::String(value.to_string())
    } else {
        Value::from(value)
    }
}

pub(crate) fn double(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => Value::String("NaN".to_owned()),
        None => Value::String(if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()),
    }
}

/// JSON text of a query's answer with every integer exact for every reader; `None` when it is not JSON.
pub(crate) fn exact(text: &str) -> Option<Cow<'_, str>> {
    if !may_be_inexact(text) {
        // A column marked as JSON can have passed through a function: whatever is not JSON would break the whole answer.
        return serde_json::from_str::<IgnoredAny>(text)
            .is_ok()
            .then_some(Cow::Borrowed(text));
    }
    serde_json::from_str(text)
        .ok()
        .map(|value| Cow::Owned(exact_value(value).to_string()))
}

/// The attribute set a JSON object stands for; empty when the text is no object.
pub(crate) fn attributes(text: &str) -> Attributes {
    match serde_json::from_str(text).map(exact_value) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// A long run of digits anywhere: rare, and only then is the text parsed.
fn may_be_inexact(text: &str) -> bool {
    let mut run = 0;
    for byte in text.bytes() {
        run = if byte.is_ascii_digit() { run + 1 } else { 0 };
        if run >= INEXACT_DIGITS_MIN {
            return true;
        }
    }
    false
}

pub(crate) fn exact_value(value: Value) -> Value {
    match value {
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(signed), _) => integer(signed),
            (None, Some(unsigned)) => Value::String(unsigned.to_string()),
            (None, None) => Value::Number(number),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(exact_value).collect()),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(key, value)| (key, exact_value(value)))
                .collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers_beyond_a_double_become_strings_wherever_they_are() {
        let check = |text: &str, expected: &str| assert_eq!(exact(text).as_deref(), Some(expected));
        check(r#"{"a":1,"b":"x"}"#, r#"{"a":1,"b":"x"}"#);
        check(r#"{"a":[9007199254740993]}"#, r#"{"a":["9007199254740993"]}"#);
        check(
            r#"{"a":"9007199254740993","b":9007199254740991}"#,
            r#"{"a":"9007199254740993","b":9007199254740991}"#,
        );
        check("18446744073709551615", "\"18446744073709551615\"");
        assert_eq!(exact("1234567890123456 x"), None);
        for broken in ["", "x", "{\"a\":", "[1] [2]", "{\"a\":1}x"] {
            assert_eq!(exact(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_set_is_an_object_or_nothing() {
        assert_eq!(
            Value::Object(attributes(r#"{"n":-9007199254740993}"#)),
            json!({"n": "-9007199254740993"})
        );
        assert!(attributes("[1]").is_empty());
        assert!(attributes("").is_empty());
    }
}
