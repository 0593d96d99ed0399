//! Checking a data directory that nobody has open, and repairing what can be repaired without guessing.
//!
//! Refuses: throwing data away. What cannot be read is moved to `quarantine/`.

use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::catalog::{Catalog, CatalogEdit, CatalogState, ObjectCatalog, SegmentEntry};
use crate::config::StoreConfig;
use crate::engine::{
    DataDirectory, Orphan, QUARANTINE_DIRECTORY, count_rows, find_orphans, open_objects, require_format,
};
use crate::error::StoreError;
use crate::journal::{JOURNAL_DIRECTORY, JournalFiles};
use crate::report::{DoctorReport, Problem, ProblemKind};

pub(crate) async fn check(config: StoreConfig, repair: bool) -> Result<DoctorReport, StoreError> {
    require_format(&config)?;
    let directory = blocking({
        let config = config.clone();
        move || DataDirectory::open(&config)
    })
    .await?;
    let objects = open_objects(&config)?;
    let catalog = ObjectCatalog::new(
        objects.clone(),
        &Path::default(),
        config.manifest_checkpoint_every,
    );
    let state = catalog.load().await?;
    let mut report = DoctorReport {
        manifest_version: state.version,
        segments: state.segments.len() as u64,
        rows: state.segments.values().map(|entry| entry.meta.rows).sum(),
        ..DoctorReport::default()
    };
    let orphans = find_orphans(&config, &objects, &state, directory.journal_id).await?;
    check_orphans(&objects, orphans, repair, &mut report).await?;
    check_segments(&objects, &catalog, &state, repair, &mut report).await?;
    let flushed = state
        .flushed
        .get(&directory.journal_id.to_string())
        .copied()
        .unwrap_or(0);
    blocking(move || {
        check_journal(&config, &directory, flushed, &mut report)?;
        Ok(report)
    })
    .await
}

async fn check_orphans(
    objects: &Arc<dyn ObjectStore>,
    orphans: Vec<Orphan>,
    repair: bool,
    report: &mut DoctorReport,
) -> Result<(), StoreError> {
    for Orphan {
        object,
        is_old,
        is_ours,
    } in orphans
    {
        let repaired = repair && is_old && is_ours;
        if repaired {
            let removed = objects.delete(&object.location).await;
            removed.map_err(|source| failed("remove", object.location.as_ref(), source))?;
        }
        let left = match (is_ours, is_old) {
            (false, _) => "; Cupola gives no such name, it is left alone",
            (true, false) => "; a file this young is left alone",
            (true, true) => "",
        };
        report.problems.push(Problem {
            kind: ProblemKind::Orphan,
            path: object.location.to_string(),
            detail: format!("no manifest names this file of {} bytes{left}", object.size),
            repaired,
            rows: 0,
            moved_to: None,
        });
    }
    Ok(())
}

async fn check_segments(
    objects: &Arc<dyn ObjectStore>,
    catalog: &ObjectCatalog,
    state: &CatalogState,
    repair: bool,
    report: &mut DoctorReport,
) -> Result<(), StoreError> {
    let mut edit = CatalogEdit::default();
    for entry in state.segments.values() {
        let Some((kind, detail)) = check_segment(objects, entry).await? else {
            continue;
        };
        let mut moved_to = None;
        if repair {
            if kind == ProblemKind::Unreadable {
                moved_to = Some(quarantine(objects, entry).await?);
            }
            edit.removed.push(entry.path.clone());
        }
        report.problems.push(Problem {
            kind,
            path: entry.path.clone(),
            detail,
            repaired: repair,
            rows: entry.meta.rows,
            moved_to,
        });
    }
    if edit.removed.is_empty() {
        return Ok(());
    }
    let removed = edit.removed.clone();
    catalog.commit(state, &edit).await?;
    // The copies in quarantine are complete, and nobody names the files any more.
    for path in removed {
        match objects.delete(&Path::from(path.as_str())).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(failed("remove", &path, source)),
        }
    }
    Ok(())
}

/// What is wrong with a segment, if anything.
async fn check_segment(
    objects: &Arc<dyn ObjectStore>,
    entry: &Arc<SegmentEntry>,
) -> Result<Option<(ProblemKind, String)>, StoreError> {
    let Ok(path) = Path::parse(&entry.path) else {
        return Ok(Some((ProblemKind::Missing, "the path is not valid".to_owned())));
    };
    let read = async { objects.get(&path).await?.bytes().await };
    let data = match read.await {
        Ok(data) => data,
        Err(object_store::Error::NotFound { .. }) => {
            return Ok(Some((ProblemKind::Missing, "the file is not there".to_owned())));
        }
        Err(source) => return Err(failed("read", &entry.path, source)),
    };
    if data.len() as u64 != entry.meta.bytes {
        let detail = format!("the file has {} bytes, expected {}", data.len(), entry.meta.bytes);
        return Ok(Some((ProblemKind::Unreadable, detail)));
    }
    let expected = entry.meta.rows;
    let counted = blocking(move || Ok(count_rows(data))).await?;
    Ok(match counted {
        Ok(rows) if rows == expected => None,
        Ok(rows) => Some((
            ProblemKind::Unreadable,
            format!("the file has {rows} rows, expected {expected}"),
        )),
        Err(error) => Some((ProblemKind::Unreadable, error.to_string())),
    })
}

/// Copies a segment, and says where to.
async fn quarantine(objects: &Arc<dyn ObjectStore>, entry: &SegmentEntry) -> Result<String, StoreError> {
    let kept = format!("{QUARANTINE_DIRECTORY}/{}", entry.path);
    let copied = async {
        let data = objects.get(&Path::parse(&entry.path)?).await?.bytes().await?;
        objects.put(&Path::parse(&kept)?, data.into()).await
    };
    match copied.await {
        Ok(_) => Ok(kept),
        Err(source) => Err(failed("copy to quarantine", &entry.path, source)),
    }
}

fn check_journal(
    config: &StoreConfig,
    directory: &DataDirectory,
    flushed: u64,
    report: &mut DoctorReport,
) -> Result<(), StoreError> {
    let path = config.directory.join(JOURNAL_DIRECTORY);
    let files = JournalFiles::list(config.file_system.as_ref(), &path, directory.journal_id)?;
    for (index, file) in files.files.iter().enumerate() {
        if files.is_flushed(index, flushed) {
            continue;
        }
        report.journal_files += 1;
        let scan = files.scan(index, config.file_system.as_ref(), directory.journal_id, flushed)?;
        report.journal_records += scan.records.len() as u64;
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        let path = format!("{JOURNAL_DIRECTORY}/{name}");
        for damage in scan.damaged {
            report.problems.push(Problem {
                kind: ProblemKind::DamagedLog,
                path: path.clone(),
                detail: format!("{} bytes at {}: {}", damage.bytes, damage.offset, damage.reason),
                repaired: false,
                rows: 0,
                moved_to: None,
            });
        }
        if scan.torn_bytes > 0 {
            report.problems.push(Problem {
                kind: ProblemKind::TornLog,
                path,
                detail: format!("{} bytes of a write that was never acknowledged", scan.torn_bytes),
                repaired: false,
                rows: 0,
                moved_to: None,
            });
        }
    }
    Ok(())
}

fn failed(action: &'static str, path: &str, source: object_store::Error) -> StoreError {
    StoreError::ObjectStore {
        action,
        path: path.to_owned(),
        source,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StoreError::Background)?
}
