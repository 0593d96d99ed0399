//! Converters of text.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use cupola_telemetry::edit::{Array, Map, Value as Telemetry};

use super::format::format;
use super::{Arguments, Constants, Converter, Kind, Made, converter, made, optional, plain, required, value};
use crate::ottl::error::Fault;
use crate::ottl::pattern::{self, Source};
use crate::ottl::value::Value;

pub(super) const TABLE: &[Converter] = &[
    converter("HasPrefix", &[value("target"), value("prefix")], |_| {
        plain(|a| Ok(Value::Bool(a.get(0).as_str()?.starts_with(a.get(1).as_str()?))))
    }),
    converter("HasSuffix", &[value("target"), value("suffix")], |_| {
        plain(|a| Ok(Value::Bool(a.get(0).as_str()?.ends_with(a.get(1).as_str()?))))
    }),
    converter(
        "IsMatch",
        &[value("target"), required("pattern", Kind::Pattern)],
        is_match,
    ),
    converter(
        "Concat",
        &[value("vals"), required("delimiter", Kind::Value)],
        |_| plain(concat),
    ),
    converter("Split", &[value("target"), value("delimiter")], |_| plain(split)),
    converter(
        "Substring",
        &[
            value("target"),
            value("start"),
            value("length"),
            optional("utf8_safe", Kind::Value),
        ],
        |_| plain(substring),
    ),
    converter(
        "Trim",
        &[value("target"), optional("replacement", Kind::Value)],
        |_| plain(trim),
    ),
    converter("TrimPrefix", &[value("target"), value("prefix")], |_| {
        plain(|a| trimmed(a, |text, prefix| text.strip_prefix(prefix)))
    }),
    converter("TrimSuffix", &[value("target"), value("suffix")], |_| {
        plain(|a| trimmed(a, |text, suffix| text.strip_suffix(suffix)))
    }),
    converter("ToLowerCase", &[value("target")], |_| plain(|a| cased(a, lower))),
    converter("ToUpperCase", &[value("target")], |_| plain(|a| cased(a, upper))),
    converter("ToSnakeCase", &[value("target")], |_| plain(|a| cased(a, snake))),
    converter("ToCamelCase", &[value("target")], |_| plain(|a| cased(a, camel))),
    converter(
        "ConvertCase",
        &[value("target"), required("to_case", Kind::Text)],
        convert_case,
    ),
    converter("Format", &[value("format"), value("vals")], |_| {
        plain(|a| {
            let list = a.take(1).into_list()?;
            let values: Vec<Value<'_>> = list.iter().map(Value::from).collect();
            Ok(Value::text(format(a.get(0).as_str()?, &values)))
        })
    }),
    converter(
        "ExtractPatterns",
        &[value("target"), required("pattern", Kind::Pattern)],
        extract_patterns,
    ),
    converter("Base64Decode", &[value("value")], |_| {
        plain(|a| {
            decoded(
                STANDARD
                    .decode(a.get(0).as_str()?)
                    .map_err(|error| error.to_string()),
            )
        })
    }),
    converter(
        "Base64Encode",
        &[value("target"), optional("variant", Kind::Text)],
        base64_encode,
    ),
    converter(
        "Decode",
        &[value("target"), required("encoding", Kind::Text)],
        decode,
    ),
    converter("Hex", &[value("target")], |_| plain(hex)),
];

fn is_match(constants: &Constants) -> Made {
    let source = Source::new(constants.text(1), pattern::compile).map_err(|problem| (1, problem))?;
    made(move |arguments| {
        let target = arguments.get(0);
        let matches = source.with(arguments.get(1), |pattern| match target {
            Value::String(text) => pattern.is_match(text),
            other => other.to_text().is_some_and(|text| pattern.is_match(&text)),
        })?;
        Ok(Value::Bool(matches))
    })
}

/// Bytes of the delimiters that `Concat` puts between pieces, as both may come from the telemetry.
const DELIMITERS_BYTES_MAX: usize = 16 * 1024 * 1024;

fn concat<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let list = match arguments.take(0) {
        Value::Nil => Array::new(),
        list => list.into_list()?,
    };
    let delimiter = arguments.get(1).as_str()?;
    if delimiter.len().saturating_mul(list.len()) > DELIMITERS_BYTES_MAX {
        return Err(Fault::of(format_args!(
            "it would have more than {DELIMITERS_BYTES_MAX} bytes of delimiters"
        )));
    }
    let mut joined = String::new();
    for (index, item) in list.iter().enumerate() {
        if index > 0 {
            joined.push_str(delimiter);
        }
        match Value::from(item) {
            Value::Nil => joined.push_str("<nil>"),
            value => joined.push_str(&value.to_text().unwrap_or_default()),
        }
    }
    Ok(Value::text(joined))
}

fn split<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let (text, delimiter) = (arguments.get(0).as_str()?, arguments.get(1).as_str()?);
    let piece = |piece: &str| Telemetry::from(piece.to_owned());
    Ok(Value::List(match delimiter {
        // Between every two letters, and not before the first and after the last.
        "" => text
            .chars()
            .map(|letter| Telemetry::from(letter.to_string()))
            .collect(),
        _ => text.split(delimiter).map(piece).collect(),
    }))
}

fn substring<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let (text, start, length) = (
        arguments.get(0).as_str()?,
        usize::try_from(arguments.get(1).as_int()?),
        usize::try_from(arguments.get(2).as_int()?),
    );
    let safe = match arguments.get(3) {
        Value::Nil => false,
        safe => safe.as_bool()?,
    };
    let (Ok(mut start), Ok(length)) = (start, length) else {
        return Err(Fault::new("start and length of a substring cannot be negative"));
    };
    let mut end = start.saturating_add(length);
    if end > text.len() {
        return Err(Fault::of(format_args!(
            "the substring ends at {end}, the text at {}",
            text.len()
        )));
    }
    if safe {
        while !text.is_char_boundary(start) {
            start += 1;
        }
        end = text.floor_char_boundary(end);
    }
    match text.get(start..end.max(start)) {
        Some(part) => Ok(Value::text(part.to_owned())),
        None => Err(Fault::new(
            "the substring would cut a letter in two; use utf8_safe",
        )),
    }
}

fn trim<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let characters: Vec<char> = match arguments.get(1) {
        Value::Nil => vec![' '],
        characters => characters.as_str()?.chars().collect(),
    };
    let text = arguments.get(0).as_str()?;
    Ok(Value::text(text.trim_matches(&characters[..]).to_owned()))
}

fn trimmed<'a>(
    arguments: &mut Arguments<'_, 'a>,
    strip: impl for<'t> Fn(&'t str, &str) -> Option<&'t str>,
) -> Result<Value<'a>, Fault> {
    let affix = arguments.take(1);
    let text = arguments.take(0).into_text()?;
    let stripped = strip(&text, affix.as_str()?).map(str::to_owned);
    Ok(Value::String(stripped.map_or(text, Cow::Owned)))
}

fn cased<'a>(arguments: &mut Arguments<'_, 'a>, case: fn(&str) -> String) -> Result<Value<'a>, Fault> {
    Ok(Value::text(case(arguments.get(0).as_str()?)))
}

/// Letter by letter: one that has several letters on the other side stays.
fn lower(text: &str) -> String {
    text.chars()
        .map(|letter| only(letter.to_lowercase()).unwrap_or(letter))
        .collect()
}

fn upper(text: &str) -> String {
    text.chars()
        .map(|letter| only(letter.to_uppercase()).unwrap_or(letter))
        .collect()
}

fn only(mut letters: impl Iterator<Item = char>) -> Option<char> {
    letters.next().filter(|_| letters.next().is_none())
}

/// `myMetricName`, `My-Metric name` → `my_metric_name`. A word ends where the kind of letter changes.
fn snake(text: &str) -> String {
    let bytes = text.trim().as_bytes();
    let mut out = Vec::with_capacity(bytes.len() + 4);
    for (index, byte) in bytes.iter().enumerate() {
        let next = bytes.get(index + 1);
        let (is_upper, is_lower, is_digit) = (
            byte.is_ascii_uppercase(),
            byte.is_ascii_lowercase(),
            byte.is_ascii_digit(),
        );
        let next_upper = next.is_some_and(u8::is_ascii_uppercase);
        let next_lower = next.is_some_and(u8::is_ascii_lowercase);
        let next_digit = next.is_some_and(u8::is_ascii_digit);
        // The last capital of several begins the next word.
        let begins = is_upper && next_lower && index > 0 && bytes[index - 1].is_ascii_uppercase();
        if begins {
            out.push(b'_');
        }
        match byte {
            b' ' | b'_' | b'-' | b'.' => out.push(b'_'),
            byte => out.push(byte.to_ascii_lowercase()),
        }
        let ends = (is_lower && (next_upper || next_digit))
            || (is_digit && (next_upper || next_lower))
            || (is_upper && next_digit);
        if ends {
            out.push(b'_');
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `my_metric_name` → `MyMetricName`. Letters beyond ASCII have no case here and go, as in the Collector.
fn camel(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut word_starts, mut after_upper) = (true, false);
    for byte in text.trim().bytes() {
        let is_upper = byte.is_ascii_uppercase();
        if byte.is_ascii_alphabetic() {
            let letter = match (word_starts, after_upper && is_upper) {
                (true, _) => byte.to_ascii_uppercase(),
                (false, true) => byte.to_ascii_lowercase(),
                _ => byte,
            };
            out.push(char::from(letter));
            word_starts = false;
        } else if byte.is_ascii_digit() {
            out.push(char::from(byte));
            word_starts = true;
        } else {
            word_starts = matches!(byte, b'_' | b' ' | b'-' | b'.');
        }
        after_upper = is_upper;
    }
    out
}

fn convert_case(constants: &Constants) -> Made {
    let case = match constants.text(1).unwrap_or_default() {
        "lower" => lower,
        "upper" => upper,
        "snake" => snake,
        "camel" => camel,
        other => {
            return Err((
                1,
                format!("{other:?} is no case; there are lower, upper, snake and camel"),
            ));
        }
    };
    made(move |arguments| cased(arguments, case))
}

fn extract_patterns(constants: &Constants) -> Made {
    let named = |pattern: &str| {
        let named = pattern::compile_named(pattern)?;
        match named.names.iter().any(Option::is_some) {
            true => Ok(named),
            false => Err("at least one group needs a name, as in `(?P<name>…)`".to_owned()),
        }
    };
    let source = Source::new(constants.text(1), named).map_err(|problem| (1, problem))?;
    made(move |arguments| {
        let text = arguments.get(0).as_str()?;
        source.with(arguments.get(1), |named| {
            let mut map = Map::new();
            let Some(captures) = named.regex.captures(text) else {
                return Value::Map(map);
            };
            for (index, name) in named.names.iter().enumerate() {
                if let Some(name) = name {
                    let found = captures.get(index + 1).map_or("", |found| found.as_str());
                    map.set(Cow::Owned(name.clone()), Telemetry::from(found.to_owned()));
                }
            }
            Value::Map(map)
        })
    })
}

fn base64_encode(constants: &Constants) -> Made {
    let engine = match constants.text(1).unwrap_or("base64") {
        "base64" => STANDARD,
        "base64-raw" => STANDARD_NO_PAD,
        "base64-url" => URL_SAFE,
        "base64-raw-url" => URL_SAFE_NO_PAD,
        other => return Err((1, format!("{other:?} is no variant of base64"))),
    };
    made(move |arguments| Ok(Value::text(engine.encode(arguments.get(0).as_str()?))))
}

fn decoded<'a>(bytes: Result<Vec<u8>, String>) -> Result<Value<'a>, Fault> {
    let bytes = bytes.map_err(|error| Fault::of(format_args!("cannot decode: {error}")))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Value::text(text)),
        Err(_) => Err(Fault::new("what was decoded is no text")),
    }
}

fn decode(constants: &Constants) -> Made {
    let encoding = constants.text(1).unwrap_or_default().to_ascii_lowercase();
    let engine = match encoding.as_str() {
        "base64" => Some(STANDARD),
        "base64-raw" => Some(STANDARD_NO_PAD),
        "base64-url" => Some(URL_SAFE),
        "base64-raw-url" => Some(URL_SAFE_NO_PAD),
        _ => None,
    };
    let decode: fn(&[u8]) -> Result<String, String> = match encoding.as_str() {
        _ if engine.is_some() => |_| Ok(String::new()),
        "utf-8" | "utf8" => |bytes| String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string()),
        "us-ascii" | "ascii" => |bytes| match bytes.is_ascii() {
            true => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
            false => Err("not ASCII".to_owned()),
        },
        "iso-8859-1" | "latin1" => |bytes| Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        "utf-16le" => |bytes| utf16(bytes, u16::from_le_bytes),
        "utf-16" | "utf-16be" => |bytes| utf16(bytes, u16::from_be_bytes),
        other => return Err((1, format!("the encoding {other:?} is not known here"))),
    };
    made(move |arguments| {
        let bytes = match arguments.get(0) {
            Value::String(text) => text.as_bytes(),
            Value::Bytes(bytes) => bytes,
            other => return Err(Fault::of(format_args!("cannot decode {}", other.kind()))),
        };
        match &engine {
            Some(engine) => decoded(engine.decode(bytes).map_err(|error| error.to_string())),
            None => decoded(decode(bytes).map(String::into_bytes)),
        }
    })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| unit([pair[0], pair[1]]))
        .collect();
    String::from_utf16(&units).map_err(|error| error.to_string())
}

fn hex<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    Ok(match arguments.get(0) {
        Value::Double(value) => Value::text(format!("{:016x}", value.to_bits())),
        Value::Int(value) => Value::text(format!("{value:016x}")),
        Value::Bool(value) => Value::text(format!("{:02x}", u8::from(*value))),
        Value::String(text) => Value::text(::hex::encode(text.as_bytes())),
        Value::Bytes(bytes) => Value::text(::hex::encode(bytes)),
        Value::Nil => Value::text(""),
        other => return Err(Fault::of(format_args!("{} has no bytes", other.kind()))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_change_their_case() {
        let cases = [
            ("myMetric", "my_metric", "MyMetric"),
            ("MyMetricName", "my_metric_name", "MyMetricName"),
            ("my_metric_name", "my_metric_name", "MyMetricName"),
            ("HTTPServer2Go", "http_server_2_go", "Httpserver2Go"),
            ("", "", ""),
        ];
        for (text, as_snake, as_camel) in cases {
            assert_eq!((snake(text).as_str(), camel(text).as_str()), (as_snake, as_camel));
        }
    }
}
