/** The filters above the logs. Choices act at once, words when they are entered. */
import { useEffect, useState } from "react";
import type { Service } from "../../api/models.ts";
import { ServiceSelect } from "../../ui/ServiceSelect.tsx";
import { LEVELS } from "../../ui/severity.ts";
import { navigate } from "../../url/navigation.tsx";
import styles from "./Logs.module.css";
import type { LogsState } from "./model.ts";

interface LogFiltersProps {
  readonly state: LogsState;
  readonly services: readonly Service[];
  readonly busy: boolean;
  readonly refresh: () => void;
}

function filter(params: Record<string, string | null>): void {
  navigate({ params: { ...params, open: null } });
}

export function LogFilters({ state, services, busy, refresh }: LogFiltersProps) {
  return (
    <>
      <ServiceSelect value={state.service} services={services} onChange={(service) => filter({ service })} />
      <label>
        Level
        <select value={state.level} onChange={(event) => filter({ level: event.target.value })}>
          <option value="">All levels</option>
          {LEVELS.map((level) => (
            <option key={level} value={level}>
              {level} and above
            </option>
          ))}
        </select>
      </label>
      <WordsField words={state.words} />
      {state.trace ? (
        <span className={styles.chip}>
          trace <code>{state.trace.slice(0, 8)}…</code>
          <button type="button" onClick={() => filter({ trace: null })} aria-label="Remove the trace filter">
            ×
          </button>
        </span>
      ) : null}
      <button type="button" onClick={refresh} disabled={busy}>
        Refresh
      </button>
    </>
  );
}

function WordsField({ words }: { readonly words: string }) {
  const [text, setText] = useState(words);
  useEffect(() => setText(words), [words]);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        filter({ words: text.trim() });
      }}
    >
      <label>
        Words
        <input
          type="search"
          value={text}
          placeholder="payment declined"
          title="Bodies with all of these words. Press Enter."
          onChange={(event) => setText(event.target.value)}
        />
      </label>
    </form>
  );
}
