//! Any telemetry that is accepted becomes columns, a Parquet file, and telemetry again.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cupola_fuzz::check_columns(input));
