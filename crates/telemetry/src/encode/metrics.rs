//! Builders of `opentelemetry.proto.metrics.v1`.

use super::builder::{builder, encoder};
use super::common::{Resource, Scope};

encoder!(
    /// Writes an `ExportMetricsServiceRequest`.
    MetricsEncoder, Metrics, resource_metrics -> ResourceMetrics
);

builder!(
    ResourceMetrics {
        1 resource: message(Resource),
        1 resource_raw: raw,
        2 scope_metrics: repeated(ScopeMetrics),
        3 schema_url: string,
    }
);

builder!(
    ScopeMetrics {
        1 scope: message(Scope),
        1 scope_raw: raw,
        2 metric: repeated(Metric),
        3 schema_url: string,
    }
);

builder!(
    /// A metric; call one of the five kinds once.
    Metric {
        1 name: string,
        2 description: string,
        3 unit: string,
        12 metadata: attribute(metadata_with, metadata_all),
    }
);

/// The oneof of `Metric` counts as one field, under the number of its first member.
const DATA: u32 = 5;

macro_rules! data {
    ($($method:ident -> $type:ident = $number:literal),*) => {
        impl Metric<'_> {
            $(pub fn $method(&mut self) -> $type<'_> {
                $type(self.0.member(DATA, $number))
            })*
        }
    };
}
data!(
    gauge -> Gauge = 5,
    sum -> Sum = 7,
    histogram -> Histogram = 9,
    exponential_histogram -> ExponentialHistogram = 10,
    summary -> Summary = 11
);

builder!(
    Gauge {
        1 point: item(NumberDataPoint),
        1 point_raw: item_raw,
    }
);

builder!(
    Sum {
        1 point: item(NumberDataPoint),
        1 point_raw: item_raw,
        2 aggregation_temporality: int32,
        3 is_monotonic: bool,
    }
);

builder!(
    Histogram {
        1 point: item(HistogramDataPoint),
        1 point_raw: item_raw,
        2 aggregation_temporality: int32,
    }
);

builder!(
    ExponentialHistogram {
        1 point: item(ExponentialHistogramDataPoint),
        1 point_raw: item_raw,
        2 aggregation_temporality: int32,
    }
);

builder!(
    Summary {
        1 point: item(SummaryDataPoint),
        1 point_raw: item_raw,
    }
);

builder!(
    NumberDataPoint {
        2 start_time_unix_nano: fixed64,
        3 time_unix_nano: fixed64,
        4 value: number_value(6),
        5 exemplar: repeated(Exemplar),
        5 exemplar_raw: repeated_raw,
        7 attribute: attribute(attribute_with, attributes),
        8 flags: uint32,
    }
);

builder!(
    HistogramDataPoint {
        2 start_time_unix_nano: fixed64,
        3 time_unix_nano: fixed64,
        4 count: fixed64,
        5 sum: optional_double,
        6 bucket_counts: packed_fixed64,
        7 explicit_bounds: packed_double,
        8 exemplar: repeated(Exemplar),
        8 exemplar_raw: repeated_raw,
        9 attribute: attribute(attribute_with, attributes),
        10 flags: uint32,
        11 min: optional_double,
        12 max: optional_double,
    }
);

builder!(
    ExponentialHistogramDataPoint {
        1 attribute: attribute(attribute_with, attributes),
        2 start_time_unix_nano: fixed64,
        3 time_unix_nano: fixed64,
        4 count: fixed64,
        5 sum: optional_double,
        6 scale: sint32,
        7 zero_count: fixed64,
        8 positive: message(Buckets),
        9 negative: message(Buckets),
        10 flags: uint32,
        11 exemplar: repeated(Exemplar),
        11 exemplar_raw: repeated_raw,
        12 min: optional_double,
        13 max: optional_double,
        14 zero_threshold: double,
    }
);

builder!(
    Buckets {
        1 offset: sint32,
        2 bucket_counts: packed_uint64,
    }
);

builder!(
    SummaryDataPoint {
        2 start_time_unix_nano: fixed64,
        3 time_unix_nano: fixed64,
        4 count: fixed64,
        5 sum: double,
        6 quantile_value: repeated(ValueAtQuantile),
        7 attribute: attribute(attribute_with, attributes),
        8 flags: uint32,
    }
);

builder!(
    ValueAtQuantile {
        1 quantile: double,
        2 value: double,
    }
);

builder!(
    Exemplar {
        2 time_unix_nano: fixed64,
        3 value: number_value(6),
        4 span_id: span_id,
        5 trace_id: trace_id,
        7 filtered_attribute: attribute(filtered_attribute_with, filtered_attributes),
    }
);
