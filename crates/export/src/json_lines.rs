//! Log records as JSON, one object a line, in a file that is rotated by size: what people read with `tail`, `jq` and `grep`.

use std::path::PathBuf;

use cupola_config::units::ByteSize;
use serde::Deserialize;

/// Settings of the sink.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JsonLinesConfig {
    /// Directories above it are made.
    pub log_file: PathBuf,
    /// A file that would grow beyond it is kept as `log_file.1`, and those before it move on to `.2` and so forth.
    pub max_bytes: ByteSize,
    /// Full files kept.
    pub backup_count: usize,
    /// Of full files.
    pub compression: JsonLinesCompression,
}

/// How full files are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JsonLinesCompression {
    #[default]
    None,
    Gzip,
    Zstd,
}

impl Default for JsonLinesConfig {
    fn default() -> JsonLinesConfig {
        JsonLinesConfig {
            log_file: PathBuf::new(),
            max_bytes: ByteSize(10 << 20),
            backup_count: 5,
            compression: JsonLinesCompression::None,
        }
    }
}
