/**
 * What the views show, in the terms of OpenTelemetry, independent of how an answer is encoded. Instants are
 * nanoseconds since 1970 as `bigint` (a `number` would lose the last three digits); durations are `number`s.
 */

export type Instant = bigint;

/** A value as JSON has it: `1` and `"1"` are different. Integers beyond 2^53 are text, bytes base64. */
export type AttributeValue =
  | string
  | number
  | boolean
  | null
  | AttributeValue[]
  | { [key: string]: AttributeValue };

export interface Attribute {
  readonly key: string;
  readonly value: AttributeValue;
}

export interface Service {
  readonly name: string;
  readonly spans: number;
  readonly errors: number;
  readonly logs: number;
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
}

export interface Services {
  readonly services: readonly Service[];
  /** What counts of spans are divided by for rates: less than the range where telemetry began within it. */
  readonly spanSeconds: number | null;
}

export interface TraceSummary {
  readonly traceId: string;
  readonly start: Instant;
  readonly duration: number;
  readonly rootService: string;
  readonly rootName: string;
  readonly spans: number;
  readonly errors: number;
  readonly services: number;
}

export type SpanStatus = "unset" | "ok" | "error";

export interface SpanEvent {
  readonly at: Instant;
  readonly name: string;
  readonly attributes: readonly Attribute[];
}

export interface SpanLink {
  readonly traceId: string;
  readonly spanId: string;
  readonly attributes: readonly Attribute[];
}

export interface Span {
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly service: string;
  readonly kind: string;
  readonly start: Instant;
  readonly duration: number;
  readonly status: SpanStatus;
  readonly statusMessage: string;
  readonly scope: string;
  readonly attributes: readonly Attribute[];
  readonly resource: readonly Attribute[];
  readonly events: readonly SpanEvent[];
  readonly links: readonly SpanLink[];
}

export interface LogRecord {
  readonly at: Instant;
  readonly severityNumber: number;
  readonly severityText: string;
  readonly service: string;
  readonly body: string;
  readonly eventName: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly scope: string;
  readonly attributes: readonly Attribute[];
  readonly resource: readonly Attribute[];
}

export interface Trace {
  readonly traceId: string;
  readonly spans: readonly Span[];
  readonly logs: readonly LogRecord[];
  /** There is more than one answer carries. */
  readonly truncated: boolean;
}

export interface LogPage {
  readonly logs: readonly LogRecord[];
  readonly nextCursor: string | undefined;
}

export interface ResultColumn {
  readonly name: string;
  readonly type: string;
}

export interface SqlResult {
  readonly columns: readonly ResultColumn[];
  readonly rows: readonly (readonly unknown[])[];
  readonly elapsedMs: number;
  readonly rowsScanned: number;
}

export function dateOf(instant: Instant): Date {
  return new Date(Number(instant / 1_000_000n));
}

/** The ports at which the server takes OTLP; `null` where a protocol is off. */
export interface OtlpPorts {
  readonly grpc: number | null;
  readonly http: number | null;
}

export const USUAL_OTLP_PORTS: OtlpPorts = { grpc: 4317, http: 4318 };
