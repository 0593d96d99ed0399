/** Text to paste elsewhere, with a button that copies it. */
import { useState } from "react";
import styles from "./CopyBlock.module.css";

export function CopyBlock({ title, text }: { readonly title: string; readonly text: string }) {
  const [state, setState] = useState<"idle" | "copied" | "failed">("idle");
  const copy = () => {
    // The clipboard needs a secure context; over plain HTTP on a network address it is missing.
    const clipboard: Clipboard | undefined = navigator.clipboard;
    if (!clipboard) return setState("failed");
    clipboard.writeText(text).then(
      () => setState("copied"),
      () => setState("failed"),
    );
  };
  return (
    <figure className={styles.block}>
      <figcaption>{title}</figcaption>
      <pre>{text}</pre>
      <button type="button" onClick={copy} aria-label={`Copy: ${title}`}>
        {state === "copied" ? "Copied" : "Copy"}
      </button>
      <span role="status" className={styles.note}>
        {state === "failed" ? "The browser refused; select the text instead." : ""}
      </span>
    </figure>
  );
}
