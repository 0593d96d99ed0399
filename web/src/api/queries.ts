/** The endpoints as hooks. Server data lives in the query cache and nowhere else; keys begin with the tenant. */
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import type { Scope } from "../url/scope.ts";
import { ApiError, request } from "./client.ts";
import { logPageOf, otlpPortsOf, servicesOf, sqlResultOf, traceOf, traceSummaryOf } from "./convert.ts";
import { type LogPage, type SqlResult, USUAL_OTLP_PORTS } from "./models.ts";
import { ofSameTenant } from "./placeholder.ts";
import type { Wire } from "./wire.ts";

const TRACES_PER_PAGE = 100;
const LOGS_PER_PAGE = 100;

/** How often a view of a moving range asks again, in milliseconds. */
const REFRESH_INTERVAL = 10_000;

export function useServices(scope: Scope) {
  return useQuery({
    queryKey: [scope.tenant, "services", scope.range.id],
    refetchInterval: REFRESH_INTERVAL,
    queryFn: async ({ signal }) => {
      const params = { from: scope.range.id };
      const answer = await request<Wire["ServiceList"]>("/api/v1/services", {
        tenant: scope.tenant,
        params,
        signal,
      });
      return servicesOf(answer);
    },
  });
}

export interface TraceFilter {
  readonly service: string;
  readonly errorsOnly: boolean;
}

export function useTraces(scope: Scope, filter: TraceFilter) {
  return useQuery({
    queryKey: [scope.tenant, "traces", scope.range.id, filter],
    placeholderData: ofSameTenant(scope.tenant),
    queryFn: async ({ signal }) => {
      const params = {
        from: scope.range.id,
        service: filter.service,
        errors: filter.errorsOnly ? "true" : undefined,
        limit: TRACES_PER_PAGE,
      };
      const answer = await request<Wire["TraceList"]>("/api/v1/traces", {
        tenant: scope.tenant,
        params,
        signal,
      });
      return answer.traces.map(traceSummaryOf);
    },
  });
}

export function useTrace(tenant: string, traceId: string) {
  return useQuery({
    queryKey: [tenant, "trace", traceId],
    queryFn: async ({ signal }) => {
      try {
        return traceOf(
          await request<Wire["Trace"]>(`/api/v1/traces/${encodeURIComponent(traceId)}`, { tenant, signal }),
        );
      } catch (error) {
        // No such trace is an answer, with its own explanation in the view.
        if (error instanceof ApiError && error.status === 404) {
          return { traceId, spans: [], logs: [], truncated: false };
        }
        throw error;
      }
    },
  });
}

export interface LogFilter {
  readonly service: string;
  readonly level: string;
  readonly words: string;
  readonly trace: string;
}

export function useLogs(scope: Scope, filter: LogFilter) {
  return useInfiniteQuery({
    queryKey: [scope.tenant, "logs", scope.range.id, filter],
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page: LogPage) => page.nextCursor,
    placeholderData: ofSameTenant(scope.tenant),
    queryFn: async ({ signal, pageParam }): Promise<LogPage> => {
      const params = {
        // A trace has one place in time already: the range must not hide its logs.
        from: filter.trace === "" ? scope.range.id : undefined,
        service: filter.service,
        level: filter.level,
        words: filter.words,
        trace_id: filter.trace,
        cursor: pageParam,
        limit: LOGS_PER_PAGE,
      };
      return logPageOf(
        await request<Wire["LogPage"]>("/api/v1/logs", { tenant: scope.tenant, params, signal }),
      );
    },
  });
}

/** Where the server takes telemetry; the usual ports where it does not say. */
export function useOtlpPorts(tenant: string) {
  return useQuery({
    queryKey: [tenant, "otlp"],
    queryFn: async ({ signal }) => {
      try {
        return otlpPortsOf(await request<Wire["Status"]>("/api/v1/status", { tenant, signal }));
      } catch (error) {
        if (error instanceof ApiError) return USUAL_OTLP_PORTS;
        throw error;
      }
    },
  });
}

/** Runs a statement. Aborting `signal` closes the connection, which cancels the statement on the server. */
export async function runSql(tenant: string, query: string, signal: AbortSignal): Promise<SqlResult> {
  const answer = await request<Wire["SqlAnswer"]>("/api/v1/sql", { tenant, body: { query }, signal });
  // Rows are sent while the statement runs; a failure after the first of them arrives at the end of the answer.
  if (answer.error) throw new ApiError(200, answer.error.message, answer.error.hint ?? undefined);
  return sqlResultOf(answer);
}
