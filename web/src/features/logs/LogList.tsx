/** Log records as a list of lines that open into everything the record carries. */
import { dateOf, type LogRecord } from "../../api/models.ts";
import { Attributes } from "../../ui/Attributes.tsx";
import { classes } from "../../ui/classes.ts";
import { formatTime } from "../../ui/format.ts";
import { Severity } from "../../ui/Severity.tsx";
import { Link } from "../../url/navigation.tsx";
import styles from "./Logs.module.css";
import { preview, recordKeys } from "./model.ts";

interface LogListProps {
  readonly records: readonly LogRecord[];
  /** Key of the open record, or empty. */
  readonly open: string;
  readonly setOpen: (key: string | null) => void;
}

export function LogList({ records, open, setOpen }: LogListProps) {
  const keys = recordKeys(records);
  const now = new Date();
  return (
    <ol className={styles.list} aria-label="Logs, newest first">
      {records.map((record, index) => {
        const key = keys[index] ?? String(index);
        const isOpen = key === open;
        return (
          <li key={key} className={classes(styles.item, isOpen && styles.open)}>
            <button
              type="button"
              className={styles.line}
              aria-expanded={isOpen}
              onClick={() => setOpen(isOpen ? null : key)}
            >
              <time className={styles.time}>{formatTime(dateOf(record.at), now)}</time>
              <span className={styles.level}>
                <Severity number={record.severityNumber} text={record.severityText} />
              </span>
              <span className={styles.service}>{record.service || "–"}</span>
              <span className={styles.body}>{preview(record)}</span>
            </button>
            {isOpen ? <Details record={record} /> : null}
          </li>
        );
      })}
    </ol>
  );
}

function Details({ record }: { readonly record: LogRecord }) {
  return (
    <div className={styles.details}>
      {record.body ? <pre className={styles.fullBody}>{record.body}</pre> : null}
      <p>
        {record.traceId ? (
          <Link to={{ path: `/traces/${record.traceId}`, params: { span: record.spanId } }}>
            Open its trace
          </Link>
        ) : (
          <span className={styles.quiet}>It belongs to no trace.</span>
        )}
        {record.eventName ? (
          <>
            {" "}
            · event <code>{record.eventName}</code>
          </>
        ) : null}
        {record.scope ? (
          <>
            {" "}
            · scope <code>{record.scope}</code>
          </>
        ) : null}
      </p>
      <Attributes title="Attributes" items={record.attributes} />
      <Attributes title="Resource" items={record.resource} />
    </div>
  );
}
