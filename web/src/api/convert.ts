/** From the answers of the API to what the views show. Pure. */
import type {
  Attribute,
  AttributeValue,
  Instant,
  LogPage,
  LogRecord,
  OtlpPorts,
  Service,
  Services,
  Span,
  SpanStatus,
  SqlResult,
  Trace,
  TraceSummary,
} from "./models.ts";
import type { Wire } from "./wire.ts";

/** RFC 3339 in UTC with up to nine fractional digits; zero for what is no instant. */
export function instantOf(text: string): Instant {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(text);
  const milliseconds = match ? Date.parse(`${match[1]}Z`) : Number.NaN;
  if (Number.isNaN(milliseconds)) return 0n;
  return BigInt(milliseconds) * 1_000_000n + BigInt((match?.[2] ?? "").padEnd(9, "0"));
}

export function attributesOf(map: Readonly<Record<string, unknown>>): Attribute[] {
  return Object.entries(map).map(([key, value]) => ({ key, value: value as AttributeValue }));
}

function serviceOf(wire: Wire["Service"]): Service {
  return {
    name: wire.name,
    spans: wire.span_count,
    errors: wire.error_count,
    logs: wire.log_count,
    p50: wire.duration_p50_ns ?? null,
    p95: wire.duration_p95_ns ?? null,
    p99: wire.duration_p99_ns ?? null,
  };
}

export function servicesOf(wire: Wire["ServiceList"]): Services {
  return { services: wire.services.map(serviceOf), spanSeconds: wire.span_seconds ?? null };
}

export function traceSummaryOf(wire: Wire["TraceSummary"]): TraceSummary {
  return {
    traceId: wire.trace_id,
    start: instantOf(wire.timestamp),
    duration: wire.duration_ns,
    rootService: wire.root_service,
    rootName: wire.root_name,
    spans: wire.span_count,
    errors: wire.error_count,
    services: wire.service_count,
  };
}

export function traceOf(wire: Wire["Trace"]): Trace {
  return {
    traceId: wire.trace_id,
    spans: wire.spans.map(spanOf),
    logs: wire.logs.map(logOf),
    truncated: wire.truncated,
  };
}

function spanOf(wire: Wire["Span"]): Span {
  return {
    spanId: wire.span_id,
    parentSpanId: wire.parent_span_id,
    name: wire.name,
    service: wire.service_name,
    kind: wire.kind,
    start: instantOf(wire.timestamp),
    duration: wire.duration_ns,
    status: statusOf(wire.status_code),
    statusMessage: wire.status_message,
    scope: scopeText(wire.scope_name, wire.scope_version),
    attributes: attributesOf(wire.attributes),
    resource: attributesOf(wire.resource_attributes),
    events: wire.events.map((event) => ({
      at: instantOf(event.timestamp),
      name: event.name,
      attributes: attributesOf(event.attributes),
    })),
    links: wire.links.map((link) => ({
      traceId: link.trace_id,
      spanId: link.span_id,
      attributes: attributesOf(link.attributes),
    })),
  };
}

function statusOf(code: string): SpanStatus {
  return code === "ok" || code === "error" ? code : "unset";
}

function scopeText(name: string, version: string): string {
  return version === "" ? name : `${name} ${version}`;
}

export function logPageOf(wire: Wire["LogPage"]): LogPage {
  return { logs: wire.logs.map(logOf), nextCursor: wire.next_cursor ?? undefined };
}

export function logOf(wire: Wire["LogRecord"]): LogRecord {
  return {
    at: instantOf(wire.timestamp),
    severityNumber: wire.severity_number,
    severityText: wire.severity_text,
    service: wire.service_name,
    body: bodyText(wire.body),
    eventName: wire.event_name,
    traceId: wire.trace_id,
    spanId: wire.span_id,
    scope: scopeText(wire.scope_name, wire.scope_version),
    attributes: attributesOf(wire.attributes),
    resource: attributesOf(wire.resource_attributes),
  };
}

function bodyText(body: unknown): string {
  if (body === null || body === undefined) return "";
  return typeof body === "string" ? body : JSON.stringify(body);
}

export function sqlResultOf(wire: Wire["SqlAnswer"]): SqlResult {
  return {
    columns: wire.columns,
    rows: wire.rows,
    elapsedMs: wire.stats?.elapsed_ms ?? 0,
    rowsScanned: wire.stats?.rows_scanned ?? 0,
  };
}

export function otlpPortsOf(wire: Wire["Status"]): OtlpPorts {
  return { grpc: wire.otlp.grpc_port ?? null, http: wire.otlp.http_port ?? null };
}
