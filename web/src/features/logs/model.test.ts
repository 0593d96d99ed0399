import { describe, expect, test } from "vitest";
import type { Attribute, LogRecord } from "../../api/models.ts";
import { parseLocation } from "../../url/location.ts";
import { isFiltered, logsStateOf, PREVIEW_CHARS_MAX, preview, recordKeys } from "./model.ts";

function record(
  at: bigint,
  spanId: string,
  body = "",
  eventName = "",
  attributes: readonly Attribute[] = [],
): LogRecord {
  return { at, spanId, body, eventName, attributes } as LogRecord;
}

describe("the filters in the address", () => {
  test("are read, and what cannot be one is ignored", () => {
    const trace = "0123456789abcdef0123456789abcdef";
    expect(logsStateOf(parseLocation("/logs", `?service=a&level=warn&words=+x+&trace=${trace}`))).toEqual({
      service: "a",
      level: "warn",
      words: "x",
      trace,
      open: "",
    });
    expect(isFiltered(logsStateOf(parseLocation("/logs", "?level=loud&trace=zz&words=++")))).toBe(false);
    expect(isFiltered(logsStateOf(parseLocation("/logs", "?words=x")))).toBe(true);
  });
});

test("records of one instant and span have different keys", () => {
  expect(recordKeys([record(1n, "a"), record(1n, "a"), record(1n, ""), record(2n, "a")])).toEqual([
    "1-a",
    "1-a-1",
    "1-0",
    "2-a",
  ]);
});

describe("the preview of a record", () => {
  test("is its first line, or its event name", () => {
    expect(preview(record(1n, "", "one\ntwo"))).toBe("one…");
    expect(preview(record(1n, "", "", "user.login"))).toBe("user.login");
    expect(preview(record(1n, "", "short"))).toBe("short");
  });

  test("names the exception that the body does not name", () => {
    const exception = [
      { key: "exception.type", value: "ValueError" },
      { key: "exception.message", value: "no such item" },
    ];
    expect(preview(record(1n, "", "cannot reserve\nmore", "", exception))).toBe(
      "cannot reserve · ValueError: no such item",
    );
    expect(preview(record(1n, "", "failed: no such item", "", exception))).toBe(
      "failed: no such item · ValueError",
    );
    expect(preview(record(1n, "", "", "", exception))).toBe("ValueError: no such item");
  });

  test("is bounded", () => {
    expect(preview(record(1n, "", "x".repeat(1e6)))).toHaveLength(PREVIEW_CHARS_MAX + 1);
  });
});
