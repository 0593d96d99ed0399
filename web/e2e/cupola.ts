/** A Cupola of our own: free ports, a data directory that it removes itself, ended with the tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export interface RunningCupola {
  readonly url: string;
  /** A tenant of the demo that has telemetry. */
  readonly tenant: string;
  readonly stop: () => Promise<void>;
}

/** Starts `cupola demo`, or uses the one at `CUPOLA_URL`. Returns once it has said where its page is. */
export async function startDemo(): Promise<RunningCupola> {
  const given = process.env["CUPOLA_URL"];
  if (given) return { url: given, tenant: process.env["CUPOLA_TENANT"] ?? "default", stop: async () => {} };
  const binary = process.env["CUPOLA"] ?? "../target/debug/cupola";
  const child = spawn(binary, ["demo", "--free-ports"], { stdio: ["ignore", "pipe", "pipe"] });
  const url = await addressOf(child);
  return {
    url,
    tenant: "acme",
    stop: async () => {
      child.kill("SIGTERM");
      if (child.exitCode === null) await once(child, "exit");
    },
  };
}

/** The first HTTP address that the demo prints. */
async function addressOf(child: ChildProcess): Promise<string> {
  const said: string[] = [];
  child.stderr?.on("data", (chunk: Buffer) => said.push(chunk.toString()));
  if (!child.stdout) throw new Error("the demo has no standard output");
  for await (const line of createInterface({ input: child.stdout })) {
    said.push(line);
    const address = /http:\/\/[\w.:[\]-]+/.exec(line);
    if (address) {
      // Read on, so that the demo never waits for us.
      child.stdout.resume();
      return address[0];
    }
  }
  throw new Error(`the demo ended without an address:\n${said.join("\n")}`);
}
