import { expect, test } from "vitest";
import { formatValue } from "./attributeText.ts";

test("a value shows its type", () => {
  expect(formatValue("GET")).toBe("GET");
  expect(formatValue("1")).toBe('"1"');
  expect(formatValue(1)).toBe("1");
  expect(formatValue(true)).toBe("true");
  expect(formatValue("true")).toBe('"true"');
  expect(formatValue("")).toBe('""');
  expect(formatValue(null)).toBe("null");
  expect(formatValue(["a", 1])).toBe('[\n "a",\n 1\n]');
});
