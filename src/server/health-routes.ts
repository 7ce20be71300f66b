import type { FastifyInstance } from 'fastify'
import { UnderstudyError } from '../errors.js'
import type { VoterStatus } from '../ports/voter.js'
import type { NodeHandle, ShardStanding } from '../runtime/handle.js'
import { badRequest } from './http-error.js'
import { integerParameter, parseQuery, shardParameter } from './request.js'
import { access } from './route-access.js'

/** For load balancers and supervisors: no secret is asked for, and nothing but role, state and reason is told. */
export function addHealthRoutes(app: FastifyInstance, node: () => NodeHandle, isClosing: () => boolean): void {
  app.get('/livez', { exposeHeadRoute: true, ...access('everybody') }, async (request) => {
    parseQuery(request, [])
    return { status: 'live' }
  })

  app.get('/readyz', { exposeHeadRoute: true, ...access('everybody') }, async (request) => {
    const query = parseQuery(request, ['role', 'lag_ms', 'shard'])
    const role = query.get('role')?.toString()
    if (role !== undefined && role !== 'primary' && role !== 'standby') {
      throw badRequest(`query parameter "role" must be primary or standby, not "${role.slice(0, 40)}"`)
    }
    const lagMax = integerParameter(query, 'lag_ms', 0, Number.MAX_SAFE_INTEGER)
    if (isClosing()) throw new UnderstudyError('NOT_READY', 'the node is closing')
    const { voter } = node().status()
    if (voter?.witness === true) return witnessReady(voter, role)
    const status = node().shard(shardParameter(query)).standing()
    const reason = unreadyReason(status, role, lagMax)
    if (reason !== undefined) {
      throw new UnderstudyError('NOT_READY', `shard ${status.shard}: ${reason}`, { hint: status.reason })
    }
    return { status: 'ready', shard: status.shard, role: status.role, state: status.state, lagMs: status.lagMs ?? null }
  })
}

/** A witness has no role; it is ready when it answers as the voter. */
function witnessReady(voter: VoterStatus, role: string | undefined): Record<string, unknown> {
  if (role !== undefined) throw new UnderstudyError('NOT_READY', `this node is a witness: it is never ${role}`)
  if (voter.state === 'serving') return { status: 'ready', witness: true, voter: voter.voter }
  const options = voter.reason === undefined ? {} : { hint: voter.reason }
  throw new UnderstudyError('NOT_READY', `voter ${voter.voter} is ${voter.state}`, options)
}

/** Ready is who serves what was asked for: a primary, or a standby to which entries flow. Undefined: ready. */
function unreadyReason(
  status: ShardStanding,
  role: 'primary' | 'standby' | undefined,
  lagMax: number | undefined,
): string | undefined {
  const { state, lagMs } = status
  if (role !== undefined && status.role !== role) return `its role is ${status.role}, not ${role}`
  if (state === 'primary') return undefined
  // A standby without a stream may look fresh while it is not: never ready, however small its last known lag.
  if (state !== 'streaming') return `it is ${state}`
  if (lagMax === undefined) return undefined
  if (lagMs === undefined) return 'its lag is not known'
  return lagMs > lagMax ? `it is ${lagMs} ms behind, more than ${lagMax}` : undefined
}
