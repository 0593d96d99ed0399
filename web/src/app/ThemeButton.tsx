/** Light, dark, or as the system says. A matter of the reader and not of the view, so kept beside the address. */
import { useEffect, useState } from "react";
import { keepTheme, readTheme, THEMES, type Theme } from "./theme.ts";

export function ThemeButton() {
  const [theme, setTheme] = useState<Theme>(() => readTheme());
  useEffect(() => {
    if (theme === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
    keepTheme(theme);
  }, [theme]);
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";
  return (
    <button type="button" onClick={() => setTheme(next)} title={`Change to ${next}`}>
      Theme: {theme}
    </button>
  );
}
