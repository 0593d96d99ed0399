/** The answers of the API by the names of the published OpenAPI document, from which `schema.ts` is generated. */
import type { components } from "./schema.ts";

export type Wire = components["schemas"];
