//! `opentelemetry.proto.logs.v1`.

use super::common::{ANY_VALUE, KEY_VALUE, RESOURCE, SCOPE};
use super::{Message, fields};

pub(super) static REQUEST: Message =
    Message::new(fields![1 "resource_logs" "resourceLogs" Message(&RESOURCE_LOGS) Repeated]);

static RESOURCE_LOGS: Message = Message::new(fields![
    1 "resource" "resource" Message(&RESOURCE) Singular,
    2 "scope_logs" "scopeLogs" Message(&SCOPE_LOGS) Repeated,
    3 "schema_url" "schemaUrl" String Singular,
]);

static SCOPE_LOGS: Message = Message::new(fields![
    1 "scope" "scope" Message(&SCOPE) Singular,
    2 "log_records" "logRecords" Message(&LOG_RECORD) Item,
    3 "schema_url" "schemaUrl" String Singular,
]);

static LOG_RECORD: Message = Message::new(fields![
    1 "time_unix_nano" "timeUnixNano" Fixed64 Singular,
    2 "severity_number" "severityNumber" Enum Singular,
    3 "severity_text" "severityText" String Singular,
    5 "body" "body" Message(&ANY_VALUE) Singular,
    6 "attributes" "attributes" Message(&KEY_VALUE) Repeated,
    7 "dropped_attributes_count" "droppedAttributesCount" Uint32 Singular,
    8 "flags" "flags" Fixed32 Singular,
    9 "trace_id" "traceId" Id(16) Singular,
    10 "span_id" "spanId" Id(8) Singular,
    11 "observed_time_unix_nano" "observedTimeUnixNano" Fixed64 Singular,
    12 "event_name" "eventName" String Singular,
]);
