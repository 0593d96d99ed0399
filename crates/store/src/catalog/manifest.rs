//! The bytes of manifests. `FORMAT.md` beside this file documents them.
//!
//! Refuses: IO.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CatalogEdit, CatalogError, CatalogState, SegmentEntry};

/// Newest format this version reads, and the one it writes.
pub const MANIFEST_FORMAT: u64 = 1;

/// One commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Delta {
    format: u64,
    pub(super) version: u64,
    /// Tells a committer whether a manifest it finds is its own.
    pub(super) commit: String,
    #[serde(flatten)]
    pub(super) edit: CatalogEdit,
}

/// The whole state at a version.
#[derive(Debug, Serialize, Deserialize)]
struct Checkpoint {
    format: u64,
    version: u64,
    #[serde(default, with = "shared")]
    segments: Vec<Arc<SegmentEntry>>,
    #[serde(default)]
    flushed: std::collections::BTreeMap<String, u64>,
}

/// Read before anything else, so that a newer format is named as such.
#[derive(Deserialize)]
struct Header {
    format: u64,
}

impl Delta {
    pub(super) fn new(version: u64, edit: CatalogEdit) -> Delta {
        Delta {
            format: MANIFEST_FORMAT,
            version,
            commit: Uuid::now_v7().to_string(),
            edit,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps have text keys")
    }

    pub(super) fn decode(path: &str, data: &[u8]) -> Result<Delta, CatalogError> {
        decode(path, data)
    }
}

pub(super) fn encode_checkpoint(state: &CatalogState) -> Vec<u8> {
    let checkpoint = Checkpoint {
        format: MANIFEST_FORMAT,
        version: state.version,
        segments: state.segments.values().cloned().collect(),
        flushed: state.flushed.clone(),
    };
    serde_json::to_vec(&checkpoint).expect("maps have text keys")
}

pub(super) fn decode_checkpoint(path: &str, data: &[u8]) -> Result<CatalogState, CatalogError> {
    let checkpoint: Checkpoint = decode(path, data)?;
    let segments = checkpoint.segments.into_iter();
    Ok(CatalogState {
        version: checkpoint.version,
        segments: segments.map(|entry| (entry.path.clone(), entry)).collect(),
        flushed: checkpoint.flushed,
    })
}

fn decode<T: for<'de> Deserialize<'de>>(path: &str, data: &[u8]) -> Result<T, CatalogError> {
    let corrupt = |error: serde_json::Error| CatalogError::Corrupt {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let header: Header = serde_json::from_slice(data).map_err(corrupt)?;
    if header.format > MANIFEST_FORMAT {
        return Err(CatalogError::NewerFormat {
            path: path.to_owned(),
            found: header.format,
        });
    }
    serde_json::from_slice(data).map_err(corrupt)
}

/// Lists of shared entries, written as if they were not shared.
pub(super) mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::catalog::SegmentEntry;

    pub(in crate::catalog) fn serialize<S: Serializer>(
        entries: &[Arc<SegmentEntry>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(entries.iter().map(Arc::as_ref))
    }

    pub(in crate::catalog) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Arc<SegmentEntry>>, D::Error> {
        let entries = Vec::<SegmentEntry>::deserialize(deserializer)?;
        Ok(entries.into_iter().map(Arc::new).collect())
    }
}

/// What can be read is written and read again, and must be equal; for fuzzing.
#[cfg(fuzzing)]
pub(crate) fn check_manifest(data: &[u8]) {
    if let Ok(delta) = Delta::decode("fuzz", data) {
        let again = Delta::decode("fuzz", &delta.encode()).expect("we read what we write");
        assert_eq!(again, delta);
    }
    if let Ok(state) = decode_checkpoint("fuzz", data) {
        let again = decode_checkpoint("fuzz", &encode_checkpoint(&state)).expect("we read what we write");
        assert_eq!(again, state);
    }
}
