//! Builders of `opentelemetry.proto.logs.v1`.

use super::builder::{builder, encoder};
use super::common::{Resource, Scope};

encoder!(
    /// Writes an `ExportLogsServiceRequest`.
    LogsEncoder, Logs, resource_logs -> ResourceLogs
);

builder!(
    ResourceLogs {
        1 resource: message(Resource),
        1 resource_raw: raw,
        2 scope_logs: repeated(ScopeLogs),
        3 schema_url: string,
    }
);

builder!(
    ScopeLogs {
        1 scope: message(Scope),
        1 scope_raw: raw,
        2 record: item(LogRecord),
        2 record_raw: item_raw,
        3 schema_url: string,
    }
);

builder!(
    LogRecord {
        1 time_unix_nano: fixed64,
        2 severity_number: int32,
        3 severity_text: string,
        5 body: any_value,
        5 body_with: any_value_with,
        5 body_raw: raw,
        6 attribute: attribute(attribute_with, attributes),
        7 dropped_attributes_count: uint32,
        8 flags: fixed32,
        9 trace_id: trace_id,
        10 span_id: span_id,
        11 observed_time_unix_nano: fixed64,
        12 event_name: string,
    }
);
