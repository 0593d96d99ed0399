// Sends a span with a child through the Jaeger client, over HTTP or to an agent: `node jaeger.mjs URL|PORT`.
import jaeger from 'jaeger-client';

const [to] = process.argv.slice(2);
const place = to.startsWith('http')
  ? { collectorEndpoint: `${to}/api/traces` }
  : { agentHost: '127.0.0.1', agentPort: Number(to) };
const failed = (error) => {
  console.error('export failed', error);
  process.exit(1);
};
const tracer = jaeger.initTracer(
  {
    serviceName: 'cart',
    sampler: { type: 'const', param: 1 },
    reporter: { ...place, flushIntervalMs: 50 },
  },
  { tags: { region: 'north' }, logger: { info: () => {}, error: failed } },
);
const root = tracer.startSpan('checkout', { tags: { 'span.kind': 'server', items: 3, ratio: 0.5, ok: true } });
const child = tracer.startSpan('pay', { childOf: root, tags: { 'span.kind': 'client', error: true } });
child.log({ event: 'retry', attempt: 2 });
child.finish();
root.finish();
tracer.close(() => setTimeout(() => process.exit(0), 200));
