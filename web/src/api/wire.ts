/** The answers of the API as the published OpenAPI document describes them. */

interface Log {
  timestamp: string;
  severity_number: number;
  severity_text: string;
  level: string;
  body?: unknown;
  event_name: string;
  trace_id: string;
  span_id: string;
  service_name: string;
  scope_name: string;
  scope_version: string;
  attributes: Record<string, unknown>;
  resource_attributes: Record<string, unknown>;
  scope_attributes: Record<string, unknown>;
}
interface SpanW {
  timestamp: string;
  duration_ns: number;
  span_id: string;
  parent_span_id: string;
  kind: string;
  name: string;
  status_code: string;
  status_message: string;
  service_name: string;
  scope_name: string;
  scope_version: string;
  attributes: Record<string, unknown>;
  resource_attributes: Record<string, unknown>;
  events: { timestamp: string; name: string; attributes: Record<string, unknown> }[];
  links: { trace_id: string; span_id: string; attributes: Record<string, unknown> }[];
}
interface TraceSummaryW {
  trace_id: string;
  root_name: string;
  root_service: string;
  timestamp: string;
  duration_ns: number;
  span_count: number;
  error_count: number;
  service_count: number;
}
interface ServiceW {
  name: string;
  span_count: number;
  error_count: number;
  log_count: number;
  duration_p50_ns?: number | null;
  duration_p95_ns?: number | null;
  duration_p99_ns?: number | null;
}
export interface Wire {
  LogRecord: Log;
  Span: SpanW;
  TraceSummary: TraceSummaryW;
  TraceList: { traces: TraceSummaryW[] };
  Trace: { trace_id: string; spans: SpanW[]; logs: Log[]; truncated: boolean };
  LogPage: { logs: Log[]; next_cursor?: string | null };
  Service: ServiceW;
  ServiceList: { services: ServiceW[] };
  SqlAnswer: {
    columns: { name: string; type: string }[];
    rows: unknown[][];
    stats?: {
      query_id: string;
      elapsed_ms: number;
      rows: number;
      rows_scanned: number;
      bytes_scanned: number;
    } | null;
    error?: { code: string; message: string; hint?: string | null } | null;
  };
}
