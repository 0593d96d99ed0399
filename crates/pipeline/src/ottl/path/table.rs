//! Every path of every context, and the field of the data model that it is.
//!
//! Numbers are those of the proto files.
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/pkg/ottl/contexts>

use cupola_telemetry::edit::MetricKind;

use crate::ottl::context::Context;

/// The message that has a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ottl) enum At {
    ResourceEnvelope,
    Resource,
    ScopeEnvelope,
    Scope,
    Item,
    Status,
    Data,
    Part,
    Positive,
    Negative,
}

/// How an integer stands in its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ottl) enum Integer {
    Int32,
    Uint32,
    Fixed32,
    Fixed64,
    Sint32,
    /// 64 bits that are there or not, apart from their value.
    Optional64,
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ottl) enum Field {
    Cache,
    EventIndex,
    Text(At, u32),
    Integer(At, u32, Integer),
    Bool(At, u32),
    Double(At, u32),
    /// Which is there or not, apart from its value.
    OptionalDouble(At, u32),
    Time(At, u32),
    /// An id of that many bytes.
    Id(At, u32, usize),
    IdText(At, u32, usize),
    Attributes(At, u32),
    Body,
    BodyText,
    TraceState(At, u32),
    SpanKindText,
    MetricType,
    Doubles(At, u32),
    Fixed64s(At, u32),
    Varints(At, u32),
    /// Messages, of which there is a list of maps to read.
    Messages(At, u32),
    MetricPoints,
    Quantiles(At, u32),
    /// A field of a data point, whose number depends on the kind of the metric.
    Point(Point),
    /// Something with fields, which is nothing by itself.
    Whole,
}

/// A field of a data point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ottl) enum Point {
    Attributes,
    StartTimeUnixNano,
    StartTime,
    TimeUnixNano,
    Time,
    Flags,
    ValueDouble,
    ValueInt,
    Count,
    Sum,
    Min,
    Max,
    BucketCounts,
    ExplicitBounds,
    Scale,
    ZeroCount,
    ZeroThreshold,
    Offset(At),
    Counts(At),
    Quantiles,
    Exemplars,
}

impl Point {
    /// The field in a point of a metric of that kind, if it has one.
    pub(super) fn field(self, kind: MetricKind) -> Option<Field> {
        use MetricKind::{ExponentialHistogram, Gauge, Histogram, Sum, Summary};
        let at = At::Part;
        Some(match (self, kind) {
            (Self::Attributes, Histogram) => Field::Attributes(at, 9),
            (Self::Attributes, ExponentialHistogram) => Field::Attributes(at, 1),
            (Self::Attributes, _) => Field::Attributes(at, 7),
            (Self::StartTimeUnixNano, _) => Field::Integer(at, 2, Integer::Fixed64),
            (Self::StartTime, _) => Field::Time(at, 2),
            (Self::TimeUnixNano, _) => Field::Integer(at, 3, Integer::Fixed64),
            (Self::Time, _) => Field::Time(at, 3),
            (Self::Flags, Histogram | ExponentialHistogram) => Field::Integer(at, 10, Integer::Uint32),
            (Self::Flags, _) => Field::Integer(at, 8, Integer::Uint32),
            (Self::ValueDouble, Gauge | Sum) => Field::OptionalDouble(at, 4),
            (Self::ValueInt, Gauge | Sum) => Field::Integer(at, 6, Integer::Optional64),
            (Self::Exemplars, Gauge | Sum) => Field::Messages(at, 5),
            (Self::Exemplars, Histogram) => Field::Messages(at, 8),
            (Self::Exemplars, ExponentialHistogram) => Field::Messages(at, 11),
            (_, Gauge | Sum) => return None,
            (Self::Count, _) => Field::Integer(at, 4, Integer::Fixed64),
            (Self::Sum, Summary) => Field::Double(at, 5),
            (Self::Sum, _) => Field::OptionalDouble(at, 5),
            (Self::Min, Histogram) => Field::OptionalDouble(at, 11),
            (Self::Max, Histogram) => Field::OptionalDouble(at, 12),
            (Self::Min, ExponentialHistogram) => Field::OptionalDouble(at, 12),
            (Self::Max, ExponentialHistogram) => Field::OptionalDouble(at, 13),
            (Self::BucketCounts, Histogram) => Field::Fixed64s(at, 6),
            (Self::ExplicitBounds, Histogram) => Field::Doubles(at, 7),
            (Self::Scale, ExponentialHistogram) => Field::Integer(at, 6, Integer::Sint32),
            (Self::ZeroCount, ExponentialHistogram) => Field::Integer(at, 7, Integer::Fixed64),
            (Self::ZeroThreshold, ExponentialHistogram) => Field::Double(at, 14),
            (Self::Offset(buckets), ExponentialHistogram) => Field::Integer(buckets, 1, Integer::Sint32),
            (Self::Counts(buckets), ExponentialHistogram) => Field::Varints(buckets, 2),
            (Self::Quantiles, Summary) => Field::Quantiles(at, 6),
            _ => return None,
        })
    }
}

type Table = [(&'static str, Field)];

const RESOURCE: &Table = &[
    ("attributes", Field::Attributes(At::Resource, 1)),
    (
        "dropped_attributes_count",
        Field::Integer(At::Resource, 2, Integer::Uint32),
    ),
    ("schema_url", Field::Text(At::ResourceEnvelope, 3)),
];

const SCOPE: &Table = &[
    ("name", Field::Text(At::Scope, 1)),
    ("version", Field::Text(At::Scope, 2)),
    ("attributes", Field::Attributes(At::Scope, 3)),
    (
        "dropped_attributes_count",
        Field::Integer(At::Scope, 4, Integer::Uint32),
    ),
    ("schema_url", Field::Text(At::ScopeEnvelope, 3)),
];

const LOG: &Table = &[
    ("time_unix_nano", Field::Integer(At::Item, 1, Integer::Fixed64)),
    ("time", Field::Time(At::Item, 1)),
    (
        "observed_time_unix_nano",
        Field::Integer(At::Item, 11, Integer::Fixed64),
    ),
    ("observed_time", Field::Time(At::Item, 11)),
    ("severity_number", Field::Integer(At::Item, 2, Integer::Int32)),
    ("severity_text", Field::Text(At::Item, 3)),
    ("body", Field::Body),
    ("body.string", Field::BodyText),
    ("attributes", Field::Attributes(At::Item, 6)),
    (
        "dropped_attributes_count",
        Field::Integer(At::Item, 7, Integer::Uint32),
    ),
    ("flags", Field::Integer(At::Item, 8, Integer::Fixed32)),
    ("trace_id", Field::Id(At::Item, 9, 16)),
    ("trace_id.string", Field::IdText(At::Item, 9, 16)),
    ("span_id", Field::Id(At::Item, 10, 8)),
    ("span_id.string", Field::IdText(At::Item, 10, 8)),
    ("event_name", Field::Text(At::Item, 12)),
];

const SPAN: &Table = &[
    ("trace_id", Field::Id(At::Item, 1, 16)),
    ("trace_id.string", Field::IdText(At::Item, 1, 16)),
    ("span_id", Field::Id(At::Item, 2, 8)),
    ("span_id.string", Field::IdText(At::Item, 2, 8)),
    ("trace_state", Field::TraceState(At::Item, 3)),
    ("parent_span_id", Field::Id(At::Item, 4, 8)),
    ("parent_span_id.string", Field::IdText(At::Item, 4, 8)),
    ("name", Field::Text(At::Item, 5)),
    ("kind", Field::Integer(At::Item, 6, Integer::Int32)),
    ("kind.string", Field::SpanKindText),
    (
        "start_time_unix_nano",
        Field::Integer(At::Item, 7, Integer::Fixed64),
    ),
    ("start_time", Field::Time(At::Item, 7)),
    (
        "end_time_unix_nano",
        Field::Integer(At::Item, 8, Integer::Fixed64),
    ),
    ("end_time", Field::Time(At::Item, 8)),
    ("attributes", Field::Attributes(At::Item, 9)),
    (
        "dropped_attributes_count",
        Field::Integer(At::Item, 10, Integer::Uint32),
    ),
    ("events", Field::Messages(At::Item, 11)),
    (
        "dropped_events_count",
        Field::Integer(At::Item, 12, Integer::Uint32),
    ),
    ("links", Field::Messages(At::Item, 13)),
    (
        "dropped_links_count",
        Field::Integer(At::Item, 14, Integer::Uint32),
    ),
    ("status", Field::Whole),
    ("status.message", Field::Text(At::Status, 2)),
    ("status.code", Field::Integer(At::Status, 3, Integer::Int32)),
    ("flags", Field::Integer(At::Item, 16, Integer::Fixed32)),
];

const SPAN_EVENT: &Table = &[
    ("time_unix_nano", Field::Integer(At::Part, 1, Integer::Fixed64)),
    ("time", Field::Time(At::Part, 1)),
    ("name", Field::Text(At::Part, 2)),
    ("attributes", Field::Attributes(At::Part, 3)),
    (
        "dropped_attributes_count",
        Field::Integer(At::Part, 4, Integer::Uint32),
    ),
    ("event_index", Field::EventIndex),
];

const METRIC: &Table = &[
    ("name", Field::Text(At::Item, 1)),
    ("description", Field::Text(At::Item, 2)),
    ("unit", Field::Text(At::Item, 3)),
    ("type", Field::MetricType),
    (
        "aggregation_temporality",
        Field::Integer(At::Data, 2, Integer::Int32),
    ),
    ("is_monotonic", Field::Bool(At::Data, 3)),
    ("data_points", Field::MetricPoints),
    ("metadata", Field::Attributes(At::Item, 12)),
];

const DATA_POINT: &Table = &[
    ("attributes", Field::Point(Point::Attributes)),
    ("start_time_unix_nano", Field::Point(Point::StartTimeUnixNano)),
    ("start_time", Field::Point(Point::StartTime)),
    ("time_unix_nano", Field::Point(Point::TimeUnixNano)),
    ("time", Field::Point(Point::Time)),
    ("flags", Field::Point(Point::Flags)),
    ("value_double", Field::Point(Point::ValueDouble)),
    ("value_int", Field::Point(Point::ValueInt)),
    ("exemplars", Field::Point(Point::Exemplars)),
    ("count", Field::Point(Point::Count)),
    ("sum", Field::Point(Point::Sum)),
    ("min", Field::Point(Point::Min)),
    ("max", Field::Point(Point::Max)),
    ("bucket_counts", Field::Point(Point::BucketCounts)),
    ("explicit_bounds", Field::Point(Point::ExplicitBounds)),
    ("scale", Field::Point(Point::Scale)),
    ("zero_count", Field::Point(Point::ZeroCount)),
    ("zero_threshold", Field::Point(Point::ZeroThreshold)),
    ("positive", Field::Whole),
    ("positive.offset", Field::Point(Point::Offset(At::Positive))),
    (
        "positive.bucket_counts",
        Field::Point(Point::Counts(At::Positive)),
    ),
    ("negative", Field::Whole),
    ("negative.offset", Field::Point(Point::Offset(At::Negative))),
    (
        "negative.bucket_counts",
        Field::Point(Point::Counts(At::Negative)),
    ),
    ("quantile_values", Field::Point(Point::Quantiles)),
];

fn table(context: Context) -> &'static Table {
    match context {
        Context::Resource => RESOURCE,
        Context::Scope => SCOPE,
        Context::Log => LOG,
        Context::Span => SPAN,
        Context::SpanEvent => SPAN_EVENT,
        Context::Metric => METRIC,
        Context::DataPoint => DATA_POINT,
    }
}

/// What `name` is in `context`, without a prefix.
pub(super) fn find(context: Context, name: &str) -> Option<Field> {
    if name == "cache" {
        return Some(Field::Cache);
    }
    let found = table(context).iter().find(|(known, _)| *known == name);
    found.map(|(_, field)| *field)
}

/// The names that [`find`] knows.
pub(in crate::ottl) fn names(context: Context) -> impl Iterator<Item = &'static str> {
    table(context).iter().map(|(name, _)| *name).chain(["cache"])
}
