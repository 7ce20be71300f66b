import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Operation } from '../core/entry.js'
import { limits } from '../core/limits.js'
import { formatPosition, type Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { Consistency, NodeHandle, ReadTicket, ShardHandle } from '../runtime/handle.js'
import { parseBatch } from './batch.js'
import { parseRange, RangeStream, rangeParameters } from './range.js'
import {
  bodyOf,
  consistencyParameter,
  familyParameter,
  freshnessOf,
  keyOf,
  keyRoute,
  parseQuery,
  shardParameter,
  timeoutHeader,
  writeOptionsOf,
} from './request.js'
import { access } from './route-access.js'

export const positionHeader = 'Understudy-Position'

export function addKeyValueRoutes(app: FastifyInstance, node: () => NodeHandle): void {
  app.get(keyRoute, { exposeHeadRoute: true, ...access('read') }, async (request, reply) => {
    const query = parseQuery(request, ['family', 'shard', 'consistency'])
    const key = keyOf(request)
    const consistency = consistencyParameter(query)
    const shard = node().shard(shardParameter(query))
    await awaitFreshness(shard, request, consistency)
    const ticket = shard.beginRead(consistency)
    const reader = shard.reader()
    // Read before the value: the answer is at least as new as it says.
    const { applied } = reader
    const value = await reader.get(familyParameter(query, reader.families), key)
    if (!ticket.isGranted) await awaitGrant(ticket, request)
    reply.header(positionHeader, formatPosition(applied))
    if (value === undefined) throw new UnderstudyError('NOT_FOUND', 'there is no value under this key')
    return reply.type('application/octet-stream').send(Buffer.from(value.buffer, value.byteOffset, value.byteLength))
  })

  app.put(keyRoute, { bodyLimit: limits.valueBytesMax, ...access('write') }, async (request, reply) => {
    const key = keyOf(request)
    await write(request, reply, node(), (family) => [{ type: 'put', family, key, value: bodyOf(request) }])
    return reply.status(204).send()
  })

  app.delete(keyRoute, { bodyLimit: limits.httpControlBodyBytesMax, ...access('write') }, async (request, reply) => {
    const key = keyOf(request)
    await write(request, reply, node(), (family) => [{ type: 'del', family, key }])
    return reply.status(204).send()
  })

  app.post('/v1/batch', { bodyLimit: limits.httpBodyBytesMax, ...access('write') }, async (request, reply) => {
    const query = parseQuery(request, ['shard', 'forward'])
    const shard = node().shard(shardParameter(query))
    const operations = parseBatch(bodyOf(request), shard.reader().families)
    const position = await shard.write(operations, writeOptionsOf(request, query))
    markPosition(reply, position)
    return { position: formatPosition(position), operations: operations.length }
  })

  app.get('/v1/kv', { ...access('read') }, async (request, reply) => {
    const query = parseQuery(request, [...rangeParameters, 'family', 'shard', 'consistency'])
    const options = parseRange(query)
    const consistency = consistencyParameter(query)
    const shard = node().shard(shardParameter(query))
    await awaitFreshness(shard, request, consistency)
    const ticket = shard.beginRead(consistency)
    const reader = shard.reader()
    const family = familyParameter(query, reader.families)
    const snapshot = reader.snapshot()
    try {
      // All that is streamed is of the moment of the snapshot: it is looked at once.
      if (!ticket.isGranted) await awaitGrant(ticket, request)
    } catch (error) {
      await snapshot.close()
      throw error
    }
    reply.header(positionHeader, formatPosition(snapshot.position))
    const range = new RangeStream(reader, snapshot, family, options)
    reply.raw.once('close', () => range.destroy())
    return reply.type('application/x-ndjson').send(range)
  })
}

async function write(
  request: FastifyRequest,
  reply: FastifyReply,
  node: NodeHandle,
  operationsOf: (family: number) => Operation[],
): Promise<void> {
  const query = parseQuery(request, ['family', 'shard', 'forward'])
  const options = writeOptionsOf(request, query)
  const shard = node.shard(shardParameter(query))
  // Only a named family asks the engine: a write to the default one is taken while this node rebuilds its own data.
  const family = query.has('family') ? familyParameter(query, shard.reader().families) : 0
  markPosition(reply, await shard.write(operationsOf(family), options))
}

function markPosition(reply: FastifyReply, position: Position): void {
  reply.header(positionHeader, formatPosition(position))
}

async function awaitFreshness(
  shard: ShardHandle,
  request: FastifyRequest,
  consistency: Consistency | undefined,
): Promise<void> {
  const freshness = freshnessOf(request)
  if (freshness === undefined) return
  const options = { ...freshness, ...(consistency === undefined ? {} : { consistency }) }
  await whileConnected(request, (signal) => shard.fresh({ ...options, signal }))
}

function awaitGrant(ticket: ReadTicket, request: FastifyRequest): Promise<void> {
  const options = timeoutHeader(request)
  return whileConnected(request, (signal) => ticket.granted({ ...options, signal }))
}

/** Nobody waits for a client that is gone. */
async function whileConnected(request: FastifyRequest, wait: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const gone = new AbortController()
  const onClose = (): void => gone.abort()
  request.raw.socket.once('close', onClose)
  try {
    await wait(gone.signal)
  } finally {
    request.raw.socket.off('close', onClose)
  }
}
