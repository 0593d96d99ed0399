/** The severity of a log record: as its sender wrote it, coloured by its level. */

import styles from "./Severity.module.css";
import { levelOf } from "./severity.ts";

export function Severity({ number, text }: { readonly number: number; readonly text: string }) {
  const level = levelOf(number);
  return <span className={level ? styles[level] : styles.none}>{text || level?.toUpperCase() || "–"}</span>;
}
