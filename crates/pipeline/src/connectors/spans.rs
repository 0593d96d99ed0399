//! What spans say, as connectors count it.

use std::borrow::Cow;

use cupola_telemetry::view::{AnyValue, Resource, Span};

use super::aggregate::Exemplar;

pub(super) const STATUS_ERROR: i32 = 2;

/// The service of spans; `unknown_service` if nobody says.
/// <https://opentelemetry.io/docs/specs/semconv/resource/#service>
pub(super) fn service_name<'a>(resource: &Resource<'a>) -> Cow<'a, str> {
    match resource.attributes.get("service.name") {
        Some(value) => text(value),
        None => Cow::Borrowed("unknown_service"),
    }
}

/// An attribute as the text of a label.
pub(super) fn text(value: AnyValue<'_>) -> Cow<'_, str> {
    match value {
        AnyValue::String(text) => Cow::Borrowed(text),
        AnyValue::Int(number) => Cow::Owned(number.to_string()),
        AnyValue::Double(number) => Cow::Owned(number.to_string()),
        AnyValue::Bool(truth) => Cow::Borrowed(if truth { "true" } else { "false" }),
        AnyValue::Empty => Cow::Borrowed(""),
        other => {
            let mut out = String::new();
            cupola_telemetry::json::write_plain(&mut out, other);
            Cow::Owned(out)
        }
    }
}

/// The name of a kind; numbers that this version does not know are unspecified.
pub(super) fn kind_text(kind: i32) -> &'static str {
    match kind {
        1 => "SPAN_KIND_INTERNAL",
        2 => "SPAN_KIND_SERVER",
        3 => "SPAN_KIND_CLIENT",
        4 => "SPAN_KIND_PRODUCER",
        5 => "SPAN_KIND_CONSUMER",
        _ => "SPAN_KIND_UNSPECIFIED",
    }
}

/// The name of a status; numbers that this version does not know are unset.
pub(super) fn status_text(code: i32) -> &'static str {
    match code {
        1 => "STATUS_CODE_OK",
        STATUS_ERROR => "STATUS_CODE_ERROR",
        _ => "STATUS_CODE_UNSET",
    }
}

/// How long a span took; nothing, if it ends before it starts.
pub(super) fn duration_nanos(span: &Span<'_>) -> u64 {
    span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano)
}

/// A measurement of a span, if it has ids to be found by.
pub(super) fn exemplar(span: &Span<'_>, value: f64, now: u64) -> Option<Exemplar> {
    let trace_id: [u8; 16] = span.trace_id.try_into().ok()?;
    Some(Exemplar {
        trace_id,
        span_id: span.span_id.try_into().unwrap_or_default(),
        value,
        time_unix_nano: now,
    })
}

/// How many spans one stands for that was kept by a consistent probability sampler; nothing if it does not say so.
/// <https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/>
pub(super) fn adjusted_count(trace_state: &str) -> Option<f64> {
    if trace_state.is_empty() {
        return None;
    }
    const DIGITS: usize = 14;
    let entries = trace_state.split(',').map(str::trim);
    let mut fields = entries
        .filter_map(|entry| entry.strip_prefix("ot="))
        .flat_map(|ot| ot.split(';'));
    let threshold = fields.find_map(|field| field.strip_prefix("th:"))?;
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if !(1..=DIGITS).contains(&threshold.len()) || !threshold.bytes().all(is_hex) {
        return None;
    }
    // Digits that are missing at the end are zeros.
    let given = u64::from_str_radix(threshold, 16).ok()?;
    let threshold = given << (4 * (DIGITS - threshold.len()));
    let whole = 1u64 << (4 * DIGITS);
    Some(whole as f64 / (whole - threshold) as f64)
}

/// A number near `count`, so that many of them are as much as many counts. `random` is uniform.
pub(super) fn whole_number(count: f64, random: impl FnOnce() -> u128) -> u64 {
    let whole = count.floor();
    let rest = count - whole;
    const BITS: u32 = 53;
    let up = rest > 0.0 && (random() as u64 & ((1 << BITS) - 1)) as f64 / (1u64 << BITS) as f64 <= rest;
    whole as u64 + u64::from(up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_say_how_many_spans_one_stands_for() {
        let counts = [
            ("ot=th:0", Some(1.0)),
            ("ot=th:8", Some(2.0)),
            ("a=b, ot=rv:123;th:c", Some(4.0)),
            ("ot=th:ffffffffffffff", Some((1u64 << 56) as f64)),
            ("ot=th:fffffffffffffff", None),
            ("ot=th:", None),
            ("ot=th:G", None),
            ("th:8", None),
            ("", None),
        ];
        for (state, count) in counts {
            assert_eq!(adjusted_count(state), count, "{state}");
        }
    }

    #[test]
    fn parts_of_a_span_are_one_as_often_as_they_are_large() {
        assert_eq!(whole_number(3.0, || panic!("not needed")), 3);
        let random = |part: f64| move || ((1u64 << 53) as f64 * part) as u128;
        assert_eq!(whole_number(3.25, random(0.2)), 4);
        assert_eq!(whole_number(3.25, random(0.3)), 3);
    }
}
