// Sends a client span with its annotations and tags through zipkin-js: `node zipkin.mjs URL v1|v2`.
import zipkin from 'zipkin';
import transport from 'zipkin-transport-http';

const [url, version] = process.argv.slice(2);
const { Annotation, BatchRecorder, ExplicitContext, InetAddress, Tracer, jsonEncoder } = zipkin;
const logger = new transport.HttpLogger({
  endpoint: `${url}/api/${version}/spans`,
  jsonEncoder: version === 'v1' ? jsonEncoder.JSON_V1 : jsonEncoder.JSON_V2,
  httpInterval: 50,
});
logger.on('error', (error) => {
  console.error('export failed', error);
  process.exit(1);
});
const recorder = new BatchRecorder({ logger });
const tracer = new Tracer({ ctxImpl: new ExplicitContext(), recorder, localServiceName: 'cart', traceId128Bit: true });
tracer.scoped(() => {
  tracer.setId(tracer.createRootId());
  tracer.recordServiceName('cart');
  tracer.recordRpc('get');
  tracer.recordBinary('http.path', '/items');
  tracer.recordBinary('http.status_code', '503');
  tracer.recordBinary('error', 'unavailable');
  tracer.recordAnnotation(new Annotation.ClientSend());
  tracer.recordAnnotation(new Annotation.ServerAddr({ serviceName: 'stock', host: new InetAddress('10.1.2.3'), port: 8080 }));
  tracer.recordMessage('retried');
  tracer.recordAnnotation(new Annotation.ClientRecv());
});
setTimeout(() => process.exit(0), 700);
