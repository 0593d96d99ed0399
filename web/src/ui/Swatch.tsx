/** A dot in the colour of a series. Decoration: the name always stands beside it. */
import styles from "./Swatch.module.css";

export function Swatch({ color }: { readonly color: string }) {
  return <span className={styles.swatch} style={{ background: color }} aria-hidden="true" />;
}
