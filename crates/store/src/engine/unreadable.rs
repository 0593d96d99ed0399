//! Segments that cannot be read: one of them must not keep the others from being merged, forgotten or written.
//!
//! Refuses: removing them, or taking them from the catalog. The doctor does.

use std::sync::Arc;

use hashbrown::HashSet;
use object_store::path::Path;

use crate::error::StoreError;
use crate::version::Segment;

use super::Engine;
use super::background::Report;
use super::read::{segment_source, visit};

impl Engine {
    /// Whether an attempt to read would fail again: what an object store elsewhere does not give now it may give later.
    pub(super) fn is_lasting(&self, error: &StoreError) -> bool {
        match error {
            StoreError::Segment { .. } | StoreError::Series(_) | StoreError::Background => true,
            StoreError::ObjectStore {
                action: "read",
                source,
                ..
            } => matches!(source, object_store::Error::NotFound { .. }) || self.config.is_local(),
            _ => false,
        }
    }

    pub(super) fn is_readable(&self, segment: &Segment) -> bool {
        !self.unreadable.lock().contains(&segment.path)
    }

    pub(super) fn unreadable_paths(&self) -> HashSet<Path> {
        self.unreadable.lock().clone()
    }

    /// Leaves a segment alone until the next start.
    pub(super) fn set_aside(&self, segment: &Segment, error: &StoreError) {
        let mut unreadable = self.unreadable.lock();
        // What the catalog has dropped meanwhile needs no place here.
        let version = &self.memtable.view().version;
        unreadable.retain(|path| version.segments().any(|segment| segment.path == *path));
        if unreadable.insert(segment.path.clone()) {
            tracing::error!(path = %segment.path, error = %Report(error), "a segment cannot be read, the doctor can take it out");
        }
    }

    /// Leaves those segments alone that made work with all of them fail: all, where none fails by itself.
    pub(super) async fn set_aside_culprits(
        &self,
        segments: &[Arc<Segment>],
        error: &StoreError,
    ) -> Result<(), StoreError> {
        let mut found = false;
        for segment in segments {
            let Err(error) = self.read_through(segment).await else {
                continue;
            };
            if !self.is_lasting(&error) {
                return Err(error);
            }
            self.set_aside(segment, &error);
            found = true;
        }
        if !found {
            segments.iter().for_each(|segment| self.set_aside(segment, error));
        }
        Ok(())
    }

    async fn read_through(&self, segment: &Segment) -> Result<(), StoreError> {
        let source = segment_source(&self.objects, &segment.path).await?;
        let table = segment.table;
        self.merge_work(move || visit(table, source, None, |_| true))
            .await?
    }
}
