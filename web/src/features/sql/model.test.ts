import { describe, expect, test } from "vitest";
import {
  ADDRESS_QUERY_CHARS_MAX,
  belongs,
  cellText,
  EXAMPLES,
  isNumeric,
  summary,
  textFor,
} from "./model.ts";

test("cells show values as they are, and nothing for null", () => {
  expect(cellText(null)).toBe("");
  expect(cellText("a")).toBe("a");
  expect(cellText(0)).toBe("0");
  expect(cellText(false)).toBe("false");
  expect(cellText({ a: [1] })).toBe('{"a":[1]}');
});

test("numbers are told by the type of their column", () => {
  for (const type of ["int64", "uint32", "float64", "duration"])
    expect(isNumeric({ name: "", type })).toBe(true);
  for (const type of ["text", "timestamp", "list<int64>"]) expect(isNumeric({ name: "", type })).toBe(false);
});

test("the summary says what was cut", () => {
  expect(summary(1, 3, 0)).toBe("1 row in 3 ms");
  expect(summary(12_345, 70, 5_000_000)).toBe(
    "12,345 rows, the first 1000 shown in 70 ms, 5,000,000 rows read",
  );
});

describe("the address", () => {
  const long = `SELECT ${"1, ".repeat(ADDRESS_QUERY_CHARS_MAX)} 1`;

  test("brings its statement into the box", () => {
    expect(textFor("SELECT 1", "SELECT 2")).toBe("SELECT 1");
    expect(textFor(null, "SELECT 2")).toBe(EXAMPLES[0]?.query);
    expect(textFor(null, long)).toBe(long);
  });

  test("shows what came of its statement, for its tenant only", () => {
    const asked = { tenant: "acme", query: "SELECT 1" };
    expect(belongs(asked, "acme", "SELECT 1")).toBe(true);
    expect(belongs(asked, "globex", "SELECT 1")).toBe(false);
    expect(belongs(asked, "acme", "SELECT 2")).toBe(false);
    expect(belongs(asked, "acme", null)).toBe(false);
    expect(belongs({ tenant: "acme", query: long }, "acme", null)).toBe(true);
  });
});
