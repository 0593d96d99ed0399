//! Values as a search engine takes them: no key twice in an object (of equal ones the last counts), no empty key, null for
//! what JSON has no number for. Deep enough nesting is cut by the decoder of batches.

use std::collections::HashSet;
use std::fmt::Write as _;

use cupola_telemetry::json::{write_plain, write_string};
use cupola_telemetry::view::{AnyValue, Attributes};

/// Stands for a key that is empty, which no field can have.
const NO_KEY: &str = "(empty)";

/// So many members are compared with one another, which is cheaper than a table of them.
const FEW: usize = 24;

/// Appends a value.
pub(crate) fn write(out: &mut String, value: AnyValue<'_>) {
    match value {
        AnyValue::Double(double) if !double.is_finite() => out.push_str("null"),
        AnyValue::Array(values) => {
            out.push('[');
            for (index, value) in values.enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(out, value);
            }
            out.push(']');
        }
        AnyValue::KeyValueList(attributes) => {
            out.push('{');
            let mut first = true;
            members(attributes, |key, value| {
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                write_string(out, key);
                out.push(':');
                write(out, value);
            });
            out.push('}');
        }
        other => write_plain(out, other),
    }
}

pub(crate) fn text(value: AnyValue<'_>) -> String {
    let mut text = String::new();
    write(&mut text, value);
    text
}

/// The members of an object, in order, each key once.
pub(crate) fn members<'a>(attributes: Attributes<'a>, mut each: impl FnMut(&'a str, AnyValue<'a>)) {
    let all: Vec<(&str, AnyValue<'_>)> = attributes.map(|pair| (named(pair.key), pair.value)).collect();
    if all.len() <= FEW {
        for (index, (key, value)) in all.iter().enumerate() {
            if all[index + 1..].iter().all(|(other, _)| other != key) {
                each(key, *value);
            }
        }
        return;
    }
    let mut seen = HashSet::with_capacity(all.len());
    let mut last: Vec<bool> = all.iter().rev().map(|(key, _)| seen.insert(*key)).collect();
    last.reverse();
    for ((key, value), _) in all.into_iter().zip(last).filter(|(_, last)| *last) {
        each(key, value);
    }
}

fn named(key: &str) -> &str {
    match key {
        "" => NO_KEY,
        key => key,
    }
}

/// A moment as `epoch_millis` with a fraction, which `date_nanos` reads to the nanosecond.
pub(super) fn moment(nanos: u64) -> String {
    let mut text = String::new();
    let _ = write!(text, "\"{}.{:06}\"", nanos / 1_000_000, nanos % 1_000_000);
    text
}

#[cfg(test)]
mod tests {
    use cupola_telemetry::TenantId;
    use cupola_telemetry::encode::LogsEncoder;

    use super::*;

    #[test]
    fn objects_have_each_key_once_and_numbers_are_finite() {
        let mut logs = LogsEncoder::new();
        {
            let mut resource = logs.resource_logs();
            let mut scope = resource.scope_logs();
            let mut record = scope.record();
            record
                .attribute("a", 1_i64)
                .attribute("b", f64::NAN)
                .attribute("a", 2_i64)
                .attribute("", "x");
        }
        let batch = logs.finish(TenantId::default_tenant());
        let scope = batch.logs().resources().next().unwrap().scopes().next().unwrap();
        let attributes = scope.records().next().unwrap().attributes;
        assert_eq!(
            text(AnyValue::KeyValueList(attributes)),
            r#"{"b":null,"a":2,"(empty)":"x"}"#
        );
        assert_eq!(moment(1_767_225_600_123_456_789), "\"1767225600123.456789\"");
    }
}
