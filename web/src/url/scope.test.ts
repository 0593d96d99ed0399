import { describe, expect, test } from "vitest";
import { parseLocation } from "./location.ts";
import { isTenant, scopeOf } from "./scope.ts";

describe("the scope in the address", () => {
  test("falls back to the default tenant and the last hour", () => {
    const scope = scopeOf(parseLocation("/logs", ""));
    expect(scope.tenant).toBe("default");
    expect(scope.range.id).toBe("1h");
  });

  test("reads tenant and range, and ignores what cannot be one", () => {
    expect(scopeOf(parseLocation("/", "?tenant=acme&range=7d"))).toMatchObject({
      tenant: "acme",
      range: { id: "7d" },
    });
    expect(scopeOf(parseLocation("/", "?tenant=../up&range=3y"))).toMatchObject({
      tenant: "default",
      range: { id: "1h" },
    });
  });

  test("accepts the tenants the server accepts", () => {
    for (const good of ["a", "acme-1", "A_b.c!*'()"]) expect(isTenant(good)).toBe(true);
    for (const bad of ["", ".", "..", "a/b", "ä", "a b", "x".repeat(151)]) expect(isTenant(bad)).toBe(false);
  });
});
