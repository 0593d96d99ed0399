/** Shown where there is no telemetry yet: the settings that send some here. */
import { CopyBlock } from "./CopyBlock.tsx";
import { otlpSettings } from "./otlpSettings.ts";
import { Empty } from "./States.tsx";

export function GettingStarted({ tenant, what }: { readonly tenant: string; readonly what: string }) {
  const settings = otlpSettings(window.location.hostname, tenant);
  return (
    <Empty title={`No ${what} yet`}>
      <p>
        Tenant <code>{tenant}</code> holds no {what} in this stretch of time. Choose a longer range or another
        tenant above, or point any OpenTelemetry SDK here:
      </p>
      <CopyBlock title="Environment of your application" text={settings} />
      <CopyBlock title="Or try it with made-up telemetry" text="cupola demo" />
    </Empty>
  );
}
