/**
 * The address as data: path and parameters, and how one address follows from another. Pure; the browser is in
 * `navigation.ts`.
 */

export interface Location {
  readonly path: string;
  readonly params: URLSearchParams;
}

/** Parameters to set (a value) or to remove (null, undefined, or the empty string). */
export type ParamChanges = Readonly<Record<string, string | null | undefined>>;

export interface Target {
  /** Stays on the current path when left out. */
  readonly path?: string;
  readonly params?: ParamChanges;
}

/** Parameters that mean the same in every view and so survive going from one to another. */
export const SHARED_PARAMS = ["tenant", "range"] as const;

export function parseLocation(path: string, search: string): Location {
  return { path: path.length > 1 ? path.replace(/\/+$/, "") : path, params: new URLSearchParams(search) };
}

/** The address of `target`, seen from `from`: a change of path drops what belongs to the view left behind. */
export function hrefFor(from: Location, target: Target): string {
  const path = target.path ?? from.path;
  const params = new URLSearchParams();
  for (const [key, value] of from.params) {
    if (path === from.path || (SHARED_PARAMS as readonly string[]).includes(key)) params.append(key, value);
  }
  for (const [key, value] of Object.entries(target.params ?? {})) {
    if (value) params.set(key, value);
    else params.delete(key);
  }
  const search = params.toString();
  return search === "" ? path : `${path}?${search}`;
}
