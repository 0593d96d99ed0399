//! `opentelemetry.proto.trace.v1`.

use super::common::{KEY_VALUE, RESOURCE, SCOPE};
use super::{Message, fields};

pub(super) static REQUEST: Message =
    Message::new(fields![1 "resource_spans" "resourceSpans" Message(&RESOURCE_SPANS) Repeated]);

static RESOURCE_SPANS: Message = Message::new(fields![
    1 "resource" "resource" Message(&RESOURCE) Singular,
    2 "scope_spans" "scopeSpans" Message(&SCOPE_SPANS) Repeated,
    3 "schema_url" "schemaUrl" String Singular,
]);

static SCOPE_SPANS: Message = Message::new(fields![
    1 "scope" "scope" Message(&SCOPE) Singular,
    2 "spans" "spans" Message(&SPAN) Item,
    3 "schema_url" "schemaUrl" String Singular,
]);

static SPAN: Message = Message::new(fields![
    1 "trace_id" "traceId" Id(16) Singular,
    2 "span_id" "spanId" Id(8) Singular,
    3 "trace_state" "traceState" String Singular,
    4 "parent_span_id" "parentSpanId" Id(8) Singular,
    5 "name" "name" String Singular,
    6 "kind" "kind" Enum Singular,
    7 "start_time_unix_nano" "startTimeUnixNano" Fixed64 Singular,
    8 "end_time_unix_nano" "endTimeUnixNano" Fixed64 Singular,
    9 "attributes" "attributes" Message(&KEY_VALUE) Repeated,
    10 "dropped_attributes_count" "droppedAttributesCount" Uint32 Singular,
    11 "events" "events" Message(&EVENT) Repeated,
    12 "dropped_events_count" "droppedEventsCount" Uint32 Singular,
    13 "links" "links" Message(&LINK) Repeated,
    14 "dropped_links_count" "droppedLinksCount" Uint32 Singular,
    15 "status" "status" Message(&STATUS) Singular,
    16 "flags" "flags" Fixed32 Singular,
]);

static EVENT: Message = Message::new(fields![
    1 "time_unix_nano" "timeUnixNano" Fixed64 Singular,
    2 "name" "name" String Singular,
    3 "attributes" "attributes" Message(&KEY_VALUE) Repeated,
    4 "dropped_attributes_count" "droppedAttributesCount" Uint32 Singular,
]);

static LINK: Message = Message::new(fields![
    1 "trace_id" "traceId" Id(16) Singular,
    2 "span_id" "spanId" Id(8) Singular,
    3 "trace_state" "traceState" String Singular,
    4 "attributes" "attributes" Message(&KEY_VALUE) Repeated,
    5 "dropped_attributes_count" "droppedAttributesCount" Uint32 Singular,
    6 "flags" "flags" Fixed32 Singular,
]);

static STATUS: Message = Message::new(fields![
    2 "message" "message" String Singular,
    3 "code" "code" Enum Singular,
]);
