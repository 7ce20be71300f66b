import type { FastifyInstance } from 'fastify'
import { limits } from '../core/limits.js'
import { formatEpoch, formatPosition } from '../core/position.js'
import type { NodeHandle, NodeStatus } from '../runtime/handle.js'
import { badRequest } from './http-error.js'
import { asObject, parseJson, refuseOtherKeys } from './json-body.js'
import { bodyOf, parseQuery, shardParameter } from './request.js'
import { access } from './route-access.js'

const bodyLimit = limits.httpControlBodyBytesMax

export function addOperateRoutes(app: FastifyInstance, node: () => NodeHandle, statusOf: () => NodeStatus): void {
  app.get('/v1/status', { ...access('anybody-known') }, async (request) => {
    const query = parseQuery(request, ['shard'])
    const status = statusOf()
    const name = shardParameter(query)
    if (name === undefined) return status
    const { name: known } = node().shard(name)
    return { ...status, shards: status.shards.filter((shard) => shard.shard === known) }
  })

  app.post('/v1/promote', { bodyLimit, ...access('admin') }, async (request) => {
    const query = parseQuery(request, ['shard'])
    const body = bodyOf(request)
    const object = body.length === 0 ? {} : asObject(parseJson(body, '{"force":false}'), 'the body')
    refuseOtherKeys(object, ['force', 'timeoutMs'], 'the body')
    const { force = false, timeoutMs } = object
    if (typeof force !== 'boolean') throw badRequest('"force" must be true or false')
    const promoted = await node()
      .shard(shardParameter(query))
      .promote({ force, ...waitOf(timeoutMs) })
    return {
      epoch: formatEpoch(promoted.epoch),
      position: formatPosition(promoted.position),
      mayLose: promoted.mayLose ?? null,
    }
  })

  app.post('/v1/switchover', { bodyLimit, ...access('admin') }, async (request) => {
    const query = parseQuery(request, ['shard'])
    const body = bodyOf(request)
    const object = body.length === 0 ? {} : asObject(parseJson(body, '{"to":"b"}'), 'the body')
    refuseOtherKeys(object, ['to', 'timeoutMs'], 'the body')
    const { to, timeoutMs } = object
    if (to !== undefined && (typeof to !== 'string' || to === '')) throw badRequest('"to" must name a node')
    // The handle passes it on to the primary: any node may be asked.
    const { epoch, primary, pauseMs } = await node()
      .shard(shardParameter(query))
      .switchover({ ...(to === undefined ? {} : { to }), ...waitOf(timeoutMs) })
    return { epoch: formatEpoch(epoch), primary, pauseMs }
  })

  app.post('/v1/in-sync', { bodyLimit, ...access('admin') }, async (request) => {
    const query = parseQuery(request, ['shard'])
    const object = asObject(parseJson(bodyOf(request), '{"remove":"c"}'), 'the body')
    refuseOtherKeys(object, ['remove', 'timeoutMs'], 'the body')
    const { remove, timeoutMs } = object
    if (typeof remove !== 'string' || remove === '') throw badRequest('"remove" must name a node')
    const record = await node().shard(shardParameter(query)).removeFromInSync(remove, waitOf(timeoutMs))
    return {
      inSync: record.inSync.map((member) => member.node),
      recordVersion: record.version,
      epoch: formatEpoch(record.epoch),
    }
  })
}

function waitOf(timeoutMs: unknown): { readonly timeoutMs?: number } {
  if (timeoutMs === undefined) return {}
  const max = limits.writeTimeoutMsMax
  if (typeof timeoutMs === 'number' && Number.isInteger(timeoutMs) && timeoutMs >= 1 && timeoutMs <= max) {
    return { timeoutMs }
  }
  throw badRequest(`"timeoutMs" must be an integer from 1 to ${max}`)
}
