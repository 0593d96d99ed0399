//! Commits: a change of the catalog, and at once of what readers see.

use hashbrown::HashSet;

use crate::catalog::{CatalogEdit, CatalogError, CatalogState};
use crate::error::StoreError;
use crate::status::add;
use crate::version::Version;

use super::Engine;

/// Conflicts with other writers after which a commit gives up.
const CONFLICTS_MAX: usize = 16;

/// What is known of the catalog.
#[derive(Debug)]
pub(super) struct Committed {
    state: CatalogState,
    /// The outcome of an attempt is not known: what it would have made may still become the next version.
    in_doubt: bool,
    /// Files that such attempts would have named, to be removed once it is certain that they are not.
    doubtful: Vec<String>,
}

impl Committed {
    pub(super) fn new(state: CatalogState) -> Committed {
        Committed {
            state,
            in_doubt: false,
            doubtful: Vec::new(),
        }
    }
}

impl Engine {
    /// Commits what `edit` makes of the newest state. `None` means that there is nothing to do any more; then the answer
    /// is `false`.
    pub(super) async fn commit(
        &self,
        mut edit: impl FnMut(&CatalogState) -> Option<CatalogEdit>,
    ) -> Result<bool, StoreError> {
        let mut committed = self.committed.lock().await;
        for _ in 0..CONFLICTS_MAX {
            let Some(edit) = edit(&committed.state) else {
                return Ok(false);
            };
            if self.advance(&mut committed, &edit).await? {
                return Ok(true);
            }
        }
        Err(StoreError::Catalog(CatalogError::Conflict {
            expected: committed.state.version,
        }))
    }

    /// One attempt. `false` when somebody else was first; the newest state is known in both cases.
    async fn advance(&self, committed: &mut Committed, edit: &CatalogEdit) -> Result<bool, StoreError> {
        committed.in_doubt = true;
        let (next, was_made) = match self.catalog.commit(&committed.state, edit).await {
            Ok(next) => {
                add(&self.counters.catalog_commits, 1);
                (next, true)
            }
            Err(CatalogError::Conflict { expected }) => {
                add(&self.counters.catalog_conflicts, 1);
                tracing::warn!(expected, "somebody else changed the catalog, loading it again");
                (self.catalog.load().await?, false)
            }
            Err(error) => return Err(error.into()),
        };
        self.install(committed, next)?;
        Ok(was_made)
    }

    fn install(&self, committed: &mut Committed, next: CatalogState) -> Result<(), StoreError> {
        let view = self.memtable.view();
        let journal = self.journal_id.to_string();
        let version = Version::of(&next, &journal, Some(&view.version), &self.garbage);
        let version = version.map_err(CatalogError::from)?;
        committed.state = next;
        // The number that an attempt was for is taken: it has become this state, or never will.
        committed.in_doubt = false;
        self.memtable.install(version);
        let unnamed = unnamed(&committed.state, std::mem::take(&mut committed.doubtful));
        self.discard(unnamed);
        Ok(())
    }

    /// Makes certain that readers see what the catalog says. Whoever decides by the segments there are what need not be
    /// written again asks for it first, and whoever writes files to be named later: they would pile up.
    pub(super) async fn settle(&self) -> Result<(), StoreError> {
        let mut committed = self.committed.lock().await;
        if committed.in_doubt {
            // An empty change takes the number in question, unless the attempt has.
            self.advance(&mut committed, &CatalogEdit::default()).await?;
        }
        Ok(())
    }

    /// Replaces segments by others, unless one of them is gone already; then `false`.
    pub(super) async fn replace_segments(&self, edit: CatalogEdit) -> Result<bool, StoreError> {
        let mut was_made = false;
        let committed = self
            .commit(|state| {
                // By a commit whose answer got lost, or that another writer's checkpoint has overtaken.
                was_made = is_in(state, &edit);
                let present = edit.removed.iter().all(|path| state.segments.contains_key(path));
                (present && !was_made).then(|| edit.clone())
            })
            .await;
        match committed {
            Ok(committed) if committed || was_made => Ok(true),
            failed => {
                self.abandon(written_by(&edit)).await;
                failed
            }
        }
    }

    /// Removes files that were written for a commit that did not come about, or later if it may have.
    pub(super) async fn abandon(&self, paths: Vec<String>) {
        let mut committed = self.committed.lock().await;
        if committed.in_doubt {
            committed.doubtful.extend(paths);
        } else {
            self.discard(unnamed(&committed.state, paths));
        }
    }

    /// Removes files that no catalog names, later.
    pub(super) fn discard(&self, paths: Vec<String>) {
        for path in paths {
            if let Ok(path) = object_store::path::Path::parse(path) {
                // Nobody listens when the store is closed: orphans are removed at a later start.
                let _ = self.garbage.send(path);
            }
        }
    }
}

/// Whether the change has been made.
fn is_in(state: &CatalogState, edit: &CatalogEdit) -> bool {
    let added = edit
        .added
        .iter()
        .all(|entry| state.segments.get(&entry.path) == Some(entry));
    let kept: HashSet<&str> = edit.added.iter().map(|entry| entry.path.as_str()).collect();
    let mut gone = edit.removed.iter().filter(|path| !kept.contains(path.as_str()));
    added && gone.all(|path| !state.segments.contains_key(path))
}

/// The files that were written for this change; others it only says something new about.
pub(super) fn written_by(edit: &CatalogEdit) -> Vec<String> {
    let removed: HashSet<&str> = edit.removed.iter().map(String::as_str).collect();
    let paths = edit.added.iter().map(|entry| &entry.path);
    paths
        .filter(|path| !removed.contains(path.as_str()))
        .cloned()
        .collect()
}

fn unnamed(state: &CatalogState, mut paths: Vec<String>) -> Vec<String> {
    paths.retain(|path| !state.segments.contains_key(path));
    paths
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog::SegmentEntry;
    use crate::schema::Table;
    use crate::segment::SegmentMeta;

    fn entry(path: &str, retained: &[u64]) -> Arc<SegmentEntry> {
        Arc::new(SegmentEntry {
            path: path.to_owned(),
            tenant: "a".to_owned(),
            table: Table::Logs,
            hour: 0,
            retained: retained.to_vec(),
            meta: SegmentMeta::default(),
        })
    }

    /// Merges `old` into `new`, and says something new about `kept`.
    fn edit() -> CatalogEdit {
        CatalogEdit {
            removed: vec!["old".to_owned(), "kept".to_owned()],
            added: vec![entry("new", &[]), entry("kept", &[1])],
            ..CatalogEdit::default()
        }
    }

    #[test]
    fn a_change_is_known_again_when_it_was_made() {
        let mut state = CatalogState::default();
        for path in ["old", "kept"] {
            state.segments.insert(path.to_owned(), entry(path, &[]));
        }
        assert!(!is_in(&state, &edit()));
        state.apply(1, &edit());
        assert!(is_in(&state, &edit()));
    }

    #[test]
    fn a_change_that_did_not_come_about_leaves_only_its_own_files() {
        assert_eq!(written_by(&edit()), ["new"]);
        let mut state = CatalogState::default();
        state.apply(1, &edit());
        assert!(unnamed(&state, written_by(&edit())).is_empty());
    }
}
