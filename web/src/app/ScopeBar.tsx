/** Whose data and which stretch of time: two fields that every view obeys, kept in the address. */
import { useEffect, useId, useState } from "react";
import { navigate, useLocation } from "../url/navigation.tsx";
import { DEFAULT_RANGE, DEFAULT_TENANT, isTenant, RANGES, scopeOf } from "../url/scope.ts";
import styles from "./App.module.css";

export function ScopeBar() {
  const { tenant, range } = scopeOf(useLocation());
  return (
    <div className={styles.scope}>
      <TenantField tenant={tenant} />
      <label>
        Range
        <select
          value={range.id}
          onChange={(event) =>
            navigate({
              params: { range: event.target.value === DEFAULT_RANGE.id ? null : event.target.value },
            })
          }
        >
          {RANGES.map((choice) => (
            <option key={choice.id} value={choice.id}>
              {choice.title}
            </option>
          ))}
        </select>
      </label>
    </div>
  );
}

const TENANT_RULE = "Letters, digits and !_.*'()- up to 150.";

function TenantField({ tenant }: { readonly tenant: string }) {
  const [text, setText] = useState(tenant);
  useEffect(() => setText(tenant), [tenant]);
  const wanted = text.trim() || DEFAULT_TENANT;
  const valid = isTenant(wanted);
  const problem = useId();
  const apply = () => {
    if (valid) navigate({ params: { tenant: wanted === DEFAULT_TENANT ? null : wanted } });
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        apply();
      }}
    >
      <label>
        Tenant
        <input
          value={text}
          spellCheck={false}
          autoComplete="off"
          aria-invalid={!valid}
          aria-describedby={valid ? undefined : problem}
          title={`The tenant whose data is shown (X-Scope-OrgID). ${TENANT_RULE}`}
          onChange={(event) => setText(event.target.value)}
          onBlur={apply}
        />
      </label>
      <span id={problem} role="status" className={styles.problem}>
        {valid ? "" : `Not a tenant: the page still shows ${tenant}. ${TENANT_RULE}`}
      </span>
    </form>
  );
}
