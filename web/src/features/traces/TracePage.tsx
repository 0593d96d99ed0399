/** One trace: waterfall on the left, the chosen span with its logs on the right. */
import { useMemo, useState } from "react";
import type { Trace } from "../../api/models.ts";
import { useTrace } from "../../api/queries.ts";
import { counted, formatDuration } from "../../ui/format.ts";
import { Answered, Empty } from "../../ui/States.tsx";
import { View } from "../../ui/View.tsx";
import { Link, navigate, useLocation } from "../../url/navigation.tsx";
import { scopeOf } from "../../url/scope.ts";
import { buildWaterfall, rowIds } from "./model.ts";
import { SpanDetails } from "./SpanDetails.tsx";
import styles from "./Traces.module.css";
import { Waterfall } from "./Waterfall.tsx";

export function TracePage({ traceId }: { readonly traceId: string }) {
  const scope = scopeOf(useLocation());
  const trace = useTrace(scope.tenant, traceId);

  const back = (
    <>
      <code className={styles.quiet}>{traceId}</code>
      <Link to={{ path: "/traces" }}>Latest traces</Link>
      <Link to={{ path: "/logs", params: { trace: traceId } }}>Logs of this trace</Link>
    </>
  );
  return (
    <View title="Trace" tools={back}>
      <Answered query={trace} what="the trace" retry={() => void trace.refetch()}>
        {(found) =>
          found.spans.length === 0 ? <NoSuchTrace tenant={scope.tenant} /> : <OpenTrace trace={found} />
        }
      </Answered>
    </View>
  );
}

function NoSuchTrace({ tenant }: { readonly tenant: string }) {
  return (
    <Empty title="No spans of this trace">
      <p>
        Tenant <code>{tenant}</code> holds no span with this trace id. It may belong to another tenant (change
        it above), may be past its retention, or may still be on its way.
      </p>
    </Empty>
  );
}

function OpenTrace({ trace }: { readonly trace: Trace }) {
  const [closed, setClosed] = useState<ReadonlySet<string>>(new Set());
  const waterfall = useMemo(() => buildWaterfall(trace.spans, trace.logs, closed), [trace, closed]);
  const wanted = useLocation().params.get("span");
  const ids = useMemo(() => rowIds(trace.spans), [trace]);
  const first = waterfall.rows[0];
  const found = wanted === null ? -1 : ids.indexOf(wanted);
  const chosen = trace.spans[found] ?? first?.span;
  const toggle = (id: string) => {
    const next = new Set(closed);
    if (!next.delete(id)) next.add(id);
    setClosed(next);
  };
  const errors = trace.spans.filter((span) => span.status === "error").length;
  return (
    <>
      <p className={styles.summary}>
        {counted(trace.spans.length, "span")},{" "}
        {counted(new Set(trace.spans.map((span) => span.service)).size, "service")},{" "}
        {formatDuration(waterfall.duration)}, {counted(errors, "error")}, {counted(trace.logs.length, "log")}
        {trace.truncated ? ". The trace is larger than one answer: this is its beginning." : ""}
      </p>
      <div className={styles.split}>
        <Waterfall
          waterfall={waterfall}
          chosen={ids[found] ?? first?.id ?? ""}
          choose={(id) => navigate({ params: { span: id } }, { replace: true })}
          toggle={toggle}
        />
        {chosen ? (
          <SpanDetails
            span={chosen}
            traceStart={waterfall.start}
            logs={trace.logs.filter((log) => log.spanId === chosen.spanId)}
          />
        ) : null}
      </div>
    </>
  );
}
