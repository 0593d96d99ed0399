/** A statement, its result, and a way to stop it. The statement that ran is in the address, so a result can be shared. */
import { useEffect, useRef, useState } from "react";
import { runSql } from "../../api/queries.ts";
import { View } from "../../ui/View.tsx";
import { navigate, useLocation } from "../../url/navigation.tsx";
import { scopeOf } from "../../url/scope.ts";
import { type Asked, addressOf, belongs, EXAMPLES, textFor } from "./model.ts";
import { ResultPanel, type Run } from "./ResultPanel.tsx";
import styles from "./Sql.module.css";

export function SqlView() {
  const location = useLocation();
  const { tenant } = scopeOf(location);
  const query = location.params.get("query");
  const [text, setText] = useState(() => textFor(query, ""));
  // Going back and forward brings back the statement of each address; what is being typed changes none.
  const [read, setRead] = useState(query);
  if (query !== read) {
    setRead(query);
    setText(textFor(query, text));
  }
  const { run, start, cancel } = useRun(tenant, query);
  const running = run.state === "running";

  const submit = () => {
    if (text.trim() === "" || running) return;
    navigate({ params: { query: addressOf(text) } });
    start({ tenant, query: text });
  };

  return (
    <View title="SQL">
      <form
        className={styles.editor}
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <label htmlFor="statement">
          Statement{" "}
          <span className={styles.quiet}>over logs, spans, metrics and records of tenant {tenant}</span>
        </label>
        <textarea
          id="statement"
          value={text}
          rows={Math.min(20, Math.max(6, text.split("\n").length + 1))}
          spellCheck={false}
          autoCapitalize="off"
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
              event.preventDefault();
              submit();
            }
          }}
        />
        <div className={styles.actions}>
          <button type="submit" className="primary" disabled={running} title="Ctrl+Enter">
            Run
          </button>
          <button type="button" disabled={!running} onClick={cancel}>
            Cancel
          </button>
          <span className={styles.quiet}>Examples:</span>
          {EXAMPLES.map((example) => (
            <button key={example.title} type="button" onClick={() => setText(example.query)}>
              {example.title}
            </button>
          ))}
        </div>
      </form>
      <ResultPanel run={run} />
    </View>
  );
}

const IDLE: Run = { state: "idle" };

/**
 * At most one statement at a time, shown where it belongs: leaving its tenant or its address cancels it and hides what
 * came of it.
 */
function useRun(tenant: string, query: string | null) {
  const [latest, setLatest] = useState<{ readonly asked: Asked; readonly run: Run } | null>(null);
  const controller = useRef<AbortController | null>(null);
  const left = latest !== null && !belongs(latest.asked, tenant, query);

  useEffect(() => {
    if (left) controller.current?.abort();
  }, [left]);
  useEffect(() => () => controller.current?.abort(), []);

  const start = (asked: Asked) => {
    controller.current?.abort();
    const mine = new AbortController();
    controller.current = mine;
    const show = (run: Run) => {
      if (controller.current === mine) setLatest({ asked, run });
    };
    show({ state: "running" });
    runSql(asked.tenant, asked.query, mine.signal).then(
      (result) => show(mine.signal.aborted ? { state: "cancelled" } : { state: "done", result }),
      (cause: unknown) => {
        if (mine.signal.aborted) show({ state: "cancelled" });
        else show({ state: "failed", error: cause instanceof Error ? cause : new Error(String(cause)) });
      },
    );
  };
  return { run: latest && !left ? latest.run : IDLE, start, cancel: () => controller.current?.abort() };
}
