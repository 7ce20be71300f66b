import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { UnderstudyError } from '../errors.js'
import { livePath } from './live-picture.js'
import { LivePictures, type LivePicturesOptions } from './live-pictures.js'
import { assetPrefix, builtPage, chooseEncoding, type PageFile, readPage } from './page-files.js'
import { parseQuery } from './request.js'

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

/** The files of the page hold no data: they are served to everybody, so that the page can ask for the token. */
export function isPagePath(path: string): boolean {
  return path === '/' || path.startsWith(assetPrefix)
}

/** The status page, and the stream of pictures that it shows. */
export class StatusPage {
  private readonly pictures: LivePictures
  private readonly directory: URL
  private files: Promise<ReadonlyMap<string, PageFile>> | undefined

  constructor(options: LivePicturesOptions & { readonly directory?: URL }) {
    this.pictures = new LivePictures(options)
    this.directory = options.directory ?? builtPage
  }

  register(app: FastifyInstance): void {
    const method = ['GET', 'HEAD']
    app.route({ method, url: '/', handler: (request, reply) => this.sendFile('/', request, reply) })
    app.route({
      method,
      url: `${assetPrefix}:name`,
      handler: (request, reply) => {
        const { name } = request.params as { readonly name: string }
        return this.sendFile(`${assetPrefix}${name}`, request, reply)
      },
    })
    app.get(livePath, async (request, reply) => {
      parseQuery(request, [])
      const tls = request.protocol === 'https' ? {} : undefined
      await this.pictures.watch(reply.raw, { authorization: request.headers.authorization, tls })
      reply.hijack()
      return reply
    })
  }

  /** Ends the streams: a server that closes does not wait for them. Idempotent. */
  close(): void {
    this.pictures.close()
  }

  private async sendFile(path: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
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
    this.files ??= readPage(this.directory).catch((error: unknown) => {
      this.files = undefined
      throw error
    })
    return this.files
  }
}
