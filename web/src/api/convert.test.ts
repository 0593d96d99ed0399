import { describe, expect, test } from "vitest";
import { attributesOf, instantOf, logOf } from "./convert.ts";

describe("instants", () => {
  test("keep all nine digits", () => {
    expect(instantOf("1970-01-01T00:00:01.000000002Z")).toBe(1_000_000_002n);
    expect(instantOf("2026-01-31T12:00:00.123456789Z") % 1_000_000_000n).toBe(123_456_789n);
    expect(instantOf("1970-01-01T00:00:00.5Z")).toBe(500_000_000n);
    expect(instantOf("1970-01-01T00:00:01Z")).toBe(1_000_000_000n);
  });

  test("that are none are zero and no fault", () => {
    for (const text of ["", "yesterday", "2026-99-99T00:00:00Z"]) expect(instantOf(text)).toBe(0n);
  });
});

test("attribute names keep their dots and values their types", () => {
  expect(attributesOf({ "http.route": "/a", "http.status": 200, ok: true })).toEqual([
    { key: "http.route", value: "/a" },
    { key: "http.status", value: 200 },
    { key: "ok", value: true },
  ]);
});

test("a structured body is shown as its JSON, a missing one as nothing", () => {
  const wire = {
    timestamp: "",
    severity_number: 9,
    severity_text: "",
    level: "info",
    event_name: "",
    trace_id: "",
    span_id: "",
    service_name: "",
    scope_name: "a",
    scope_version: "1",
    attributes: {},
    resource_attributes: {},
    scope_attributes: {},
  };
  expect(logOf({ ...wire, body: { a: 1 } }).body).toBe('{"a":1}');
  expect(logOf({ ...wire, body: "text" as never })).toMatchObject({ body: "text", scope: "a 1" });
  expect(logOf({ ...wire, body: null }).body).toBe("");
});
