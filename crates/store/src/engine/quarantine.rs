//! Keeping aside what cannot be worked with: one odd batch must not stop everybody's data.
//!
//! Refuses: silence. Each file is counted, and an error in the log.

use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use cupola_telemetry::{Batch, TenantId};

use crate::error::StoreError;
use crate::io::write_durably;
use crate::schema::Table;
use crate::segment::SegmentError;
use crate::status::add;

use super::Engine;

/// Where such files are, below the data directory.
pub(crate) const QUARANTINE_DIRECTORY: &str = "quarantine";

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
