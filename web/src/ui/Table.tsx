/**
 * A table of rows with typed columns. Sorting is the caller's: it says which column is sorted and what a click on a
 * heading does. Has a caption, so that a screen reader can name it, and scrolls inside itself.
 */
import type { ReactNode } from "react";
import { classes } from "./classes.ts";
import styles from "./Table.module.css";

export interface Column<Row> {
  readonly id: string;
  readonly title: ReactNode;
  readonly cell: (row: Row) => ReactNode;
  readonly numeric?: boolean;
  /** Takes the width that is left and cuts what does not fit. */
  readonly wide?: boolean;
}

export interface Sorting {
  readonly column: string;
  readonly descending: boolean;
  readonly choose: (column: string) => void;
}

interface TableProps<Row> {
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly rowKey: (row: Row, index: number) => string;
  readonly sorting?: Sorting;
}

export function Table<Row>({ caption, columns, rows, rowKey, sorting }: TableProps<Row>) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
    <section className={styles.frame} aria-label={caption} tabIndex={0}>
      <table className={styles.table}>
        <caption className="visually-hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <Heading key={column.id} column={column} {...(sorting ? { sorting } : {})} />
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={rowKey(row, index)}>
              {columns.map((column) => (
                <td key={column.id} className={cellClass(column)}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Heading<Row>({ column, sorting }: { readonly column: Column<Row>; readonly sorting?: Sorting }) {
  if (!sorting) {
    return (
      <th scope="col" className={cellClass(column)}>
        {column.title}
      </th>
    );
  }
  const active = sorting.column === column.id;
  const direction = sorting.descending ? "descending" : "ascending";
  return (
    <th scope="col" className={cellClass(column)} aria-sort={active ? direction : "none"}>
      <button type="button" className={styles.sort} onClick={() => sorting.choose(column.id)}>
        {column.title}
        <span aria-hidden="true">{active ? (sorting.descending ? " ↓" : " ↑") : ""}</span>
      </button>
    </th>
  );
}

function cellClass<Row>(column: Column<Row>): string {
  return classes(column.numeric && styles.numeric, column.wide && styles.wide);
}
