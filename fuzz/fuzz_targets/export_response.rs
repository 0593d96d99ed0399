//! What a destination answers an export with: no panic, and what is read comes back as it went.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cupola_fuzz::check_export_response(input));
