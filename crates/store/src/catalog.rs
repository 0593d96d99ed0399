//! The catalog: which segments count, and up to where the write-ahead log is in them. Changed by one commit at a time,
//! each on top of a version the committer has seen.
//!
//! Refuses: knowing what is in a segment, and deleting files.

mod manifest;
mod objects;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use manifest::MANIFEST_FORMAT;
#[cfg(fuzzing)]
pub(crate) use manifest::check_manifest;
pub(crate) use objects::is_manifest;
pub use objects::{MANIFEST_PREFIX, ObjectCatalog};

use crate::schema::Table;
use crate::segment::SegmentMeta;

/// What the catalog keeps about a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// In the object store, below its prefix.
    pub path: String,
    pub tenant: String,
    pub table: Table,
    /// Hours since 1970: the partition.
    pub hour: i64,
    /// Retention rules, by fingerprint, that have already taken what they name from this segment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retained: Vec<u64>,
    pub meta: SegmentMeta,
}

/// Everything the catalog knows at one version.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CatalogState {
    /// Zero is the empty catalog before the first commit.
    pub version: u64,
    /// By path.
    pub segments: BTreeMap<String, Arc<SegmentEntry>>,
    /// By journal id: the last sequence number whose record is in segments.
    pub flushed: BTreeMap<String, u64>,
}

/// One change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CatalogEdit {
    /// Paths. Taken out before `added` is put in, so that an entry can be replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "manifest::shared")]
    pub added: Vec<Arc<SegmentEntry>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flushed: BTreeMap<String, u64>,
}

impl CatalogState {
    /// This state after `edit` as `version`.
    pub fn apply(&mut self, version: u64, edit: &CatalogEdit) {
        for path in &edit.removed {
            self.segments.remove(path);
        }
        for entry in &edit.added {
            self.segments.insert(entry.path.clone(), entry.clone());
        }
        for (journal, sequence) in &edit.flushed {
            let flushed = self.flushed.entry(journal.clone()).or_default();
            *flushed = (*flushed).max(*sequence);
        }
        self.version = version;
    }
}

/// Why the catalog could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Somebody else committed first. Load again.
    #[error("the catalog has moved on from version {expected}")]
    Conflict { expected: u64 },
    /// It is not known whether the change was made: the next commit or load tells.
    #[error("could not {action} {path}")]
    Unavailable {
        action: &'static str,
        path: String,
        source: object_store::Error,
    },
    #[error("{path} has format {found}, this version reads up to {MANIFEST_FORMAT}; use a newer Cupola")]
    NewerFormat { path: String, found: u64 },
    #[error("{path} cannot be understood: {reason}")]
    Corrupt { path: String, reason: String },
    #[error(transparent)]
    Segment(#[from] crate::version::InvalidSegment),
}

/// Keeps the list of segments.
#[async_trait]
pub trait Catalog: std::fmt::Debug + Send + Sync + 'static {
    /// The newest state.
    async fn load(&self) -> Result<CatalogState, CatalogError>;

    /// Makes `edit` the version after `state`, or fails with [`CatalogError::Conflict`] if there is one already.
    async fn commit(&self, state: &CatalogState, edit: &CatalogEdit) -> Result<CatalogState, CatalogError>;
}
