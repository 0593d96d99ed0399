import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { expect, test } from "vitest";
import { ofSameTenant } from "./placeholder.ts";

test("rows of one tenant stand in for its own next answer and never for another's", () => {
  const queries = new QueryClient();
  const ask = (tenant: string, service: string) => ({
    queryKey: [tenant, "logs", service],
    enabled: false,
    placeholderData: ofSameTenant(tenant),
  });
  queries.setQueryData(["acme", "logs", ""], ["a row of acme"]);
  const observer = new QueryObserver<string[]>(queries, ask("acme", ""));
  const stop = observer.subscribe(() => {});

  observer.setOptions(ask("acme", "cart"));
  expect(observer.getCurrentResult()).toMatchObject({ data: ["a row of acme"], isPlaceholderData: true });
  observer.setOptions(ask("globex", "cart"));
  expect(observer.getCurrentResult()).toMatchObject({ data: undefined, isPlaceholderData: false });
  stop();
});
