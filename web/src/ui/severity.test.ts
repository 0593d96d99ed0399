import { expect, test } from "vitest";
import { levelFrom, levelOf } from "./severity.ts";

test.each([
  [0, undefined],
  [1, "trace"],
  [4, "trace"],
  [5, "debug"],
  [9, "info"],
  [16, "warn"],
  [17, "error"],
  [24, "fatal"],
  [25, undefined],
])("severity number %d is %s", (number, level) => expect(levelOf(number)).toBe(level));

test("only known levels are taken from the address", () => {
  expect(levelFrom("warn")).toBe("warn");
  expect(levelFrom("loud")).toBeUndefined();
  expect(levelFrom(null)).toBeUndefined();
});
