import { describe, expect, test } from "vitest";
import type { Service } from "../../api/models.ts";
import { chooseColumn, DEFAULT_ORDER, orderFrom, orderText, sortServices, spanRate } from "./model.ts";

function service(name: string, spans: number, errors: number, p95: number | null): Service {
  return { name, spans, errors, logs: 0, p50: p95, p95, p99: p95 };
}

const cart = service("cart", 100, 50, 5);
const web = service("web", 1_000, 10, 9);
const idle = service("idle", 0, 0, null);

test("a rate is over the time there were spans, not over a range that began before them", () => {
  expect(spanRate(cart, 50, 3_600)).toBe(2);
  expect(spanRate(cart, 7_200, 1_000)).toBe(0.1);
  expect(spanRate(idle, null, 3_600)).toBe(0);
});

describe("the order of services", () => {
  test("is by rate, busiest first, unless the address says otherwise", () => {
    expect(sortServices([cart, idle, web], orderFrom(null))).toEqual([web, cart, idle]);
    expect(sortServices([web, idle, cart], orderFrom("name"))).toEqual([cart, idle, web]);
    expect(sortServices([web, idle, cart], orderFrom("-errors"))).toEqual([cart, web, idle]);
    expect(sortServices([web, idle, cart], orderFrom("p95"))).toEqual([idle, cart, web]);
    expect(orderFrom("-colour")).toEqual(DEFAULT_ORDER);
  });

  test("goes into the address and comes back", () => {
    expect(orderText(DEFAULT_ORDER)).toBeNull();
    for (const text of ["name", "-p99", "errors"]) expect(orderText(orderFrom(text))).toBe(text);
  });

  test("turns round on a second click, and starts numbers at the top", () => {
    expect(chooseColumn(DEFAULT_ORDER, "p99")).toEqual({ sort: "p99", descending: true });
    expect(chooseColumn({ sort: "p99", descending: true }, "p99")).toEqual({
      sort: "p99",
      descending: false,
    });
    expect(chooseColumn(DEFAULT_ORDER, "name")).toEqual({ sort: "name", descending: false });
    expect(chooseColumn(DEFAULT_ORDER, "colour")).toBe(DEFAULT_ORDER);
  });
});
