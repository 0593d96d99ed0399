//! Opening a store: catalog, replay of the log, start of the writer and the tasks.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::task::TaskTracker;
use url::Url;
use uuid::Uuid;

use crate::catalog::{Catalog, CatalogError, ObjectCatalog};
use crate::columns;
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::io::DurableObjects;
use crate::journal::{ClosedFile, JOURNAL_DIRECTORY, Journal, JournalConfig, JournalFiles};
use crate::memtable::{Memtable, MemtableWriter, RawBatch};
use crate::report::RecoveryReport;
use crate::status::Counters;
use crate::version::Version;

use super::commit::Committed;
use super::directory::{DataDirectory, require_format};
use super::orphans::{clear_temporary, find_orphans, remove_orphans};
use super::tenant::Tenants;
use super::{Background, Engine, QUARANTINE_DIRECTORY, memory_of};

/// The object store of a configuration; paths in it are below its prefix.
pub(crate) fn open_objects(config: &StoreConfig) -> Result<Arc<dyn ObjectStore>, StoreError> {
    if let Some(root) = local_root(config) {
        return Ok(Arc::new(DurableObjects::new(root, config.file_system.clone())));
    }
    let text = config.object_store_url.as_deref().unwrap_or_default();
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::ObjectStoreUrl {
        url: text.to_owned(),
        source,
    };
    let url = Url::parse(text).map_err(|error| failed(error.into()))?;
    if config.is_local() {
        return Err(failed("it names no file".into()));
    }
    let (store, prefix) = object_store::parse_url_opts(&url, config.object_store_options.iter().cloned())
        .map_err(|error| failed(error.into()))?;
    Ok(match prefix.as_ref().is_empty() {
        true => Arc::from(store),
        false => Arc::new(PrefixStore::new(store, prefix)),
    })
}

/// The directory that objects are in, where it is one of this machine.
pub(super) fn local_root(config: &StoreConfig) -> Option<PathBuf> {
    let Some(text) = &config.object_store_url else {
        return Some(config.directory.clone());
    };
    let url = Url::parse(text).ok().filter(|_| config.is_local())?;
    url.to_file_path().ok()
}

/// What replaying the log gives.
struct Replay {
    next_number: u64,
    next_sequence: u64,
    closed: Vec<ClosedFile>,
}

/// Opens a store and starts its background work.
pub(crate) async fn open(
    config: StoreConfig,
) -> Result<(Arc<Engine>, Background, RecoveryReport), StoreError> {
    if config.read_only {
        require_format(&config)?;
    }
    let mut report = RecoveryReport::default();
    let directory = blocking({
        let config = config.clone();
        move || DataDirectory::open(&config)
    })
    .await?;
    report.created = directory.created;
    let objects = open_objects(&config)?;
    let catalog = ObjectCatalog::new(
        objects.clone(),
        &Path::default(),
        config.manifest_checkpoint_every,
    );
    let state = catalog.load().await?;
    #[expect(
        clippy::disallowed_methods,
        reason = "filled by destructors, which cannot wait; one entry a segment"
    )]
    let (garbage, garbage_receiver) = mpsc::unbounded_channel();
    #[expect(
        clippy::disallowed_methods,
        reason = "filled by the log's thread; one entry a tail until it is sealed"
    )]
    let (seal_requests, seal_receiver) = mpsc::unbounded_channel();
    let journal_name = directory.journal_id.to_string();
    let version = Version::of(&state, &journal_name, None, &garbage).map_err(CatalogError::from)?;
    report.segments = state.segments.len() as u64;
    report.manifest_version = state.version;
    let orphans = find_orphans(&config, &objects, &state, directory.journal_id).await?;
    if !config.read_only {
        blocking({
            let (config, directory) = (config.clone(), directory.clone());
            move || {
                clear_temporary(&config);
                directory.establish(&config)
            }
        })
        .await?;
        report.orphans_removed = remove_orphans(&objects, orphans).await?;
        let recorded = blocking({
            let (config, directory, segments_known) = (config.clone(), directory.clone(), state.version > 0);
            move || directory.record_objects(&config, segments_known)
        });
        // A full disk must not keep anybody from what is there.
        if let Err(error) = recorded.await {
            tracing::warn!(%error, "could not note where the segments are, trying again at the next start");
        }
    }
    let counters = Arc::new(Counters::default());
    let flushed = version.flushed_sequence;
    let memtable = Arc::new(Memtable::new(version, &config, counters.clone(), seal_requests));
    let (replay, report) = blocking({
        let (config, memtable, journal) = (config.clone(), memtable.clone(), directory.journal_id);
        move || replay(&config, journal, flushed, &memtable, report)
    })
    .await?;
    let journal_directory = config.directory.join(JOURNAL_DIRECTORY);
    let journal = Journal::start(
        JournalConfig {
            directory: journal_directory.clone(),
            journal: directory.journal_id,
            file_system: config.file_system.clone(),
            segment_bytes_max: config.wal_segment_bytes_max,
            group_bytes_max: config.wal_group_bytes_max,
            retry_after: config.retry_after,
            next_number: replay.next_number,
            next_sequence: replay.next_sequence,
            closed: replay.closed,
        },
        counters.clone(),
        MemtableWriter {
            memtable: memtable.clone(),
            _lock: directory.lock.clone(),
        },
    )
    .map_err(|source| StoreError::Io {
        action: "start the writer of",
        path: journal_directory,
        source,
    })?;
    if !config.read_only
        && let Err(error) = journal.remove_flushed(flushed)
    {
        tracing::warn!(%error, "could not remove a flushed log file, trying again after the next flush");
    }
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let engine = Arc::new(Engine {
        config,
        objects,
        catalog: Box::new(catalog),
        committed: tokio::sync::Mutex::new(Committed::new(state)),
        memtable,
        journal,
        journal_id: directory.journal_id,
        tenants: Mutex::new(Tenants::default()),
        counters,
        garbage,
        flushing: tokio::sync::Mutex::new(None),
        maintenance: tokio::sync::Mutex::new(()),
        seals: Arc::new(Semaphore::new(cores)),
        encodings: Arc::new(Semaphore::new((cores / 2).max(1))),
        flush_requested: Notify::new(),
        unreadable: Mutex::default(),
        tasks: TaskTracker::new(),
        runtime: Handle::current(),
        closed: false.into(),
        closing: tokio::sync::Mutex::new(()),
        lock: Mutex::new(Some(directory.lock)),
    });
    let background = Background::start(&engine, garbage_receiver, seal_receiver);
    Ok((engine, background, report))
}

/// Pushes every record that is in no segment, in the order of the log. Blocks.
fn replay(
    config: &StoreConfig,
    journal: Uuid,
    flushed: u64,
    memtable: &Memtable,
    mut report: RecoveryReport,
) -> Result<(Replay, RecoveryReport), StoreError> {
    let directory = config.directory.join(JOURNAL_DIRECTORY);
    let files = JournalFiles::list(config.file_system.as_ref(), &directory, journal)?;
    if !config.read_only {
        files.make_durable(config.file_system.as_ref(), &directory)?;
    }
    let mut last_sequence = flushed.max(
        files
            .first_sequence_max()
            .map_or(0, |first| first.saturating_sub(1)),
    );
    let mut closed = Vec::new();
    for (index, file) in files.files.iter().enumerate() {
        let mut file_last = flushed;
        if !files.is_flushed(index, flushed) {
            report.journal_files += 1;
            let scan = files.scan(index, config.file_system.as_ref(), journal, flushed)?;
            if !scan.damaged.is_empty() {
                tracing::error!(damaged = ?scan.damaged, "the write-ahead log is damaged, data was lost");
                keep_damaged(config, &file.path);
            }
            report.damaged.extend(scan.damaged);
            report.torn_bytes += scan.torn_bytes;
            file_last = scan.last_sequence.unwrap_or(flushed);
            for record in scan.records {
                report.replayed_batches += 1;
                report.replayed_items += record.batch.items() as u64;
                let bytes = memory_of(&record.batch, &columns::project(&record.batch));
                let mut reservation = config.memory.reservation();
                // It is held already; new batches wait until it is flushed.
                reservation.grow(bytes);
                let full = memtable.push(RawBatch {
                    batch: record.batch,
                    sequence: record.sequence,
                    received_unix_nano: record.received_unix_nano,
                    reservation,
                });
                if full {
                    memtable.freeze();
                }
            }
        }
        last_sequence = last_sequence.max(file_last);
        closed.push(ClosedFile {
            path: file.path.clone(),
            last_sequence: file_last,
        });
    }
    let replay = Replay {
        next_number: files.next_number(),
        next_sequence: last_sequence.saturating_add(1),
        closed,
    };
    Ok((replay, report))
}

/// A second name for a damaged log file, for whoever wants to look into it: the log itself is removed once flushed.
fn keep_damaged(config: &StoreConfig, path: &std::path::Path) {
    let directory = config.directory.join(QUARANTINE_DIRECTORY);
    let Some(name) = path.file_name() else { return };
    let file_system = config.file_system.as_ref();
    let kept = file_system
        .create_directories(&directory)
        .and_then(|()| file_system.link(path, &directory.join(name)));
    match kept {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            tracing::warn!(?path, %error, "could not keep a damaged log file");
        }
        _ => {}
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StoreError::Background)?
}
