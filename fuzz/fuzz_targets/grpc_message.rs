//! The body of a gRPC call, in pieces: no panic, and the message is what was framed.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cupola_fuzz::check_grpc_message(input));
