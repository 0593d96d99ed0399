/** Times, durations, rates and counts as people read them. Pure. */

/** A duration in nanoseconds with three significant digits and its unit: `950 ns`, `12.3 ms`, `2 m 05 s`. */
export function formatDuration(nanoseconds: number): string {
  if (!Number.isFinite(nanoseconds)) return "–";
  const size = Math.abs(nanoseconds);
  if (size < 1e3) return `${Math.round(nanoseconds)} ns`;
  if (size < 1e6) return `${digits(nanoseconds / 1e3)} µs`;
  if (size < 1e9) return `${digits(nanoseconds / 1e6)} ms`;
  if (size < 60e9) return `${digits(nanoseconds / 1e9)} s`;
  const seconds = Math.round(nanoseconds / 1e9);
  if (size < 3_600e9) return `${Math.trunc(seconds / 60)} m ${pad(seconds % 60, 2)} s`;
  return `${Math.trunc(seconds / 3_600)} h ${pad(Math.trunc((seconds % 3_600) / 60), 2)} m`;
}

function digits(value: number): string {
  return String(Number(value.toPrecision(3)));
}

/** A rate per second; small ones per minute or hour, so that a quiet service does not read as dead. */
export function formatRate(perSecond: number): string {
  if (perSecond === 0) return "0 /s";
  if (perSecond >= 0.1) return `${formatCount(perSecond)} /s`;
  if (perSecond * 60 >= 0.1) return `${digits(perSecond * 60)} /min`;
  return `${digits(perSecond * 3_600)} /h`;
}

/** `1 span`, `2 spans`. */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

export function formatCount(value: number): string {
  const size = Math.abs(value);
  if (size < 1_000) return digits(value);
  if (size < 1e6) return `${digits(value / 1e3)} k`;
  if (size < 1e9) return `${digits(value / 1e6)} M`;
  return `${digits(value / 1e9)} G`;
}

export function formatShare(part: number, whole: number): string {
  if (whole === 0 || part === 0) return "0 %";
  const percent = (100 * part) / whole;
  return percent < 0.01 ? "< 0.01 %" : `${Number(percent.toPrecision(2))} %`;
}

/** Wall-clock time in the reader's zone to the millisecond; the date only when it is not today. */
export function formatTime(timestamp: Date, now: Date): string {
  if (Number.isNaN(timestamp.getTime())) return "–";
  const time = `${pad(timestamp.getHours(), 2)}:${pad(timestamp.getMinutes(), 2)}:${pad(timestamp.getSeconds(), 2)}.${pad(timestamp.getMilliseconds(), 3)}`;
  if (timestamp.toDateString() === now.toDateString()) return time;
  return `${timestamp.getFullYear()}-${pad(timestamp.getMonth() + 1, 2)}-${pad(timestamp.getDate(), 2)} ${time}`;
}

function pad(value: number, width: number): string {
  return String(value).padStart(width, "0");
}
