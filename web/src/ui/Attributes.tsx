/** Attributes as a two-column list, values with their types: a string is quoted only where it could be mistaken. */
import type { Attribute } from "../api/models.ts";
import styles from "./Attributes.module.css";
import { formatValue } from "./attributeText.ts";

interface AttributesProps {
  readonly title: string;
  readonly items: readonly Attribute[];
  /** Keeps the title for screen readers: what stands above says enough. */
  readonly bare?: boolean;
}

export function Attributes({ title, items, bare = false }: AttributesProps) {
  if (items.length === 0) return null;
  return (
    <section aria-label={title}>
      {bare ? null : <h3 className={styles.title}>{title}</h3>}
      <dl className={styles.list}>
        {items.map((item, index) => (
          // Keys may repeat: what came in is shown, not what should have.
          // biome-ignore lint/suspicious/noArrayIndexKey: the list never changes order
          <div key={index}>
            <dt>{item.key}</dt>
            <dd>{formatValue(item.value)}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
