//! Keeping aside what cannot be worked with: one odd batch must not stop everybody's data.
//!
//! Refuses: silence. Each file is counted, and an error in the log. Throws away nothing but with the tenant it belongs to.

use std::io;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use cupola_telemetry::{Batch, TenantId};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::error::StoreError;
use crate::io::{FileSystem, write_durably};
use crate::schema::Table;
use crate::segment::SegmentError;
use crate::status::add;

use super::Engine;
use super::flush::DATA_PREFIX;

/// Where such files are, below the data directory.
pub(crate) const QUARANTINE_DIRECTORY: &str = "quarantine";
/// Of the sequence number with which their names begin.
const SEQUENCE_DIGITS: usize = 20;

impl Engine {
    /// Keeps a batch that cannot be made into columns: its OTLP, in protobuf.
    pub(super) async fn quarantine_batch(
        &self,
        batch: &Batch,
        sequence: u64,
        error: &StoreError,
    ) -> Result<(), StoreError> {
        add(&self.counters.seal_failures, 1);
        let name = format!("{sequence:020}.{}.{}.pb", batch.tenant(), batch.signal().as_str());
        tracing::error!(name, %error, "a batch cannot be made into columns, kept in quarantine");
        self.quarantine(name, batch.payload().to_vec()).await
    }

    /// Keeps rows that cannot be written as a segment: an Arrow stream for each chunk. `last_sequence` is that of their
    /// generation: another attempt to flush it writes the same files again.
    pub(super) async fn quarantine_rows(
        &self,
        tenant: &TenantId,
        table: Table,
        last_sequence: u64,
        chunks: &[RecordBatch],
        error: &StoreError,
    ) -> Result<(), StoreError> {
        add(&self.counters.segment_failures, 1);
        tracing::error!(%tenant, %table, %error, "rows cannot be written as a segment, kept in quarantine");
        for (index, chunk) in chunks.iter().enumerate() {
            let data = encode(chunk).map_err(|source| StoreError::Segment {
                table,
                source: SegmentError::Arrow { table, source },
            })?;
            let name = format!("{last_sequence:020}.{tenant}.{table}.{index:06}.arrows");
            self.quarantine(name, data).await?;
        }
        Ok(())
    }

    async fn quarantine(&self, name: String, data: Vec<u8>) -> Result<(), StoreError> {
        let directory = self.config.directory.join(QUARANTINE_DIRECTORY);
        let path: PathBuf = directory.join(name);
        let (file_system, file) = (self.config.file_system.clone(), path.clone());
        let written = tokio::task::spawn_blocking(move || {
            file_system.create_directories(&directory)?;
            let temporary = file.with_extension("part");
            let _ = file_system.remove(&temporary);
            write_durably(file_system.as_ref(), &file, &temporary, &data)
        });
        let written = written.await.map_err(|_| StoreError::Background)?;
        written.map_err(|source| StoreError::Io {
            action: "write",
            path,
            source,
        })
    }
}

/// What a deletion made of files in quarantine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cleared {
    pub(super) removed: u64,
    /// Files that may hold rows of the tenant.
    pub(super) left: u64,
}

impl Engine {
    /// Removes the files of a tenant if all of it goes, otherwise counts them. Damaged log files, which nobody can take apart,
    /// are counted always.
    pub(super) async fn clear_quarantine(
        &self,
        tenant: &TenantId,
        remove: bool,
    ) -> Result<Cleared, StoreError> {
        let directory = self.config.directory.join(QUARANTINE_DIRECTORY);
        let (file_system, owner) = (self.config.file_system.clone(), tenant.clone());
        let looked = tokio::task::spawn_blocking(move || {
            clear_files(file_system.as_ref(), &directory, &owner, remove)
                .map_err(|source| (directory, source))
        });
        let looked = looked.await.map_err(|_| StoreError::Background)?;
        let mut cleared = looked.map_err(|(path, source)| StoreError::Io {
            action: "clear",
            path,
            source,
        })?;
        self.clear_segments(tenant, remove, &mut cleared).await?;
        Ok(cleared)
    }

    /// The same for segments, which the doctor has moved.
    async fn clear_segments(
        &self,
        tenant: &TenantId,
        remove: bool,
        cleared: &mut Cleared,
    ) -> Result<(), StoreError> {
        let below = format!("{QUARANTINE_DIRECTORY}/{DATA_PREFIX}/{tenant}");
        let failed = |source| StoreError::ObjectStore {
            action: "clear",
            path: below.clone(),
            source,
        };
        let prefix = Path::parse(&below).map_err(|error| failed(error.into()))?;
        let found: Vec<_> = self
            .objects
            .list(Some(&prefix))
            .try_collect()
            .await
            .map_err(failed)?;
        if !remove {
            cleared.left += found.len() as u64;
            return Ok(());
        }
        for object in found {
            match self.objects.delete(&object.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => cleared.removed += 1,
                Err(source) => return Err(failed(source)),
            }
        }
        Ok(())
    }
}

fn clear_files(
    file_system: &dyn FileSystem,
    directory: &std::path::Path,
    tenant: &TenantId,
    remove: bool,
) -> io::Result<Cleared> {
    let mut cleared = Cleared::default();
    let entries = match file_system.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(cleared),
        entries => entries?,
    };
    for entry in entries.into_iter().filter(|entry| !entry.is_directory) {
        match owner_of(&entry.name) {
            Owner::Tenant(owner) if owner != tenant.as_str() => {}
            Owner::Tenant(_) if remove => {
                file_system.remove(&directory.join(&entry.name))?;
                cleared.removed += 1;
            }
            Owner::Tenant(_) | Owner::Unknown => cleared.left += 1,
        }
    }
    if cleared.removed > 0 {
        file_system.sync_directory(directory)?;
    }
    Ok(cleared)
}

/// Whose rows a file in quarantine holds.
#[derive(Debug, PartialEq, Eq)]
enum Owner<'a> {
    Tenant(&'a str),
    /// A damaged log file, or nothing that was put there by us.
    Unknown,
}

/// Read from the name that `quarantine_batch` or `quarantine_rows` gave. Tenants may have dots in their names.
fn owner_of(name: &str) -> Owner<'_> {
    let named = name.split_once('.').filter(|(sequence, _)| {
        sequence.len() == SEQUENCE_DIGITS && sequence.bytes().all(|byte| byte.is_ascii_digit())
    });
    let tenant = named.and_then(|(_, rest)| match rest.rsplit_once('.')? {
        (rest, "pb") => Some(rest.rsplit_once('.')?.0),
        (rest, "arrows") => Some(rest.rsplit_once('.')?.0.rsplit_once('.')?.0),
        // Not finished when the process ended: `part` stands where the kind of file would.
        (rest, "part") => match rest.rsplit_once('.')? {
            (rest, index) if index.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(rest.rsplit_once('.')?.0)
            }
            (tenant, _) => Some(tenant),
        },
        _ => None,
    });
    tenant.map_or(Owner::Unknown, Owner::Tenant)
}

fn encode(chunk: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), chunk.schema_ref())?;
    writer.write(chunk)?;
    writer.into_inner()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringViewArray};
    use arrow::ipc::reader::StreamReader;

    use super::*;

    #[test]
    fn a_file_is_of_the_tenant_in_its_name_whatever_that_is_called() {
        let number = "00000000000000000007";
        for tenant in ["a", "a.b", "acme.logs.000001", "part"] {
            for end in [
                "logs.pb",
                "samples.000001.arrows",
                "logs.part",
                "samples.000001.part",
            ] {
                let name = format!("{number}.{tenant}.{end}");
                assert_eq!(owner_of(&name), Owner::Tenant(tenant), "{name}");
            }
        }
        for name in [
            &format!("{number}.wal"),
            "notes.a.logs.pb",
            "",
            &format!("{number}.pb"),
        ] {
            assert_eq!(owner_of(name), Owner::Unknown, "{name}");
        }
    }

    #[test]
    fn rows_in_quarantine_can_be_read() {
        let column: ArrayRef = Arc::new(StringViewArray::from(vec![
            Some("a"),
            None,
            Some("a longer text than fits"),
        ]));
        let rows = RecordBatch::try_from_iter_with_nullable([("body", column, true)]).unwrap();
        let data = encode(&rows).unwrap();
        let read: Vec<RecordBatch> = StreamReader::try_new(&data[..], None)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(read, [rows]);
    }
}
