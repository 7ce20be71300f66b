import type { RouteOptions } from 'fastify'
import { HttpRefusal } from './http-error.js'
import { keyPathPrefix, keyRoute } from './request.js'
import { accessOf, type RouteAccess } from './route-access.js'

export interface KnownRoute {
  readonly method: string
  /** As it stands in documents: `/v1/kv/{key}`. */
  readonly path: string
  readonly access: RouteAccess
}

/** The routes that were registered: what the server answers, and how it refuses everything else. */
export class KnownRoutes {
  readonly #methods = new Map<string, Map<string, RouteAccess>>()

  add(route: RouteOptions): void {
    const path = route.url === keyRoute ? `${keyPathPrefix}{key}` : route.url
    const methods = this.#methods.get(path) ?? new Map<string, RouteAccess>()
    for (const method of [route.method].flat()) methods.set(method, accessOf(route))
    this.#methods.set(path, methods)
  }

  get list(): readonly KnownRoute[] {
    return [...this.#methods].flatMap(([path, methods]) =>
      [...methods].map(([method, access]) => ({ method, path, access })),
    )
  }

  /** 405 for a path that answers other methods, 404 for one that answers none. */
  refusal(method: string, url: string): HttpRefusal {
    const path = url.split('?')[0]!
    const shown = path.slice(0, 120)
    const methods = this.#methods.get(path.startsWith(keyPathPrefix) ? `${keyPathPrefix}{key}` : path)
    if (methods !== undefined) {
      const allowed = [...methods.keys()].sort().join(', ')
      return new HttpRefusal(405, 'BAD_REQUEST', `${shown} does not answer ${method.slice(0, 20)}`, {
        hint: `it answers ${allowed}`,
        headers: { Allow: allowed },
      })
    }
    return new HttpRefusal(404, 'NOT_FOUND', `nothing answers ${method.slice(0, 20)} ${shown}`, {
      hint: `there are ${[...this.#methods.keys()].filter((one) => !one.includes('*')).join(', ')}`,
    })
  }
}
