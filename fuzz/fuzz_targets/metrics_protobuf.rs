//! Protobuf metrics of a stranger: what we accept means to us what it means to prost.

#![no_main]

use cupola_telemetry::Signal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cupola_fuzz::check_protobuf(Signal::Metrics, input));
