//! What came in goes out: random OTLP of every message and field, through columns, Parquet and merges, and back.

use arrow::array::RecordBatch;
use bytes::Bytes;
use cupola_store::columns::{SealContext, SealError, SealedChunks, seal};
use cupola_store::readback::{self, MetricRows};
use cupola_store::schema::{PromotionProfiles, Table};
use cupola_store::segment::{self, EncodedSegment, SegmentOptions, SegmentSource};
use cupola_store::series::SeriesRegistry;
use cupola_telemetry::{Batch, Signal, TenantId};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use proptest::prelude::*;
use prost::Message;

use crate::dice::Dice;
use crate::normal;

const RECEIVED: i64 = 1_700_000_000_000_000_000;

/// One tenant's sealing state.
#[derive(Default)]
pub(crate) struct Sealer {
    profiles: PromotionProfiles,
    pub(crate) series: SeriesRegistry,
}

impl Sealer {
    /// Seals; days that are not loaded are new.
    pub(crate) fn seal(&self, batches: &[Batch]) -> SealedChunks {
        let context = SealContext {
            received_unix_nano: RECEIVED,
            profiles: &self.profiles,
            series: &self.series,
        };
        match seal(batches, &context) {
            Err(SealError::DaysNotLoaded { days }) => {
                for day in days {
                    self.series.load(day, &[]).unwrap();
                }
                seal(batches, &context).unwrap()
            }
            sealed => sealed.unwrap(),
        }
    }
}

fn of_table(sealed: &[SealedChunks], table: Table) -> Vec<RecordBatch> {
    let chunks = sealed.iter().flat_map(|sealed| &sealed.chunks);
    chunks
        .filter(|chunk| chunk.table == table)
        .map(|chunk| chunk.batch.clone())
        .collect()
}

fn read(table: Table, segments: &[EncodedSegment]) -> Vec<RecordBatch> {
    let sources = segments
        .iter()
        .map(|segment| SegmentSource::Memory(segment.bytes.clone()));
    sources
        .flat_map(|source| segment::read(table, source).unwrap())
        .collect()
}

/// The rows of a table as they are in memory, in segments, and in merged segments.
fn forms(sealed: &[SealedChunks], table: Table) -> [Vec<RecordBatch>; 3] {
    let options = SegmentOptions::default();
    let chunks = of_table(sealed, table);
    // A segment for each chunk, so that the merge has several inputs with columns of their own.
    let segments: Vec<EncodedSegment> = chunks
        .iter()
        .flat_map(|chunk| segment::write(table, std::slice::from_ref(chunk), &options).unwrap())
        .collect();
    for segment in &segments {
        assert_eq!(segment.meta.bytes, segment.bytes.len() as u64);
        assert_eq!(segment.hour, segment::hour_of(segment.meta.min_timestamp));
        assert_eq!(segment.hour, segment::hour_of(segment.meta.max_timestamp));
    }
    let together = segment::write(table, &chunks, &options).unwrap();
    let inputs = segments
        .iter()
        .map(|segment| (SegmentSource::Memory(segment.bytes.clone()), &segment.meta))
        .collect();
    let merged = segment::merge(table, inputs, None, &options).unwrap();
    [chunks, read(table, &together), read(table, &merged)]
}

fn decode(signal: Signal, request: &impl Message) -> Batch {
    let payload = Bytes::from(request.encode_to_vec());
    Batch::decode_protobuf(signal, TenantId::default_tenant(), payload).unwrap()
}

/// Points of one series and time cannot be told apart, so those with exemplars get a label of their own.
fn distinguish(request: &mut ExportMetricsServiceRequest) {
    let mut number = 0;
    let mut label = |attributes: &mut Vec<KeyValue>, exemplars: usize| {
        if exemplars > 0 {
            number += 1;
            let value = Some(AnyValue {
                value: Some(Value::IntValue(number)),
            });
            attributes.push(KeyValue {
                key: "number".to_owned(),
                value,
                key_strindex: 0,
            });
        }
    };
    let groups = request
        .resource_metrics
        .iter_mut()
        .flat_map(|group| &mut group.scope_metrics);
    for metric in groups.flat_map(|group| &mut group.metrics) {
        match &mut metric.data {
            Some(Data::Gauge(data)) => {
                data.data_points
                    .iter_mut()
                    .for_each(|p| label(&mut p.attributes, p.exemplars.len()));
            }
            Some(Data::Sum(data)) => {
                data.data_points
                    .iter_mut()
                    .for_each(|p| label(&mut p.attributes, p.exemplars.len()));
            }
            Some(Data::Histogram(data)) => {
                data.data_points
                    .iter_mut()
                    .for_each(|p| label(&mut p.attributes, p.exemplars.len()));
            }
            Some(Data::ExponentialHistogram(data)) => {
                data.data_points
                    .iter_mut()
                    .for_each(|p| label(&mut p.attributes, p.exemplars.len()));
            }
            Some(Data::Summary(_)) | None => {}
        }
    }
}

fn check_logs(batches: &[Batch]) {
    let sealer = Sealer::default();
    let sealed: Vec<SealedChunks> = batches
        .iter()
        .map(|batch| sealer.seal(std::slice::from_ref(batch)))
        .collect();
    let sent = normal::logs(Batch::concat(batches).unwrap().payload());
    for rows in forms(&sealed, Table::Logs) {
        let back = readback::logs(&rows, TenantId::default_tenant()).unwrap();
        assert_eq!(back.items(), sent.len());
        similar_asserts(&sent, &normal::logs(back.payload()));
    }
}

fn check_traces(batches: &[Batch]) {
    let sealer = Sealer::default();
    let sealed: Vec<SealedChunks> = batches
        .iter()
        .map(|batch| sealer.seal(std::slice::from_ref(batch)))
        .collect();
    let sent = normal::traces(Batch::concat(batches).unwrap().payload());
    for rows in forms(&sealed, Table::Spans) {
        let back = readback::traces(&rows, TenantId::default_tenant()).unwrap();
        assert_eq!(back.items(), sent.len());
        similar_asserts(&sent, &normal::traces(back.payload()));
    }
}

fn check_metrics(batches: &[Batch]) {
    let sealer = Sealer::default();
    let sealed: Vec<SealedChunks> = batches
        .iter()
        .map(|batch| sealer.seal(std::slice::from_ref(batch)))
        .collect();
    let sent = normal::metrics(Batch::concat(batches).unwrap().payload());
    let tables = Table::ALL.map(|table| forms(&sealed, table));
    for form in [0, 1, 2] {
        let of = |table: Table| tables[table as usize][form].as_slice();
        let rows = MetricRows {
            series: of(Table::Series),
            samples: of(Table::Samples),
            histograms: of(Table::Histograms),
            exponential_histograms: of(Table::ExponentialHistograms),
            summaries: of(Table::Summaries),
            exemplars: of(Table::Exemplars),
        };
        let back = readback::metrics(rows, TenantId::default_tenant()).unwrap();
        assert_eq!(back.items(), sent.len());
        similar_asserts(&sent, &normal::metrics(back.payload()));
    }
    // What is in the tables is what a registry that starts anew knows.
    let reopened = Sealer {
        profiles: PromotionProfiles::default(),
        series: SeriesRegistry::default(),
    };
    for day in sealer.series.days() {
        reopened
            .series
            .load(day, &tables[Table::Series as usize][1])
            .unwrap();
    }
    let again = reopened.seal(batches);
    if sealer.series.days().len() < 8 {
        assert!(
            of_table(&[again], Table::Series).is_empty(),
            "a known series got another id"
        );
    }
}

/// Compares item by item, so that a failure shows the item.
fn similar_asserts(sent: &[String], back: &[String]) {
    for (sent, back) in sent.iter().zip(back) {
        assert_eq!(sent, back);
    }
    assert_eq!(sent.len(), back.len());
}

fn dice(seed: u64) -> Dice {
    let mut dice = Dice::new(seed);
    // String indexes belong to profiles and are tested below.
    dice.odd = false;
    dice
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn logs_come_back_as_they_came(seed: u64) {
        let mut dice = dice(seed);
        let batches: Vec<Batch> = (0..3).map(|_| decode(Signal::Logs, &dice.logs())).collect();
        check_logs(&batches);
    }

    #[test]
    fn spans_come_back_as_they_came(seed: u64) {
        let mut dice = dice(seed);
        let batches: Vec<Batch> = (0..3).map(|_| decode(Signal::Traces, &dice.traces())).collect();
        check_traces(&batches);
    }

    #[test]
    fn data_points_come_back_as_they_came(seed: u64) {
        let mut dice = dice(seed);
        let mut requests: Vec<ExportMetricsServiceRequest> = (0..2).map(|_| dice.metrics()).collect();
        requests.iter_mut().for_each(distinguish);
        let batches: Vec<Batch> = requests.iter().map(|request| decode(Signal::Metrics, request)).collect();
        check_metrics(&batches);
    }
}

#[test]
fn attributes_of_changing_types_move_between_columns_and_maps() {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    let value = |kind: u64, n: u64| match kind % 5 {
        0 => Value::StringValue(format!("a text longer than a view {n}")),
        1 => Value::IntValue(n as i64),
        2 => Value::DoubleValue(n as f64 / 3.0),
        3 => Value::BoolValue(n.is_multiple_of(2)),
        _ => Value::StringValueStrindex(n as i32),
    };
    let batches: Vec<Batch> = (0..4_u64)
        .map(|round| {
            let records = (0..200_u64).map(|n| {
                // The type of most values of a key changes from batch to batch; every seventh row has it twice.
                let mut attributes: Vec<KeyValue> = (0..6_u64)
                    .map(|key| KeyValue {
                        key: format!("key.{key}"),
                        value: Some(AnyValue {
                            value: Some(value(key + round + u64::from(n % 11 == 0), n)),
                        }),
                        key_strindex: 0,
                    })
                    .collect();
                if n % 7 == 0 {
                    attributes.extend(attributes.clone().into_iter().take(2));
                }
                LogRecord {
                    time_unix_nano: 1_700_000_000_000_000_000 + n,
                    attributes,
                    ..LogRecord::default()
                }
            });
            let scope_logs = vec![ScopeLogs {
                log_records: records.collect(),
                ..ScopeLogs::default()
            }];
            let resource_logs = vec![ResourceLogs {
                scope_logs,
                ..ResourceLogs::default()
            }];
            decode(Signal::Logs, &ExportLogsServiceRequest { resource_logs })
        })
        .collect();
    check_logs(&batches);
}
