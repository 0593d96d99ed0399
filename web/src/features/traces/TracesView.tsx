/** Traces: the latest ones, or the one that the address names. */
import { useLocation } from "../../url/navigation.tsx";
import { TraceList } from "./TraceList.tsx";
import { TracePage } from "./TracePage.tsx";

export function TracesView() {
  const [, , traceId] = useLocation().path.split("/");
  return traceId ? <TracePage traceId={traceId} /> : <TraceList />;
}
