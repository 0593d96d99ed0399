//! Writers of canonical OTLP: typed builders over one growing buffer, lengths patched when a builder is dropped.
//!
//! ```
//! use cupola_telemetry::{TenantId, encode::LogsEncoder};
//!
//! let mut logs = LogsEncoder::new();
//! {
//!     let mut resource = logs.resource_logs();
//!     resource.resource().attribute("service.name", "cart");
//!     let mut scope = resource.scope_logs();
//!     scope.scope().name("checkout");
//!     scope.record().time_unix_nano(1).severity_number(9).body("hello").attribute("http.route", "/cart");
//! }
//! let batch = logs.finish(TenantId::default_tenant());
//! assert_eq!(batch.items(), 1);
//! ```
//!
//! Fields without presence are left out when they hold their default, as every OTLP writer does. A singular
//! field is written once: a second call is a mistake of the caller, caught in debug builds and ignored in
//! others, so that the bytes stay canonical. Strings are `&str` and so valid; ids of a wrong length are
//! written as no id.

mod builder;
mod common;
mod logs;
mod message;
mod metrics;
mod traces;

pub use common::{AnyValue, Array, EntityRef, KeyValueList, Resource, Scope, any_value};
pub use logs::{LogRecord, LogsEncoder, ResourceLogs, ScopeLogs};
pub use metrics::{
    Buckets, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, MetricsEncoder, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, ValueAtQuantile,
};
pub use traces::{Event, Link, ResourceSpans, ScopeSpans, Span, Status, TracesEncoder};
