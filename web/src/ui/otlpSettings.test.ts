import { expect, test } from "vitest";
import { generateCommand, otlpSettings } from "./otlpSettings.ts";

const USUAL = { grpc: 4317, http: 4318 };

test("the default tenant needs no header", () => {
  expect(otlpSettings("127.0.0.1", "default", USUAL)).toBe(
    "export OTEL_SERVICE_NAME=my-service\n" +
      "export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318\n" +
      "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
  );
  expect(generateCommand("127.0.0.1", "default", USUAL)).toBe(
    "cupola generate --endpoint http://127.0.0.1:4318 --protocol http/protobuf",
  );
});

test("another tenant is named, safe to paste in a shell", () => {
  expect(otlpSettings("cupola.local", "it's", USUAL)).toContain(
    "OTEL_EXPORTER_OTLP_HEADERS='X-Scope-OrgID=it%27s'",
  );
  expect(generateCommand("cupola.local", "it's", USUAL)).toContain("--tenants 'it'\\''s'");
});

test("the ports are those of this server", () => {
  expect(otlpSettings("h", "default", { grpc: 1, http: 2 })).toContain("http://h:2\n");
  expect(otlpSettings("h", "default", { grpc: 1, http: null })).toContain("ENDPOINT=http://h:1\n");
  expect(otlpSettings("h", "default", { grpc: 1, http: null })).toContain("PROTOCOL=grpc");
  expect(otlpSettings("h", "default", { grpc: null, http: null })).toBeNull();
});
