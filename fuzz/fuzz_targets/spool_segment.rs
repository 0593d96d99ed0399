//! A segment of the spool of an SDK: no panic, and no more is read than there is.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cupola_fuzz::check_spool_segment(input));
