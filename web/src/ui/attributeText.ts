/** An attribute value as text that shows its type. Pure. */
import type { AttributeValue } from "../api/models.ts";

/** Strings stand bare unless they read as another type: the string `"1"` is quoted, the number `1` is not. */
export function formatValue(value: AttributeValue): string {
  if (typeof value === "string") return readsAsOtherType(value) ? JSON.stringify(value) : value;
  if (value === null || typeof value !== "object") return String(value);
  return JSON.stringify(value, null, 1);
}

function readsAsOtherType(text: string): boolean {
  return text === "" || /^(true|false|null|NaN|[-+]?(Infinity|\d+(\.\d+)?([eE][-+]?\d+)?))$/.test(text);
}
