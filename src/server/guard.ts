import { createHash, timingSafeEqual } from 'node:crypto'
import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { UnderstudyError } from '../errors.js'
import { isPagePath } from './page.js'

const openPaths: ReadonlySet<string> = new Set(['/livez', '/readyz'])

export interface GuardOptions {
  readonly secret: string | undefined
  /** Names under which this node is reached, beside addresses and localhost; undefined: any. */
  readonly hosts: ReadonlySet<string> | undefined
}

/** Throws `UNAUTHORIZED` for a request that may not pass. */
export function createGuard(options: GuardOptions): (request: FastifyRequest) => void {
  const { secret, hosts } = options
  if (secret !== undefined) {
    const wanted = digest(`Bearer ${secret}`)
    return (request) => {
      if (isOpen(request)) return
      const given = request.headers.authorization
      // Digests have one length: the comparison takes the same time whatever was sent.
      if (given !== undefined && timingSafeEqual(digest(given.replace(/^bearer /i, 'Bearer ')), wanted)) return
      throw new UnderstudyError(
        'UNAUTHORIZED',
        given === undefined ? 'this node asks for its secret' : 'the secret is not that of this node',
        { hint: 'send "Authorization: Bearer <secret>"; on the command line --secret-file or UNDERSTUDY_SECRET' },
      )
    }
  }
  return (request) => {
    if (!isOpen(request)) refuseBrowsersFromElsewhere(request, hosts)
  }
}

function isOpen(request: FastifyRequest): boolean {
  const mark = request.originalUrl.indexOf('?')
  const path = mark === -1 ? request.originalUrl : request.originalUrl.slice(0, mark)
  return openPaths.has(path) || isPagePath(path)
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/**
 * Without a secret whoever can connect may do everything, and on a loopback address that includes any page in a
 * browser of this machine: by a request across sites, or by a name that was made to point here (DNS rebinding).
 */
function refuseBrowsersFromElsewhere(request: FastifyRequest, hosts: ReadonlySet<string> | undefined): void {
  const { origin, host } = request.headers
  const site = request.headers['sec-fetch-site']
  const foreign = origin !== undefined && originHost(origin) !== host
  if (foreign || site === 'cross-site' || site === 'same-site') {
    throw new UnderstudyError('UNAUTHORIZED', 'a page of another site may not use a node that has no secret')
  }
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
