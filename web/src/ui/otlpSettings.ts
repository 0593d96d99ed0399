/** What points an application at this server: variables of an OpenTelemetry SDK, or a command. Pure. */
import type { OtlpPorts } from "../api/models.ts";
import { DEFAULT_TENANT } from "../url/scope.ts";

/** The environment variables; `null` where the server takes no OTLP. */
export function otlpSettings(host: string, tenant: string, ports: OtlpPorts): string | null {
  const endpoint = endpointOf(host, ports);
  if (endpoint === null) return null;
  const lines = [
    "export OTEL_SERVICE_NAME=my-service",
    `export OTEL_EXPORTER_OTLP_ENDPOINT=${endpoint.url}`,
    `export OTEL_EXPORTER_OTLP_PROTOCOL=${endpoint.protocol}`,
  ];
  // Values of this variable are percent-encoded; encodeURIComponent leaves the apostrophe, which a shell would eat.
  const encoded = encodeURIComponent(tenant).replaceAll("'", "%27");
  if (tenant !== DEFAULT_TENANT) lines.push(`export OTEL_EXPORTER_OTLP_HEADERS='X-Scope-OrgID=${encoded}'`);
  return lines.join("\n");
}

/** The command that sends made-up telemetry; `null` where the server takes no OTLP. */
export function generateCommand(host: string, tenant: string, ports: OtlpPorts): string | null {
  const endpoint = endpointOf(host, ports);
  if (endpoint === null) return null;
  const tenants = tenant === DEFAULT_TENANT ? "" : ` --tenants ${shellWord(tenant)}`;
  return `cupola generate --endpoint ${endpoint.url} --protocol ${endpoint.protocol}${tenants}`;
}

/** HTTP where there is a choice: every SDK has it, and so has every proxy. */
function endpointOf(host: string, ports: OtlpPorts): { url: string; protocol: string } | null {
  if (ports.http !== null) return { url: `http://${host}:${ports.http}`, protocol: "http/protobuf" };
  if (ports.grpc !== null) return { url: `http://${host}:${ports.grpc}`, protocol: "grpc" };
  return null;
}

function shellWord(text: string): string {
  return /^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
