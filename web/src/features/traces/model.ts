/**
 * From the spans of a trace to the rows of a waterfall. Pure. Takes what applications send: spans whose parent never
 * arrived, several roots, clocks that disagree, even a span that is its own ancestor.
 */
import type { LogRecord, Span } from "../../api/models.ts";

/** Rows shown at once. Beyond it the page says how many are left out; closing branches makes room. */
export const WATERFALL_ROWS_MAX = 2_000;

export interface WaterfallRow {
  /** Names the row in the address; see `rowIds`. */
  readonly id: string;
  readonly span: Span;
  readonly depth: number;
  readonly children: number;
  /** Spans below, at any depth. */
  readonly descendants: number;
  readonly open: boolean;
  /** The span names a parent that is not in this trace. */
  readonly orphan: boolean;
  /** Where the bar begins and how long it is, as shares of the whole trace. */
  readonly left: number;
  readonly width: number;
  readonly logs: number;
}

export interface Waterfall {
  readonly start: bigint;
  readonly duration: number;
  readonly rows: readonly WaterfallRow[];
  readonly hiddenRows: number;
}

/**
 * What tells each span from the others: its span id, with a number from the second of the same id on, which applications
 * do send.
 */
export function rowIds(spans: readonly Span[]): string[] {
  const seen = new Map<string, number>();
  return spans.map(({ spanId }) => {
    const count = (seen.get(spanId) ?? 0) + 1;
    seen.set(spanId, count);
    return count === 1 ? spanId : `${spanId}-${count}`;
  });
}

interface Node {
  readonly id: string;
  readonly span: Span;
  readonly orphan: boolean;
  readonly children: Node[];
  descendants: number;
}

export function buildWaterfall(
  spans: readonly Span[],
  logs: readonly LogRecord[],
  closed: ReadonlySet<string>,
): Waterfall {
  const { start, duration } = extentOf(spans);
  const logCounts = new Map<string, number>();
  for (const log of logs) logCounts.set(log.spanId, (logCounts.get(log.spanId) ?? 0) + 1);

  const rows: WaterfallRow[] = [];
  let hiddenRows = 0;
  // A stack and not recursion: traces thousands of spans deep exist.
  const stack = treeOf(spans)
    .map((node) => ({ node, depth: 0 }))
    .reverse();
  for (let entry = stack.pop(); entry; entry = stack.pop()) {
    const { node, depth } = entry;
    const open = !closed.has(node.id);
    if (rows.length < WATERFALL_ROWS_MAX) rows.push(rowOf(node, depth, open));
    else hiddenRows += 1;
    if (!open) continue;
    for (const child of node.children.toReversed()) stack.push({ node: child, depth: depth + 1 });
  }
  return { start, duration, rows, hiddenRows };

  function rowOf(node: Node, depth: number, open: boolean): WaterfallRow {
    return {
      id: node.id,
      span: node.span,
      depth,
      children: node.children.length,
      descendants: node.descendants,
      open,
      orphan: node.orphan,
      left: duration === 0 ? 0 : Number(node.span.start - start) / duration,
      width: duration === 0 ? 1 : node.span.duration / duration,
      logs: logCounts.get(node.span.spanId) ?? 0,
    };
  }
}

function extentOf(spans: readonly Span[]): { start: bigint; duration: number } {
  const first = spans[0];
  if (!first) return { start: 0n, duration: 0 };
  let start = first.start;
  let end = first.start;
  for (const span of spans) {
    const spanEnd = span.start + BigInt(Math.max(0, Math.round(span.duration)));
    if (span.start < start) start = span.start;
    if (spanEnd > end) end = spanEnd;
  }
  return { start, duration: Number(end - start) };
}

/** Roots in order of time, children below their parents; every span appears exactly once. */
function treeOf(spans: readonly Span[]): Node[] {
  const ids = rowIds(spans);
  const nodes: Node[] = spans.map((span, index) => ({
    id: ids[index] ?? span.spanId,
    span,
    orphan: false,
    children: [],
    descendants: 0,
  }));
  const byId = new Map<string, Node>();
  for (const node of nodes) if (!byId.has(node.span.spanId)) byId.set(node.span.spanId, node);

  const roots: Node[] = [];
  for (const node of nodes) {
    const parent = node.span.parentSpanId === "" ? undefined : byId.get(node.span.parentSpanId);
    if (parent && parent !== node) parent.children.push(node);
    else
      roots.push(node.span.parentSpanId === "" ? node : { ...node, children: node.children, orphan: true });
  }
  const reached = order(roots);
  // What no root reaches hangs in a circle: the earliest of it becomes a root, cut loose from its parent.
  for (const node of nodes.toSorted(byStart)) {
    if (reached.has(node.children)) continue;
    const parent = byId.get(node.span.parentSpanId);
    const index = parent?.children.indexOf(node) ?? -1;
    if (parent && index >= 0) parent.children.splice(index, 1);
    const root = { ...node, children: node.children, orphan: true };
    roots.push(root);
    for (const list of order([root])) reached.add(list);
  }
  return roots.sort(byStart);
}

/** Sorts children by time and counts descendants below `roots`; returns the child lists it has seen. */
function order(roots: readonly Node[]): Set<Node[]> {
  const seen = new Set<Node[]>();
  const visited: Node[] = [];
  const stack = [...roots];
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (seen.has(node.children)) continue;
    seen.add(node.children);
    visited.push(node);
    node.children.sort(byStart);
    stack.push(...node.children);
  }
  for (const node of visited.reverse()) {
    node.descendants = node.children.reduce((sum, child) => sum + 1 + child.descendants, 0);
  }
  return seen;
}

function byStart(a: Node, b: Node): number {
  if (a.span.start !== b.span.start) return a.span.start < b.span.start ? -1 : 1;
  return b.span.duration - a.span.duration;
}

/** Instants of `count` equally spaced marks over the trace, as shares and as nanoseconds after its start. */
export function timeMarks(duration: number, count: number): { share: number; offset: number }[] {
  return Array.from({ length: count }, (_, index) => {
    const share = index / (count - 1);
    return { share, offset: share * duration };
  });
}

/** The row an arrow key leads to from `index`; the same row where there is none. */
export function moveSelection(rows: readonly WaterfallRow[], index: number, key: string): number {
  const row = rows[index];
  if (!row) return index;
  switch (key) {
    case "ArrowDown":
      return Math.min(rows.length - 1, index + 1);
    case "ArrowUp":
      return Math.max(0, index - 1);
    case "Home":
      return 0;
    case "End":
      return rows.length - 1;
    case "ArrowRight":
      return row.open && row.children > 0 ? Math.min(rows.length - 1, index + 1) : index;
    case "ArrowLeft":
      for (let above = index - 1; above >= 0; above -= 1) {
        if ((rows[above]?.depth ?? 0) < row.depth) return above;
      }
      return index;
    default:
      return index;
  }
}
