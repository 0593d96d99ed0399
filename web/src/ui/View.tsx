/** The frame of a view: its title, its filters, its content. Moves the document title along. */
import { type ReactNode, useEffect } from "react";
import styles from "./View.module.css";

interface ViewProps {
  readonly title: string;
  readonly tools?: ReactNode;
  readonly children: ReactNode;
}

export function View({ title, tools, children }: ViewProps) {
  useEffect(() => {
    document.title = `${title} · Cupola`;
  }, [title]);
  return (
    <main className={styles.view} id="main" tabIndex={-1}>
      <header className={styles.head}>
        <h1>{title}</h1>
        {tools ? <div className={styles.tools}>{tools}</div> : null}
      </header>
      {children}
    </main>
  );
}
