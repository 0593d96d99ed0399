//! Commits: a change of the catalog, and at once of what readers see.

use crate::catalog::{CatalogEdit, CatalogError, CatalogState};
use crate::error::StoreError;
use crate::status::add;
use crate::version::Version;

use super::Engine;

/// Conflicts with other writers after which a commit gives up.
const CONFLICTS_MAX: usize = 16;

impl Engine {
    /// Commits what `edit` makes of the newest state. `None` means that there is nothing to do any more; then the answer
    /// is `false`.
    pub(super) async fn commit(
        &self,
        mut edit: impl FnMut(&CatalogState) -> Option<CatalogEdit>,
    ) -> Result<bool, StoreError> {
        let mut state = self.committed.lock().await;
        for _ in 0..CONFLICTS_MAX {
            let Some(edit) = edit(&state) else {
                return Ok(false);
            };
            match self.catalog.commit(&state, &edit).await {
                Ok(next) => {
                    add(&self.counters.catalog_commits, 1);
                    self.install(&mut state, next)?;
                    return Ok(true);
                }
                Err(CatalogError::Conflict { expected }) => {
                    add(&self.counters.catalog_conflicts, 1);
                    tracing::warn!(expected, "somebody else changed the catalog, loading it again");
                    let newest = self.catalog.load().await?;
                    self.install(&mut state, newest)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Catalog(CatalogError::Conflict {
            expected: state.version,
        }))
    }

    fn install(&self, state: &mut CatalogState, next: CatalogState) -> Result<(), StoreError> {
        let view = self.memtable.view();
        let journal = self.journal_id.to_string();
        let version = Version::of(&next, &journal, Some(&view.version), &self.garbage);
        let version = version.map_err(CatalogError::from)?;
        *state = next;
        self.memtable.install(version);
        Ok(())
    }

    /// Replaces segments by others, unless one of them is gone already; then `false`.
    pub(super) async fn replace_segments(&self, edit: CatalogEdit) -> Result<bool, StoreError> {
        let committed = self
            .commit(|state| {
                let present = edit.removed.iter().all(|path| state.segments.contains_key(path));
                present.then(|| edit.clone())
            })
            .await?;
        if !committed {
            self.discard(edit.added.iter().map(|entry| entry.path.as_str()));
        }
        Ok(committed)
    }

    /// Removes files that no catalog names, later.
    pub(super) fn discard<'a>(&self, paths: impl Iterator<Item = &'a str>) {
        for path in paths {
            if let Ok(path) = object_store::path::Path::parse(path) {
                // Nobody listens when the store is closed: orphans are removed at the next start.
                let _ = self.garbage.send(path);
            }
        }
    }
}
