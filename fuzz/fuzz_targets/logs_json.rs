//! OTLP/JSON logs of a stranger: what we accept is canonical and reads back equal.

#![no_main]

use cupola_telemetry::Signal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cupola_fuzz::check_json(Signal::Logs, input));
