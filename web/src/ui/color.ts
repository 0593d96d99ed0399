/** A colour per service: the same name has the same colour in every view and on every day. Pure. */

export const SERIES_COUNT = 8;

/** The token of the colour of `name` (FNV-1a over its UTF-16 units, so that it needs no registry of names). */
export function seriesColor(name: string): string {
  let hash = 0x811c9dc5;
  for (let index = 0; index < name.length; index += 1) {
    hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193) >>> 0;
  }
  return `var(--series-${hash % SERIES_COUNT})`;
}
