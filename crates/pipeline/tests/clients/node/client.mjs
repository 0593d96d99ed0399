// Sends one trace, one log record and three metrics with the official JavaScript SDK.
// Usage: node client.mjs grpc|http/protobuf|http/json ENDPOINT none|gzip
// What is sent is what `clients/expected.rs` expects.

import { SpanKind, SpanStatusCode, context, trace } from '@opentelemetry/api';
import { SeverityNumber } from '@opentelemetry/api-logs';
import { OTLPLogExporter as GrpcLogs } from '@opentelemetry/exporter-logs-otlp-grpc';
import { OTLPLogExporter as JsonLogs } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as ProtoLogs } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPMetricExporter as GrpcMetrics } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPMetricExporter as JsonMetrics } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as ProtoMetrics } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter as GrpcTraces } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as JsonTraces } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtoTraces } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';

const exporters = {
  grpc: [GrpcTraces, GrpcMetrics, GrpcLogs],
  'http/protobuf': [ProtoTraces, ProtoMetrics, ProtoLogs],
  'http/json': [JsonTraces, JsonMetrics, JsonLogs],
};

const [protocol, endpoint, compression] = process.argv.slice(2);
const [Traces, Metrics, Logs] = exporters[protocol];
const options = (path) => ({
  url: protocol === 'grpc' ? endpoint : `${endpoint}/v1/${path}`,
  compression,
});

const resource = resourceFromAttributes({ 'service.name': 'client-under-test', 'process.pid': 4711 });
const traces = new BasicTracerProvider({ resource, spanProcessors: [new BatchSpanProcessor(new Traces(options('traces')))] });
const logs = new LoggerProvider({ resource, processors: [new BatchLogRecordProcessor({ exporter: new Logs(options('logs')) })] });
const reader = new PeriodicExportingMetricReader({ exporter: new Metrics(options('metrics')), exportIntervalMillis: 3_600_000 });
const metrics = new MeterProvider({ resource, readers: [reader] });

const tracer = traces.getTracer('checkout', '1.2.3');
const parent = tracer.startSpan('GET /cart', {
  kind: SpanKind.SERVER,
  attributes: {
    'http.route': '/cart',
    'http.response.status_code': 500,
    'sample.ratio': 0.5,
    cached: true,
    tags: ['a', 'b'],
    text: 'Grüße 🚀',
  },
});
parent.addEvent('cache.miss', { key: 'cart:42' });
const inParent = trace.setSpan(context.active(), parent);
tracer.startSpan('SELECT cart', { kind: SpanKind.CLIENT }, inParent).end();
logs.getLogger('checkout', '1.2.3').emit({
  severityNumber: SeverityNumber.WARN,
  severityText: 'WARN',
  body: 'payment declined',
  attributes: { 'user.id': 42 },
  context: inParent,
});
parent.setStatus({ code: SpanStatusCode.ERROR, message: 'boom' });
parent.end();

const meter = metrics.getMeter('checkout', '1.2.3');
meter.createCounter('requests', { unit: '{request}', description: 'Requests served.' }).add(7, { 'http.route': '/cart' });
const latency = meter.createHistogram('latency', { unit: 'ms', advice: { explicitBucketBoundaries: [10, 100] } });
for (const value of [5, 50, 500]) latency.record(value);
meter.createObservableGauge('temperature').addCallback((result) => result.observe(21.5));

await Promise.all([traces.forceFlush(), logs.forceFlush(), metrics.forceFlush()]);
await Promise.all([traces.shutdown(), logs.shutdown(), metrics.shutdown()]);
