/** The SQL box without its boxes: examples, what belongs to which address, cells as text. Pure. */
import type { ResultColumn } from "../../api/models.ts";

/** Rows put on the page; a statement may return more, which belong in a file or a notebook. */
export const ROWS_SHOWN_MAX = 1_000;

export interface Example {
  readonly title: string;
  readonly query: string;
}

export const EXAMPLES: readonly Example[] = [
  {
    title: "Logs by service and level",
    query: `SELECT service_name, level, count(*) AS records
FROM logs
WHERE timestamp > now() - interval '1 hour'
GROUP BY service_name, level
ORDER BY records DESC`,
  },
  {
    title: "Slowest routes",
    query: `SELECT attributes->>'http.route' AS route, count(*) AS requests,
       approx_percentile_cont(duration, 0.95) / 1e6 AS p95_ms
FROM spans
WHERE timestamp > now() - interval '1 hour' AND attributes->>'http.route' IS NOT NULL
GROUP BY route
ORDER BY p95_ms DESC
LIMIT 20`,
  },
  {
    title: "Errors by minute",
    query: `SELECT time_bucket('1 minute', timestamp) AS minute, count(*) AS errors
FROM logs
WHERE level >= 'error' AND timestamp > now() - interval '1 hour'
GROUP BY minute
ORDER BY minute`,
  },
];

/** Longer statements run, but stay out of the address, which servers and browsers cut. */
export const ADDRESS_QUERY_CHARS_MAX = 4_000;

/** What of a statement stands in the address. */
export function addressOf(query: string): string | null {
  return query.length <= ADDRESS_QUERY_CHARS_MAX ? query : null;
}

/** What stands in the box when the address says `query` and did not before: a statement too long for it stays. */
export function textFor(query: string | null, text: string): string {
  if (query !== null) return query;
  return addressOf(text) === null ? text : (EXAMPLES[0]?.query ?? "");
}

/** A statement that was run, and of whose rows. */
export interface Asked {
  readonly tenant: string;
  readonly query: string;
}

/** Whether what came of `asked` belongs on the page of this tenant with this statement in its address. */
export function belongs(asked: Asked, tenant: string, query: string | null): boolean {
  return asked.tenant === tenant && addressOf(asked.query) === query;
}

export function cellText(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return value;
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

export function isNumeric(column: ResultColumn): boolean {
  return /^(u?int|float|decimal|duration)/.test(column.type);
}

export function summary(rows: number, elapsedMs: number, rowsScanned: number): string {
  const shown = rows > ROWS_SHOWN_MAX ? `, the first ${ROWS_SHOWN_MAX} shown` : "";
  const scanned = rowsScanned > 0 ? `, ${rowsScanned.toLocaleString("en")} rows read` : "";
  return `${rows.toLocaleString("en")} ${rows === 1 ? "row" : "rows"}${shown} in ${elapsedMs} ms${scanned}`;
}
