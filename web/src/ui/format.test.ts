import { describe, expect, test } from "vitest";
import { formatCount, formatDuration, formatRate, formatShare, formatTime } from "./format.ts";

describe("durations", () => {
  test.each([
    [0, "0 ns"],
    [950, "950 ns"],
    [12_345, "12.3 µs"],
    [4_560_000, "4.56 ms"],
    [1_500_000_000, "1.5 s"],
    [125_000_000_000, "2 m 05 s"],
    [3_723_000_000_000, "1 h 02 m"],
    [Number.NaN, "–"],
  ])("%d ns reads %s", (nanoseconds, text) => expect(formatDuration(nanoseconds)).toBe(text));
});

test("rates of quiet services stay readable", () => {
  expect(formatRate(0)).toBe("0 /s");
  expect(formatRate(12.345)).toBe("12.3 /s");
  expect(formatRate(0.05)).toBe("3 /min");
  expect(formatRate(1 / 3_600)).toBe("1 /h");
});

test("counts and shares", () => {
  expect(formatCount(999)).toBe("999");
  expect(formatCount(12_345)).toBe("12.3 k");
  expect(formatCount(2_500_000)).toBe("2.5 M");
  expect(formatShare(0, 10)).toBe("0 %");
  expect(formatShare(1, 0)).toBe("0 %");
  expect(formatShare(1, 3)).toBe("33 %");
  expect(formatShare(1, 1_000_000)).toBe("< 0.01 %");
});

test("the date is shown only when it is not today", () => {
  const now = new Date(2026, 0, 2, 12, 0, 0);
  expect(formatTime(new Date(2026, 0, 2, 3, 4, 5, 6), now)).toBe("03:04:05.006");
  expect(formatTime(new Date(2026, 0, 1, 3, 4, 5, 6), now)).toBe("2026-01-01 03:04:05.006");
});
