//! Prepared statements and their bound parameters. Each belongs to the tenant that made it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use bytes::Bytes;
use cupola_query::datafusion::common::ScalarValue;
use cupola_query::datafusion::error::DataFusionError;
use cupola_telemetry::TenantId;
use futures::{Stream, TryStreamExt as _};
use parking_lot::Mutex;
use tonic::Status;

use crate::backend::Backend;
use crate::own_metrics::OwnMetrics;

#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) tenant: TenantId,
    pub(super) sql: String,
    /// One value per parameter, once bound.
    pub(super) parameters: Option<Vec<ScalarValue>>,
}

/// At most `max` of them; the oldest goes when one more is made.
#[derive(Debug)]
pub(super) struct Statements {
    max: usize,
    next: AtomicU64,
    kept: Mutex<VecDeque<(Bytes, Prepared)>>,
    own: Arc<OwnMetrics>,
}

impl Statements {
    pub(super) fn new(max: usize, own: Arc<OwnMetrics>) -> Self {
        Self {
            max: max.max(1),
            next: AtomicU64::new(1),
            kept: Mutex::default(),
            own,
        }
    }

    /// After each change of what is kept.
    fn count(&self, kept: &VecDeque<(Bytes, Prepared)>) {
        let count = kept.len() as u64;
        self.own.flight_statements.store(count, Ordering::Relaxed);
    }

    pub(super) fn insert(&self, prepared: Prepared) -> Bytes {
        let handle = Bytes::from(format!("statement-{}", self.next.fetch_add(1, Ordering::Relaxed)));
        let mut kept = self.kept.lock();
        while kept.len() >= self.max {
            kept.pop_front();
            self.own.flight_statements_evicted.fetch_add(1, Ordering::Relaxed);
        }
        kept.push_back((handle.clone(), prepared));
        self.count(&kept);
        handle
    }

    pub(super) fn get(&self, tenant: &TenantId, handle: &Bytes) -> Result<Prepared, Status> {
        let kept = self.kept.lock();
        let found = kept
            .iter()
            .find(|(known, prepared)| known == handle && prepared.tenant == *tenant);
        found.map(|(_, prepared)| prepared.clone()).ok_or_else(unknown)
    }

    pub(super) fn bind(
        &self,
        tenant: &TenantId,
        handle: &Bytes,
        values: Vec<ScalarValue>,
    ) -> Result<(), Status> {
        let mut kept = self.kept.lock();
        let found = kept
            .iter_mut()
            .find(|(known, prepared)| known == handle && prepared.tenant == *tenant);
        let (_, prepared) = found.ok_or_else(unknown)?;
        prepared.parameters = Some(values);
        Ok(())
    }

    pub(super) fn remove(&self, tenant: &TenantId, handle: &Bytes) {
        let mut kept = self.kept.lock();
        kept.retain(|(known, prepared)| known != handle || prepared.tenant != *tenant);
        self.count(&kept);
    }
}

fn unknown() -> Status {
    Status::not_found(
        "no such prepared statement; it may have been closed, or made way for newer ones: prepare it again",
    )
}

/// Most bytes of the parameters of one statement. They are kept for as long as it is.
const PARAMETER_BYTES_MAX: usize = 1 << 20;

/// The parameters a client sends: one row, one column each.
pub(super) async fn read_parameters(
    data: impl Stream<Item = Result<FlightData, FlightError>> + Send + 'static,
) -> Result<Vec<ScalarValue>, Status> {
    let mut bytes = 0;
    let data = data.and_then(move |message: FlightData| {
        bytes += message.data_header.len() + message.data_body.len();
        std::future::ready(if bytes > PARAMETER_BYTES_MAX {
            Err(FlightError::from(Status::resource_exhausted(format!(
                "the parameters of a statement have more than {PARAMETER_BYTES_MAX} bytes"
            ))))
        } else {
            Ok(message)
        })
    });
    let batches: Vec<RecordBatch> = FlightRecordBatchStream::new_from_flight_data(data)
        .try_collect()
        .await
        .map_err(Status::from)?;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let Some(batch) = batches
        .iter()
        .find(|batch| batch.num_rows() > 0)
        .filter(|_| rows == 1)
    else {
        return Err(Status::invalid_argument(format!(
            "parameters come as one row, not as {rows}"
        )));
    };
    let value = |column: &arrow::array::ArrayRef| ScalarValue::try_from_array(column, 0);
    batch
        .columns()
        .iter()
        .map(value)
        .collect::<Result<_, _>>()
        .map_err(|error: DataFusionError| Status::invalid_argument(error.strip_backtrace()))
}

/// The columns a statement will give, and the names and types of its parameters in their order.
pub(super) async fn planned_schema(
    backend: &Backend,
    tenant: &TenantId,
    sql: &str,
) -> Result<(SchemaRef, Vec<(String, DataType)>), Status> {
    let (schema, parameters) = backend.describe(tenant, sql).await.map_err(super::status)?;
    let mut parameters: Vec<(String, DataType)> = parameters
        .into_iter()
        .map(|(name, kind)| (name, kind.unwrap_or(DataType::Utf8)))
        .collect();
    parameters.sort_by_key(|(name, _)| name.trim_start_matches('$').parse::<u32>().unwrap_or(u32::MAX));
    Ok((schema, parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(tenant: &str, sql: &str) -> Prepared {
        Prepared {
            tenant: TenantId::parse(tenant).unwrap(),
            sql: sql.to_owned(),
            parameters: None,
        }
    }

    fn kept(max: usize) -> (Statements, Arc<OwnMetrics>) {
        let own = Arc::new(OwnMetrics::default());
        (Statements::new(max, own.clone()), own)
    }

    #[test]
    fn the_oldest_makes_way_and_is_counted() {
        let (statements, own) = kept(2);
        let tenant = TenantId::default_tenant();
        let handles: Vec<Bytes> = ["SELECT 1", "SELECT 2", "SELECT 3"]
            .map(|sql| statements.insert(prepared("default", sql)))
            .into();
        let found = |handle: &Bytes| statements.get(&tenant, handle).map(|prepared| prepared.sql);
        let gone = found(&handles[0]).unwrap_err();
        assert_eq!(gone.code(), tonic::Code::NotFound);
        assert!(gone.message().contains("prepare it again"), "{gone}");
        assert_eq!(found(&handles[1]).unwrap(), "SELECT 2");
        assert_eq!(found(&handles[2]).unwrap(), "SELECT 3");
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        assert_eq!(
            (read(&own.flight_statements), read(&own.flight_statements_evicted)),
            (2, 1)
        );
        statements.remove(&tenant, &handles[1]);
        assert_eq!(read(&own.flight_statements), 1);
    }

    #[test]
    fn a_handle_is_of_no_use_to_another_tenant() {
        let (statements, _) = kept(2);
        let other = TenantId::parse("other").unwrap();
        let handle = statements.insert(prepared("default", "SELECT 1"));
        assert!(statements.get(&other, &handle).is_err());
        assert!(statements.bind(&other, &handle, Vec::new()).is_err());
        statements.remove(&other, &handle);
        let own = TenantId::default_tenant();
        let found = statements.get(&own, &handle).unwrap();
        assert!(found.parameters.is_none(), "nothing was bound to it");
    }
}
