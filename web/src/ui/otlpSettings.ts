/** The environment variables that point an OpenTelemetry SDK at this server. Pure. */
import { DEFAULT_TENANT } from "../url/scope.ts";

export function otlpSettings(host: string, tenant: string): string {
  const lines = [
    "export OTEL_SERVICE_NAME=my-service",
    `export OTEL_EXPORTER_OTLP_ENDPOINT=http://${host}:4318`,
    "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
  ];
  // Values of this variable are percent-encoded; encodeURIComponent leaves the apostrophe, which a shell would eat.
  const encoded = encodeURIComponent(tenant).replaceAll("'", "%27");
  if (tenant !== DEFAULT_TENANT) lines.push(`export OTEL_EXPORTER_OTLP_HEADERS='X-Scope-OrgID=${encoded}'`);
  return lines.join("\n");
}
