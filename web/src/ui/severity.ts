/** Severity numbers of OpenTelemetry (1 to 24, in steps of four) as the levels people filter by. Pure. */

export const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"] as const;
export type Level = (typeof LEVELS)[number];

/** The level of a severity number; undefined for 0 ("unspecified") and for numbers outside the standard. */
export function levelOf(severityNumber: number): Level | undefined {
  if (severityNumber < 1 || severityNumber > 24) return undefined;
  return LEVELS[Math.floor((severityNumber - 1) / 4)];
}

export function levelFrom(text: string | null): Level | undefined {
  return LEVELS.find((level) => level === text);
}
