//! Attributes of a measurement as the key of a series: as they were given, to find it quickly, and in their one canonical form, to
//! know which it is.

use std::hash::{BuildHasher, Hasher};

use cupola_telemetry::wire;
use foldhash::fast::SeedableRandomState;
use smallvec::SmallVec;

use super::view::AttributeKeys;
use crate::value::Value;

/// A key and a value.
pub type Attribute<'a> = (&'a str, Value<'a>);

/// A hash of attributes in the order in which they were given. `None` if some have values within values, which are not compared
/// as they were given.
#[inline]
pub(super) fn hash(state: &SeedableRandomState, attributes: &[Attribute<'_>]) -> Option<u64> {
    let mut hasher = state.build_hasher();
    for (key, value) in attributes {
        hasher.write(key.as_bytes());
        match value {
            Value::String(text) => hasher.write(text.as_bytes()),
            Value::Bytes(bytes) => hasher.write(bytes),
            Value::Int(number) => hasher.write_u64(*number as u64),
            Value::Double(number) => hasher.write_u64(number.to_bits()),
            Value::Bool(is) => hasher.write_u64(u64::from(*is)),
            Value::Empty => hasher.write_u64(2),
            Value::Array(_) | Value::Map(_) => return None,
        }
    }
    Some(hasher.finish())
}

/// A hash of a canonical form.
pub(super) fn hash_of_bytes(state: &SeedableRandomState, bytes: &[u8]) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

const HEADER_BYTES: usize = 8;

/// What an attribute begins with as it was given: the lengths of its key and value and the type of the value. `None` if that
/// does not fit.
#[inline(always)]
fn header(key: &str, value: &[u8], tag: u8) -> Option<u64> {
    if key.len() >= 1 << 24 || value.len() >= 1 << 32 {
        return None;
    }
    Some((key.len() as u64) << 40 | (value.len() as u64) << 8 | u64::from(tag))
}

/// The type of a value and its bytes.
#[inline(always)]
fn parts<'p>(value: &Value<'p>, number: &'p mut [u8; 8]) -> Option<(u8, &'p [u8])> {
    let (tag, bits) = match value {
        Value::Empty => return Some((0, &[])),
        Value::String(text) => return Some((1, text.as_bytes())),
        Value::Bytes(bytes) => return Some((2, bytes)),
        Value::Bool(is) => (3, u64::from(*is)),
        Value::Int(number) => (4, *number as u64),
        Value::Double(number) => (5, number.to_bits()),
        Value::Array(_) | Value::Map(_) => return None,
    };
    *number = bits.to_le_bytes();
    Some((tag, number))
}

/// Appends attributes as they were given. Whether they could be written; if not, what was written is not to be kept.
pub(super) fn write_given(out: &mut Vec<u8>, attributes: &[Attribute<'_>]) -> bool {
    attributes.iter().all(|(key, value)| {
        let mut number = [0; 8];
        let Some((tag, bytes)) = parts(value, &mut number) else {
            return false;
        };
        let Some(header) = header(key, bytes, tag) else {
            return false;
        };
        out.extend_from_slice(&header.to_le_bytes());
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(bytes);
        true
    })
}

/// Whether these attributes were written as this.
#[inline]
pub(super) fn is_given(mut written: &[u8], attributes: &[Attribute<'_>]) -> bool {
    for (key, value) in attributes {
        let mut number = [0; 8];
        let Some((tag, bytes)) = parts(value, &mut number) else {
            return false;
        };
        let Some((front, rest)) = written.split_first_chunk::<HEADER_BYTES>() else {
            return false;
        };
        if header(key, bytes, tag) != Some(u64::from_le_bytes(*front)) {
            return false;
        }
        let Some((known_key, rest)) = rest.split_at_checked(key.len()) else {
            return false;
        };
        let Some((known, rest)) = rest.split_at_checked(bytes.len()) else {
            return false;
        };
        if !is_same(known_key, key.as_bytes()) || !is_same(known, bytes) {
            return false;
        }
        written = rest;
    }
    written.is_empty()
}

/// Whether two slices of one length are equal; quicker than a call for the short ones that keys and values are.
#[inline(always)]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() > 16 {
        return one == other;
    }
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let half = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
    if let (Some(a), Some(b)) = (one.first_chunk(), other.first_chunk())
        && let (Some(c), Some(d)) = (one.last_chunk(), other.last_chunk())
    {
        return (word(a) ^ word(b)) | (word(c) ^ word(d)) == 0;
    }
    if let (Some(a), Some(b)) = (one.first_chunk(), other.first_chunk())
        && let (Some(c), Some(d)) = (one.last_chunk(), other.last_chunk())
    {
        return (half(a) ^ half(b)) | (half(c) ^ half(d)) == 0;
    }
    one.iter().eq(other)
}

/// Attributes as `KeyValue` messages of field `field`, sorted by key, each key once with its last value, those without a name left
/// out: the same for all that are the same. Only those that `wanted` wants.
pub(super) fn canonical(attributes: &[Attribute<'_>], wanted: impl Fn(&str) -> bool, field: u32) -> Vec<u8> {
    let mut order: SmallVec<[usize; 16]> = (0..attributes.len())
        .filter(|at| !attributes[*at].0.is_empty() && wanted(attributes[*at].0))
        .collect();
    // Of one key, the last in front.
    order.sort_unstable_by(|a, b| {
        let keys = attributes[*a].0.cmp(attributes[*b].0);
        keys.then(b.cmp(a))
    });
    order.dedup_by(|later, kept| attributes[*later].0 == attributes[*kept].0);
    let mut out = Vec::new();
    for at in order {
        let (key, value) = attributes[at];
        let pair = wire::open(&mut out, field);
        wire::write_bytes(&mut out, 1, key.as_bytes());
        value.write(&mut out, 2, None);
        wire::close(&mut out, pair);
    }
    out
}

/// What a stream leaves out, as the attributes of an exemplar.
pub(super) fn left_out(attributes: &[Attribute<'_>], kept: &AttributeKeys) -> Vec<u8> {
    const FILTERED: u32 = 7;
    match kept {
        AttributeKeys::All => Vec::new(),
        kept => canonical(attributes, |key| !kept.has(key), FILTERED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETS: &[&[Attribute<'static>]] = &[
        &[],
        &[("a", Value::Int(1))],
        &[("a", Value::Double(1.0))],
        &[("a", Value::Bool(true))],
        &[("a", Value::String("1"))],
        &[("a", Value::Bytes(b"1"))],
        &[("a", Value::Empty)],
        &[("a", Value::String(""))],
        &[("", Value::String("a"))],
        &[("ab", Value::String("c"))],
        &[("a", Value::String("bc"))],
        &[("a", Value::Int(1)), ("b", Value::Int(2))],
        &[("b", Value::Int(2)), ("a", Value::Int(1))],
        &[("a", Value::Int(1)), ("a", Value::Int(2))],
        &[(
            "a longer key than a word",
            Value::String("a longer value than a word"),
        )],
        &[(
            "a longer key than a word",
            Value::String("a longer value than a worD"),
        )],
        &[("nearly16 bytes.", Value::String("eleven 11..."))],
        &[("nearly16_bytes.", Value::String("eleven 11..."))],
        &[("four", Value::String("fives"))],
        &[("four", Value::String("fivez"))],
    ];

    #[test]
    fn only_the_same_attributes_in_the_same_order_are_as_given() {
        for (at, one) in SETS.iter().enumerate() {
            let mut written = Vec::new();
            assert!(write_given(&mut written, one));
            for (other_at, other) in SETS.iter().enumerate() {
                assert_eq!(is_given(&written, other), at == other_at, "{one:?} {other:?}");
            }
            assert!(!is_given(&written[..written.len().saturating_sub(1)], one) || one.is_empty());
        }
    }

    #[test]
    fn the_canonical_form_knows_neither_order_nor_earlier_values() {
        let all = |_: &str| true;
        let [one, two] = [("a", Value::Int(1)), ("b", Value::Int(2))];
        let sorted = canonical(&[one, two], all, 7);
        assert_eq!(canonical(&[two, one], all, 7), sorted);
        assert_eq!(
            canonical(&[("a", Value::Bool(true)), two, ("", one.1), one], all, 7),
            sorted
        );
        assert_eq!(
            canonical(&[two, one], |key| key == "a", 7),
            canonical(&[one], all, 7)
        );
        let kept = AttributeKeys::Only(vec!["a".to_owned()]);
        assert_eq!(left_out(&[one, two], &kept), canonical(&[two], all, 7));
        assert!(left_out(&[one, two], &AttributeKeys::All).is_empty());
    }
}
