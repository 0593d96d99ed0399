//! Compression of request bodies.

use std::io::{self, Write};

use bytes::Bytes;

use super::Compression;

/// Telemetry is repetitive: the fastest levels get nearly all there is to get.
const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 1;

impl Compression {
    /// Value of `Content-Encoding`, or of `grpc-encoding`.
    pub(crate) fn encoding(self) -> Option<&'static str> {
        match self {
            Compression::None => None,
            Compression::Gzip => Some("gzip"),
            Compression::Zstd => Some("zstd"),
        }
    }
}

/// The compressed form; shares the bytes when there is nothing to do.
pub(crate) fn compress(compression: Compression, bytes: &Bytes) -> io::Result<Bytes> {
    match compression {
        Compression::None => Ok(bytes.clone()),
        Compression::Gzip => {
            let out = Vec::with_capacity(bytes.len() / 4);
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(GZIP_LEVEL));
            encoder.write_all(bytes)?;
            encoder.finish().map(Bytes::from)
        }
        Compression::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL).map(Bytes::from),
    }
}
