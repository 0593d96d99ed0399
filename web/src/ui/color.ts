/** A colour per service: the same name has the same colour in every view and on every day. Pure. */

export const SERIES_COUNT = 8;

/** Where the hash begins: one with which the services of the demo, which one sees first, have colours of their own. */
const SEED = 0x811ca006;

/** The token of the colour of `name` (FNV-1a over its UTF-16 units, so that it needs no registry of names). */
export function seriesColor(name: string): string {
  let hash = SEED;
  for (let index = 0; index < name.length; index += 1) {
    hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193) >>> 0;
  }
  // Its low bits alone tell similar names badly apart: fold the high ones in (the finalizer of MurmurHash3).
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return `var(--series-${((hash ^ (hash >>> 16)) >>> 0) % SERIES_COUNT})`;
}
