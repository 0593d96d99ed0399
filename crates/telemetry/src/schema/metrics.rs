//! `opentelemetry.proto.metrics.v1`.

use super::common::{KEY_VALUE, RESOURCE, SCOPE};
use super::{Message, fields};

pub(super) static REQUEST: Message =
    Message::new(fields![1 "resource_metrics" "resourceMetrics" Message(&RESOURCE_METRICS) Repeated]);

static RESOURCE_METRICS: Message = Message::new(fields![
    1 "resource" "resource" Message(&RESOURCE) Singular,
    2 "scope_metrics" "scopeMetrics" Message(&SCOPE_METRICS) Repeated,
    3 "schema_url" "schemaUrl" String Singular,
]);

static SCOPE_METRICS: Message = Message::new(fields![
    1 "scope" "scope" Message(&SCOPE) Singular,
    2 "metrics" "metrics" Message(&METRIC) Repeated,
    3 "schema_url" "schemaUrl" String Singular,
]);

static METRIC: Message = Message::new(fields![
    1 "name" "name" String Singular,
    2 "description" "description" String Singular,
    3 "unit" "unit" String Singular,
    5 "gauge" "gauge" Message(&GAUGE) Oneof,
    7 "sum" "sum" Message(&SUM) Oneof,
    9 "histogram" "histogram" Message(&HISTOGRAM) Oneof,
    10 "exponential_histogram" "exponentialHistogram" Message(&EXPONENTIAL_HISTOGRAM) Oneof,
    11 "summary" "summary" Message(&SUMMARY) Oneof,
    12 "metadata" "metadata" Message(&KEY_VALUE) Repeated,
]);

static GAUGE: Message = Message::new(fields![1 "data_points" "dataPoints" Message(&NUMBER_POINT) Item]);

static SUM: Message = Message::new(fields![
    1 "data_points" "dataPoints" Message(&NUMBER_POINT) Item,
    2 "aggregation_temporality" "aggregationTemporality" Enum Singular,
    3 "is_monotonic" "isMonotonic" Bool Singular,
]);

static HISTOGRAM: Message = Message::new(fields![
    1 "data_points" "dataPoints" Message(&HISTOGRAM_POINT) Item,
    2 "aggregation_temporality" "aggregationTemporality" Enum Singular,
]);

static EXPONENTIAL_HISTOGRAM: Message = Message::new(fields![
    1 "data_points" "dataPoints" Message(&EXPONENTIAL_HISTOGRAM_POINT) Item,
    2 "aggregation_temporality" "aggregationTemporality" Enum Singular,
]);

static SUMMARY: Message = Message::new(fields![1 "data_points" "dataPoints" Message(&SUMMARY_POINT) Item]);

static NUMBER_POINT: Message = Message::new(fields![
    2 "start_time_unix_nano" "startTimeUnixNano" Fixed64 Singular,
    3 "time_unix_nano" "timeUnixNano" Fixed64 Singular,
    4 "as_double" "asDouble" Double Oneof,
    5 "exemplars" "exemplars" Message(&EXEMPLAR) Repeated,
    6 "as_int" "asInt" Sfixed64 Oneof,
    7 "attributes" "attributes" Message(&KEY_VALUE) Repeated,
    8 "flags" "flags" Uint32 Singular,
]);

static HISTOGRAM_POINT: Message = Message::new(fields![
    2 "start_time_unix_nano" "startTimeUnixNano" Fixed64 Singular,
    3 "time_unix_nano" "timeUnixNano" Fixed64 Singular,
    4 "count" "count" Fixed64 Singular,
    5 "sum" "sum" Double Optional,
    6 "bucket_counts" "bucketCounts" Fixed64 Repeated,
    7 "explicit_bounds" "explicitBounds" Double Repeated,
    8 "exemplars" "exemplars" Message(&EXEMPLAR) Repeated,
    9 "attributes" "attributes" Message(&KEY_VALUE) Repeated,
    10 "flags" "flags" Uint32 Singular,
    11 "min" "min" Double Optional,
    12 "max" "max" Double Optional,
]);

static EXPONENTIAL_HISTOGRAM_POINT: Message = Message::new(fields![
    1 "attributes" "attributes" Message(&KEY_VALUE) Repeated,
    2 "start_time_unix_nano" "startTimeUnixNano" Fixed64 Singular,
    3 "time_unix_nano" "timeUnixNano" Fixed64 Singular,
    4 "count" "count" Fixed64 Singular,
    5 "sum" "sum" Double Optional,
    6 "scale" "scale" Sint32 Singular,
    7 "zero_count" "zeroCount" Fixed64 Singular,
    8 "positive" "positive" Message(&BUCKETS) Singular,
    9 "negative" "negative" Message(&BUCKETS) Singular,
    10 "flags" "flags" Uint32 Singular,
    11 "exemplars" "exemplars" Message(&EXEMPLAR) Repeated,
    12 "min" "min" Double Optional,
    13 "max" "max" Double Optional,
    14 "zero_threshold" "zeroThreshold" Double Singular,
]);

static BUCKETS: Message = Message::new(fields![
    1 "offset" "offset" Sint32 Singular,
    2 "bucket_counts" "bucketCounts" Uint64 Repeated,
]);

static SUMMARY_POINT: Message = Message::new(fields![
    2 "start_time_unix_nano" "startTimeUnixNano" Fixed64 Singular,
    3 "time_unix_nano" "timeUnixNano" Fixed64 Singular,
    4 "count" "count" Fixed64 Singular,
    5 "sum" "sum" Double Singular,
    6 "quantile_values" "quantileValues" Message(&VALUE_AT_QUANTILE) Repeated,
    7 "attributes" "attributes" Message(&KEY_VALUE) Repeated,
    8 "flags" "flags" Uint32 Singular,
]);

static VALUE_AT_QUANTILE: Message = Message::new(fields![
    1 "quantile" "quantile" Double Singular,
    2 "value" "value" Double Singular,
]);

static EXEMPLAR: Message = Message::new(fields![
    2 "time_unix_nano" "timeUnixNano" Fixed64 Singular,
    3 "as_double" "asDouble" Double Oneof,
    4 "span_id" "spanId" Id(8) Singular,
    5 "trace_id" "traceId" Id(16) Singular,
    6 "as_int" "asInt" Sfixed64 Oneof,
    7 "filtered_attributes" "filteredAttributes" Message(&KEY_VALUE) Repeated,
]);
