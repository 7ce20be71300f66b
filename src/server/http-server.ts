import type { IncomingMessage, Server } from 'node:http'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Credentials } from '../access/credentials.js'
import { isLoopback } from '../config/address.js'
import type { Address } from '../core/address.js'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import type { Logger } from '../ports/logger.js'
import type { NodeHandle, NodeStatus } from '../runtime/handle.js'
import { BodyReader } from './body-reader.js'
import { answerClientError } from './client-error.js'
import { addEventRoutes, type EventRoutes } from './event-routes.js'
import { createGuard, type Guard } from './guard.js'
import { addHealthRoutes } from './health-routes.js'
import { HttpRefusal, toHttpError } from './http-error.js'
import { type KnownRoute, KnownRoutes } from './known-routes.js'
import { addKeyValueRoutes } from './kv-routes.js'
import { bind, createListener, type ListenerTimes } from './listener.js'
import { createMetrics } from './metrics.js'
import { addOpenApiRoute } from './openapi.js'
import { addOperateRoutes } from './operate-routes.js'
import { addStatusPage, type StatusPage } from './page.js'
import { keyPathPrefix, keyRoute, parseQuery } from './request.js'
import { access, accessOf } from './route-access.js'
import { UnderWay } from './under-way.js'
import { addVerifyRoute } from './verify-route.js'

export interface HttpServerOptions {
  /**
   * The node, or how to ask for it: undefined while it is still starting. The port is open before, so that a long
   * replay looks like a long replay (`livez` yes, everything else `NOT_READY`) and not like a dead process.
   */
  readonly node: NodeHandle | (() => NodeHandle | undefined)
  readonly listen: Address
  readonly credentials: Credentials
  readonly logger: Logger
  /** Names beside addresses and localhost under which a node without credentials may be asked. */
  readonly hostNames?: readonly string[]
  /** Where replication takes its upgraded connections from the same port. */
  readonly attach?: (server: Server) => void
  readonly times?: ListenerTimes & { readonly bodyStallMs?: number; readonly heartbeatMs?: number }
  /** Requests under way at most. */
  readonly requestsMax?: number
}

export interface HttpServer {
  readonly server: Server
  /** What is answered, for the description of the interface. */
  readonly routes: readonly KnownRoute[]
  /** Resolves with the bound address as `host:port`. Idempotent. */
  listen(): Promise<string>
  /** Takes no new requests: they are answered 503, with `Connection: close`. Event streams end. Idempotent. */
  drain(): void
  /** After `drain`: resolves when what was under way is answered, false if it is not in time. */
  drained(timeoutMs: number): Promise<boolean>
  /** Answers what is under way (for a bounded time), takes nothing new. Upgraded sockets are their owner's to end. */
  close(): Promise<void>
}

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { logger, credentials, times } = options
  const server = createListener(credentials, times)
  const underWay = new UnderWay()
  const { app, events, page, routes } = createApp(options, server, underWay)
  options.attach?.(server)

  let listening: Promise<string> | undefined
  let closing: Promise<void> | undefined

  const listen = async (): Promise<string> => {
    await app.ready()
    const bound = await bind(server, options.listen)
    logger.info({ address: bound, tls: credentials.tls !== undefined }, 'listening')
    return bound
  }

  const drain = (): void => {
    underWay.closed = true
    events.close()
    page.close()
  }

  const close = async (): Promise<void> => {
    drain()
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
    get routes() {
      return routes.list
    },
    listen() {
      if (closing !== undefined) return Promise.reject(new UnderstudyError('CLOSED', 'the HTTP server is closed'))
      listening ??= listen()
      return listening
    },
    drain,
    drained: (timeoutMs) => underWay.ended(timeoutMs),
    close() {
      closing ??= close()
      return closing
    },
  }
}

interface App {
  readonly app: FastifyInstance
  readonly events: EventRoutes
  readonly page: StatusPage
  readonly routes: KnownRoutes
}

function createApp(options: HttpServerOptions, server: Server, underWay: UnderWay): App {
  const { logger, credentials, times } = options
  const routes = new KnownRoutes()
  const scheme = credentials.tls === undefined ? 'http' : 'https'
  const sendError = (thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const { status, error } = toHttpError(thrown)
    if (status === 500) logger.error({ err: error.cause ?? error, code: error.code }, 'a request failed')
    if (status === 401) reply.header('WWW-Authenticate', 'Bearer')
    if (status === 503) reply.header('Retry-After', '1')
    if (error instanceof HttpRefusal) reply.headers(error.headers)
    if (error.primary !== undefined) reply.header('Location', `${scheme}://${error.primary}${request.originalUrl}`)
    // The rest of a body that nobody reads is not taken in.
    if (hasBody(request.raw) && !request.raw.complete) reply.header('Connection', 'close')
    return reply.code(status).type('application/json; charset=utf-8').send(JSON.stringify(error))
  }
  const app = fastify({
    serverFactory: (handler) => {
      server.on('request', handler)
      return server
    },
    logger: false,
    exposeHeadRoutes: false,
    // Our own hook says it, in the form of every other error.
    return503OnClosing: false,
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
  const node = (): NodeHandle => {
    const current = typeof options.node === 'function' ? options.node() : options.node
    if (current !== undefined) return current
    throw new UnderstudyError('NOT_READY', 'the node is starting', { hint: 'ask again in a moment' })
  }
  const status = (): NodeStatus => ({ ...node().status(), access: credentials.status })
  const loopback = isLoopback(options.listen.host)
  const guard = createGuard({
    credentials,
    hosts: loopback ? new Set([options.listen.host, ...(options.hostNames ?? [])]) : undefined,
  })
  const ends = addAdmission(app, {
    underWay,
    guard,
    routes,
    requestsMax: options.requestsMax ?? limits.httpRequestsMax,
  })
  addBodies(app, times?.bodyStallMs)
  app.addHook('onRoute', (route) => routes.add(route))
  app.addHook('onResponse', async (request, reply) => {
    const fields = { method: request.method, status: reply.statusCode, ms: Math.round(reply.elapsedTime) }
    logger.debug({ ...fields, route: request.routeOptions.url ?? 'none' }, 'answered')
  })
  app.setNotFoundHandler((request) => {
    throw routes.refusal(request.method, request.originalUrl)
  })
  app.setErrorHandler(sendError)

  addHealthRoutes(app, node, () => underWay.closed)
  addKeyValueRoutes(app, node)
  addOperateRoutes(app, node, status)
  const streams = {
    node,
    status,
    isAllowed: (request: FastifyRequest) => isAllowed(guard, request),
    onStream: (request: FastifyRequest) => ends.get(request)?.(),
    ...(times?.heartbeatMs === undefined ? {} : { heartbeatMs: times.heartbeatMs }),
  }
  const events = addEventRoutes(app, streams)
  const page = addStatusPage(app, { ...streams, credentials, logger })
  addVerifyRoute(app, node)
  const metrics = createMetrics()
  app.get('/metrics', { ...access('anybody-known') }, async (request, reply) => {
    parseQuery(request, [])
    return reply.type(metrics.contentType).send(await metrics.collect(node(), credentials.status))
  })
  addOpenApiRoute(app, routes)
  return { app, events, page, routes }
}

function isAllowed(guard: Guard, request: FastifyRequest): boolean {
  try {
    guard(request, accessOf({ url: request.routeOptions.url ?? '', config: request.routeOptions.config }))
    return true
  } catch (error) {
    if (error instanceof UnderstudyError) return false
    throw error
  }
}

const probes: ReadonlySet<string> = new Set(['/livez', '/readyz'])

/** Who is let in, and how many at a time. Returns, by request, what ends its being counted. */
function addAdmission(
  app: FastifyInstance,
  options: {
    readonly underWay: UnderWay
    readonly guard: Guard
    readonly routes: KnownRoutes
    readonly requestsMax: number
  },
): WeakMap<FastifyRequest, () => void> {
  const { underWay, guard, routes, requestsMax } = options
  const ends = new WeakMap<FastifyRequest, () => void>()
  app.addHook('onRequest', async (request, reply) => {
    underWay.begin()
    let isCounted = true
    const end = (): void => {
      if (isCounted) underWay.end()
      isCounted = false
    }
    ends.set(request, end)
    reply.raw.once('close', end)
    const url = request.routeOptions.url
    const isProbe = url !== undefined && probes.has(url)
    if (underWay.closed) {
      reply.header('Connection', 'close')
      if (!isProbe) throw new UnderstudyError('CLOSED', 'the node is closing', { hint: 'ask another node' })
    }
    // The inner route of keys is reached by rewriting only.
    if (request.originalUrl.startsWith(keyRoute)) throw routes.refusal(request.method, request.originalUrl)
    guard(request, url === undefined ? 'anybody-known' : accessOf({ url, config: request.routeOptions.config }))
    if (!isProbe && underWay.count > requestsMax) {
      throw new UnderstudyError('BACKPRESSURE', `${requestsMax} requests are under way; no more are taken now`)
    }
    if (!mayBeLong(request.originalUrl) && request.originalUrl.length > limits.httpUrlBytesMax) {
      const message = `the path and query have ${request.originalUrl.length} bytes; at most ${limits.httpUrlBytesMax}`
      throw new HttpRefusal(414, 'LIMIT_EXCEEDED', message)
    }
  })
  app.addHook('onSend', async (_request, reply) => {
    // Values are whatever was written: no browser guesses what they are, and nobody between keeps them.
    reply.header('X-Content-Type-Options', 'nosniff')
    if (!reply.hasHeader('Cache-Control')) reply.header('Cache-Control', 'no-store')
    // Also those that were under way already: their connections are not used again.
    if (underWay.closed) reply.header('Connection', 'close')
  })
  return ends
}

/** Keys stand in the path, bounds of ranges in the query; both have limits of their own. */
function mayBeLong(url: string): boolean {
  return url.startsWith(keyPathPrefix) || url.startsWith('/v1/kv?')
}

function addBodies(app: FastifyInstance, stallMs: number | undefined): void {
  const bodies = new BodyReader(stallMs === undefined ? {} : { stallMs })
  const releases = new WeakMap<IncomingMessage, () => void>()
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', async (request: FastifyRequest, payload: IncomingMessage) => {
    const { body, release } = await bodies.read(payload, request.routeOptions.bodyLimit)
    releases.set(request.raw, release)
    return body
  })
  app.addHook('onRequest', async (request, reply) => {
    reply.raw.once('close', () => releases.get(request.raw)?.())
  })
}

function hasBody(request: IncomingMessage): boolean {
  const { headers } = request
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}
