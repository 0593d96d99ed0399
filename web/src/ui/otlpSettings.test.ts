import { expect, test } from "vitest";
import { otlpSettings } from "./otlpSettings.ts";

test("the default tenant needs no header", () => {
  expect(otlpSettings("127.0.0.1", "default")).toBe(
    "export OTEL_SERVICE_NAME=my-service\n" +
      "export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318\n" +
      "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
  );
});

test("another tenant is named in a header, safe to paste in a shell", () => {
  expect(otlpSettings("cupola.local", "it's")).toContain("OTEL_EXPORTER_OTLP_HEADERS='X-Scope-OrgID=it%27s'");
});
