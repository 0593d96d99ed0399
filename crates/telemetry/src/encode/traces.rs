//! Builders of `opentelemetry.proto.trace.v1`.

use super::builder::{builder, encoder};
use super::common::{Resource, Scope};

encoder!(
    /// Writes an `ExportTraceServiceRequest`.
    TracesEncoder, Traces, resource_spans -> ResourceSpans
);

builder!(
    ResourceSpans {
        1 resource: message(Resource),
        1 resource_raw: raw,
        2 scope_spans: repeated(ScopeSpans),
        3 schema_url: string,
    }
);

builder!(
    ScopeSpans {
        1 scope: message(Scope),
        1 scope_raw: raw,
        2 span: item(Span),
        2 span_raw: item_raw,
        3 schema_url: string,
    }
);

builder!(
    Span {
        1 trace_id: trace_id,
        2 span_id: span_id,
        3 trace_state: string,
        4 parent_span_id: span_id,
        5 name: string,
        6 kind: int32,
        7 start_time_unix_nano: fixed64,
        8 end_time_unix_nano: fixed64,
        9 attribute: attribute(attribute_with, attributes),
        10 dropped_attributes_count: uint32,
        11 event: repeated(Event),
        11 event_raw: repeated_raw,
        12 dropped_events_count: uint32,
        13 link: repeated(Link),
        13 link_raw: repeated_raw,
        14 dropped_links_count: uint32,
        15 status: message(Status),
        15 status_raw: raw,
        16 flags: fixed32,
    }
);

builder!(
    Event {
        1 time_unix_nano: fixed64,
        2 name: string,
        3 attribute: attribute(attribute_with, attributes),
        4 dropped_attributes_count: uint32,
    }
);

builder!(
    Link {
        1 trace_id: trace_id,
        2 span_id: span_id,
        3 trace_state: string,
        4 attribute: attribute(attribute_with, attributes),
        5 dropped_attributes_count: uint32,
        6 flags: fixed32,
    }
);

builder!(
    Status {
        2 message: string,
        3 code: int32,
    }
);
