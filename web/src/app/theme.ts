/** The reader's theme, kept in this browser where it keeps anything: some refuse, and the page works without. */

const KEY = "cupola.theme";
export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

/** Where a browser keeps things; reading `localStorage` itself throws where that is forbidden. */
type Keeper = () => Pick<Storage, "getItem" | "setItem">;

const browser: Keeper = () => window.localStorage;

export function readTheme(keeper: Keeper = browser): Theme {
  try {
    const value = keeper().getItem(KEY);
    return THEMES.find((theme) => theme === value) ?? "system";
  } catch {
    return "system";
  }
}

export function keepTheme(theme: Theme, keeper: Keeper = browser): void {
  try {
    keeper().setItem(KEY, theme);
  } catch {
    // It holds until the page is loaded again.
  }
}
