/** What a view shows instead of data: loading, an error, or nothing found. Each says what can be done about it. */
import type { ReactNode } from "react";
import { ApiError } from "../api/client.ts";
import styles from "./States.module.css";

export function Loading({ what }: { readonly what: string }) {
  return (
    <p className={styles.state} role="status">
      Loading {what}…
    </p>
  );
}

export function ErrorState({ error, retry }: { readonly error: Error; readonly retry?: () => void }) {
  return (
    <div className={styles.error} role="alert">
      <p className={styles.message}>{error.message}</p>
      {error instanceof ApiError && error.hint ? (
        <p>
          <strong>Hint:</strong> {error.hint}
        </p>
      ) : null}
      {retry ? (
        <button type="button" onClick={retry}>
          Try again
        </button>
      ) : null}
    </div>
  );
}

export function Empty({ title, children }: { readonly title: string; readonly children: ReactNode }) {
  return (
    <section className={styles.empty} aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}
