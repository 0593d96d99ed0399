import { describe, expect, test } from "vitest";
import type { LogRecord, Span } from "../../api/models.ts";
import { buildWaterfall, moveSelection, rowIds, timeMarks, WATERFALL_ROWS_MAX } from "./model.ts";

function span(spanId: string, parentSpanId: string, start: number, duration: number): Span {
  return {
    spanId,
    parentSpanId,
    name: spanId,
    service: "s",
    kind: "internal",
    start: BigInt(start),
    duration,
    status: "unset",
    statusMessage: "",
    scope: "",
    attributes: [],
    resource: [],
    events: [],
    links: [],
  };
}

function shape(spans: Span[], closed: string[] = []): string[] {
  return buildWaterfall(spans, [], new Set(closed)).rows.map(
    (row) => "  ".repeat(row.depth) + row.span.spanId + (row.orphan ? "?" : ""),
  );
}

describe("the rows of a waterfall", () => {
  const tree = [span("c", "a", 30, 10), span("b", "a", 10, 15), span("a", "", 0, 100), span("d", "b", 12, 3)];

  test("stand below their parents in the order of time", () => {
    expect(shape(tree)).toEqual(["a", "  b", "    d", "  c"]);
  });

  test("hide below a closed branch, which still counts them", () => {
    expect(shape(tree, ["b"])).toEqual(["a", "  b", "  c"]);
    const rows = buildWaterfall(tree, [], new Set(["a"])).rows;
    expect(rows[0]).toMatchObject({ open: false, children: 2, descendants: 3 });
  });

  test("place their bars within the whole trace", () => {
    const { rows, start, duration } = buildWaterfall(tree, [], new Set());
    expect([start, duration]).toEqual([0n, 100]);
    expect(rows[1]).toMatchObject({ left: 0.1, width: 0.15 });
  });

  test("count the logs of each span", () => {
    const log = { spanId: "b" } as LogRecord;
    expect(buildWaterfall(tree, [log, log], new Set()).rows[1]?.logs).toBe(2);
  });

  test("show every span once, whatever the parents say", () => {
    expect(shape([span("x", "lost", 5, 1), span("a", "", 0, 9)])).toEqual(["a", "x?"]);
    expect(shape([span("a", "a", 0, 1)])).toEqual(["a?"]);
    expect(shape([span("a", "b", 0, 1), span("b", "a", 1, 1), span("c", "b", 2, 1)])).toEqual([
      "a?",
      "  b",
      "    c",
    ]);
    expect(shape([span("a", "", 0, 1), span("a", "", 2, 1)])).toEqual(["a", "a"]);
  });

  test("are told apart where applications send one span id twice", () => {
    const twice = [span("a", "", 0, 9), span("b", "a", 1, 1), span("b", "a", 3, 1), span("c", "b", 4, 1)];
    const ids = (closed: string[]) => buildWaterfall(twice, [], new Set(closed)).rows.map((row) => row.id);
    expect(ids([])).toEqual(["a", "b", "c", "b-2"]);
    expect(ids(["b-2"])).toEqual(["a", "b", "c", "b-2"]);
    expect(ids(["b"])).toEqual(["a", "b", "b-2"]);
    expect(rowIds(twice)).toEqual(["a", "b", "b-2", "c"]);
  });

  test("take a trace of no time and one of no spans", () => {
    expect(buildWaterfall([span("a", "", 7, 0)], [], new Set()).rows[0]).toMatchObject({ left: 0, width: 1 });
    expect(buildWaterfall([], [], new Set()).rows).toEqual([]);
  });

  test("are bounded, and take a trace as deep as it is long", () => {
    const deep = Array.from({ length: 5_000 }, (_, index) =>
      span(`s${index}`, index ? `s${index - 1}` : "", index, 1),
    );
    const waterfall = buildWaterfall(deep, [], new Set());
    expect(waterfall.rows).toHaveLength(WATERFALL_ROWS_MAX);
    expect(waterfall.hiddenRows).toBe(3_000);
    expect(waterfall.rows[0]?.descendants).toBe(4_999);
  });
});

test("arrow keys walk the tree", () => {
  const { rows } = buildWaterfall(
    [span("a", "", 0, 9), span("b", "a", 1, 1), span("c", "a", 2, 1)],
    [],
    new Set(),
  );
  expect(moveSelection(rows, 0, "ArrowDown")).toBe(1);
  expect(moveSelection(rows, 2, "ArrowDown")).toBe(2);
  expect(moveSelection(rows, 0, "ArrowUp")).toBe(0);
  expect(moveSelection(rows, 2, "ArrowLeft")).toBe(0);
  expect(moveSelection(rows, 0, "ArrowRight")).toBe(1);
  expect(moveSelection(rows, 1, "ArrowRight")).toBe(1);
  expect(moveSelection(rows, 1, "End")).toBe(2);
  expect(moveSelection(rows, 1, "Home")).toBe(0);
  expect(moveSelection(rows, 1, "x")).toBe(1);
});

test("time marks span the trace", () => {
  expect(timeMarks(100, 3)).toEqual([
    { share: 0, offset: 0 },
    { share: 0.5, offset: 50 },
    { share: 1, offset: 100 },
  ]);
});
