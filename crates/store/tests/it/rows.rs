//! Batches with numbered items, and reading the numbers back from a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use bytes::Bytes;
use cupola_store::io::FileSystem;
use cupola_store::{Clock, Snapshot, Store, StoreConfig, StoreError, Table, TableSnapshot};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal, TenantId};
use object_store::ObjectStoreExt;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use prost::Message;

/// 2026-01-01T00:00:00Z, when the items of these tests are from.
pub(crate) const START: i64 = 1_767_225_600_000_000_000;
pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const HOUR: i64 = 3600 * SECOND;
/// Items share users: item `n` is of user `n % USERS`.
pub(crate) const USERS: u64 = 3;

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..Default::default()
    }
}

fn resource() -> Option<Resource> {
    Some(Resource {
        attributes: vec![text("service.name", "checkout")],
        ..Default::default()
    })
}

/// Log records whose bodies are these numbers, a second apart. Even ones are debug, odd ones errors.
pub(crate) fn logs(tenant_name: &str, numbers: impl IntoIterator<Item = u64>) -> Batch {
    let records = numbers.into_iter().map(|number| LogRecord {
        time_unix_nano: (START + number as i64 * SECOND) as u64,
        severity_number: if number.is_multiple_of(2) { 5 } else { 17 },
        body: text("", &number.to_string()).value,
        attributes: vec![text("user.id", &format!("user {}", number % USERS))],
        ..Default::default()
    });
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource(),
            scope_logs: vec![ScopeLogs {
                log_records: records.collect(),
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    batch(Signal::Logs, tenant_name, request.encode_to_vec())
}

/// Points whose values are these numbers; one series a user.
pub(crate) fn points(tenant_name: &str, numbers: impl IntoIterator<Item = u64>) -> Batch {
    points_of(tenant_name, numbers, USERS)
}

/// The same of so many users.
pub(crate) fn points_of(tenant_name: &str, numbers: impl IntoIterator<Item = u64>, users: u64) -> Batch {
    let points = numbers.into_iter().map(|number| NumberDataPoint {
        attributes: vec![text("user.id", &format!("user {}", number % users))],
        time_unix_nano: (START + number as i64 * SECOND) as u64,
        value: Some(number_data_point::Value::AsDouble(number as f64)),
        ..Default::default()
    });
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource(),
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![Metric {
                    name: "queue.depth".to_owned(),
                    data: Some(metric::Data::Gauge(Gauge {
                        data_points: points.collect(),
                    })),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    batch(Signal::Metrics, tenant_name, request.encode_to_vec())
}

/// Log records without anything in them, of a resource with these attributes.
pub(crate) fn empty_logs(tenant_name: &str, records: usize, attributes: Vec<KeyValue>) -> Batch {
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource {
                attributes,
                ..Default::default()
            }),
            scope_logs: vec![ScopeLogs {
                log_records: vec![LogRecord::default(); records],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    batch(Signal::Logs, tenant_name, request.encode_to_vec())
}

pub(crate) fn batch(signal: Signal, tenant_name: &str, payload: Vec<u8>) -> Batch {
    Batch::decode_protobuf(signal, tenant(tenant_name), Bytes::from(payload)).unwrap()
}

/// The clock stands still: two hours after [`START`].
#[derive(Debug)]
pub(crate) struct Stopped(pub i64);

impl Clock for Stopped {
    fn now_unix_nano(&self) -> i64 {
        self.0
    }
}

/// A store that does nothing by itself, on this file system.
pub(crate) fn quiet(file_system: Arc<dyn FileSystem>) -> StoreConfig {
    StoreConfig {
        memory: MemoryBudget::new(1 << 30),
        background: false,
        file_system,
        clock: Arc::new(Stopped(START + 2 * HOUR)),
        manifest_checkpoint_every: 3,
        retry_after: Duration::from_millis(1),
        ..StoreConfig::new("/data")
    }
}

/// Opens a store. One that was dropped without a shutdown lets go of its directory a moment later.
pub(crate) async fn open(config: StoreConfig) -> Store {
    loop {
        match Store::open(config.clone()).await {
            Ok((store, _)) => return store,
            Err(StoreError::Locked { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
}

/// All rows of a table, from memory and segments.
pub(crate) async fn table_rows(store: &Store, snapshot: &TableSnapshot) -> Vec<RecordBatch> {
    let mut rows = snapshot.chunks.clone();
    for segment in &snapshot.segments {
        let data = store
            .object_store()
            .get(&segment.path)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(data)
            .unwrap()
            .build()
            .unwrap();
        let read: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        let count: usize = read.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(count as u64, segment.rows, "rows of {}", segment.path);
        rows.extend(read);
    }
    rows
}

/// The numbers of all log records, sorted; a number that is there twice is there twice.
pub(crate) async fn log_numbers(store: &Store, tenant_name: &str) -> Vec<u64> {
    let snapshot = store.snapshot(&tenant(tenant_name)).await.unwrap();
    log_numbers_of(store, &snapshot).await
}

pub(crate) async fn log_numbers_of(store: &Store, snapshot: &Snapshot) -> Vec<u64> {
    let mut numbers = Vec::new();
    for rows in table_rows(store, snapshot.table(Table::Logs)).await {
        let bodies = cast(rows.column_by_name("body").unwrap(), &DataType::Utf8).unwrap();
        numbers.extend(
            bodies
                .as_string::<i32>()
                .iter()
                .map(|body| body.unwrap().parse::<u64>().unwrap()),
        );
    }
    numbers.sort_unstable();
    numbers
}

/// The values of all points, sorted, each joined with its series; fails when a point has none or two.
pub(crate) async fn point_numbers(store: &Store, tenant_name: &str) -> Vec<u64> {
    let snapshot = store.snapshot(&tenant(tenant_name)).await.unwrap();
    let mut users: BTreeMap<u64, String> = BTreeMap::new();
    for rows in table_rows(store, snapshot.table(Table::Series)).await {
        let ids = rows.column_by_name("series_id").unwrap();
        let ids = ids.as_primitive::<arrow::datatypes::UInt64Type>();
        let user = cast(
            rows.column_by_name("attributes.user.id").unwrap(),
            &DataType::Utf8,
        )
        .unwrap();
        for row in 0..rows.num_rows() {
            let user = user.as_string::<i32>().value(row).to_owned();
            assert_eq!(
                users.insert(ids.value(row), user),
                None,
                "series {} is there twice",
                ids.value(row)
            );
        }
    }
    let mut numbers = Vec::new();
    for rows in table_rows(store, snapshot.table(Table::Samples)).await {
        let ids = rows.column_by_name("series_id").unwrap();
        let ids = ids.as_primitive::<arrow::datatypes::UInt64Type>();
        let values = rows.column_by_name("value").unwrap();
        let values = values.as_primitive::<Float64Type>();
        for row in 0..rows.num_rows() {
            let number = values.value(row) as u64;
            let user = users
                .get(&ids.value(row))
                .unwrap_or_else(|| panic!("point {number} has no series"));
            assert_eq!(
                *user,
                format!("user {}", number % USERS),
                "series of point {number}"
            );
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    numbers
}
