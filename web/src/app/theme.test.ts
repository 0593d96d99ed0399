import { expect, test } from "vitest";
import { keepTheme, readTheme } from "./theme.ts";

test("a theme is kept, and one that is none is the system's", () => {
  const kept = new Map<string, string>();
  const keeper = () => ({
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
  });
  expect(readTheme(keeper)).toBe("system");
  keepTheme("dark", keeper);
  expect(readTheme(keeper)).toBe("dark");
  for (const key of kept.keys()) kept.set(key, "purple");
  expect(readTheme(keeper)).toBe("system");
});

test("a browser that keeps nothing does not break the page", () => {
  const forbidden = () => {
    throw new DOMException("The operation is insecure.", "SecurityError");
  };
  expect(readTheme(forbidden)).toBe("system");
  expect(() => keepTheme("dark", forbidden)).not.toThrow();
});
