//! `prometheus.WriteRequest` and `io.prometheus.write.v2.Request`: requests of bounded size from the series of a batch.
//! In version 2 all texts of a request stand in one table, the empty one first, and everything else names them by place.

use std::collections::HashMap;

use cupola_telemetry::wire::{FIXED64, VARINT, close, open, write_bytes, write_key, write_varint, zigzag32};

use super::ProtobufMessage;
use super::series::{Collection, Series};
use crate::prometheus::{Exemplar, Family, Kind, Labels, NativeBuckets, NativeHistogram, STALE_NAN_BITS};

/// What a label, a sample and an exemplar take at most beside their texts.
const LABEL_OVERHEAD: usize = 16;
const SAMPLE_BYTES: usize = 24;

/// The requests for a batch.
pub(super) fn encode(
    mut collection: Collection,
    message: ProtobufMessage,
    metadata: bool,
    bytes_max: usize,
) -> Vec<Vec<u8>> {
    collection.sort();
    let mut writer = Writer {
        message,
        ..Writer::default()
    };
    let mut requests = Vec::new();
    for series in &collection.series {
        let family = &collection.families[series.family];
        if !writer.is_empty() && writer.bytes() + size(series, family) > bytes_max {
            requests.push(std::mem::take(&mut writer).finish());
            writer.message = message;
        }
        writer.series(series, family);
        if metadata && message == ProtobufMessage::V1 {
            writer.metadata(series.family, family);
        }
    }
    if !writer.is_empty() {
        requests.push(writer.finish());
    }
    requests
}

/// As many bytes as a series takes at most.
fn size(series: &Series, family: &Family) -> usize {
    let labels = |labels: &Labels| {
        labels
            .iter()
            .map(|(name, value)| name.len() + value.len() + LABEL_OVERHEAD)
            .sum::<usize>()
    };
    let exemplar = |exemplar: &Exemplar| labels(&exemplar.labels) + SAMPLE_BYTES + LABEL_OVERHEAD;
    let buckets = |buckets: &NativeBuckets| buckets.0.len() * 3 * LABEL_OVERHEAD;
    let histogram = |histogram: &NativeHistogram| {
        8 * SAMPLE_BYTES + buckets(&histogram.positive) + buckets(&histogram.negative)
    };
    labels(&series.labels)
        + series.samples.len() * SAMPLE_BYTES
        + series.exemplars.iter().map(exemplar).sum::<usize>()
        + series
            .histograms
            .iter()
            .map(|(_, found, _)| histogram(found))
            .sum::<usize>()
        + family.name.len()
        + family.help.len()
        + family.unit.len()
        + 4 * LABEL_OVERHEAD
}

#[derive(Default)]
struct Writer {
    message: ProtobufMessage,
    /// `TimeSeries` fields of the request.
    series: Vec<u8>,
    /// `MetricMetadata` fields, version 1.
    metadata: Vec<u8>,
    families: std::collections::HashSet<usize>,
    /// Texts and their places, version 2.
    symbols: Vec<u8>,
    places: HashMap<String, u32>,
}

impl Writer {
    fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    fn bytes(&self) -> usize {
        self.series.len() + self.metadata.len() + self.symbols.len()
    }

    fn finish(self) -> Vec<u8> {
        let mut request = self.symbols;
        request.extend_from_slice(&self.series);
        request.extend_from_slice(&self.metadata);
        request
    }

    /// Place of a text in the table.
    fn symbol(&mut self, text: &str) -> u32 {
        if self.symbols.is_empty() {
            write_bytes(&mut self.symbols, 4, b"");
            self.places.insert(String::new(), 0);
        }
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = self.places.len() as u32;
        write_bytes(&mut self.symbols, 4, text.as_bytes());
        self.places.insert(text.to_owned(), place);
        place
    }

    fn series(&mut self, series: &Series, family: &Family) {
        let v2 = self.message == ProtobufMessage::V2;
        let mut out = std::mem::take(&mut self.series);
        let start = open(&mut out, if v2 { 5 } else { 1 });
        self.labels(&mut out, &series.labels);
        for (time, value) in &series.samples {
            let sample = open(&mut out, 2);
            write_double(&mut out, 1, *value);
            write_int(&mut out, 2, *time as u64);
            close(&mut out, sample);
        }
        // Numbers of exemplars and histograms changed places between the versions.
        let (exemplars, histograms) = if v2 { (4, 3) } else { (3, 4) };
        for exemplar in &series.exemplars {
            let start = open(&mut out, exemplars);
            self.labels(&mut out, &exemplar.labels);
            write_double(&mut out, 2, exemplar.value);
            write_int(&mut out, 3, exemplar.timestamp_ms as u64);
            close(&mut out, start);
        }
        for (time, histogram, stale) in &series.histograms {
            let start = open(&mut out, histograms);
            write_histogram(&mut out, histogram, *time, *stale);
            close(&mut out, start);
        }
        if v2 {
            let (help, unit) = (self.symbol(&family.help), self.symbol(&family.unit));
            let start = open(&mut out, 5);
            write_int(&mut out, 1, type_number(family.kind));
            write_int(&mut out, 3, u64::from(help));
            write_int(&mut out, 4, u64::from(unit));
            close(&mut out, start);
            if !matches!(family.kind, Kind::Gauge | Kind::Info) {
                write_int(&mut out, 6, series.start_ms as u64);
            }
        }
        close(&mut out, start);
        self.series = out;
    }

    fn labels(&mut self, out: &mut Vec<u8>, labels: &Labels) {
        if self.message == ProtobufMessage::V1 {
            for (name, value) in labels.iter() {
                let start = open(out, 1);
                write_bytes(out, 1, name.as_bytes());
                write_bytes(out, 2, value.as_bytes());
                close(out, start);
            }
            return;
        }
        if labels.is_empty() {
            return;
        }
        let start = open(out, 1);
        for (name, value) in labels.iter() {
            let (name, value) = (self.symbol(name), self.symbol(value));
            write_varint(out, u64::from(name));
            write_varint(out, u64::from(value));
        }
        close(out, start);
    }

    /// Once in a request for each family.
    fn metadata(&mut self, place: usize, family: &Family) {
        if !self.families.insert(place) {
            return;
        }
        let start = open(&mut self.metadata, 3);
        write_int(&mut self.metadata, 1, type_number(family.kind));
        write_bytes(&mut self.metadata, 2, family.name.as_bytes());
        write_bytes(&mut self.metadata, 4, family.help.as_bytes());
        write_bytes(&mut self.metadata, 5, family.unit.as_bytes());
        close(&mut self.metadata, start);
    }
}

/// `MetricType`, the same in both versions.
fn type_number(kind: Kind) -> u64 {
    match kind {
        Kind::Counter => 1,
        // An info metric is sent as the gauge that its series are.
        Kind::Gauge | Kind::Info => 2,
        Kind::Histogram => 3,
        Kind::Summary => 5,
    }
}

/// The same numbers in both versions.
fn write_histogram(out: &mut Vec<u8>, histogram: &NativeHistogram, time: i64, stale: bool) {
    let sum = if stale {
        f64::from_bits(STALE_NAN_BITS)
    } else {
        histogram.sum
    };
    // Members of a oneof: written also when zero.
    write_key(out, 1, VARINT);
    write_varint(out, histogram.count);
    write_double(out, 3, sum);
    write_int(out, 4, u64::from(zigzag32(histogram.schema)));
    write_double(out, 5, histogram.zero_threshold);
    write_key(out, 6, VARINT);
    write_varint(out, histogram.zero_count);
    write_buckets(out, 8, &histogram.negative);
    write_buckets(out, 11, &histogram.positive);
    write_int(out, 15, time as u64);
}

/// Spans under `number`, deltas under the next one.
fn write_buckets(out: &mut Vec<u8>, number: u32, buckets: &NativeBuckets) {
    let (spans, deltas) = buckets.spans_and_deltas();
    for (offset, length) in spans {
        let start = open(out, number);
        write_int(out, 1, u64::from(zigzag32(offset)));
        write_int(out, 2, u64::from(length));
        close(out, start);
    }
    if deltas.is_empty() {
        return;
    }
    let start = open(out, number + 1);
    for delta in deltas {
        write_varint(out, ((delta << 1) ^ (delta >> 63)) as u64);
    }
    close(out, start);
}

fn write_double(out: &mut Vec<u8>, number: u32, value: f64) {
    if value.to_bits() != 0 {
        write_key(out, number, FIXED64);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A varint, left out when zero as proto3 does.
fn write_int(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        write_key(out, number, VARINT);
        write_varint(out, value);
    }
}
