/** Every service with its rate, errors and latencies: where to look first. */
import type { Service } from "../../api/models.ts";
import { useServices } from "../../api/queries.ts";
import { seriesColor } from "../../ui/color.ts";
import { formatCount, formatDuration, formatRate, formatShare } from "../../ui/format.ts";
import { GettingStarted } from "../../ui/GettingStarted.tsx";
import { Answered } from "../../ui/States.tsx";
import { Swatch } from "../../ui/Swatch.tsx";
import { type Column, Table } from "../../ui/Table.tsx";
import { View } from "../../ui/View.tsx";
import { Link, navigate, useLocation } from "../../url/navigation.tsx";
import { scopeOf } from "../../url/scope.ts";
import { chooseColumn, orderFrom, orderText, sortServices, spanRate } from "./model.ts";
import styles from "./Services.module.css";

export function ServicesView() {
  const location = useLocation();
  const scope = scopeOf(location);
  const order = orderFrom(location.params.get("sort"));
  const services = useServices(scope);

  return (
    <View title="Services">
      <Answered query={services} what="services" retry={() => void services.refetch()}>
        {({ services: rows, spanSeconds }) =>
          rows.length === 0 ? (
            <GettingStarted tenant={scope.tenant} what="services" />
          ) : (
            <Table
              caption={`Services, ${scope.range.title.toLowerCase()}`}
              columns={columns(spanSeconds, scope.range.seconds)}
              rows={sortServices(rows, order)}
              rowKey={(service) => service.name}
              sorting={{
                column: order.sort,
                descending: order.descending,
                choose: (column) =>
                  navigate({ params: { sort: orderText(chooseColumn(order, column)) } }, { replace: true }),
              }}
            />
          )
        }
      </Answered>
    </View>
  );
}

function columns(spanSeconds: number | null, rangeSeconds: number): Column<Service>[] {
  return [
    {
      id: "name",
      title: "Service",
      cell: (service) => (
        <span className={styles.name}>
          <Swatch color={seriesColor(service.name)} />
          <Link to={{ path: "/traces", params: { service: service.name } }}>{service.name}</Link>
          <Link className={styles.aside} to={{ path: "/logs", params: { service: service.name } }}>
            logs<span className="visually-hidden"> of {service.name}</span>
          </Link>
        </span>
      ),
    },
    {
      id: "rate",
      title: "Spans",
      numeric: true,
      cell: (service) => (
        <span title={`${formatCount(service.spans)} spans`}>
          {formatRate(spanRate(service, spanSeconds, rangeSeconds))}
        </span>
      ),
    },
    {
      id: "errors",
      title: "Errors",
      numeric: true,
      cell: (service) => (
        <span
          className={service.errors > 0 ? styles.bad : undefined}
          title={`${formatCount(service.errors)} errors`}
        >
          {formatShare(service.errors, service.spans)}
        </span>
      ),
    },
    latency("p50", (service) => service.p50),
    latency("p95", (service) => service.p95),
    latency("p99", (service) => service.p99),
  ];
}

function latency(id: string, value: (service: Service) => number | null): Column<Service> {
  return { id, title: id, numeric: true, cell: (service) => formatDuration(value(service) ?? Number.NaN) };
}
