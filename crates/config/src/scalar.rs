//! What a plain YAML scalar is: null, boolean, number or text, by the rules of the Collector's parser (YAML 1.2's core
//! schema, with the older octal and binary numbers and with `_` between digits).

use crate::tree::Value;

/// The value of a plain (unquoted, untagged) scalar.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Some(number) = int(text) {
        return Value::Int(number);
    }
    match float(text) {
        Some(number) => Value::Float(number),
        None => Value::String(text.into()),
    }
}

pub(crate) fn int(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    // A number begins with a digit: `_1` is a word.
    if !digits.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let digits = digits.replace('_', "");
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        Some(octal) if octal.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits.as_str()),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    // More than 64 bits are a number with a fraction, as elsewhere.
    let number = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let number = if negative { -number } else { number };
    (number >= i128::from(i64::MIN)).then_some(number)
}

pub(crate) fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            });
        }
        ".nan" | ".NaN" | ".NAN" if unsigned == text => return Some(f64::NAN),
        _ => {}
    }
    let begins = unsigned.as_bytes();
    let number = match begins {
        [b'.', digit, ..] => digit.is_ascii_digit(),
        [digit, ..] => digit.is_ascii_digit(),
        [] => false,
    };
    let letters =
        |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-' | b'_');
    if !number || !begins.iter().all(letters) {
        return None;
    }
    // What is too large for a number stays a text.
    text.replace('_', "")
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

/// A number as YAML that reads back as the same number.
pub(crate) fn float_text(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number < 0.0 { "-.inf" } else { ".inf" }.to_owned();
    }
    // Debug always writes a point or an exponent: the text stays a number with a fraction.
    format!("{number:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_what_the_collector_takes_them_for() {
        for (text, number) in [
            ("123", 123),
            ("0123", 83),
            ("0xdeadbeef", 3_735_928_559),
            ("0o17", 15),
            ("0b11", 3),
            ("-7", -7),
            ("+7", 7),
            ("1_000", 1_000),
            ("18446744073709551615", i128::from(u64::MAX)),
        ] {
            assert!(
                matches!(resolve(text), Value::Int(read) if read == number),
                "{text}"
            );
        }
        for (text, number) in [
            ("1.5", 1.5),
            ("1e3", 1e3),
            (".5", 0.5),
            ("-.inf", f64::NEG_INFINITY),
            ("089", 89.0),
        ] {
            assert!(
                matches!(resolve(text), Value::Float(read) if read == number),
                "{text}"
            );
        }
        for text in [
            "yes",
            "off",
            "1.2.3",
            "10s",
            "_1",
            "0x",
            "1-2",
            "e3",
            "+",
            "-",
            ".",
            "::",
            "é",
            "0é",
            "1e400",
            "127.0.0.1:1",
        ] {
            assert!(matches!(resolve(text), Value::String(_)), "{text}");
        }
        assert!(matches!(resolve("~"), Value::Null));
        assert!(matches!(resolve("TRUE"), Value::Bool(true)));
    }
}
