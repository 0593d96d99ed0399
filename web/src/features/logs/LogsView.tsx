/** The latest logs, by service, level and words; a record opens where it stands. */
import { useLogs, useServices } from "../../api/queries.ts";
import { GettingStarted } from "../../ui/GettingStarted.tsx";
import { Answered, Empty } from "../../ui/States.tsx";
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
  // A page that failed is asked for again by itself: the pages above it are there.
  const retry = () => void (logs.isFetchNextPageError ? logs.fetchNextPage() : logs.refetch());

  return (
    <View
      title="Logs"
      tools={
        <LogFilters
          state={state}
          services={services.data?.services ?? []}
          busy={logs.isFetching}
          refresh={() => void logs.refetch()}
        />
      }
    >
      <Answered query={logs} what="logs" retry={retry}>
        {({ pages }) => {
          const records = pages.flatMap((page) => page.logs);
          if (records.length > 0) {
            return (
              <>
                <LogList
                  records={records}
                  open={state.open}
                  setOpen={(key) => navigate({ params: { open: key } }, { replace: true })}
                />
                {logs.hasNextPage ? <OlderLogs query={logs} /> : null}
              </>
            );
          }
          return isFiltered(state) ? <NoneMatch /> : <GettingStarted tenant={scope.tenant} what="logs" />;
        }}
      </Answered>
    </View>
  );
}

function OlderLogs({ query }: { readonly query: ReturnType<typeof useLogs> }) {
  return (
    <p>
      <button type="button" disabled={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
        {query.isFetchingNextPage ? "Loading…" : "Older logs"}
      </button>
    </p>
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
