/** What credentials allow. They do not include each other. */
export const scopes = ['read', 'write', 'admin', 'replicate'] as const

export type Scope = (typeof scopes)[number]

export const allScopes: ReadonlySet<Scope> = new Set(scopes)
