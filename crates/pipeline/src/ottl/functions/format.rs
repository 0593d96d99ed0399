//! Go's `fmt.Sprintf`, as far as telemetry has the types for it.

use std::iter::Peekable;
use std::str::Chars;

use crate::ottl::value::Value;

/// Widest padding and longest fraction; wider ones are cut to it.
const WIDTH_MAX: usize = 1024;

#[derive(Default)]
struct Verb {
    left: bool,
    plus: bool,
    zero: bool,
    space: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

/// Writes `values` where `template` has a verb. Mistakes are written into the text, as Go does.
pub(super) fn format(template: &str, values: &[Value<'_>]) -> String {
    let mut out = String::with_capacity(template.len() + 16);
    let mut letters = template.chars().peekable();
    let mut values = values.iter();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = letters.next_if(|c| "-+0 #".contains(*c)) {
            match flag {
                '-' => verb.left = true,
                '+' => verb.plus = true,
                '0' => verb.zero = true,
                ' ' => verb.space = true,
                _ => verb.alternate = true,
            }
        }
        verb.width = read_number(&mut letters);
        if letters.next_if_eq(&'.').is_some() {
            verb.precision = Some(read_number(&mut letters));
        }
        match letters.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(kind) => match values.next() {
                None => out.push_str(&format!("%!{kind}(MISSING)")),
                Some(value) => write(&mut out, kind, &verb, value),
            },
        }
    }
    let left: Vec<String> = values
        .map(|value| format!("{}={}", type_name(value), text(value)))
        .collect();
    if !left.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", left.join(", ")));
    }
    out
}

fn read_number(letters: &mut Peekable<Chars<'_>>) -> usize {
    let mut number = 0;
    while let Some(digit) = letters.next_if(char::is_ascii_digit) {
        number = (number * 10 + digit.to_digit(10).unwrap_or(0) as usize).min(WIDTH_MAX);
    }
    number
}

fn text(value: &Value<'_>) -> String {
    match value {
        Value::Time(nanos) => return super::time::rfc3339(*nanos),
        Value::Duration(nanos) => return super::time::duration_text(*nanos),
        _ => {}
    }
    value
        .to_text()
        .map_or_else(|| "<nil>".to_owned(), std::borrow::Cow::into_owned)
}

fn type_name(value: &Value<'_>) -> &'static str {
    match value {
        Value::Nil | Value::Other(_) => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Double(_) => "float64",
        Value::String(_) => "string",
        Value::Bytes(_) => "[]uint8",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
        Value::Time(_) => "time.Time",
        Value::Duration(_) => "time.Duration",
    }
}

fn write(out: &mut String, kind: char, verb: &Verb, value: &Value<'_>) {
    let (sign, digits, numeric) = match (kind, value) {
        ('d' | 'v', Value::Int(value)) => number(*value, |value| value.to_string()),
        ('x', Value::Int(value)) => number(*value, |value| prefixed(verb, "0x", format!("{value:x}"))),
        ('X', Value::Int(value)) => number(*value, |value| prefixed(verb, "0X", format!("{value:X}"))),
        ('o', Value::Int(value)) => number(*value, |value| prefixed(verb, "0", format!("{value:o}"))),
        ('b', Value::Int(value)) => number(*value, |value| prefixed(verb, "0b", format!("{value:b}"))),
        ('c', Value::Int(value)) => {
            let letter = u32::try_from(*value).ok().and_then(char::from_u32);
            ("", letter.unwrap_or('\u{fffd}').to_string(), false)
        }
        ('f' | 'F', Value::Double(value)) => {
            float(*value, |value| format!("{value:.*}", verb.precision.unwrap_or(6)))
        }
        ('e', Value::Double(value)) => float(*value, |value| exponent(value, verb.precision.unwrap_or(6))),
        ('g' | 'v', Value::Double(value)) => float(*value, general),
        ('t' | 'v', Value::Bool(value)) => ("", value.to_string(), false),
        ('q', Value::String(text)) => ("", format!("{text:?}"), false),
        ('x', Value::String(text)) => ("", hex::encode(text.as_bytes()), false),
        ('x', Value::Bytes(bytes)) => ("", hex::encode(bytes), false),
        ('T', value) => ("", type_name(value).to_owned(), false),
        (
            's',
            Value::String(_)
            | Value::Bytes(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Time(_)
            | Value::Duration(_),
        )
        | ('v', _) => {
            let text = text(value);
            let cut = verb.precision.map(|length| text.chars().take(length).collect());
            ("", cut.unwrap_or(text), false)
        }
        (_, Value::Nil) => ("", format!("%!{kind}(<nil>)"), false),
        _ => (
            "",
            format!("%!{kind}({}={})", type_name(value), text(value)),
            false,
        ),
    };
    let sign = match (sign, numeric) {
        ("", true) if verb.plus => "+",
        ("", true) if verb.space => " ",
        _ => sign,
    };
    let length = sign.len() + digits.chars().count();
    let padding = verb.width.saturating_sub(length);
    if verb.left {
        out.push_str(sign);
        out.push_str(&digits);
        out.push_str(&" ".repeat(padding));
    } else if verb.zero && numeric {
        out.push_str(sign);
        out.push_str(&"0".repeat(padding));
        out.push_str(&digits);
    } else {
        out.push_str(&" ".repeat(padding));
        out.push_str(sign);
        out.push_str(&digits);
    }
}

type Pieces = (&'static str, String, bool);

fn number(value: i64, digits: impl Fn(u64) -> String) -> Pieces {
    (
        if value < 0 { "-" } else { "" },
        digits(value.unsigned_abs()),
        true,
    )
}

fn float(value: f64, digits: impl Fn(f64) -> String) -> Pieces {
    if !value.is_finite() {
        return ("", crate::ottl::value::double_text(value), false);
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    (sign, digits(value.abs()), true)
}

fn prefixed(verb: &Verb, prefix: &str, digits: String) -> String {
    match verb.alternate {
        true => format!("{prefix}{digits}"),
        false => digits,
    }
}

/// `1.500000e+06`: at least two digits of exponent, with a sign.
fn exponent(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, power) = match power.strip_prefix('-') {
        Some(power) => ('-', power),
        None => ('+', power),
    };
    format!("{digits}e{sign}{power:0>2}")
}

/// The shortest text that gives the number back; with an exponent where Go has one.
fn general(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e21).contains(&value) {
        let text = format!("{value:e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, power) = match power.strip_prefix('-') {
            Some(power) => ('-', power),
            None => ('+', power),
        };
        return format!("{digits}e{sign}{power:0>2}");
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_write_as_in_go() {
        let (int, double, text) = (Value::Int(7), Value::Double(2.5), Value::text("x"));
        let cases: [(&str, &[Value<'_>], &str); 12] = [
            ("%02d", std::slice::from_ref(&int), "07"),
            (
                "%-4d|%+d|%x",
                &[int.clone(), int.clone(), Value::Int(255)],
                "7   |+7|ff",
            ),
            ("%s/%s", &[text.clone(), text.clone()], "x/x"),
            ("%5s|%-3s|", &[text.clone(), text.clone()], "    x|x  |"),
            ("%.2f %f", &[double.clone(), double.clone()], "2.50 2.500000"),
            (
                "%v %v %v",
                &[int.clone(), double.clone(), Value::Bool(true)],
                "7 2.5 true",
            ),
            (
                "%e %g",
                &[Value::Double(1_500_000.0), Value::Double(1e21)],
                "1.500000e+06 1e+21",
            ),
            ("100%%", &[], "100%"),
            ("%d", &[], "%!d(MISSING)"),
            ("%d", std::slice::from_ref(&text), "%!d(string=x)"),
            ("a", std::slice::from_ref(&int), "a%!(EXTRA int64=7)"),
            ("%", &[], "%!(NOVERB)"),
        ];
        for (template, values, expected) in cases {
            assert_eq!(format(template, values), expected, "{template}");
        }
    }
}
