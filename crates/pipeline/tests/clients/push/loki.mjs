// Sends five lines with winston-loki: `node loki.mjs URL json|protobuf`.
import winston from 'winston';
import LokiTransport from 'winston-loki';

const [url, format] = process.argv.slice(2);
const transport = new LokiTransport({
  host: url,
  json: format === 'json',
  labels: { app: 'shop', service_name: 'cart' },
  batching: true,
  interval: 1,
  headers: { 'X-Scope-OrgID': 'team-a' },
  format: winston.format.printf((entry) => entry.message),
  onConnectionError: (error) => {
    console.error('export failed', error);
    process.exit(1);
  },
});
const logger = winston.createLogger({ level: 'debug', transports: [transport] });
for (const [index, level] of ['info', 'warn', 'error', 'debug', 'info'].entries()) {
  logger.log({ level, message: `line ${index} ümlaut` });
}
await transport.flush();
process.exit(0);
