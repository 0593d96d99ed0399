/** The latest logs, by service, level and words; a record opens where it stands. */
import type { ReactNode } from "react";
import { useLogs, useServices } from "../../api/queries.ts";
import { GettingStarted } from "../../ui/GettingStarted.tsx";
import { Empty, ErrorState, Loading } from "../../ui/States.tsx";
import { View } from "../../ui/View.tsx";
import { Link, navigate, useLocation } from "../../url/navigation.tsx";
import { scopeOf } from "../../url/scope.ts";
import { LogFilters } from "./LogFilters.tsx";
import { LogList } from "./LogList.tsx";
import { isFiltered, logsStateOf } from "./model.ts";

export function LogsView() {
  const location = useLocation();
  const scope = scopeOf(location);
  const state = logsStateOf(location);
  const services = useServices(scope);
  const logs = useLogs(scope, {
    service: state.service,
    level: state.level,
    words: state.words,
    trace: state.trace,
  });
  const records = logs.data?.pages.flatMap((page) => page.logs) ?? [];

  let content: ReactNode;
  if (logs.isPending) content = <Loading what="logs" />;
  else if (logs.isError) content = <ErrorState error={logs.error} retry={() => void logs.refetch()} />;
  else if (records.length > 0) {
    content = (
      <>
        <LogList
          records={records}
          open={state.open}
          setOpen={(key) => navigate({ params: { open: key } }, { replace: true })}
        />
        {logs.hasNextPage ? (
          <p>
            <button
              type="button"
              disabled={logs.isFetchingNextPage}
              onClick={() => void logs.fetchNextPage()}
            >
              {logs.isFetchingNextPage ? "Loading…" : "Older logs"}
            </button>
          </p>
        ) : null}
      </>
    );
  } else if (isFiltered(state)) content = <NoneMatch />;
  else content = <GettingStarted tenant={scope.tenant} what="logs" />;

  return (
    <View
      title="Logs"
      tools={
        <LogFilters
          state={state}
          services={services.data ?? []}
          busy={logs.isFetching}
          refresh={() => void logs.refetch()}
        />
      }
    >
      {content}
    </View>
  );
}

function NoneMatch() {
  return (
    <Empty title="No log matches">
      <p>
        <Link to={{ params: { service: null, level: null, words: null, trace: null, open: null } }}>
          Remove the filters
        </Link>
        , use fewer words, or choose a longer range above.
      </p>
    </Empty>
  );
}
