import { describe, expect, test } from "vitest";
import { apiPath, errorFrom } from "./client.ts";

describe("an error answer", () => {
  test("gives message and hint", () => {
    const error = errorFrom(
      400,
      '{"error":{"message":"no table \\"log\\"","hint":"did you mean \\"logs\\"?"}}',
    );
    expect(error).toMatchObject({ status: 400, message: 'no table "log"', hint: 'did you mean "logs"?' });
    expect(errorFrom(400, '{"message":"no","hint":"yes"}')).toMatchObject({ message: "no", hint: "yes" });
    expect(errorFrom(400, '{"error":"no"}')).toMatchObject({ message: "no", hint: undefined });
  });

  test("survives a body that is not ours", () => {
    expect(errorFrom(502, "<h1>Bad gateway</h1>").message).toBe("<h1>Bad gateway</h1>");
    expect(errorFrom(502, "").message).toBe("Cupola answered with status 502.");
    expect(errorFrom(500, "[1]").message).toBe("[1]");
  });
});

test("parameters that are empty are not sent", () => {
  expect(apiPath("/api/v1/logs", { service: "", limit: 50, words: undefined })).toBe("/api/v1/logs?limit=50");
  expect(apiPath("/api/v1/logs")).toBe("/api/v1/logs");
});
