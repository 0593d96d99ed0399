/** What may stand in for an answer that is still under way. Pure. */

/** The answer of the same tenant to another question. Rows of one tenant never stand under another's name. */
export function ofSameTenant(tenant: string) {
  return <T>(
    previous: T | undefined,
    query: { readonly queryKey: readonly unknown[] } | undefined,
  ): T | undefined => (query?.queryKey[0] === tenant ? previous : undefined);
}
