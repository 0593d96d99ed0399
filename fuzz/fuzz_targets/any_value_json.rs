//! Values as OTLP/JSON, as the store keeps structured ones: what we accept reads back equal.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cupola_fuzz::check_any_value_json(input));
