import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { isLoopback } from '../config/address.js'
import { type Address, formatAddress } from '../core/address.js'
import { limits } from '../core/limits.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Logger } from '../ports/logger.js'
import type { NodeHandle } from '../runtime/handle.js'
import { answerClientError } from './client-error.js'
import { createGuard } from './guard.js'
import { addHealthRoutes } from './health-routes.js'
import { toHttpError } from './http-error.js'
import { addKeyValueRoutes, keyRoute } from './kv-routes.js'
import { createMetrics } from './metrics.js'
import { addOperateRoutes } from './operate-routes.js'
import { StatusPage } from './page.js'
import { keyPathPrefix, parseQuery } from './request.js'

export interface HttpServerOptions {
  /**
   * The node, or how to ask for it: undefined while it is still starting. The port is open before, so that a long
   * replay looks like a long replay (`livez` yes, everything else `NOT_READY`) and not like a dead process.
   */
  readonly node: NodeHandle | (() => NodeHandle | undefined)
  readonly listen: Address
  readonly secret: string | undefined
  readonly logger: Logger
  /** Names beside addresses and localhost under which a node without a secret may be asked. */
  readonly hostNames?: readonly string[]
  /** Where replication takes its upgraded connections from the same port. */
  readonly attach?: (server: Server) => void
}

export interface HttpServer {
  readonly server: Server
  /** Resolves with the bound address as `host:port`. Idempotent. */
  listen(): Promise<string>
  /** Answers what is under way (for a bounded time), takes nothing new. Upgraded sockets are their owner's to end. */
  close(): Promise<void>
}

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { logger } = options
  const server = createServer({
    requestTimeout: limits.httpRequestTimeoutMs,
    headersTimeout: limits.httpHeadersTimeoutMs,
    keepAliveTimeout: limits.httpKeepAliveMs,
    maxHeaderSize: limits.httpHeaderBytesMax,
  })
  const underWay = new UnderWay()
  const node = nodeOf(options)
  const page = new StatusPage({ node, logger })
  const app = createApp(options, node, server, underWay)
  page.register(app)
  options.attach?.(server)

  let listening: Promise<string> | undefined
  let closing: Promise<void> | undefined

  const listen = async (): Promise<string> => {
    await app.ready()
    const bound = await bind(server, options.listen)
    logger.info({ address: bound }, 'listening')
    return bound
  }

  const close = async (): Promise<void> => {
    underWay.closed = true
    page.close()
    await listening?.catch(() => {})
    if (server.listening) {
      server.close()
      server.closeIdleConnections()
      if (!(await underWay.ended(limits.closeTimeoutMs))) {
        logger.warn({ requests: underWay.count }, 'requests were still under way when the server was closed')
      }
      server.closeAllConnections()
    }
    await app.close()
  }

  return {
    server,
    listen() {
      if (closing !== undefined) return Promise.reject(new UnderstudyError('CLOSED', 'the HTTP server is closed'))
      listening ??= listen()
      return listening
    },
    close() {
      closing ??= close()
      return closing
    },
  }
}

/** Asks for the node; throws while it is starting. */
function nodeOf(options: HttpServerOptions): () => NodeHandle {
  return () => {
    const current = typeof options.node === 'function' ? options.node() : options.node
    if (current !== undefined) return current
    throw new UnderstudyError('NOT_READY', 'the node is starting', { hint: 'ask again in a moment' })
  }
}

function createApp(
  options: HttpServerOptions,
  node: () => NodeHandle,
  server: Server,
  underWay: UnderWay,
): FastifyInstance {
  const { logger } = options
  const sendError = (thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const { status, error } = toHttpError(thrown)
    if (status === 500) logger.error({ err: error.cause ?? error, code: error.code }, 'a request failed')
    if (status === 401) reply.header('WWW-Authenticate', 'Bearer')
    if (status === 503) reply.header('Retry-After', '1')
    if (error.primary !== undefined) reply.header('Location', `http://${error.primary}${request.originalUrl}`)
    return reply.code(status).type('application/json; charset=utf-8').send(JSON.stringify(error))
  }
  const app = fastify({
    serverFactory: (handler) => {
      server.on('request', handler)
      return server
    },
    logger: false,
    exposeHeadRoutes: false,
    bodyLimit: limits.httpControlBodyBytesMax,
    // The path of a key is bytes; the handler takes it from the original URL.
    rewriteUrl: (request) => {
      const url = request.url ?? '/'
      return url.startsWith(keyPathPrefix) ? keyRoute : url
    },
    routerOptions: { querystringParser: () => ({}) },
    frameworkErrors: (thrown, request, reply) => sendError(thrown, request as FastifyRequest, reply as FastifyReply),
    clientErrorHandler: answerClientError,
  })
  const loopback = isLoopback(options.listen.host)
  const guard = createGuard({
    secret: options.secret,
    hosts: loopback ? new Set([options.listen.host, ...(options.hostNames ?? [])]) : undefined,
  })

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.addHook('onRequest', async (request, reply) => {
    underWay.begin()
    reply.raw.once('close', () => underWay.end())
    if (underWay.closed) {
      reply.header('Connection', 'close')
      throw new UnderstudyError('CLOSED', 'the node is closing')
    }
    // The inner route of keys is reached by rewriting only.
    if (request.originalUrl.startsWith(keyRoute)) throw unknownPath(request.method, request.originalUrl)
    guard(request)
  })
  app.addHook('onResponse', async (request, reply) => {
    const fields = { method: request.method, status: reply.statusCode, ms: Math.round(reply.elapsedTime) }
    logger.debug({ ...fields, route: request.routeOptions.url ?? 'none' }, 'answered')
  })
  app.setNotFoundHandler((request) => {
    throw unknownPath(request.method, request.originalUrl)
  })
  app.setErrorHandler(sendError)

  addHealthRoutes(app, node)
  addKeyValueRoutes(app, node)
  addOperateRoutes(app, node)
  const metrics = createMetrics()
  app.get('/metrics', async (request, reply) => {
    parseQuery(request, [])
    return reply.type(metrics.contentType).send(await metrics.collect(node()))
  })
  return app
}

function unknownPath(method: string, url: string): UnderstudyError {
  const path = url.split('?')[0]!.slice(0, 120)
  return new UnderstudyError('NOT_FOUND', `nothing answers ${method} ${path}`, {
    hint: 'paths begin with /v1/kv, /v1/batch, /v1/status, /v1/promote, /v1/switchover, /v1/in-sync, /livez, /readyz, /metrics',
  })
}

function bind(server: Server, address: Address): Promise<string> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      server.off('listening', onListening)
      reject(bindError(error, formatAddress(address)))
    }
    const onListening = (): void => {
      server.off('error', onError)
      const { port } = server.address() as AddressInfo
      resolve(formatAddress({ host: address.host, port }))
    }
    server.once('error', onError)
    server.once('listening', onListening)
    server.listen({ host: address.host, port: address.port })
  })
}

function bindError(error: NodeJS.ErrnoException, address: string): UnderstudyError {
  if (error.code === 'EADDRINUSE') {
    return new UnderstudyError('ADDRESS_IN_USE', `${address} is in use by another process`, {
      hint: 'end that process, or listen on another port',
      cause: error,
    })
  }
  if (error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND' || error.code === 'EACCES') {
    const why = error.code === 'EACCES' ? 'may not be listened on by this user' : 'is not an address of this machine'
    return new UnderstudyError('CONFIG', `listen: ${address} ${why}`, { cause: error })
  }
  return toUnderstudyError(error, `listening on ${address}`)
}

/** Counts requests from their headers to the end of their answers. */
class UnderWay {
  closed = false
  count = 0
  #onNone: (() => void) | undefined

  begin(): void {
    this.count += 1
  }

  end(): void {
    this.count -= 1
    if (this.count === 0) this.#onNone?.()
  }

  /** False if something is still under way when the time is over. */
  async ended(timeoutMs: number): Promise<boolean> {
    if (this.count === 0) return true
    let timer: NodeJS.Timeout | undefined
    const none = new Promise<void>((resolve) => {
      this.#onNone = resolve
    })
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs)
    })
    await Promise.race([none, late])
    clearTimeout(timer)
    return this.count === 0
  }
}
