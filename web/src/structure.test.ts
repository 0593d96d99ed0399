/** Holds the layering of the page: features do not know each other, and what is shared does not know features. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

const SOURCES = import.meta.dirname;

/** For each part, the parts it may import from beside itself. */
const EDGES: Record<string, readonly string[]> = {
  url: [],
  theme: [],
  api: ["url"],
  ui: ["api", "url"],
  features: ["ui", "api", "url"],
  app: ["features", "ui", "api", "url"],
};

function partOf(path: string): string {
  const [part = "", feature = ""] = relative(SOURCES, path).split("/");
  return part === "features" ? `features/${feature}` : part;
}

test("imports follow the table of edges", () => {
  const files = readdirSync(SOURCES, { recursive: true, encoding: "utf8" }).filter((name) =>
    /\/.*\.tsx?$/.test(name),
  );
  expect(files.length).toBeGreaterThan(20);
  const broken: string[] = [];
  for (const name of files) {
    const file = join(SOURCES, name);
    const from = partOf(file);
    for (const [, target = ""] of readFileSync(file, "utf8").matchAll(/from "(\.[^"]+)"/g)) {
      const to = partOf(resolve(dirname(file), target));
      const allowed = EDGES[from.split("/")[0] ?? ""] ?? [];
      if (to !== from && !allowed.includes(to.split("/")[0] ?? "")) broken.push(`${name} imports ${to}`);
      if (to !== from && from.startsWith("features/") && to.startsWith("features/"))
        broken.push(`${name} imports ${to}`);
    }
  }
  expect(broken).toEqual([]);
});
