//! A quick answer for what most of telemetry's bytes are: attributes with a scalar value. Owns no rules: it only ever
//! says yes to pairs that the walk by the schema would accept as canonical, and leaves the rest to it, errors included.

use crate::wire::{FIXED64, LENGTH, VARINT, is_ascii};

const KEY: u8 = 1 << 3 | LENGTH as u8;
const VALUE: u8 = 2 << 3 | LENGTH as u8;
const STRING: u8 = 1 << 3 | LENGTH as u8;
const BOOL: u8 = 2 << 3 | VARINT as u8;
const INT: u8 = 3 << 3 | VARINT as u8;
const DOUBLE: u8 = 4 << 3 | FIXED64 as u8;

/// Longest varint of which no byte needs to be looked at for overflow.
const VARINT_BYTES_SAFE: usize = 9;

/// Whether these contents of a `KeyValue` are an ASCII key and then an ASCII text, a boolean, an integer or a double.
#[inline(always)]
pub(super) fn is_plain(pair: &[u8]) -> bool {
    let [KEY, key_length @ ..0x80, rest @ ..] = pair else {
        return false;
    };
    let Some((key, rest)) = rest.split_at_checked(usize::from(*key_length)) else {
        return false;
    };
    let [VALUE, value @ ..] = rest else {
        return false;
    };
    let Some(value) = delimited(value) else {
        return false;
    };
    let plain = match value {
        [STRING, text @ ..] => delimited(text).is_some_and(is_ascii),
        [BOOL | INT, number @ ..] => is_varint(number),
        [DOUBLE, number @ ..] => number.len() == 8,
        _ => false,
    };
    plain && is_ascii(key)
}

/// What follows a length of one or two bytes, if it is just as long.
#[inline(always)]
fn delimited(bytes: &[u8]) -> Option<&[u8]> {
    let (length, contents) = match bytes {
        [length @ ..0x80, contents @ ..] => (usize::from(*length), contents),
        [low, high @ ..0x80, contents @ ..] => (usize::from(*low & 0x7f) | usize::from(*high) << 7, contents),
        _ => return None,
    };
    (length == contents.len()).then_some(contents)
}

/// Whether these are one varint and nothing else.
#[inline(always)]
fn is_varint(bytes: &[u8]) -> bool {
    match bytes {
        [..0x80] => true,
        [start @ .., ..0x80] => start.len() < VARINT_BYTES_SAFE && start.iter().all(|byte| *byte >= 0x80),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::validate::{Seen, validate};
    use crate::schema::KEY_VALUE;
    use crate::wire::{write_bytes, write_key, write_varint};

    /// A pair whose value is a message of one field.
    fn pair(key: &[u8], number: u32, value: &[u8]) -> Vec<u8> {
        let mut any = Vec::new();
        match number {
            1 | 7 => write_bytes(&mut any, number, value),
            2 | 3 => {
                write_key(&mut any, number, VARINT);
                any.extend_from_slice(value);
            }
            _ => {
                write_key(&mut any, number, FIXED64);
                any.extend_from_slice(value);
            }
        }
        let mut pair = Vec::new();
        write_bytes(&mut pair, 1, key);
        write_bytes(&mut pair, 2, &any);
        pair
    }

    #[test]
    fn what_most_attributes_are_is_plain() {
        for text in [&b""[..], b"GET", &[b'x'; 126], &[b'x'; 5000]] {
            assert!(
                is_plain(&pair(b"http.request.method", 1, text)),
                "{} bytes",
                text.len()
            );
        }
        for number in [0, 1, 127, 128, 1 << 20, i64::MAX as u64] {
            let mut varint = Vec::new();
            write_varint(&mut varint, number);
            assert!(is_plain(&pair(b"k", 3, &varint)), "{number}");
        }
        assert!(is_plain(&pair(b"k", 2, &[1])));
        assert!(is_plain(&pair(b"k", 4, &1.5f64.to_le_bytes())));
        assert!(!is_plain(&pair("kö".as_bytes(), 1, b"")));
        assert!(!is_plain(&pair(b"k", 7, b"bytes")));
    }

    proptest! {
        /// Whatever is plain is valid and canonical by the schema, also where bytes of it were changed, cut off or added.
        #[test]
        fn only_what_the_schema_accepts_is_plain(
            key in "[a-z.]{0,140}",
            number in prop_oneof![Just(1u32), Just(2), Just(3), Just(4), Just(7)],
            value in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                prop::collection::vec(0u8..0x80, 0..200),
                prop::collection::vec(any::<u8>(), 8),
            ],
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in prop_oneof![4 => Just(0usize), 1 => 1..3usize],
            more in prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(any::<u8>(), 1..3)],
        ) {
            let mut bytes = pair(key.as_bytes(), number, &value);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len() - cut);
            bytes.extend(more);
            if is_plain(&bytes) {
                let seen = validate(&KEY_VALUE, &bytes);
                prop_assert_eq!(seen, Ok(Seen { canonical: true, items: 0 }));
            }
        }
    }
}
