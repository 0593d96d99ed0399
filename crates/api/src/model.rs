//! The shapes of the typed answers, as they appear in the OpenAPI document. Names follow the OpenTelemetry data model.
//! Holds no logic: `rows` fills them from record batches.
//!
//! In all of them: instants are RFC 3339 in UTC with nine fractional digits; ids are lower-case hexadecimal, empty when
//! absent; durations are whole nanoseconds; attribute values keep their JSON type, except that 64-bit integers outside
//! ±(2^53 − 1) and `NaN`/`Infinity`/`-Infinity` are strings, and bytes are base64.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Attribute names (dots kept) and their values.
pub type Attributes = Map<String, Value>;

/// One span.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Span {
    /// When the span started.
    #[schema(format = DateTime)]
    pub timestamp: String,
    #[schema(format = DateTime)]
    pub end_timestamp: String,
    pub duration_ns: i64,
    pub trace_id: String,
    pub span_id: String,
    /// Empty for a root span.
    pub parent_span_id: String,
    pub trace_state: String,
    /// `unspecified`, `internal`, `server`, `client`, `producer`, `consumer`; a number we do not know as its decimal text.
    pub kind: String,
    pub name: String,
    /// `unset`, `ok`, `error`; a number we do not know as its decimal text.
    pub status_code: String,
    pub status_message: String,
    pub service_name: String,
    pub scope_name: String,
    pub scope_version: String,
    #[schema(value_type = Object)]
    pub attributes: Attributes,
    #[schema(value_type = Object)]
    pub resource_attributes: Attributes,
    #[schema(value_type = Object)]
    pub scope_attributes: Attributes,
    pub events: Vec<SpanEvent>,
    pub links: Vec<SpanLink>,
    pub dropped_attributes_count: u32,
    pub dropped_events_count: u32,
    pub dropped_links_count: u32,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct SpanEvent {
    #[schema(format = DateTime)]
    pub timestamp: String,
    pub name: String,
    #[schema(value_type = Object)]
    pub attributes: Attributes,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct SpanLink {
    pub trace_id: String,
    pub span_id: String,
    pub trace_state: String,
    #[schema(value_type = Object)]
    pub attributes: Attributes,
}

/// One log record.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct LogRecord {
    /// When it happened: as sent, else as observed, else as received.
    #[schema(format = DateTime)]
    pub timestamp: String,
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub observed_timestamp: Option<String>,
    /// 1 to 24, 0 when not given.
    pub severity_number: i32,
    pub severity_text: String,
    /// `trace`, `debug`, `info`, `warn`, `error`, `fatal`, or empty when no severity was given.
    pub level: String,
    /// Text, or the structured body as the JSON it stands for; `null` when there is none.
    pub body: Value,
    pub event_name: String,
    pub trace_id: String,
    pub span_id: String,
    pub service_name: String,
    pub scope_name: String,
    pub scope_version: String,
    #[schema(value_type = Object)]
    pub attributes: Attributes,
    #[schema(value_type = Object)]
    pub resource_attributes: Attributes,
    #[schema(value_type = Object)]
    pub scope_attributes: Attributes,
}

/// One trace: its spans and the logs written in it, each by time.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Trace {
    pub trace_id: String,
    pub spans: Vec<Span>,
    pub logs: Vec<LogRecord>,
    /// True when the trace has more spans or logs than one answer carries.
    pub truncated: bool,
}

/// One line of the list of traces.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct TraceSummary {
    pub trace_id: String,
    /// Name of the root span, or of the earliest span where the root has not arrived.
    pub root_name: String,
    pub root_service: String,
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// From the first start to the last end.
    pub duration_ns: i64,
    pub span_count: i64,
    pub error_count: i64,
    pub service_count: i64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct TraceList {
    /// Newest first.
    pub traces: Vec<TraceSummary>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct LogPage {
    /// Newest first.
    pub logs: Vec<LogRecord>,
    /// Give it back as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_cursor: Option<String>,
}

/// An attribute name and how often it occurs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct AttributeKey {
    /// `attributes`, `resource_attributes` or `scope_attributes`.
    pub set: String,
    pub key: String,
    /// Rows that carry it, among the rows looked at: 0 where only older ones do.
    pub count: i64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct AttributeKeyList {
    /// Most frequent first.
    pub keys: Vec<AttributeKey>,
    /// Rows looked at: the newest of the range, up to a bound.
    pub rows_examined: i64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct AttributeValue {
    /// As text, whatever its type.
    pub value: String,
    pub count: i64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct AttributeValueList {
    pub key: String,
    /// Most frequent first.
    pub values: Vec<AttributeValue>,
}

/// One service, from its spans, logs and metrics.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Service {
    pub name: String,
    pub span_count: i64,
    pub error_count: i64,
    pub log_count: i64,
    /// Metrics, by name, of the days that the range touches.
    pub metric_count: i64,
    /// Quantiles of span duration in nanoseconds, approximate; `null` without spans.
    pub duration_p50_ns: Option<i64>,
    pub duration_p95_ns: Option<i64>,
    pub duration_p99_ns: Option<i64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ServiceList {
    /// By name.
    pub services: Vec<Service>,
    /// From the first of these spans to the end of the range, or to now: what counts are divided by for rates. Less than
    /// the range where telemetry has only begun within it; `null` without spans.
    pub span_seconds: Option<f64>,
}

/// Calls from one service to another: spans whose parent span belongs to the other service.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ServiceEdge {
    pub from: String,
    pub to: String,
    pub call_count: i64,
    pub error_count: i64,
    pub duration_p95_ns: Option<i64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ServiceMap {
    pub edges: Vec<ServiceEdge>,
}

/// Name and type of a column of an SQL answer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Column {
    pub name: String,
    /// `text`, `int64`, `float64`, `boolean`, `timestamp`, `duration`, `binary`, `list<…>`, `struct<…>`, `map<…>`, …
    #[serde(rename = "type")]
    pub column_type: String,
}

/// What a statement cost.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct SqlStats {
    /// Also in the `X-Query-Id` header; `DELETE /api/v1/queries/{id}` takes it.
    pub query_id: String,
    pub elapsed_ms: u64,
    /// Rows in this answer.
    pub rows: u64,
    /// Rows read from memory and segments.
    pub rows_scanned: u64,
    /// Bytes read from segments.
    pub bytes_scanned: u64,
}

/// The JSON answer of a statement.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SqlAnswer {
    pub columns: Vec<Column>,
    /// One array per row, one value per column. 64-bit integers outside ±(2^53 − 1) are decimal strings; `NaN`,
    /// `Infinity` and `-Infinity` are strings; timestamps are RFC 3339 with nanoseconds; durations whole nanoseconds;
    /// fixed-size binary hexadecimal, other binary base64; maps and structs objects.
    pub rows: Vec<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stats: Option<SqlStats>,
    /// In place of `stats` when the statement failed after its first rows had been sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<crate::error::ErrorDetail>,
}

/// A statement under way.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct RunningQuery {
    /// As given in `X-Query-Id`, otherwise one of the server's.
    pub id: String,
    pub query: String,
    #[schema(format = DateTime)]
    pub started: String,
    pub elapsed_ms: u64,
    pub rows_returned: u64,
    pub rows_scanned: u64,
    pub bytes_scanned: u64,
    /// Segments the statement has to read, and how many of them are done.
    pub segments_total: u64,
    pub segments_done: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct RunningQueryList {
    pub queries: Vec<RunningQuery>,
}

/// Where the receivers beside the API take OTLP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OtlpPorts {
    /// OTLP over gRPC; `null` when it is off.
    pub grpc_port: Option<u16>,
    /// OTLP over HTTP; `null` when it is off.
    pub http_port: Option<u16>,
}
