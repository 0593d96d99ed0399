/**
 * One request to Cupola: tenant header, JSON, and errors that carry the server's own explanation. Knows no endpoint.
 */

/** A request that could not be answered, in words for the person who asked. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  /** HTTP status, or 0 when there was no answer at all. */
  readonly status: number;
  readonly hint: string | undefined;

  constructor(status: number, message: string, hint?: string) {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

export interface RequestOptions {
  readonly tenant: string;
  readonly params?: Readonly<Record<string, string | number | undefined>>;
  /** Sent as JSON with POST. */
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

export function apiPath(path: string, params: RequestOptions["params"] = {}): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    if (value !== undefined && value !== "") search.set(key, String(value));
  }
  const text = search.toString();
  return text === "" ? path : `${path}?${text}`;
}

export async function request<T>(path: string, options: RequestOptions): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json", "X-Scope-OrgID": options.tenant };
  const init: RequestInit = { headers };
  if (options.signal) init.signal = options.signal;
  if (options.body !== undefined) {
    headers["Content-Type"] = "application/json";
    init.method = "POST";
    init.body = JSON.stringify(options.body);
  }
  let response: Response;
  try {
    response = await fetch(apiPath(path, options.params), init);
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "AbortError") throw cause;
    throw new ApiError(
      0,
      "Cupola did not answer.",
      "Is it still running? Its log on stderr says why it stopped.",
    );
  }
  if (!response.ok) throw errorFrom(response.status, await response.text());
  return (await response.json()) as T;
}

/** The error in an answer's body, whatever stands between us and Cupola may have made of it. */
export function errorFrom(status: number, body: string): ApiError {
  const parsed = parseObject(body);
  const error = isObject(parsed?.["error"]) ? parsed["error"] : parsed;
  const message = textOf(error?.["message"]) ?? textOf(error?.["error"]) ?? body.trim().slice(0, 500);
  return new ApiError(status, message || `Cupola answered with status ${status}.`, textOf(error?.["hint"]));
}

function parseObject(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
