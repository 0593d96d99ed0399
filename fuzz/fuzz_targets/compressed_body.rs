//! A compressed body: no panic, and never more than the limit.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cupola_fuzz::check_compressed_body(input));
