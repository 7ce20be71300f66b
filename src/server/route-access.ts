import type { RouteOptions } from 'fastify'
import type { Scope } from '../access/scope.js'

/** Who may ask: everybody, whoever shows credentials that are valid here, or only those with this scope. */
export type RouteAccess = 'everybody' | 'anybody-known' | Scope

declare module 'fastify' {
  interface FastifyContextConfig {
    readonly access?: RouteAccess
  }
}

export function access(access: RouteAccess): { readonly config: { readonly access: RouteAccess } } {
  return { config: { access } }
}

/** The page and its files hold nothing of the node: what they show they ask for, with the reader's token. */
function isPage(url: string): boolean {
  return url === '/' || url.startsWith('/assets/')
}

/** A route that does not say who may use it is for administrators: what is forgotten is closed. */
export function accessOf(route: Pick<RouteOptions, 'url' | 'config'>): RouteAccess {
  return route.config?.access ?? (isPage(route.url) ? 'everybody' : 'admin')
}
