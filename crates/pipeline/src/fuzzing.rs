//! What fuzz targets need to see of private decoders; not part of any other build.

/// Unfolds `data`, whose first byte chooses how it is compressed; the limit and the budget must hold.
pub fn decompress(data: &[u8]) {
    crate::receivers::otlp::fuzz_decompress(data);
}

/// Reads `data` as the body of a gRPC call, cut into pieces as its first byte says.
pub fn grpc_message(data: &[u8]) {
    crate::receivers::otlp::fuzz_grpc_message(data);
}

/// Reads `data` as what receivers of other protocols than OTLP are sent; its first byte chooses the format.
pub fn received(data: &[u8]) {
    crate::receivers::fuzz_received(data);
}

/// Reads `data` as syslog, as an expression, and as what parsers of text are given.
pub fn operators(data: &[u8]) {
    crate::operators::fuzz(data);
}
