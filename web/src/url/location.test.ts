import { describe, expect, test } from "vitest";
import { hrefFor, parseLocation } from "./location.ts";

describe("an address that follows from another", () => {
  const logs = parseLocation("/logs", "?tenant=shop&range=6h&service=cart");

  test("keeps everything on the same path and changes what was asked", () => {
    expect(hrefFor(logs, { params: { level: "warn" } })).toBe(
      "/logs?tenant=shop&range=6h&service=cart&level=warn",
    );
    expect(hrefFor(logs, { params: { service: null } })).toBe("/logs?tenant=shop&range=6h");
    expect(hrefFor(logs, { params: { service: "" } })).toBe("/logs?tenant=shop&range=6h");
  });

  test("carries only the shared parameters to another view", () => {
    expect(hrefFor(logs, { path: "/traces" })).toBe("/traces?tenant=shop&range=6h");
    expect(hrefFor(logs, { path: "/traces/ab", params: { span: "cd" } })).toBe(
      "/traces/ab?tenant=shop&range=6h&span=cd",
    );
  });

  test("has no trailing slash and no empty question mark", () => {
    expect(parseLocation("/logs/", "").path).toBe("/logs");
    expect(hrefFor(parseLocation("/", ""), {})).toBe("/");
  });
});
