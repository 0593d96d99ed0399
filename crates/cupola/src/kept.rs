//! The data directory of a server: with a store, which is recovered first, or without one where no pipeline keeps anything.

use cupola_store::{HeldDirectory, RecoveryReport, Store, StoreError};
use cupola_telemetry::memory::MemoryBudget;
use tracing::{Instrument as _, field};

use crate::config::Settings;
use crate::failure::Failure;

/// What is kept in the data directory.
pub(crate) enum Kept {
    Store(Store),
    /// Dead letters and the like of pipelines alone. No second process may touch them.
    Nothing(HeldDirectory),
}

impl Kept {
    /// Opens the store, or takes the directory without one and says so.
    pub(crate) async fn open(settings: &Settings, memory: MemoryBudget) -> Result<Kept, Failure> {
        if settings.opens_store {
            let (store, recovery) = recover(settings, memory).await?;
            report_recovery(&recovery);
            return Ok(Kept::Store(store));
        }
        let config = settings.store_config(MemoryBudget::unlimited());
        let taken = tokio::task::spawn_blocking(move || HeldDirectory::take(&config)).await;
        let held = taken
            .map_err(|error| Failure::new("cannot take the data directory").caused_by(&error))?
            .map_err(|error| store_failed(&error))?;
        tracing::info!(
            "no pipeline has the exporter `store`: nothing is kept here, and there is nothing to query"
        );
        if held.has_store {
            tracing::warn!(
                data = %settings.directory.display(),
                "there is a store in the data directory, which is left alone: it is neither read nor written"
            );
        }
        Ok(Kept::Nothing(held))
    }

    pub(crate) fn store(&self) -> Option<&Store> {
        match self {
            Kept::Store(store) => Some(store),
            Kept::Nothing(_) => None,
        }
    }

    pub(crate) async fn close(self) -> Result<(), StoreError> {
        match self {
            Kept::Store(store) => store.shutdown().await,
            Kept::Nothing(held) => {
                drop(held);
                Ok(())
            }
        }
    }
}

/// Opens the store, within a span that says what was recovered.
async fn recover(settings: &Settings, memory: MemoryBudget) -> Result<(Store, RecoveryReport), Failure> {
    let span = tracing::info_span!(
        "store.recovery",
        cupola.batches = field::Empty,
        cupola.items = field::Empty,
        cupola.journal_files = field::Empty,
        cupola.segments = field::Empty,
        error.type = field::Empty,
    );
    let opened = open_store(settings, memory).instrument(span.clone()).await;
    match &opened {
        Ok((_, report)) => {
            span.record("cupola.batches", report.replayed_batches);
            span.record("cupola.items", report.replayed_items);
            span.record("cupola.journal_files", report.journal_files);
            span.record("cupola.segments", report.segments);
        }
        Err(_) => {
            // The fallback of the semantic conventions; what it was is said at the end of the process.
            span.record("error.type", "_OTHER");
        }
    }
    opened
}

/// Opens the store, or says what is in the way.
async fn open_store(settings: &Settings, memory: MemoryBudget) -> Result<(Store, RecoveryReport), Failure> {
    Store::open(settings.store_config(memory))
        .await
        .map_err(|error| store_failed(&error))
}

/// A failure of the store with what can be done about it.
pub(crate) fn store_failed(error: &StoreError) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        StoreError::Locked { .. } => failure.hint("choose another directory with --data-dir"),
        StoreError::OtherObjects { .. } => failure
            .hint("give what `serve` is given: --object-store-url, or --config with store.object_store_url")
            .hint("moved on purpose, with `data` and `manifest`? write the new place into the file FORMAT"),
        StoreError::NewerFormat { .. } => {
            failure.hint("start it with the version that wrote it, or a newer one")
        }
        StoreError::Corrupt { .. } => {
            failure.hint("`cupola doctor --data-dir DIR --repair` repairs what can be")
        }
        StoreError::Io { source, .. } => match source.kind() {
            std::io::ErrorKind::StorageFull => {
                failure.hint("make room on the disk; nothing acknowledged is lost")
            }
            std::io::ErrorKind::PermissionDenied => {
                failure.hint("choose a directory you may write with --data-dir, or run as its owner")
            }
            _ => failure,
        },
        _ => failure,
    }
}

fn report_recovery(report: &RecoveryReport) {
    if report.replayed_batches > 0 || report.torn_bytes > 0 {
        tracing::info!(
            batches = report.replayed_batches,
            items = report.replayed_items,
            torn_bytes = report.torn_bytes,
            "recovered what the last run had not flushed"
        );
    }
    for damaged in &report.damaged {
        tracing::error!(
            file = damaged.file,
            offset = damaged.offset,
            bytes = damaged.bytes,
            reason = damaged.reason,
            "a record of the write-ahead log is damaged and was skipped"
        );
    }
}
