//! Compression of request bodies.

use std::cell::RefCell;
use std::io;

use bytes::Bytes;
use cupola_telemetry::Batch;
use libdeflater::{CompressionLvl, Compressor};

use super::Compression;

/// Telemetry is repetitive: the fastest levels get nearly all there is to get.
const ZSTD_LEVEL: i32 = 1;
/// The library's fastest is 0, which compresses nothing.
const GZIP_LEVEL: i32 = 1;
/// Bodies from this size are made off the IO threads.
pub(super) const INLINE_BYTES_MAX: usize = 128 * 1024;

thread_local! {
    /// Its tables are larger than most bodies.
    static GZIP: RefCell<Compressor> =
        RefCell::new(Compressor::new(CompressionLvl::new(GZIP_LEVEL).unwrap_or_default()));
}

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

/// The payload of a batch in its compressed form, which it may have brought with it.
pub(super) async fn compressed(compression: Compression, batch: &Batch) -> io::Result<Bytes> {
    let payload = batch.payload();
    match (compression, batch.gzip()) {
        (Compression::None, _) => Ok(payload.clone()),
        (Compression::Gzip, Some(gzip)) => Ok(gzip.clone()),
        _ if payload.len() <= INLINE_BYTES_MAX => compress(compression, payload),
        _ => {
            let payload = payload.clone();
            tokio::task::spawn_blocking(move || compress(compression, &payload)).await?
        }
    }
}

/// The compressed form; shares the bytes when there is nothing to do.
pub(crate) fn compress(compression: Compression, bytes: &Bytes) -> io::Result<Bytes> {
    match compression {
        Compression::None => Ok(bytes.clone()),
        Compression::Gzip => GZIP.with_borrow_mut(|compressor| {
            let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
            let length = compressor.gzip_compress(bytes, &mut out);
            out.truncate(length.map_err(io::Error::other)?);
            // A body waits for its destination, and the bound is as large as what it was made of.
            out.shrink_to_fit();
            Ok(Bytes::from(out))
        }),
        Compression::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL).map(Bytes::from),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use cupola_telemetry::{Signal, TenantId};

    use super::*;

    #[test]
    fn what_is_compressed_unfolds_to_what_it_was() {
        for length in [0, 1, 1000, 1 << 20] {
            let bytes: Bytes = (0..length).map(|index: u32| (index / 7) as u8).collect();
            let gzip = compress(Compression::Gzip, &bytes).unwrap();
            let mut unfolded = Vec::new();
            flate2::read::GzDecoder::new(&gzip[..])
                .read_to_end(&mut unfolded)
                .unwrap();
            assert!(unfolded == bytes);
            assert!(
                length < 1000 || gzip.len() < bytes.len() / 4,
                "{} of {length}",
                gzip.len()
            );
            let zstd = compress(Compression::Zstd, &bytes).unwrap();
            assert!(zstd::stream::decode_all(&zstd[..]).unwrap() == bytes);
        }
    }

    #[tokio::test]
    async fn what_came_compressed_goes_on_as_it_came() {
        let payload = Bytes::from_static(&[0x0a, 0]);
        let came = Bytes::from_static(b"as it came");
        let batch = Batch::from_canonical(Signal::Logs, TenantId::default_tenant(), payload.clone(), 1);
        let batch = batch.with_gzip(came.clone());
        assert_eq!(compressed(Compression::Gzip, &batch).await.unwrap(), came);
        assert_eq!(compressed(Compression::None, &batch).await.unwrap(), payload);
        let zstd = compressed(Compression::Zstd, &batch).await.unwrap();
        assert_eq!(zstd::stream::decode_all(&zstd[..]).unwrap(), payload);
    }
}
