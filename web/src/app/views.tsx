/** The views, in the order of the navigation. A new view is one entry here and one folder under `features/`. */
import type { ComponentType } from "react";
import { LogsView } from "../features/logs/LogsView.tsx";
import { ServicesView } from "../features/services/ServicesView.tsx";
import { SqlView } from "../features/sql/SqlView.tsx";
import { TracesView } from "../features/traces/TracesView.tsx";

export interface ViewEntry {
  /** Everything below this path belongs to the view. */
  readonly path: string;
  readonly title: string;
  readonly Component: ComponentType;
}

const services: ViewEntry = { path: "/services", title: "Services", Component: ServicesView };

export const VIEWS: readonly ViewEntry[] = [
  services,
  { path: "/traces", title: "Traces", Component: TracesView },
  { path: "/logs", title: "Logs", Component: LogsView },
  { path: "/sql", title: "SQL", Component: SqlView },
];

/** The view at `path`; the first one for the bare address. */
export function viewAt(path: string): ViewEntry | undefined {
  if (path === "/") return services;
  return VIEWS.find((view) => path === view.path || path.startsWith(`${view.path}/`));
}
