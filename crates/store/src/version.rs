//! Versions: which segments count, as values that readers hold. A segment file is removed when the catalog has dropped
//! it and no reader holds it any more.
//!
//! Refuses: IO. Whoever owns the garbage queue removes the files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cupola_telemetry::TenantId;
use object_store::path::Path;
use tokio::sync::mpsc::UnboundedSender;

use crate::catalog::{CatalogState, SegmentEntry};
use crate::schema::Table;
use crate::segment::SegmentMeta;

/// An immutable Parquet file of one tenant and table. Holding it keeps the file.
#[derive(Debug)]
pub struct Segment {
    /// In the object store of the [`crate::Store`].
    pub path: Path,
    pub tenant: TenantId,
    pub table: Table,
    /// Size of the file, rows, range of `timestamp` in nanoseconds since 1970.
    pub bytes: u64,
    pub rows: u64,
    pub min_timestamp: i64,
    pub max_timestamp: i64,
    /// All of the above, promoted columns, keys in the maps, services.
    pub meta: SegmentMeta,
    pub(crate) entry: Arc<SegmentEntry>,
    file: Arc<SegmentFile>,
}

/// The file of a segment, shared by all that the catalog has ever said about it.
#[derive(Debug)]
struct SegmentFile {
    path: Path,
    /// The catalog names it no more.
    dropped: AtomicBool,
    garbage: UnboundedSender<Path>,
}

impl Drop for SegmentFile {
    fn drop(&mut self) {
        if self.dropped.load(Ordering::Acquire) {
            // Nobody listens when the store is closed: the file is an orphan then, removed at a later start.
            let _ = self.garbage.send(self.path.clone());
        }
    }
}

impl Segment {
    fn new(entry: Arc<SegmentEntry>, tenant: TenantId, file: Arc<SegmentFile>) -> Segment {
        Segment {
            path: file.path.clone(),
            tenant,
            table: entry.table,
            bytes: entry.meta.bytes,
            rows: entry.meta.rows,
            min_timestamp: entry.meta.min_timestamp,
            max_timestamp: entry.meta.max_timestamp,
            meta: entry.meta.clone(),
            entry,
            file,
        }
    }
}

/// The segments of one tenant, by table.
#[derive(Debug, Clone, Default)]
pub(crate) struct TenantSegments {
    pub(crate) tables: [Arc<Vec<Arc<Segment>>>; Table::ALL.len()],
}

impl TenantSegments {
    pub(crate) fn table(&self, table: Table) -> &Arc<Vec<Arc<Segment>>> {
        &self.tables[table as usize]
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.tables.iter().flat_map(|segments| segments.iter())
    }

    fn is_empty(&self) -> bool {
        self.tables.iter().all(|segments| segments.is_empty())
    }
}

/// The segments that count after one commit of the catalog.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    /// Of the manifest.
    pub(crate) number: u64,
    /// Records of the own journal up to here are in segments, or deleted.
    pub(crate) flushed_sequence: u64,
    pub(crate) tenants: BTreeMap<TenantId, Arc<TenantSegments>>,
}

/// A catalog names something that cannot be a segment of this store.
#[derive(Debug, thiserror::Error)]
#[error("the catalog names a segment {path:?} that cannot be understood")]
pub struct InvalidSegment {
    pub path: String,
}

impl Version {
    /// The version after `state` was committed. Segments that `previous` has too stay the same objects; those that are
    /// gone are marked, so that their files go with their last reader.
    pub(crate) fn of(
        state: &CatalogState,
        journal: &str,
        previous: Option<&Version>,
        garbage: &UnboundedSender<Path>,
    ) -> Result<Version, InvalidSegment> {
        let mut known: BTreeMap<&str, &Arc<Segment>> = BTreeMap::new();
        for segment in previous.iter().flat_map(|version| version.segments()) {
            known.insert(segment.path.as_ref(), segment);
        }
        let mut tenants: BTreeMap<TenantId, [Vec<Arc<Segment>>; Table::ALL.len()]> = BTreeMap::new();
        for entry in state.segments.values() {
            let invalid = || InvalidSegment {
                path: entry.path.clone(),
            };
            let tenant = TenantId::parse(&entry.tenant).map_err(|_| invalid())?;
            let path = Path::parse(&entry.path).map_err(|_| invalid())?;
            let segment = match known.remove(entry.path.as_str()) {
                Some(segment) if Arc::ptr_eq(&segment.entry, entry) => segment.clone(),
                Some(segment) => Arc::new(Segment::new(entry.clone(), tenant.clone(), segment.file.clone())),
                None => {
                    let file = Arc::new(SegmentFile {
                        path,
                        dropped: AtomicBool::new(false),
                        garbage: garbage.clone(),
                    });
                    Arc::new(Segment::new(entry.clone(), tenant.clone(), file))
                }
            };
            tenants.entry(tenant).or_default()[entry.table as usize].push(segment);
        }
        for gone in known.into_values() {
            gone.file.dropped.store(true, Ordering::Release);
        }
        let tenants = tenants
            .into_iter()
            .map(|(tenant, tables)| {
                let tables = tables.map(|mut segments| {
                    segments.sort_by(|a, b| (a.min_timestamp, &a.path).cmp(&(b.min_timestamp, &b.path)));
                    Arc::new(segments)
                });
                (tenant, Arc::new(TenantSegments { tables }))
            })
            .filter(|(_, segments): &(_, Arc<TenantSegments>)| !segments.is_empty())
            .collect();
        Ok(Version {
            number: state.version,
            flushed_sequence: state.flushed.get(journal).copied().unwrap_or(0),
            tenants,
        })
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.tenants.values().flat_map(|segments| segments.all())
    }
}
