import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Credentials } from '../access/credentials.js'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import { EventStream } from './event-stream.js'
import { livePath } from './live-picture.js'
import { LivePictures, type LivePicturesOptions } from './live-pictures.js'
import { assetPrefix, chooseEncoding, type PageFile, readPage } from './page-files.js'
import type { PeerAccess } from './peer-statuses.js'
import { parseQuery } from './request.js'
import { access } from './route-access.js'

/** Nothing but what this port serves: no other host, no inline code, no frame, no form. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

const securityHeaders = {
  'Content-Security-Policy': contentSecurityPolicy,
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
} as const

export interface StatusPageOptions extends LivePicturesOptions {
  readonly credentials: Credentials
  /** Whether the credentials of this request would still be taken. */
  readonly isAllowed: (request: FastifyRequest) => boolean
  /** The stream is no request that a stop waits for. */
  readonly onStream: (request: FastifyRequest) => void
  readonly heartbeatMs?: number
}

export interface StatusPage {
  /** Ends the streams. Idempotent. */
  close(): void
}

/**
 * `GET /` and its files, which hold no data and are for everybody, so that the page can ask for the token; and the
 * stream of pictures that it shows, for whoever may read the status.
 */
export function addStatusPage(app: FastifyInstance, options: StatusPageOptions): StatusPage {
  const pictures = new LivePictures(options)
  const files = new PageFiles()
  const method = ['GET', 'HEAD']
  app.route({ method, url: '/', handler: (request, reply) => files.send('/', request, reply) })
  app.route({
    method,
    url: `${assetPrefix}:name`,
    handler: (request, reply) => {
      const { name } = request.params as { readonly name: string }
      return files.send(`${assetPrefix}${name}`, request, reply)
    },
  })
  app.get(livePath, { ...access('anybody-known') }, async (request, reply) => {
    parseQuery(request, [])
    await pictures.watch(
      () => peerAccess(options.credentials, request),
      () => {
        options.onStream(request)
        reply.hijack()
        return new EventStream(reply.raw, {
          isAllowed: () => options.isAllowed(request),
          unsentBytesMax: limits.pictureUnsentBytesMax,
          ...(options.heartbeatMs === undefined ? {} : { heartbeatMs: options.heartbeatMs }),
        })
      },
    )
  })
  return { close: () => pictures.close() }
}

/**
 * The others are asked as this node asks them for replication. With a shared secret, which no node sends, they are asked
 * in the name of whoever watches, as `understudy status` asks them.
 */
function peerAccess(credentials: Credentials, request: FastifyRequest): PeerAccess {
  const { token, tls } = credentials.dial()
  return { authorization: token === undefined ? request.headers.authorization : `Bearer ${token}`, tls }
}

class PageFiles {
  private files: Promise<ReadonlyMap<string, PageFile>> | undefined

  async send(path: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const file = (await this.read()).get(path)
    if (file === undefined) {
      throw new UnderstudyError('NOT_FOUND', 'the status page has no such file', { hint: 'load the page again' })
    }
    const encoding = chooseEncoding(request.headers['accept-encoding'])
    const etag = `"${file.etag}-${encoding}"`
    reply.headers(securityHeaders)
    reply.header('Vary', 'Accept-Encoding')
    reply.header('ETag', etag)
    reply.header('Cache-Control', file.immutable ? 'public, max-age=31536000, immutable' : 'no-cache')
    const known = request.headers['if-none-match']
    if (known?.split(',').some((one) => one.trim().replace(/^W\//, '') === etag)) return reply.code(304).send()
    if (encoding !== 'identity') reply.header('Content-Encoding', encoding)
    return reply.type(file.type).send(file.bodies[encoding])
  }

  /** Once, at the first request; what failed is tried again. */
  private read(): Promise<ReadonlyMap<string, PageFile>> {
    this.files ??= readPage().catch((error: unknown) => {
      this.files = undefined
      throw error
    })
    return this.files
  }
}
