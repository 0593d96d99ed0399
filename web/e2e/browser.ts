/** A Chromium from the system with one page, and what went wrong in it. */
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import axe from "axe-core";
import { type Browser, chromium, type Page } from "playwright-core";

/** Where screenshots are kept. */
const OUTPUT = resolve(process.env["CUPOLA_E2E_OUTPUT"] ?? "../target/e2e");

export interface Session {
  readonly browser: Browser;
  readonly page: Page;
  /** Errors the page has thrown or logged, requests refused by its content security policy among them. */
  readonly faults: string[];
}

export async function openBrowser(): Promise<Session> {
  const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
  const browser = await chromium.launch({
    executablePath,
    // As root Chromium has no sandbox of its own; the page under test is ours.
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  });
  // axe-core is put into the page, which the page's own policy would rightly refuse. The policy itself is checked with
  // `faults` in the test that loads every view without it.
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: "light" });
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(message.text());
  });
  return { browser, page, faults };
}

export async function screenshot(page: Page, name: string): Promise<void> {
  mkdirSync(OUTPUT, { recursive: true });
  await page.screenshot({ path: join(OUTPUT, `${name}.png`) });
}

/** Accessibility faults that keep people out, one line each. */
export async function seriousFaults(page: Page): Promise<string[]> {
  // Playwright evaluates outside the page's content security policy.
  await page.evaluate(axe.source);
  const violations = await page.evaluate(async () => {
    const scope = globalThis as unknown as { axe: typeof axe };
    const results = await scope.axe.run(document, { resultTypes: ["violations"] });
    return results.violations.map((violation) => ({
      impact: violation.impact,
      text: `${violation.id}: ${violation.help} at ${violation.nodes[0]?.html ?? ""} ${violation.nodes[0]?.failureSummary ?? ""}`,
    }));
  });
  return violations
    .filter((violation) => violation.impact === "serious" || violation.impact === "critical")
    .map((violation) => violation.text);
}
