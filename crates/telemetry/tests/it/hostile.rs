//! Bytes of an enemy: an error or a batch, never a panic, and never another meaning than prost's.

use cupola_telemetry::{Batch, Problem, Signal, TenantId, view};
use proptest::prelude::*;

use crate::dice::Dice;
use crate::oracle::{decode, normalised, random_request};
use crate::views::through_views;

/// Decodes, and if it succeeds compares with prost. What prost refuses, we refuse.
fn check(signal: Signal, payload: &[u8]) -> Result<(), TestCaseError> {
    // Views of anything at all: no panic.
    through_views(signal, payload);
    match decode(signal, payload.to_vec()) {
        Ok(batch) => {
            let expected = normalised(signal, payload).expect("what we accept, prost accepts");
            prop_assert_eq!(normalised(signal, batch.payload()).unwrap(), expected.clone());
            prop_assert_eq!(through_views(signal, batch.payload()), expected);
            let _ = batch.to_json();
        }
        Err(error) => {
            prop_assert!(error.offset <= payload.len());
            // Only here are we stricter than prost.
            let stricter = matches!(error.problem, Problem::IdLength { .. } | Problem::Nesting);
            prop_assert!(stricter || normalised(signal, payload).is_err(), "{}", error);
            prop_assert!(!error.to_string().is_empty());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn truncated_at_every_byte(seed: u64) {
        for signal in Signal::ALL {
            let payload = random_request(signal, &mut Dice::new(seed));
            for length in 0..payload.len().min(1500) {
                check(signal, &payload[..length])?;
            }
        }
    }

    #[test]
    fn random_bytes(bytes: Vec<u8>) {
        for signal in Signal::ALL {
            check(signal, &bytes)?;
            let _ = Batch::decode_json(signal, TenantId::default_tenant(), &bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn flipped_bits(seed: u64) {
        for signal in Signal::ALL {
            let mut dice = Dice::new(seed);
            let mut payload = random_request(signal, &mut dice);
            for _ in 0..1 + dice.below(4) {
                if !payload.is_empty() {
                    let at = dice.below(payload.len());
                    payload[at] ^= 1 << dice.below(8);
                }
            }
            check(signal, &payload)?;
        }
    }

    #[test]
    fn replaced_inserted_and_removed_bytes(seed: u64) {
        for signal in Signal::ALL {
            let mut dice = Dice::new(seed);
            let mut payload = random_request(signal, &mut dice);
            for _ in 0..1 + dice.below(6) {
                let at = dice.below(payload.len() + 1);
                match dice.below(3) {
                    0 if at < payload.len() => payload[at] = dice.next() as u8,
                    1 if at < payload.len() => drop(payload.remove(at)),
                    _ => payload.insert(at, dice.next() as u8),
                }
            }
            check(signal, &payload)?;
        }
    }
}

#[test]
fn lengths_beyond_all_bounds() {
    for length in [
        u64::MAX,
        u64::MAX - 10,
        1 << 63,
        1 << 62,
        u64::from(u32::MAX),
        1 << 31,
        1 << 20,
    ] {
        let field = [vec![0x0a], crate::scramble::varint(length, 0), vec![1, 2, 3]].concat();
        for signal in Signal::ALL {
            check(signal, &field).unwrap();
            check(signal, &[&[0x0a, field.len() as u8][..], &field].concat()).unwrap();
        }
    }
}

#[test]
fn views_of_invalid_text_show_none() {
    let scope = [0x0a, 2, 0xff, 0xfe];
    assert_eq!(view::Scope::parse(&scope).name, "");
}
