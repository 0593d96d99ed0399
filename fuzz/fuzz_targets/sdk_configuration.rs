//! Files of configuration of the SDK: no panic, places that there are, and no secrets in what is told.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cupola_fuzz::check_sdk_configuration(input));
