/** The page in a browser, against a demo that really runs: everything a first visitor does. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openBrowser, type Session, screenshot, seriousFaults } from "./browser.ts";
import { type RunningCupola, startDemo } from "./cupola.ts";

let cupola: RunningCupola;
let session: Session;

beforeAll(async () => {
  cupola = await startDemo();
  session = await openBrowser();
});

afterAll(async () => {
  await session?.browser.close();
  await cupola?.stop();
});

beforeEach(() => {
  session.faults.length = 0;
});

/** Opens a view and waits until it has something to show, asking again as a visitor would. */
async function open(path: string, selector: string): Promise<void> {
  const { page } = session;
  await page.goto(cupola.url + path);
  // Telemetry takes a moment to arrive on a machine that has just started. In sum less than a test may take: the runner
  // does not stop a test that has timed out, and two would share the page.
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const found = await page
      .waitForSelector(selector, { timeout: 3_000 })
      .then(() => true)
      .catch(() => false);
    if (found) return;
    await page.reload();
  }
  throw new Error(`${path} never showed ${selector}: ${await page.locator("main").innerText()}`);
}

/** How many statements of the tenant are under way. */
async function running(): Promise<number> {
  const headers = { "X-Scope-OrgID": cupola.tenant };
  const answer = await fetch(`${cupola.url}/api/v1/queries`, { headers });
  return ((await answer.json()) as { readonly queries: readonly unknown[] }).queries.length;
}

describe("a visitor", () => {
  test("finds the services with their rates and latencies", async () => {
    const { page, faults } = session;
    await open(`/?tenant=${cupola.tenant}`, "table tbody tr");
    expect(await page.title()).toBe("Services · Cupola");
    expect(await page.locator("tbody tr").count()).toBeGreaterThan(1);
    expect(await page.locator("tbody tr").first().innerText()).toMatch(/\/(s|min|h)/);
    await page.getByRole("button", { name: "p95" }).click();
    expect(page.url()).toContain("sort=-p95");
    await screenshot(page, "services");
    expect(faults).toEqual([]);
  });

  test("opens a trace and reads its waterfall with the keyboard", async () => {
    const { page, faults } = session;
    await open(`/traces?tenant=${cupola.tenant}`, "table tbody tr a");
    await screenshot(page, "traces");
    await page.locator("tbody tr a").first().click();
    await page.waitForSelector("[role=tree] [role=treeitem]");
    expect(page.url()).toMatch(/\/traces\/[0-9a-f]{32}\?tenant=/);
    const rows = page.getByRole("treeitem");
    expect(await rows.count()).toBeGreaterThan(0);
    await rows.first().focus();
    await page.keyboard.press("End");
    await expect.poll(async () => rows.last().getAttribute("aria-selected")).toBe("true");
    expect(page.url()).toContain("span=");
    await page.getByRole("region", { name: "Chosen span" }).waitFor();
    await screenshot(page, "trace");
    expect(await seriousFaults(page)).toEqual([]);
    expect(faults).toEqual([]);
  });

  test("sees traces with errors alone, and all of them again", async () => {
    const { page, faults } = session;
    await open(`/traces?tenant=${cupola.tenant}&errors=1`, "table tbody tr a");
    const errors = page.locator("tbody tr td:last-child");
    const counts = await errors.allInnerTexts();
    expect(counts.length).toBeGreaterThan(0);
    expect(counts.filter((count) => !(Number(count) > 0))).toEqual([]);
    await page.getByLabel("With errors only").uncheck();
    await expect.poll(() => page.url()).not.toContain("errors=");
    await expect.poll(async () => await errors.allInnerTexts(), { timeout: 30_000 }).toContain("0");
    await page.getByLabel("With errors only").check();
    await page.waitForURL(/errors=1/);
    await expect.poll(async () => await errors.allInnerTexts(), { timeout: 30_000 }).not.toContain("0");
    expect(faults).toEqual([]);
  });

  test("reads on to older logs below the newest", async () => {
    const { page, faults } = session;
    await open(`/logs?tenant=${cupola.tenant}`, "button:text-is('Older logs')");
    const records = page.locator("ol[aria-label^=Logs] > li");
    const newest = await records.allInnerTexts();
    await page.getByRole("button", { name: "Older logs" }).click();
    await expect.poll(() => records.count(), { timeout: 30_000 }).toBeGreaterThan(newest.length);
    const all = await records.allInnerTexts();
    expect(all.slice(0, newest.length)).toEqual(newest);
    expect(faults).toEqual([]);
  });

  test("filters the logs and opens a record", async () => {
    const { page, faults } = session;
    await open(`/logs?tenant=${cupola.tenant}`, "ol[aria-label^=Logs] li button");
    const all = await page.locator("ol[aria-label^=Logs] > li").count();
    expect(all).toBeGreaterThan(0);
    await page.getByLabel("Level").selectOption("info");
    await page.waitForURL(/level=info/);
    await page.locator("ol[aria-label^=Logs] li button").first().click();
    await page.waitForSelector("ol[aria-label^=Logs] dl, ol[aria-label^=Logs] li p");
    expect(page.url()).toContain("open=");
    await screenshot(page, "logs");
    await page.getByLabel("Words").fill("no-log-has-this-word");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "No log matches" }).waitFor();
    expect(faults).toEqual([]);
  });

  test("asks in SQL, and is told what is wrong with it", async () => {
    const { page, faults } = session;
    await page.goto(`${cupola.url}/sql?tenant=${cupola.tenant}`);
    const statement = page.getByRole("textbox", { name: /Statement/ });
    // What stands there first must run as it is.
    expect(await statement.inputValue()).toContain("now() - interval '1 hour'");
    await statement.focus();
    await page.keyboard.press("Control+Enter");
    await page.waitForSelector("section[aria-label=Result] tbody tr");
    expect(await page.getByRole("status").filter({ hasText: "rows" }).innerText()).toMatch(/rows? in \d+ ms/);
    await screenshot(page, "sql");
    expect(faults).toEqual([]);
    await statement.fill("SELECT servce_name FROM logs");
    await page.getByRole("button", { name: "Run" }).click();
    await page.getByRole("alert").waitFor();
    expect(await page.getByRole("alert").innerText()).toContain("servce_name");
    // Going back brings back the statement of that address, without the answer to another.
    await page.goBack();
    await expect.poll(() => statement.inputValue()).toContain("now() - interval '1 hour'");
    expect(await page.getByRole("alert").count()).toBe(0);
  });

  test("cancels a statement that runs for too long, on the server too", async () => {
    const { page, faults } = session;
    await page.goto(`${cupola.url}/sql?tenant=${cupola.tenant}`);
    const numbers = "generate_series(1, 100000000)";
    const endless = `SELECT count(*) FROM ${numbers} a, ${numbers} b WHERE (a.value + b.value) % 7 = 3`;
    await page.getByRole("textbox", { name: /Statement/ }).fill(endless);
    await page.getByRole("button", { name: "Run" }).click();
    await expect.poll(running, { timeout: 30_000 }).toBe(1);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("status").filter({ hasText: "Cancelled." }).waitFor();
    await expect.poll(running, { timeout: 30_000 }).toBe(0);
    expect(faults).toEqual([]);
  });

  test("keeps what was shown when the server falls silent, and never shows it as another's", async () => {
    const { page } = session;
    await open(`/logs?tenant=${cupola.tenant}`, "ol[aria-label^=Logs] li button");
    await page.route("**/api/v1/logs?*", (route) => route.abort());
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.getByRole("alert").waitFor();
    expect(await page.locator("ol[aria-label^=Logs] > li").count()).toBeGreaterThan(0);
    await page.getByLabel("Tenant").fill("nobody");
    await page.keyboard.press("Enter");
    await page.waitForURL(/tenant=nobody/);
    expect(await page.locator("ol[aria-label^=Logs] > li").count()).toBe(0);
    await page.unroute("**/api/v1/logs?*");
  });

  test("is told why a tenant cannot be one", async () => {
    const { page } = session;
    await page.goto(`${cupola.url}/services?tenant=${cupola.tenant}`);
    await page.getByLabel("Tenant").fill("no such/tenant");
    await page.getByText("Not a tenant").waitFor();
    expect(await seriousFaults(page)).toEqual([]);
  });

  test("sees how to send telemetry where there is none", async () => {
    const { page, faults } = session;
    await page.goto(`${cupola.url}/services?tenant=nobody`);
    await page.getByRole("heading", { name: "No services yet" }).waitFor();
    expect(await page.locator("pre").first().innerText()).toContain(
      "OTEL_EXPORTER_OTLP_HEADERS='X-Scope-OrgID=nobody'",
    );
    await screenshot(page, "empty");
    expect(faults).toEqual([]);
  });

  test.each(["/services", "/traces", "/logs", "/sql", "/nowhere"])(
    "can use %s without sight or mouse",
    async (path) => {
      for (const colorScheme of ["light", "dark"] as const) {
        await session.page.emulateMedia({ colorScheme });
        await session.page.goto(`${cupola.url}${path}?tenant=${cupola.tenant}`);
        await session.page.waitForSelector("main h1");
        await session.page.waitForLoadState("networkidle");
        if (path !== "/nowhere") await screenshot(session.page, `${path.slice(1)}-${colorScheme}`);
        expect(await seriousFaults(session.page)).toEqual([]);
      }
      await session.page.emulateMedia({ colorScheme: "light" });
    },
  );
});
