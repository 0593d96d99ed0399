/** The spans of a trace as a tree on a time axis. One tab stop; arrow keys walk it, as in any tree. */
import { type KeyboardEvent, useEffect, useRef } from "react";
import { classes } from "../../ui/classes.ts";
import { seriesColor } from "../../ui/color.ts";
import { formatDuration } from "../../ui/format.ts";
import { Swatch } from "../../ui/Swatch.tsx";
import { moveSelection, timeMarks, type Waterfall as WaterfallModel, type WaterfallRow } from "./model.ts";
import styles from "./Waterfall.module.css";

/** Of the width of the axis: the rest is room for what stands beside a bar that lasts to the end. */
const BARS_SHARE = 0.84;

function percent(share: number): string {
  return `${share * BARS_SHARE * 100}%`;
}

interface WaterfallProps {
  readonly waterfall: WaterfallModel;
  /** Id of a row. */
  readonly chosen: string;
  readonly choose: (id: string) => void;
  readonly toggle: (id: string) => void;
}

export function Waterfall({ waterfall, chosen, choose, toggle }: WaterfallProps) {
  const { rows } = waterfall;
  const found = rows.findIndex((row) => row.id === chosen);
  const current = Math.max(0, found);
  const tree = useRef<HTMLDivElement>(null);

  // Focus follows the selection, but only once the reader is in the tree: opening a trace must not steal it.
  useEffect(() => {
    const element = tree.current;
    if (!element?.contains(document.activeElement)) return;
    element.querySelector<HTMLElement>(`[data-row="${current}"]`)?.focus();
  }, [current]);

  const onKeyDown = (event: KeyboardEvent) => {
    const row = rows[current];
    if (!row) return;
    const opens = event.key === "ArrowRight" && !row.open && row.children > 0;
    const closes = event.key === "ArrowLeft" && row.open && row.children > 0;
    if (opens || closes || event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (row.children > 0) toggle(row.id);
      return;
    }
    const next = moveSelection(rows, current, event.key);
    const target = rows[next];
    if (next === current || !target) return;
    event.preventDefault();
    choose(target.id);
  };

  return (
    <div className={styles.waterfall}>
      <TimeAxis duration={waterfall.duration} />
      <div role="tree" aria-label="Spans" ref={tree} onKeyDown={onKeyDown}>
        {rows.map((row, index) => (
          <Row
            key={row.id}
            row={row}
            index={index}
            current={index === current}
            choose={choose}
            toggle={toggle}
          />
        ))}
      </div>
      {waterfall.hiddenRows > 0 ? (
        <p className={styles.more}>
          {waterfall.hiddenRows} more spans are not shown; close branches to see them.
        </p>
      ) : null}
    </div>
  );
}

function TimeAxis({ duration }: { readonly duration: number }) {
  return (
    <div className={styles.axis} aria-hidden="true">
      <span />
      <span className={styles.marks}>
        {timeMarks(duration, 5).map((mark) => (
          <span key={mark.share} style={{ left: percent(mark.share) }}>
            {formatDuration(mark.offset)}
          </span>
        ))}
      </span>
    </div>
  );
}

interface RowProps {
  readonly row: WaterfallRow;
  readonly index: number;
  readonly current: boolean;
  readonly choose: (id: string) => void;
  readonly toggle: (id: string) => void;
}

function Row({ row, index, current, choose, toggle }: RowProps) {
  const { span } = row;
  const failed = span.status === "error";
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree as a whole handles the keys
    <div
      role="treeitem"
      className={classes(styles.row, current && styles.current)}
      data-row={index}
      tabIndex={current ? 0 : -1}
      aria-level={row.depth + 1}
      aria-selected={current}
      aria-expanded={row.children > 0 ? row.open : undefined}
      onClick={() => choose(row.id)}
    >
      <span className={styles.name} style={{ paddingLeft: `${8 + Math.min(row.depth, 24) * 14}px` }}>
        <Toggle row={row} toggle={toggle} />
        <Swatch color={seriesColor(span.service)} />
        <span className={styles.service}>{span.service}</span>
        <span className={classes(failed && styles.failed)}>{span.name || "(no name)"}</span>
        {failed ? <span className="visually-hidden">error</span> : null}
        {row.orphan ? <span className={styles.note}>parent missing</span> : null}
      </span>
      <span className={styles.track}>
        <span
          className={classes(styles.bar, failed && styles.failedBar)}
          style={{
            left: percent(row.left),
            width: `max(2px, ${percent(row.width)})`,
            background: seriesColor(span.service),
          }}
        />
        <span className={styles.duration} style={durationPlace(row)}>
          {formatDuration(span.duration)}
          {row.logs > 0 ? ` · ${row.logs} ${row.logs === 1 ? "log" : "logs"}` : ""}
        </span>
      </span>
    </div>
  );
}

function Toggle({ row, toggle }: { readonly row: WaterfallRow; readonly toggle: (id: string) => void }) {
  if (row.children === 0) return <span className={styles.toggle} />;
  return (
    // For the mouse only: keys go to the tree.
    <span
      className={styles.toggle}
      aria-hidden="true"
      onClick={(event) => {
        event.stopPropagation();
        toggle(row.id);
      }}
    >
      {row.open ? "▾" : "▸"}
    </span>
  );
}

/** After the bar, or before it where it ends late and begins late. */
function durationPlace(row: WaterfallRow): { left: string } | { right: string } {
  const end = row.left + row.width;
  if (end > 0.75 && row.left > 0.35) return { right: `calc(100% - ${percent(row.left)} + 6px)` };
  return { left: `calc(${percent(end)} + 6px)` };
}
