import type { FastifyInstance, FastifyRequest } from 'fastify'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import type { NodeHandle, NodeStatus } from '../runtime/handle.js'
import { EventHub, type NodeEvent } from './event-hub.js'
import { EventStream } from './event-stream.js'
import { badRequest } from './http-error.js'
import { integerParameter, parseQuery } from './request.js'
import { access } from './route-access.js'

export interface EventRoutesOptions {
  readonly node: () => NodeHandle
  readonly status: () => NodeStatus
  /** Whether the credentials of this request would still be taken. */
  readonly isAllowed: (request: FastifyRequest) => boolean
  /** The stream is no request that a stop waits for. */
  readonly onStream: (request: FastifyRequest) => void
  readonly heartbeatMs?: number
}

export interface EventRoutes {
  /** Ends all streams; their readers are told. */
  close(): void
}

/** `GET /v1/events`: the present status, then what changes, for as long as the reader keeps up. */
export function addEventRoutes(app: FastifyInstance, options: EventRoutesOptions): EventRoutes {
  const { node, status } = options
  const hub = new EventHub()
  const streams = new Set<EventStream>()

  app.get('/v1/events', { ...access('anybody-known') }, async (request, reply) => {
    const query = parseQuery(request, ['status_ms'])
    const statusMs = integerParameter(query, 'status_ms', limits.eventsStatusMsMin, limits.eventsStatusMsMax)
    const { boot } = node().status()
    const lastSeen = lastEventOf(request, boot)
    if (streams.size >= limits.eventStreamsMax) {
      throw new UnderstudyError('BACKPRESSURE', `${streams.size} event streams are open; no more are taken`)
    }
    hub.attach(node())
    options.onStream(request)
    reply.hijack()
    const stream = new EventStream(reply.raw, {
      isAllowed: () => options.isAllowed(request),
      ...(options.heartbeatMs === undefined ? {} : { heartbeatMs: options.heartbeatMs }),
    })
    streams.add(stream)
    stream.onEnd(() => streams.delete(stream))
    const tell = ({ name, data, sequence }: NodeEvent): void => {
      stream.send(name, data, sequence === undefined ? undefined : `${boot}-${sequence}`)
    }
    const tellStatus = (): void => stream.send('status', status(), `${boot}-${hub.sequence}`)
    if (lastSeen !== undefined) for (const event of hub.after(lastSeen) ?? []) tell(event)
    tellStatus()
    stream.onEnd(hub.listen(tell))
    if (statusMs !== undefined) {
      const timer = setInterval(tellStatus, statusMs)
      stream.onEnd(() => clearInterval(timer))
    }
  })

  return {
    close() {
      for (const stream of streams) stream.end()
      hub.close()
    },
  }
}

/** The number in `Last-Event-ID` if it is of this process; undefined without one, or if it is of an earlier process. */
function lastEventOf(request: FastifyRequest, boot: string): number | undefined {
  const id = request.headers['last-event-id']
  if (id === undefined) return undefined
  const match = typeof id === 'string' ? /^([0-9a-f]{16})-(\d{1,15})$/.exec(id) : null
  if (match === null) {
    throw badRequest('header Last-Event-ID is no id of an event', 'send back the id of the last event, or no header')
  }
  return match[1] === boot ? Number(match[2]) : undefined
}
