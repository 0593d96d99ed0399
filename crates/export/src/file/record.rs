//! How one request stands in the file: a line, or its length and its bytes.

use cupola_telemetry::Batch;

use super::{FileCompression, FileFormat};

/// The fastest level gets nearly all there is to get.
const ZSTD_LEVEL: i32 = 1;
/// Bytes of the length in front of a framed record.
pub(super) const LENGTH_BYTES: usize = 4;

/// Format and compression, which decide how a record ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Framing {
    format: FileFormat,
    compression: FileCompression,
}

impl Framing {
    pub(super) fn new(format: FileFormat, compression: FileCompression) -> Framing {
        Framing { format, compression }
    }

    /// A record is a line: JSON that is not compressed. All others stand after their length.
    pub(super) fn lines(self) -> bool {
        self.format == FileFormat::Json && self.compression == FileCompression::None
    }

    /// Appends the record of a batch; an error says why it has none.
    pub(super) fn append(self, out: &mut Vec<u8>, batch: &Batch) -> Result<(), String> {
        let json;
        let plain: &[u8] = match self.format {
            FileFormat::Proto => batch.payload(),
            FileFormat::Json => {
                json = batch.to_json();
                json.as_bytes()
            }
        };
        if self.lines() {
            out.extend_from_slice(plain);
            out.push(b'\n');
            return Ok(());
        }
        let compressed;
        let bytes = match self.compression {
            FileCompression::None => plain,
            FileCompression::Zstd => {
                compressed = zstd::bulk::compress(plain, ZSTD_LEVEL)
                    .map_err(|error| format!("the batch cannot be compressed: {error}"))?;
                &compressed
            }
        };
        let length = u32::try_from(bytes.len())
            .map_err(|_| format!("a record of {} bytes has no length of four bytes", bytes.len()))?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(bytes);
        Ok(())
    }
}
