//! A body of a receiver of another protocol than OTLP: no panic, and never more memory than there is room for.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cupola_fuzz::check_received(input));
