/**
 * What every view is asked about: whose data (tenant) and which stretch of time (range). Both live in the address.
 */
import type { Location } from "./location.ts";

export const DEFAULT_TENANT = "default";

/** The characters Cupola accepts in `X-Scope-OrgID`. */
const TENANT = /^[A-Za-z0-9!_.*'()-]{1,150}$/;

export function isTenant(text: string): boolean {
  return TENANT.test(text) && text !== "." && text !== "..";
}

export interface Range {
  readonly id: string;
  readonly title: string;
  readonly seconds: number;
}

export const RANGES: readonly Range[] = [
  { id: "15m", title: "Last 15 minutes", seconds: 15 * 60 },
  { id: "1h", title: "Last hour", seconds: 3_600 },
  { id: "6h", title: "Last 6 hours", seconds: 6 * 3_600 },
  { id: "24h", title: "Last 24 hours", seconds: 24 * 3_600 },
  { id: "7d", title: "Last 7 days", seconds: 7 * 24 * 3_600 },
];

export const DEFAULT_RANGE: Range = { id: "1h", title: "Last hour", seconds: 3_600 };

export interface Scope {
  readonly tenant: string;
  readonly range: Range;
}

export function scopeOf(location: Location): Scope {
  const tenant = location.params.get("tenant") ?? "";
  const range = RANGES.find((candidate) => candidate.id === location.params.get("range"));
  return { tenant: isTenant(tenant) ? tenant : DEFAULT_TENANT, range: range ?? DEFAULT_RANGE };
}
