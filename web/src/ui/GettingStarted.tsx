/** Shown where there is no telemetry yet: the settings that send some here. */
import { useOtlpPorts } from "../api/queries.ts";
import { CopyBlock } from "./CopyBlock.tsx";
import { generateCommand, otlpSettings } from "./otlpSettings.ts";
import { Empty, Loading } from "./States.tsx";

export function GettingStarted({ tenant, what }: { readonly tenant: string; readonly what: string }) {
  return (
    <Empty title={`No ${what} yet`}>
      <p>
        Tenant <code>{tenant}</code> holds no {what} in this stretch of time. Choose a longer range or another
        tenant above, or point any OpenTelemetry SDK here:
      </p>
      <WaysIn tenant={tenant} />
    </Empty>
  );
}

function WaysIn({ tenant }: { readonly tenant: string }) {
  const { data: ports } = useOtlpPorts(tenant);
  if (!ports) return <Loading what="where this server takes telemetry" />;
  const host = window.location.hostname;
  const settings = otlpSettings(host, tenant, ports);
  const command = generateCommand(host, tenant, ports);
  if (settings === null || command === null) return <p>This server is configured to take none.</p>;
  return (
    <>
      <CopyBlock title="Environment of your application" text={settings} />
      <CopyBlock title="Or made-up telemetry, from the program that runs this server" text={command} />
    </>
  );
}
