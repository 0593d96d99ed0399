//! What segments promise a reader of the catalog: order, partition, metadata that names every key, filters that agree
//! with it, merges that keep or drop exactly the right rows.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{TimestampNanosecondType, UInt64Type};
use cupola_generator::{Generator, GeneratorConfig};
use cupola_store::schema::{AttributeSet, KeyStatistics, PROMOTED_PER_SET_MAX, Table};
use cupola_store::segment::{
    self, Comparison, EncodedSegment, Literal, RowFilter, SegmentOptions, SegmentSource,
};
use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::{Batch, Signal, TenantId};

use crate::round_trip::Sealer;

/// Small row groups, so that a few thousand rows make several.
fn options() -> SegmentOptions {
    SegmentOptions {
        row_group_rows_max: 1_000,
        ..SegmentOptions::default()
    }
}

fn chunks(sealer: &Sealer, table: Table, batches: &[Batch]) -> Vec<RecordBatch> {
    let sealed = batches
        .iter()
        .flat_map(|batch| sealer.seal(std::slice::from_ref(batch)).chunks);
    sealed
        .filter(|chunk| chunk.table == table)
        .map(|chunk| chunk.batch)
        .collect()
}

fn generated(signal: Signal, items: usize) -> Vec<Batch> {
    let mut generator = Generator::new(GeneratorConfig {
        logs_per_second: 1.0,
        ..GeneratorConfig::default()
    });
    (0..4).map(|_| generator.batch(signal, items / 4)).collect()
}

fn read(segment: &EncodedSegment, table: Table) -> Vec<RecordBatch> {
    segment::read(table, SegmentSource::Memory(segment.bytes.clone())).unwrap()
}

fn merge(table: Table, segments: &[EncodedSegment], drop: Option<&RowFilter>) -> Vec<EncodedSegment> {
    let inputs = segments
        .iter()
        .map(|segment| (SegmentSource::Memory(segment.bytes.clone()), &segment.meta))
        .collect();
    segment::merge(table, inputs, drop, &options()).unwrap()
}

fn rows(segments: &[EncodedSegment]) -> u64 {
    segments.iter().map(|segment| segment.meta.rows).sum()
}

fn assert_sorted(table: Table, batches: &[RecordBatch]) {
    let mut last = None;
    for batch in batches {
        let times = batch
            .column_by_name("timestamp")
            .unwrap()
            .as_primitive::<TimestampNanosecondType>();
        for row in 0..batch.num_rows() {
            let major = match table.sort_column() {
                "service_name" => {
                    let names = batch.column_by_name("service_name").unwrap().as_string_view();
                    if names.is_valid(row) {
                        names.value(row).to_owned()
                    } else {
                        String::new()
                    }
                }
                column => {
                    let ids = batch.column_by_name(column).unwrap().as_primitive::<UInt64Type>();
                    format!("{:020}", ids.value(row))
                }
            };
            let key = Some((major, times.value(row)));
            assert!(last <= key, "{last:?} before {key:?}");
            last = key;
        }
    }
}

#[test]
fn rows_are_sorted_and_partitioned_by_hour_also_after_a_merge() {
    for (signal, table) in [
        (Signal::Logs, Table::Logs),
        (Signal::Traces, Table::Spans),
        (Signal::Metrics, Table::Samples),
    ] {
        let sealer = Sealer::default();
        let chunks = chunks(&sealer, table, &generated(signal, 8_000));
        let total: usize = chunks.iter().map(RecordBatch::num_rows).sum();
        let segments: Vec<EncodedSegment> = chunks
            .iter()
            .flat_map(|chunk| segment::write(table, std::slice::from_ref(chunk), &options()).unwrap())
            .collect();
        assert!(segments.len() > 1);
        for segment in &segments {
            assert_sorted(table, &read(segment, table));
            assert_eq!(segment.hour, segment::hour_of(segment.meta.max_timestamp));
        }
        assert_eq!(rows(&segments), total as u64);
        let merged = merge(table, &segments, None);
        assert_eq!(merged.len(), 1);
        assert_eq!(rows(&merged), total as u64);
        assert_sorted(table, &read(&merged[0], table));
    }
}

#[test]
fn metadata_names_exactly_the_keys_and_services_of_the_rows() {
    let sealer = Sealer::default();
    let chunks = chunks(&sealer, Table::Logs, &generated(Signal::Logs, 4_000));
    for segment in merge(
        Table::Logs,
        &segment::write(Table::Logs, &chunks, &options()).unwrap(),
        None,
    ) {
        let batches = read(&segment, Table::Logs);
        let statistics = KeyStatistics::of(&batches);
        for set in AttributeSet::ALL {
            let listed = segment.meta.set(set).unwrap();
            assert!(listed.promoted.len() <= PROMOTED_PER_SET_MAX);
            let named: BTreeSet<&str> = listed
                .promoted
                .iter()
                .map(|key| key.key.as_str())
                .chain(listed.rest.iter().map(|key| key.key.as_str()))
                .collect();
            let found: BTreeSet<&str> = statistics.set(set).iter().map(|(key, _)| key).collect();
            assert_eq!(named, found);
            for (key, counts) in statistics.set(set).iter() {
                assert_eq!(segment.meta.rest_types(set, key), counts.rest);
            }
        }
        let services: BTreeSet<String> = batches
            .iter()
            .flat_map(|batch| {
                batch
                    .column_by_name("service_name")
                    .unwrap()
                    .as_string_view()
                    .iter()
            })
            .map(|name| name.unwrap_or_default().to_owned())
            .collect();
        assert_eq!(segment.meta.services, services.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_merge_drops_exactly_the_rows_a_filter_names() {
    let sealer = Sealer::default();
    let chunks = chunks(&sealer, Table::Logs, &generated(Signal::Logs, 4_000));
    let segments = segment::write(Table::Logs, &chunks, &options()).unwrap();
    let service = segments[0].meta.services[0].clone();
    let named = RowFilter::Attribute {
        set: AttributeSet::Resource,
        key: "service.name".to_owned(),
        comparison: Comparison::Equal,
        value: Literal::Text(service.clone()),
    };
    let severe = RowFilter::Column {
        name: "severity_number".to_owned(),
        comparison: Comparison::GreaterOrEqual,
        value: Literal::Int(17),
    };
    for filter in [
        named.clone(),
        severe.clone(),
        RowFilter::And(vec![named, RowFilter::Not(Box::new(severe))]),
    ] {
        let count = |segments: &[EncodedSegment]| -> usize {
            let batches = segments.iter().flat_map(|segment| read(segment, Table::Logs));
            batches
                .map(|batch| filter.evaluate(&batch).count_set_bits())
                .sum()
        };
        let (before, matching) = (rows(&segments), count(&segments));
        assert!(matching > 0);
        let kept = merge(Table::Logs, &segments, Some(&filter));
        assert_eq!(count(&kept), 0);
        assert_eq!(rows(&kept), before - matching as u64);
    }
    assert!(merge(Table::Logs, &segments, Some(&RowFilter::All)).is_empty());
}

#[test]
fn filters_find_attributes_in_columns_and_in_maps_alike() {
    let records = |common: bool| {
        let mut encoder = LogsEncoder::new();
        {
            let mut resource = encoder.resource_logs();
            let mut scope = resource.scope_logs();
            for number in 0..100_i64 {
                let mut record = scope.record();
                record.time_unix_nano(1_700_000_000_000_000_000);
                // In every row it gets a column, in one row it stays in the map.
                if common || number == 7 {
                    record
                        .attribute("tries", number)
                        .attribute("user", format!("u{number}").as_str());
                }
            }
        }
        encoder.finish(TenantId::default_tenant())
    };
    for common in [true, false] {
        let sealer = Sealer::default();
        let chunks = chunks(&sealer, Table::Logs, &[records(common)]);
        let segment = &segment::write(Table::Logs, &chunks, &options()).unwrap()[0];
        let promoted = segment.meta.promoted_type(AttributeSet::Item, "tries").is_some();
        assert_eq!(promoted, common);
        let batch = &read(segment, Table::Logs)[0];
        let attribute = |key: &str, comparison, value| RowFilter::Attribute {
            set: AttributeSet::Item,
            key: key.to_owned(),
            comparison,
            value,
        };
        let seven = attribute("tries", Comparison::Equal, Literal::Int(7));
        assert_eq!(seven.evaluate(batch).count_set_bits(), 1);
        assert!(seven.may_match(&segment.meta));
        let user = attribute("user", Comparison::Equal, Literal::Text("u7".to_owned()));
        assert_eq!(user.evaluate(batch).count_set_bits(), 1);
        let other_type = attribute("user", Comparison::NotEqual, Literal::Int(1));
        assert_eq!(other_type.evaluate(batch).count_set_bits(), 0);
        let unknown = attribute("nobody", Comparison::Equal, Literal::Int(7));
        assert!(!unknown.may_match(&segment.meta));
    }
}

#[test]
fn a_series_keeps_its_id_through_the_day_and_gets_one_row() {
    let sealer = Sealer::default();
    let batches = generated(Signal::Metrics, 8_000);
    let first = chunks(&sealer, Table::Series, &batches);
    let again = chunks(&sealer, Table::Series, &batches);
    assert!(first.iter().map(RecordBatch::num_rows).sum::<usize>() > 0);
    assert!(again.is_empty());
    let ids: Vec<u64> = first
        .iter()
        .flat_map(|batch| {
            batch
                .column_by_name("series_id")
                .unwrap()
                .as_primitive::<UInt64Type>()
                .values()
        })
        .copied()
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    assert!(sealer.series.memory_bytes() > 0);
}
