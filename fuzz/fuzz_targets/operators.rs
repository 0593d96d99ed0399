//! Text for operators of receivers, and for the expressions in them: no panic, and an end.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cupola_fuzz::check_operators(input));
