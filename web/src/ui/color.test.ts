import { expect, test } from "vitest";
import { SERIES_COUNT, seriesColor } from "./color.ts";

test("the services of the demo can be told apart", () => {
  const names = ["gateway", "cloud", "api", "worker"];
  expect(new Set(names.map(seriesColor)).size).toBe(names.length);
});

test("a name always has the same colour, and many names use all of them evenly", () => {
  expect(seriesColor("cart")).toBe(seriesColor("cart"));
  const uses = new Map<string, number>();
  for (let index = 0; index < 800; index += 1) {
    const color = seriesColor(`service-${index}`);
    uses.set(color, (uses.get(color) ?? 0) + 1);
  }
  expect(uses.size).toBe(SERIES_COUNT);
  expect(Math.max(...uses.values())).toBeLessThan(150);
});
