//! A manifest of the catalog: no panic, and it is written as it was read.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cupola_fuzz::check_manifest(input));
