//! Zero-copy views over canonical OTLP bytes: `Copy` structs that borrow the payload, lazy iterators.
//!
//! Each view reads its message in one pass. Nested repeated messages stay bytes until iterated; iterating
//! yields views by value. Nothing here fails: validation was done when the batch was decoded. A view made
//! over bytes that are not canonical gives defaults where it cannot read; it never panics.
//!
//! Fields are named as in the OTLP proto. `raw()` gives the message's own bytes, without tag and length.

mod common;
mod envelope;
mod logs;
mod metrics;
mod points;
mod repeated;
mod traces;

pub use common::{AnyValue, ArrayValue, Attributes, EntityRef, KeyValue, Resource, Scope};
pub use logs::{LogRecord, LogsData, ResourceLogs, ScopeLogs};
pub use metrics::{Metric, MetricData, MetricsData, ResourceMetrics, ScopeMetrics};
pub use points::{
    Buckets, Exemplar, Exemplars, ExponentialHistogramDataPoint, ExponentialHistogramPoints,
    HistogramDataPoint, HistogramPoints, NumberDataPoint, NumberPoints, NumberValue, SummaryDataPoint,
    SummaryPoints, ValueAtQuantile,
};
pub use repeated::{Message, PackedDouble, PackedFixed64, PackedVarint, Repeated, Strings};
pub use traces::{Event, Events, Link, Links, ResourceSpans, ScopeSpans, Span, Status, TracesData};
