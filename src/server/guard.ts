import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { demandScope, type Grant } from '../access/access-control.js'
import type { Credentials } from '../access/credentials.js'
import { UnderstudyError } from '../errors.js'
import type { RouteAccess } from './route-access.js'

export interface GuardOptions {
  readonly credentials: Credentials
  /** Names under which this node is reached, beside addresses and localhost; undefined: any. */
  readonly hosts: ReadonlySet<string> | undefined
}

/** Throws `UNAUTHORIZED` or `FORBIDDEN` for a request that may not pass. */
export type Guard = (request: FastifyRequest, access: RouteAccess) => void

export function createGuard(options: GuardOptions): Guard {
  const { credentials, hosts } = options
  return (request, access) => {
    if (access === 'everybody') return
    const grant = credentials.grant(request.raw)
    if (grant.isAmbient) refuseBrowsersFromElsewhere(request)
    if (credentials.isOpen) refuseOtherNames(request, hosts)
    if (access !== 'anybody-known') demandScope(grant, access)
    else demandAny(grant)
  }
}

function demandAny(grant: Grant): void {
  if (grant.scopes.size === 0) throw new UnderstudyError('FORBIDDEN', 'these credentials have no scope')
}

/**
 * Where no credentials are asked for, or the browser has them itself (a client certificate), any page in it could use
 * the node: requests across sites are refused.
 */
function refuseBrowsersFromElsewhere(request: FastifyRequest): void {
  const { origin, host } = request.headers
  const site = request.headers['sec-fetch-site']
  const foreign = origin !== undefined && originHost(origin) !== host
  if (foreign || site === 'cross-site' || site === 'same-site') {
    throw new UnderstudyError('UNAUTHORIZED', 'a page of another site may not use a node that asks for no token')
  }
}

/** On a loopback address a page may also use a name that was made to point here (DNS rebinding). */
function refuseOtherNames(request: FastifyRequest, hosts: ReadonlySet<string> | undefined): void {
  const { host } = request.headers
  if (hosts === undefined || host === undefined) return
  const name = host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
  if (isIP(name) === 0 && name !== 'localhost' && !hosts.has(name)) {
    throw new UnderstudyError('UNAUTHORIZED', `"${name.slice(0, 80)}" is no name of this node, which has no secret`, {
      hint: 'use its address, or configure a secret',
    })
  }
}

function originHost(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined
}
