//! Converters that make ids, and those that look at more than their arguments.

use std::borrow::Cow;

use super::{Arguments, Body, Converter, TARGET, converter, plain, value};
use crate::ottl::context::Context;
use crate::ottl::error::Fault;
use crate::ottl::value::Value;

pub(super) const TABLE: &[Converter] = &[
    converter("TraceID", TARGET, |_| plain(|a| id(a, 16))),
    converter("SpanID", TARGET, |_| plain(|a| id(a, 8))),
    converter("UUID", &[], |_| {
        plain(|a| Ok(Value::text(uuid(a.env.random(), 4))))
    }),
    converter("UUIDv7", &[], |_| {
        plain(|a| {
            let millis = u128::from(a.env.now_unix_nano() / 1_000_000);
            let random = a.env.random() & (u128::MAX >> 48);
            Ok(Value::text(uuid(millis << 80 | random, 7)))
        })
    }),
    Converter {
        name: "IsRootSpan",
        parameters: &[],
        context: Some(Context::Span),
        make: |_| Ok(Body::IsRootSpan),
    },
    Converter {
        name: "HasAttrKeyOnDatapoint",
        parameters: &[value("key")],
        context: Some(Context::Metric),
        make: |_| Ok(Body::HasAttributeOnPoint),
    },
    Converter {
        name: "HasAttrOnDatapoint",
        parameters: &[value("key"), value("value")],
        context: Some(Context::Metric),
        make: |_| Ok(Body::HasAttributeOnPoint),
    },
];

fn id<'a>(arguments: &mut Arguments<'_, 'a>, length: usize) -> Result<Value<'a>, Fault> {
    let bytes = match arguments.take(0) {
        Value::Bytes(bytes) => bytes,
        Value::String(digits) => match hex::decode(&*digits) {
            Ok(bytes) => Cow::Owned(bytes),
            Err(_) => return Err(Fault::of(format_args!("{digits:?} is not made of hex digits"))),
        },
        other => {
            return Err(Fault::of(format_args!(
                "expected bytes or hex digits, found {}",
                other.kind()
            )));
        }
    };
    if bytes.len() != length {
        return Err(Fault::of(format_args!(
            "expected {length} bytes, found {}",
            bytes.len()
        )));
    }
    Ok(Value::Bytes(bytes))
}

/// RFC 9562: the version and the variant over bits that are given.
fn uuid(bits: u128, version: u128) -> String {
    let bits = bits & !(0xf << 76) | version << 76;
    let bits = bits & !(0x3 << 62) | 0x2 << 62;
    let digits = format!("{bits:032x}");
    let group = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-{}-{}-{}",
        group(0, 8),
        group(8, 12),
        group(12, 16),
        group(16, 20),
        group(20, 32)
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn uuids_have_their_version_and_variant() {
        assert_eq!(super::uuid(u128::MAX, 4), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(super::uuid(0, 7), "00000000-0000-7000-8000-000000000000");
    }
}
