/** What the address says about the list of logs. Pure. */
import type { LogRecord } from "../../api/models.ts";
import { levelFrom } from "../../ui/severity.ts";
import type { Location } from "../../url/location.ts";

export interface LogsState {
  readonly service: string;
  /** This severity and above; all when empty. */
  readonly level: string;
  readonly words: string;
  readonly trace: string;
  /** Key of the record that is expanded. */
  readonly open: string;
}

export function logsStateOf(location: Location): LogsState {
  const text = (name: string) => location.params.get(name) ?? "";
  return {
    service: text("service"),
    level: levelFrom(location.params.get("level")) ?? "",
    words: text("words").trim(),
    trace: /^[0-9a-f]{32}$/.test(text("trace")) ? text("trace") : "",
    open: text("open"),
  };
}

export function isFiltered(state: LogsState): boolean {
  return state.service !== "" || state.level !== "" || state.words !== "" || state.trace !== "";
}

/**
 * A name for each record that is the same after a reload. Records have no id, so it is time and span, numbered where
 * several share both.
 */
export function recordKeys(records: readonly LogRecord[]): string[] {
  const seen = new Map<string, number>();
  return records.map((record) => {
    const base = `${record.at}-${record.spanId || "0"}`;
    const count = seen.get(base) ?? 0;
    seen.set(base, count + 1);
    return count === 0 ? base : `${base}-${count}`;
  });
}

/** The first line of a body, cut to a length that no screen exceeds: a body may be a megabyte. */
export const PREVIEW_CHARS_MAX = 400;

/** What was written, and the exception that came with it unless it is named there. */
function withException(record: LogRecord): string {
  const text = record.body || record.eventName;
  const attribute = (key: string) => {
    const value = record.attributes.find((attribute) => attribute.key === key)?.value;
    return typeof value === "string" && !text.includes(value) ? value : "";
  };
  const parts = [attribute("exception.type"), attribute("exception.message")].filter((part) => part !== "");
  return parts.length === 0
    ? text
    : [firstLine(text), parts.join(": ")].filter((part) => part !== "").join(" · ");
}

function firstLine(text: string): string {
  return text.slice(0, PREVIEW_CHARS_MAX).split(/\r?\n/, 1)[0] ?? "";
}

export function preview(record: LogRecord): string {
  const text = withException(record);
  const line = text.slice(0, PREVIEW_CHARS_MAX + 1).split(/\r?\n/, 1)[0] ?? "";
  return line.length < text.length ? `${line.slice(0, PREVIEW_CHARS_MAX)}…` : line;
}
