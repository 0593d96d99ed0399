/** A statement, its result, and a way to stop it. The statement that ran is in the address, so a result can be shared. */
import { useEffect, useRef, useState } from "react";
import { runSql } from "../../api/queries.ts";
import { View } from "../../ui/View.tsx";
import { navigate, useLocation } from "../../url/navigation.tsx";
import { scopeOf } from "../../url/scope.ts";
import { EXAMPLES } from "./model.ts";
import { ResultPanel, type Run } from "./ResultPanel.tsx";
import styles from "./Sql.module.css";

/** Longer statements run, but stay out of the address, which servers and browsers cut. */
const ADDRESS_QUERY_CHARS_MAX = 4_000;

export function SqlView() {
  const location = useLocation();
  const { tenant } = scopeOf(location);
  const [text, setText] = useState(() => location.params.get("query") ?? EXAMPLES[0]?.query ?? "");
  const { run, start, cancel } = useRun(tenant);
  const running = run.state === "running";

  const submit = () => {
    if (text.trim() === "" || running) return;
    navigate({ params: { query: text.length <= ADDRESS_QUERY_CHARS_MAX ? text : null } });
    start(text);
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

/** At most one statement at a time; leaving the view or changing the tenant cancels it. */
function useRun(tenant: string) {
  const [run, setRun] = useState<Run>({ state: "idle" });
  const controller = useRef<AbortController | null>(null);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a change of tenant is what ends the run
  useEffect(() => () => controller.current?.abort(), [tenant]);

  const start = (query: string) => {
    controller.current?.abort();
    const mine = new AbortController();
    controller.current = mine;
    setRun({ state: "running" });
    runSql(tenant, query, mine.signal).then(
      (result) => {
        if (!mine.signal.aborted) setRun({ state: "done", result });
      },
      (cause: unknown) => {
        if (mine.signal.aborted)
          setRun((now) =>
            now.state === "running" && controller.current === mine ? { state: "cancelled" } : now,
          );
        else setRun({ state: "failed", error: cause instanceof Error ? cause : new Error(String(cause)) });
      },
    );
  };
  return { run, start, cancel: () => controller.current?.abort() };
}
