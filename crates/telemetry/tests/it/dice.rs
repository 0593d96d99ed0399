//! Random OTLP messages from a seed. The seed is what proptest varies and prints.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::*;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};

pub(crate) struct Dice {
    state: u64,
    /// Whether to make what only hand-made encoders make: pairs without a value, string indexes.
    pub(crate) odd: bool,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: seed,
            odd: true,
        }
    }

    /// SplitMix64.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn u64(&mut self) -> u64 {
        match self.below(5) {
            0 => 0,
            1 => self.next() & 0x7f,
            2 => self.next() & 0xffff,
            3 => u64::MAX,
            _ => self.next(),
        }
    }

    pub(crate) fn u32(&mut self) -> u32 {
        self.u64() as u32
    }

    pub(crate) fn i32(&mut self) -> i32 {
        self.u64() as i32
    }

    pub(crate) fn f64(&mut self) -> f64 {
        const SPECIAL: [f64; 7] = [
            0.0,
            -0.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::MIN_POSITIVE,
        ];
        match self.below(3) {
            0 => SPECIAL[self.below(SPECIAL.len())],
            1 => self.below(1000) as f64 / 10.0,
            _ => Some(f64::from_bits(self.next()))
                .filter(|value| value.is_finite())
                .unwrap_or(0.1 + 0.2),
        }
    }

    pub(crate) fn text(&mut self) -> String {
        const PIECES: [&str; 9] = [
            "a",
            "http.route",
            "größe",
            "日本",
            "🦀",
            "\"\\/",
            "\n\u{1}",
            "\u{0}",
            " ",
        ];
        let count = self.below(4);
        let mut text: String = (0..count).map(|_| PIECES[self.below(PIECES.len())]).collect();
        if self.chance(5) {
            text.push_str(&"long ".repeat(self.below(80)));
        }
        text
    }

    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(20)).map(|_| self.next() as u8).collect()
    }

    pub(crate) fn id(&mut self, length: usize) -> Vec<u8> {
        if self.chance(30) {
            Vec::new()
        } else {
            (0..length).map(|_| self.next() as u8).collect()
        }
    }

    pub(crate) fn some<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(70).then(|| make(self))
    }

    pub(crate) fn list<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    pub(crate) fn any_value(&mut self, depth: usize) -> AnyValue {
        use any_value::Value;
        let kinds = if depth > 3 { 6 } else { 9 };
        let value = match self.below(kinds) {
            0 => None,
            1 => Some(Value::StringValue(self.text())),
            2 => Some(Value::BoolValue(self.chance(50))),
            3 => Some(Value::IntValue(self.u64() as i64)),
            4 => Some(Value::DoubleValue(self.f64())),
            5 => Some(Value::BytesValue(self.bytes())),
            6 => Some(Value::ArrayValue(ArrayValue {
                values: self.list(3, |d| d.any_value(depth + 1)),
            })),
            7 => Some(Value::KvlistValue(KeyValueList {
                values: self.list(3, |d| d.key_value(depth + 1)),
            })),
            _ if self.odd => Some(Value::StringValueStrindex(self.i32())),
            _ => None,
        };
        AnyValue { value }
    }

    fn key_value(&mut self, depth: usize) -> KeyValue {
        let odd = self.odd && self.chance(10);
        KeyValue {
            key: self.text(),
            value: (!odd).then(|| self.any_value(depth)),
            key_strindex: if odd { self.i32() } else { 0 },
        }
    }

    pub(crate) fn attributes(&mut self) -> Vec<KeyValue> {
        self.list(4, |d| d.key_value(0))
    }

    fn resource(&mut self) -> Resource {
        Resource {
            attributes: self.attributes(),
            dropped_attributes_count: self.u32(),
            entity_refs: self.list(2, |d| EntityRef {
                schema_url: d.text(),
                r#type: d.text(),
                id_keys: d.list(2, Self::text),
                description_keys: d.list(2, Self::text),
            }),
        }
    }

    fn scope(&mut self) -> InstrumentationScope {
        InstrumentationScope {
            name: self.text(),
            version: self.text(),
            attributes: self.attributes(),
            dropped_attributes_count: self.u32(),
        }
    }

    pub(crate) fn logs(&mut self) -> ExportLogsServiceRequest {
        ExportLogsServiceRequest {
            resource_logs: self.list(3, |d| ResourceLogs {
                resource: d.some(Self::resource),
                scope_logs: d.list(3, |d| ScopeLogs {
                    scope: d.some(Self::scope),
                    log_records: d.list(4, Self::log_record),
                    schema_url: d.text(),
                }),
                schema_url: d.text(),
            }),
        }
    }

    fn log_record(&mut self) -> LogRecord {
        LogRecord {
            time_unix_nano: self.u64(),
            observed_time_unix_nano: self.u64(),
            severity_number: self.i32(),
            severity_text: self.text(),
            body: self.some(|d| d.any_value(0)),
            attributes: self.attributes(),
            dropped_attributes_count: self.u32(),
            flags: self.u32(),
            trace_id: self.id(16),
            span_id: self.id(8),
            event_name: self.text(),
        }
    }

    pub(crate) fn traces(&mut self) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest {
            resource_spans: self.list(3, |d| ResourceSpans {
                resource: d.some(Self::resource),
                scope_spans: d.list(3, |d| ScopeSpans {
                    scope: d.some(Self::scope),
                    spans: d.list(4, Self::span),
                    schema_url: d.text(),
                }),
                schema_url: d.text(),
            }),
        }
    }

    fn span(&mut self) -> Span {
        Span {
            trace_id: self.id(16),
            span_id: self.id(8),
            trace_state: self.text(),
            parent_span_id: self.id(8),
            flags: self.u32(),
            name: self.text(),
            kind: self.i32(),
            start_time_unix_nano: self.u64(),
            end_time_unix_nano: self.u64(),
            attributes: self.attributes(),
            dropped_attributes_count: self.u32(),
            events: self.list(3, |d| span::Event {
                time_unix_nano: d.u64(),
                name: d.text(),
                attributes: d.attributes(),
                dropped_attributes_count: d.u32(),
            }),
            dropped_events_count: self.u32(),
            links: self.list(3, |d| span::Link {
                trace_id: d.id(16),
                span_id: d.id(8),
                trace_state: d.text(),
                attributes: d.attributes(),
                dropped_attributes_count: d.u32(),
                flags: d.u32(),
            }),
            dropped_links_count: self.u32(),
            status: self.some(|d| Status {
                message: d.text(),
                code: d.i32(),
            }),
        }
    }

    pub(crate) fn metrics(&mut self) -> ExportMetricsServiceRequest {
        ExportMetricsServiceRequest {
            resource_metrics: self.list(2, |d| ResourceMetrics {
                resource: d.some(Self::resource),
                scope_metrics: d.list(2, |d| ScopeMetrics {
                    scope: d.some(Self::scope),
                    metrics: d.list(5, Self::metric),
                    schema_url: d.text(),
                }),
                schema_url: d.text(),
            }),
        }
    }

    fn metric(&mut self) -> Metric {
        use metric::Data;
        let data = match self.below(6) {
            0 => None,
            1 => Some(Data::Gauge(Gauge {
                data_points: self.list(3, Self::number_point),
            })),
            2 => Some(Data::Sum(Sum {
                data_points: self.list(3, Self::number_point),
                aggregation_temporality: self.i32(),
                is_monotonic: self.chance(50),
            })),
            3 => Some(Data::Histogram(Histogram {
                data_points: self.list(3, Self::histogram_point),
                aggregation_temporality: self.i32(),
            })),
            4 => Some(Data::ExponentialHistogram(ExponentialHistogram {
                data_points: self.list(3, Self::exponential_histogram_point),
                aggregation_temporality: self.i32(),
            })),
            _ => Some(Data::Summary(Summary {
                data_points: self.list(3, Self::summary_point),
            })),
        };
        Metric {
            name: self.text(),
            description: self.text(),
            unit: self.text(),
            metadata: self.attributes(),
            data,
        }
    }

    fn number_point(&mut self) -> NumberDataPoint {
        use number_data_point::Value;
        NumberDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            exemplars: self.list(2, Self::exemplar),
            flags: self.u32(),
            value: match self.below(3) {
                0 => None,
                1 => Some(Value::AsDouble(self.f64())),
                _ => Some(Value::AsInt(self.u64() as i64)),
            },
        }
    }

    fn exemplar(&mut self) -> Exemplar {
        use exemplar::Value;
        Exemplar {
            filtered_attributes: self.attributes(),
            time_unix_nano: self.u64(),
            span_id: self.id(8),
            trace_id: self.id(16),
            value: match self.below(3) {
                0 => None,
                1 => Some(Value::AsDouble(self.f64())),
                _ => Some(Value::AsInt(self.u64() as i64)),
            },
        }
    }

    fn histogram_point(&mut self) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            count: self.u64(),
            sum: self.some(Self::f64),
            bucket_counts: self.list(5, Self::u64),
            explicit_bounds: self.list(5, Self::f64),
            exemplars: self.list(2, Self::exemplar),
            flags: self.u32(),
            min: self.some(Self::f64),
            max: self.some(Self::f64),
        }
    }

    fn exponential_histogram_point(&mut self) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            count: self.u64(),
            sum: self.some(Self::f64),
            scale: self.i32(),
            zero_count: self.u64(),
            positive: self.some(Self::buckets),
            negative: self.some(Self::buckets),
            flags: self.u32(),
            exemplars: self.list(2, Self::exemplar),
            min: self.some(Self::f64),
            max: self.some(Self::f64),
            zero_threshold: self.f64(),
        }
    }

    fn buckets(&mut self) -> exponential_histogram_data_point::Buckets {
        exponential_histogram_data_point::Buckets {
            offset: self.i32(),
            bucket_counts: self.list(5, Self::u64),
        }
    }

    fn summary_point(&mut self) -> SummaryDataPoint {
        SummaryDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            count: self.u64(),
            sum: self.f64(),
            quantile_values: self.list(3, |d| summary_data_point::ValueAtQuantile {
                quantile: d.f64(),
                value: d.f64(),
            }),
            flags: self.u32(),
        }
    }
}
