//! A write-ahead log file in any state: no panic, and what is found lies where it says.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cupola_fuzz::check_journal_file(input));
