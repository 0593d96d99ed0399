import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";
import { Answered, type Asked } from "./States.tsx";

function shown(query: Asked<string>): string {
  const props = { query, what: "logs", retry: () => {}, children: (data: string) => `[${data}]` };
  return renderToStaticMarkup(createElement(Answered<string>, props));
}

test("a failure takes the place of data only where there are none", () => {
  const error = new Error("Cupola did not answer.");
  const nothing = shown({ data: undefined, error, isPlaceholderData: false });
  expect(nothing).toContain("Cupola did not answer.");
  const both = shown({ data: "rows", error, isPlaceholderData: false });
  expect(both).toContain("[rows]");
  expect(both.indexOf("Cupola did not answer.")).toBeLessThan(both.indexOf("[rows]"));
  expect(shown({ data: undefined, error: null, isPlaceholderData: false })).toContain("Loading logs");
});

test("data of the question before are marked as such", () => {
  expect(shown({ data: "rows", error: null, isPlaceholderData: true })).toContain('aria-busy="true"');
  expect(shown({ data: "rows", error: null, isPlaceholderData: false })).toContain('aria-busy="false"');
});
