/** What a statement came to. */
import type { SqlResult } from "../../api/models.ts";
import { ErrorState, Loading } from "../../ui/States.tsx";
import { type Column, Table } from "../../ui/Table.tsx";
import { cellText, isNumeric, ROWS_SHOWN_MAX, summary } from "./model.ts";
import styles from "./Sql.module.css";

export type Run =
  | { readonly state: "idle" }
  | { readonly state: "running" }
  | { readonly state: "cancelled" }
  | { readonly state: "failed"; readonly error: Error }
  | { readonly state: "done"; readonly result: SqlResult };

export function ResultPanel({ run }: { readonly run: Run }) {
  switch (run.state) {
    case "idle":
      return <p className={styles.quiet}>Run the statement with the button or Ctrl+Enter.</p>;
    case "running":
      return <Loading what="the result" />;
    case "cancelled":
      return (
        <p role="status" className={styles.quiet}>
          Cancelled.
        </p>
      );
    case "failed":
      return <ErrorState error={run.error} />;
    case "done":
      return <ResultTable result={run.result} />;
  }
}

function ResultTable({ result }: { readonly result: SqlResult }) {
  const columns = result.columns.map(
    (column, index): Column<readonly unknown[]> => ({
      id: String(index),
      title: (
        <>
          {column.name} <span className={styles.type}>{column.type}</span>
        </>
      ),
      numeric: isNumeric(column),
      cell: (row) => <span className={styles.cell}>{cellText(row[index])}</span>,
    }),
  );
  return (
    <>
      <p role="status">{summary(result.rows.length, result.elapsedMs, result.rowsScanned)}</p>
      {result.rows.length > 0 ? (
        <Table
          caption="Result"
          columns={columns}
          rows={result.rows.slice(0, ROWS_SHOWN_MAX)}
          rowKey={(_row, index) => String(index)}
        />
      ) : null}
    </>
  );
}
