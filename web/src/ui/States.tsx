/** What a view shows instead of data, or around it: loading, an error, nothing found. Each says what can be done. */
import type { ReactNode } from "react";
import { ApiError } from "../api/client.ts";
import { classes } from "./classes.ts";
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

/** As much of a query of the cache as showing it takes. */
export interface Asked<T> {
  readonly data: T | undefined;
  readonly error: Error | null;
  /** The data answer the question before this one. */
  readonly isPlaceholderData: boolean;
}

interface AnsweredProps<T> {
  readonly query: Asked<T>;
  readonly what: string;
  readonly retry: () => void;
  readonly children: (data: T) => ReactNode;
}

/** The data once there are some. A failure after that stands above them and does not take them away. */
export function Answered<T>({ query, what, retry, children }: AnsweredProps<T>) {
  const { data, error, isPlaceholderData } = query;
  if (data === undefined) return error ? <ErrorState error={error} retry={retry} /> : <Loading what={what} />;
  return (
    <>
      {error ? <ErrorState error={error} retry={retry} /> : null}
      <div
        className={classes(styles.answer, isPlaceholderData && styles.stale)}
        aria-busy={isPlaceholderData}
      >
        {children(data)}
      </div>
    </>
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
