/**
 * The browser's address bar as the one place of view state: a hook that reads it, a function that changes it, and
 * links that do so without loading the page again. Knows no view.
 */
import {
  type AnchorHTMLAttributes,
  type MouseEvent,
  type ReactNode,
  useCallback,
  useSyncExternalStore,
} from "react";
import { hrefFor, type Location, parseLocation, type Target } from "./location.ts";

const CHANGED = "cupola:navigated";

function subscribe(listener: () => void): () => void {
  window.addEventListener("popstate", listener);
  window.addEventListener(CHANGED, listener);
  return () => {
    window.removeEventListener("popstate", listener);
    window.removeEventListener(CHANGED, listener);
  };
}

function currentHref(): string {
  return window.location.pathname + window.location.search;
}

let cached: { href: string; location: Location } | undefined;

/** The same object as long as the address is the same, as React wants it. */
function currentLocation(): Location {
  const href = currentHref();
  if (cached?.href !== href) {
    cached = { href, location: parseLocation(window.location.pathname, window.location.search) };
  }
  return cached.location;
}

export function useLocation(): Location {
  return useSyncExternalStore(subscribe, currentLocation);
}

export interface NavigateOptions {
  /** Do not leave the current address in the history: for refinements such as typing in a filter. */
  readonly replace?: boolean;
}

export function navigate(target: Target, options: NavigateOptions = {}): void {
  const href = hrefFor(currentLocation(), target);
  if (href === currentHref()) return;
  if (options.replace) window.history.replaceState(null, "", href);
  else window.history.pushState(null, "", href);
  window.dispatchEvent(new Event(CHANGED));
}

interface LinkProps extends Omit<AnchorHTMLAttributes<HTMLAnchorElement>, "href"> {
  readonly to: Target;
  readonly children: ReactNode;
}

/** A real link (middle click, copy address), followed in place on a plain click. */
export function Link({ to, children, onClick, ...rest }: LinkProps) {
  const location = useLocation();
  const follow = useCallback(
    (event: MouseEvent<HTMLAnchorElement>) => {
      onClick?.(event);
      const plain =
        event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
      if (event.defaultPrevented || !plain) return;
      event.preventDefault();
      navigate(to);
    },
    [to, onClick],
  );
  return (
    <a {...rest} href={hrefFor(location, to)} onClick={follow}>
      {children}
    </a>
  );
}
