//! A statement or a condition: no panic, and a refusal points into it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cupola_fuzz::check_ottl(input));
