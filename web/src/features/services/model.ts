/** The services table: rates from counts, and its order. Pure. */
import type { Service } from "../../api/models.ts";

export const SORTS = ["name", "rate", "errors", "p50", "p95", "p99"] as const;
export type Sort = (typeof SORTS)[number];

export interface Order {
  readonly sort: Sort;
  readonly descending: boolean;
}

export const DEFAULT_ORDER: Order = { sort: "rate", descending: true };

/** `p95` ascending, `-p95` descending; anything else is the default. */
export function orderFrom(text: string | null): Order {
  if (text === null) return DEFAULT_ORDER;
  const descending = text.startsWith("-");
  const sort = SORTS.find((known) => known === text.replace(/^-/, ""));
  return sort ? { sort, descending } : DEFAULT_ORDER;
}

export function orderText(order: Order): string | null {
  if (order.sort === DEFAULT_ORDER.sort && order.descending === DEFAULT_ORDER.descending) return null;
  return (order.descending ? "-" : "") + order.sort;
}

/** A click on the sorted column turns it round; on another it starts with what one looks for: names up, numbers down. */
export function chooseColumn(order: Order, column: string): Order {
  const sort = SORTS.find((known) => known === column);
  if (!sort) return order;
  if (sort === order.sort) return { sort, descending: !order.descending };
  return { sort, descending: sort !== "name" };
}

export function sortServices(services: readonly Service[], order: Order): Service[] {
  const sign = order.descending ? -1 : 1;
  return [...services].sort((a, b) => sign * compare(a, b, order.sort) || a.name.localeCompare(b.name));
}

function compare(a: Service, b: Service, sort: Sort): number {
  switch (sort) {
    case "name":
      return a.name.localeCompare(b.name);
    case "rate":
      return a.spans - b.spans;
    case "errors":
      return errorShare(a) - errorShare(b);
    default:
      return (a[sort] ?? -1) - (b[sort] ?? -1);
  }
}

/** Spans a second. A store may be younger than the range: what was before its first span is not time without spans. */
export function spanRate(service: Service, spanSeconds: number | null, rangeSeconds: number): number {
  const seconds = Math.min(spanSeconds ?? rangeSeconds, rangeSeconds);
  return seconds > 0 ? service.spans / seconds : 0;
}

export function errorShare(service: Service): number {
  return service.spans === 0 ? 0 : service.errors / service.spans;
}
