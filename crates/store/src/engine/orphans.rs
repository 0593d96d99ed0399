//! Files that no manifest names: leftovers of a crash, or all there is left when the catalog is lost.
//!
//! Refuses: removing files with names that Cupola does not give, and young ones, which somebody may be about to name, and any at all beside a catalog that knows less than
//! it must.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use hashbrown::HashSet;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use uuid::Uuid;

use crate::catalog::{CatalogState, MANIFEST_PREFIX};
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::io::{TEMPORARY_DIRECTORY, is_temporary};
use crate::journal::{JOURNAL_DIRECTORY, JournalFiles};

use super::flush::{DATA_PREFIX, SEGMENT_EXTENSION};
use super::open::local_root;

/// Orphans are removed when they are this old: another writer may be about to name them, or somebody about to put a
/// manifest back that does.
const ORPHAN_AGE: TimeDelta = TimeDelta::hours(24);
/// Parts of the path of a segment.
const SEGMENT_PATH_PARTS: usize = 5;

/// A segment file that the catalog does not name.
#[derive(Debug)]
pub(crate) struct Orphan {
    pub(crate) object: ObjectMeta,
    pub(crate) is_old: bool,
    /// It has the name of a segment; what else is there is somebody's own.
    pub(crate) is_ours: bool,
}

/// Segment files that the catalog does not name; an error if it must once have named them.
pub(crate) async fn find_orphans(
    config: &StoreConfig,
    objects: &Arc<dyn ObjectStore>,
    state: &CatalogState,
    journal: Uuid,
) -> Result<Vec<Orphan>, StoreError> {
    let known: HashSet<&str> = state.segments.keys().map(String::as_str).collect();
    let failed = |source| StoreError::ObjectStore {
        action: "list",
        path: DATA_PREFIX.to_owned(),
        source,
    };
    let now = DateTime::from_timestamp_nanos(config.clock.now_unix_nano());
    let prefix = Path::from(DATA_PREFIX);
    let mut found = objects.list(Some(&prefix));
    let mut orphans = Vec::new();
    while let Some(object) = found.try_next().await.map_err(failed)? {
        if !known.contains(object.location.as_ref()) {
            let is_old = is_old(now, object.last_modified);
            let is_ours = is_segment(&object.location);
            orphans.push(Orphan {
                object,
                is_old,
                is_ours,
            });
        }
    }
    let (config, flushed) = (config.clone(), state.flushed.get(&journal.to_string()).copied());
    let files = tokio::task::spawn_blocking(move || {
        let directory = config.directory.join(JOURNAL_DIRECTORY);
        let files = JournalFiles::list(config.file_system.as_ref(), &directory, journal);
        files.map(|files| (config, files))
    });
    let (config, files) = files.await.map_err(|_| StoreError::Background)??;
    refuse_lost_catalog(&config, state.version, flushed.unwrap_or(0), &orphans, &files)?;
    Ok(orphans)
}

/// As `flush` names them: `data/TENANT/TABLE/HOUR/ID.parquet`.
fn is_segment(path: &Path) -> bool {
    path.extension() == Some(SEGMENT_EXTENSION) && path.parts_count() == SEGMENT_PATH_PARTS
}

fn is_old(now: DateTime<Utc>, modified: DateTime<Utc>) -> bool {
    now - modified >= ORPHAN_AGE
}

/// Records leave the log when a commit has named the segments they are in, and files come to be called orphans by the
/// catalog alone: it must not have forgotten a commit.
fn refuse_lost_catalog(
    config: &StoreConfig,
    version: u64,
    flushed: u64,
    orphans: &[Orphan],
    files: &JournalFiles,
) -> Result<(), StoreError> {
    let first = files.first_sequence();
    let lost = |orphan: &&Orphan| orphan.is_ours && (orphan.is_old || config.is_local());
    let lost = orphans.iter().filter(lost).count();
    let reason = if let Some(first) = first.filter(|first| *first > flushed.saturating_add(1)) {
        format!("the log begins with record {first}, and the catalog knows of records up to {flushed} only")
    } else if version == 0 && first != Some(1) && lost > 0 {
        format!("it is empty, and {lost} segment files are there")
    } else {
        return Ok(());
    };
    Err(StoreError::Inconsistent {
        path: local_root(config).map_or_else(
            || PathBuf::from(MANIFEST_PREFIX),
            |root| root.join(MANIFEST_PREFIX),
        ),
        reason: format!(
            "{reason}: manifests are missing. Put them back from a copy; or, to go on without what they named, move \
             {DATA_PREFIX}/ and {JOURNAL_DIRECTORY}/ elsewhere. Nothing was changed"
        ),
    })
}

/// Removes old orphans and says how many.
pub(super) async fn remove_orphans(
    objects: &Arc<dyn ObjectStore>,
    orphans: Vec<Orphan>,
) -> Result<u64, StoreError> {
    let mut removed = 0;
    for orphan in orphans
        .into_iter()
        .filter(|orphan| orphan.is_old && orphan.is_ours)
    {
        let path = &orphan.object.location;
        match objects.delete(path).await {
            Ok(()) => removed += 1,
            Err(error) => tracing::warn!(%path, %error, "could not remove an orphaned file"),
        }
    }
    Ok(removed)
}

/// Removes what writers of a directory of objects that is not the data directory left unfinished. Others may be writing
/// there: only what is old. Blocks.
pub(super) fn clear_temporary(config: &StoreConfig) {
    let Some(root) = local_root(config).filter(|root| *root != config.directory) else {
        return;
    };
    let directory = root.join(TEMPORARY_DIRECTORY);
    let now = DateTime::from_timestamp_nanos(config.clock.now_unix_nano());
    let modified = |time: SystemTime| DateTime::<Utc>::from(time);
    // None, as a rule; and what stays takes room alone.
    let mut entries = config.file_system.list(&directory).unwrap_or_default();
    entries.retain(|entry| is_temporary(&entry.name));
    for path in entries.into_iter().map(|entry| directory.join(entry.name)) {
        let metadata = config.file_system.metadata(&path);
        if metadata.is_ok_and(|found| !found.is_directory && is_old(now, modified(found.modified)))
            && let Err(error) = config.file_system.remove(&path)
        {
            tracing::warn!(?path, %error, "could not remove an unfinished file");
        }
    }
}
