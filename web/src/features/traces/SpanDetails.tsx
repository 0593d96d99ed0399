/** Everything about one span: what it was, its attributes, events, links, and the logs written during it. */
import { dateOf, type LogRecord, type Span, type SpanEvent, type SpanLink } from "../../api/models.ts";
import { Attributes } from "../../ui/Attributes.tsx";
import { formatDuration, formatTime } from "../../ui/format.ts";
import { Severity } from "../../ui/Severity.tsx";
import { Link } from "../../url/navigation.tsx";
import styles from "./Traces.module.css";

interface SpanDetailsProps {
  readonly span: Span;
  readonly traceStart: bigint;
  readonly logs: readonly LogRecord[];
}

export function SpanDetails({ span, traceStart, logs }: SpanDetailsProps) {
  const offset = (at: bigint) => `+${formatDuration(Number(at - traceStart))}`;
  return (
    <section className={styles.details} aria-label="Chosen span">
      <h2>{span.name || "(no name)"}</h2>
      <p className={styles.quiet}>
        {span.service} · {span.kind} · {formatDuration(span.duration)} · starts {offset(span.start)} (
        {formatTime(dateOf(span.start), new Date())})
      </p>
      {span.status === "error" ? (
        <p className={styles.bad}>Error{span.statusMessage ? `: ${span.statusMessage}` : ""}</p>
      ) : null}
      <SpanLogs logs={logs} offset={offset} />
      <Events events={span.events} offset={offset} />
      <Attributes title="Attributes" items={span.attributes} />
      <Links links={span.links} />
      <Attributes title="Resource" items={span.resource} />
      <p className={styles.ids}>
        span <code>{span.spanId}</code>
        {span.scope ? (
          <>
            {" "}
            · scope <code>{span.scope}</code>
          </>
        ) : null}
      </p>
    </section>
  );
}

type Offset = (at: bigint) => string;

function SpanLogs({ logs, offset }: { readonly logs: readonly LogRecord[]; readonly offset: Offset }) {
  if (logs.length === 0) return null;
  return (
    <section aria-label="Logs of this span">
      <h3>Logs</h3>
      <ol className={styles.plain}>
        {logs.map((log, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: log records have no id, and the list never changes order
          <li key={index}>
            <Severity number={log.severityNumber} text={log.severityText} />{" "}
            <span className={styles.quiet}>{offset(log.at)}</span> {log.body || log.eventName}
          </li>
        ))}
      </ol>
    </section>
  );
}

function Events({ events, offset }: { readonly events: readonly SpanEvent[]; readonly offset: Offset }) {
  if (events.length === 0) return null;
  return (
    <section aria-label="Events">
      <h3>Events</h3>
      <ol className={styles.plain}>
        {events.map((event, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: events have no id, and the list never changes order
          <li key={index}>
            <span className={styles.quiet}>{offset(event.at)}</span> {event.name}
            <Attributes title={`Attributes of ${event.name}`} items={event.attributes} bare />
          </li>
        ))}
      </ol>
    </section>
  );
}

function Links({ links }: { readonly links: readonly SpanLink[] }) {
  if (links.length === 0) return null;
  return (
    <section aria-label="Links">
      <h3>Links</h3>
      <ul className={styles.plain}>
        {links.map((link) => (
          <li key={`${link.traceId}/${link.spanId}`}>
            <Link to={{ path: `/traces/${link.traceId}`, params: { span: link.spanId } }}>
              {link.traceId}
            </Link>
          </li>
        ))}
      </ul>
    </section>
  );
}
