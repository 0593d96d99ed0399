/** The latest traces, by service and by whether they failed. */
import { dateOf, type TraceSummary } from "../../api/models.ts";
import { useServices, useTraces } from "../../api/queries.ts";
import { seriesColor } from "../../ui/color.ts";
import { formatDuration, formatTime } from "../../ui/format.ts";
import { GettingStarted } from "../../ui/GettingStarted.tsx";
import { ServiceSelect } from "../../ui/ServiceSelect.tsx";
import { Answered, Empty } from "../../ui/States.tsx";
import { Swatch } from "../../ui/Swatch.tsx";
import { type Column, Table } from "../../ui/Table.tsx";
import { View } from "../../ui/View.tsx";
import { Link, navigate, useLocation } from "../../url/navigation.tsx";
import { scopeOf } from "../../url/scope.ts";
import styles from "./Traces.module.css";

export function TraceList() {
  const location = useLocation();
  const scope = scopeOf(location);
  const service = location.params.get("service") ?? "";
  const errorsOnly = location.params.get("errors") === "1";
  const services = useServices(scope);
  const traces = useTraces(scope, { service, errorsOnly });
  const filtered = service !== "" || errorsOnly;

  const tools = (
    <>
      <ServiceSelect
        value={service}
        services={services.data?.services ?? []}
        onChange={(value) => navigate({ params: { service: value } })}
      />
      <label>
        <input
          type="checkbox"
          checked={errorsOnly}
          onChange={(event) => navigate({ params: { errors: event.target.checked ? "1" : null } })}
        />
        With errors only
      </label>
      <button type="button" onClick={() => void traces.refetch()} disabled={traces.isFetching}>
        Refresh
      </button>
    </>
  );
  return (
    <View title="Traces" tools={tools}>
      <Answered query={traces} what="traces" retry={() => void traces.refetch()}>
        {(rows) => {
          if (rows.length > 0) {
            return (
              <Table
                caption="Latest traces"
                columns={columns(new Date())}
                rows={rows}
                rowKey={(trace) => trace.traceId}
              />
            );
          }
          return filtered ? <NoneMatch /> : <GettingStarted tenant={scope.tenant} what="traces" />;
        }}
      </Answered>
    </View>
  );
}

function NoneMatch() {
  return (
    <Empty title="No trace matches">
      <p>
        <Link to={{ params: { service: null, errors: null } }}>Remove the filters</Link>, or choose a longer
        range above.
      </p>
    </Empty>
  );
}

function columns(now: Date): Column<TraceSummary>[] {
  return [
    { id: "start", title: "Start", cell: (trace) => formatTime(dateOf(trace.start), now) },
    {
      id: "root",
      title: "Root span",
      wide: true,
      cell: (trace) => (
        <>
          <Swatch color={seriesColor(trace.rootService)} />{" "}
          <span className={styles.quiet}>{trace.rootService}</span>{" "}
          <Link to={{ path: `/traces/${trace.traceId}` }}>{trace.rootName || "(no name)"}</Link>
        </>
      ),
    },
    { id: "duration", title: "Duration", numeric: true, cell: (trace) => formatDuration(trace.duration) },
    { id: "spans", title: "Spans", numeric: true, cell: (trace) => trace.spans },
    { id: "services", title: "Services", numeric: true, cell: (trace) => trace.services },
    {
      id: "errors",
      title: "Errors",
      numeric: true,
      cell: (trace) => <span className={trace.errors > 0 ? styles.bad : undefined}>{trace.errors}</span>,
    },
  ];
}
