/** What requests say in their paths, queries and headers; everything that cannot be read is refused by name. */
import type { FastifyRequest } from 'fastify'
import type { Family } from '../core/entry.js'
import { limits } from '../core/limits.js'
import { parsePosition } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { Consistency, ReadFreshness, WriteOptions } from '../runtime/handle.js'
import { badRequest } from './http-error.js'
import { percentDecode } from './percent.js'

/** Parameters of a query, each at most once, values as bytes. */
export type Query = ReadonlyMap<string, Buffer>

export function parseQuery(request: FastifyRequest, known: readonly string[]): Query {
  const query = new Map<string, Buffer>()
  const mark = request.originalUrl.indexOf('?')
  if (mark === -1) return query
  for (const part of request.originalUrl.slice(mark + 1).split('&')) {
    if (part === '') continue
    const equals = part.indexOf('=')
    const name = percentDecode(equals === -1 ? part : part.slice(0, equals), true)?.toString() ?? part
    if (!known.includes(name)) {
      throw badRequest(`unknown query parameter "${name}"`, `known here: ${known.join(', ') || 'none'}`)
    }
    if (query.has(name)) throw badRequest(`query parameter "${name}" stands twice`)
    const value = percentDecode(equals === -1 ? '' : part.slice(equals + 1), true)
    if (value === undefined) throw badRequest(`query parameter "${name}" is not percent-encoded`)
    query.set(name, value)
  }
  return query
}

export function integerParameter(query: Query, name: string, min: number, max: number): number | undefined {
  const value = query.get(name)
  return value === undefined ? undefined : parseInteger(value.toString(), `query parameter "${name}"`, min, max)
}

export function booleanParameter(query: Query, name: string): boolean | undefined {
  const value = query.get(name)?.toString()
  if (value === undefined) return undefined
  if (value === 'true') return true
  if (value === 'false') return false
  throw badRequest(`query parameter "${name}" must be true or false, not "${value}"`)
}

function parseInteger(text: string, what: string, min: number, max: number): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value
  throw badRequest(`${what} must be an integer from ${min} to ${max}, not "${text.slice(0, 40)}"`)
}

const consistencies = ['linearizable', 'confirmed', 'local'] as const

export function consistencyParameter(query: Query): Consistency | undefined {
  const value = query.get('consistency')?.toString()
  const consistency = consistencies.find((one) => one === value)
  if (value === undefined || consistency !== undefined) return consistency
  throw badRequest(
    `query parameter "consistency" must be one of ${consistencies.join(', ')}, not "${value.slice(0, 40)}"`,
  )
}

/** The family that `family=` names, the default one without it. */
export function familyParameter(query: Query, families: readonly Family[]): number {
  const name = query.get('family')
  return name === undefined ? 0 : familyId(name.toString(), families)
}

export function familyId(name: string, families: readonly Family[]): number {
  const family = families.find((one) => one.name === name)
  if (family !== undefined) return family.id
  throw new UnderstudyError('UNKNOWN_FAMILY', `there is no column family "${name.slice(0, 80)}"`, {
    hint: `there are: ${families
      .slice(0, 20)
      .map((one) => one.name)
      .join(', ')}`,
  })
}

/** Names of shards are text; without the parameter the default shard is meant. */
export function shardParameter(query: Query): string | undefined {
  return query.get('shard')?.toString()
}

export const keyPathPrefix = '/v1/kv/'

/** Path to which requests for single keys are rewritten: the router decodes paths as UTF-8, and keys are bytes. */
export const keyRoute = '/v1/kv-key'

/** The key behind `/v1/kv/`, slashes included: whatever follows is the key. */
export function keyOf(request: FastifyRequest): Buffer {
  const url = request.originalUrl
  const mark = url.indexOf('?')
  const key = percentDecode(url.slice(keyPathPrefix.length, mark === -1 ? undefined : mark), false)
  if (key === undefined) throw badRequest('the key in the path is not percent-encoded')
  checkKey(key, 'the key')
  return key
}

export function checkKey(key: Uint8Array, what: string): void {
  if (key.length <= limits.keyBytesMax) return
  throw new UnderstudyError('LIMIT_EXCEEDED', `${what} has ${key.length} bytes; at most ${limits.keyBytesMax}`)
}

function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name.toLowerCase()]
  if (Array.isArray(value)) throw badRequest(`header ${name} stands twice`)
  return value
}

function integerHeader(request: FastifyRequest, name: string, min: number, max: number): number | undefined {
  const value = header(request, name)
  return value === undefined ? undefined : parseInteger(value, `header ${name}`, min, max)
}

export function timeoutHeader(request: FastifyRequest): { readonly timeoutMs?: number } {
  const timeoutMs = integerHeader(request, 'Understudy-Timeout-Ms', 1, limits.writeTimeoutMsMax)
  return timeoutMs === undefined ? {} : { timeoutMs }
}

/** Undefined when nothing was asked for: then the data is read as it is here. */
export function freshnessOf(request: FastifyRequest): ReadFreshness | undefined {
  const positionText = header(request, 'Understudy-Min-Position')
  const minPosition = positionText === undefined ? undefined : parsePosition(positionText)
  if (positionText !== undefined && minPosition === undefined) {
    throw badRequest(
      `header Understudy-Min-Position is no position: "${positionText.slice(0, 80)}"`,
      'send back what Understudy-Position said, for example 3@a.1042',
    )
  }
  const maxLagMs = integerHeader(request, 'Understudy-Max-Lag-Ms', 0, Number.MAX_SAFE_INTEGER)
  const timeout = timeoutHeader(request)
  if (minPosition === undefined && maxLagMs === undefined) return undefined
  return {
    ...timeout,
    ...(minPosition === undefined ? {} : { minPosition }),
    ...(maxLagMs === undefined ? {} : { maxLagMs }),
  }
}

const waits = ['committed', 'standby', 'applied'] as const

export function writeOptionsOf(request: FastifyRequest, query: Query): WriteOptions {
  const waitFor = header(request, 'Understudy-Wait-For')
  const wait = waits.find((one) => one === waitFor)
  if (waitFor !== undefined && wait === undefined) {
    throw badRequest(`header Understudy-Wait-For must be one of ${waits.join(', ')}, not "${waitFor.slice(0, 40)}"`)
  }
  const forward = booleanParameter(query, 'forward')
  return {
    ...timeoutHeader(request),
    ...(wait === undefined ? {} : { waitFor: wait }),
    ...(forward === undefined ? {} : { forward }),
  }
}

/** Bodies arrive as bytes whatever their content type says; absent means empty. */
export function bodyOf(request: FastifyRequest): Buffer {
  return request.body === undefined || request.body === null ? Buffer.alloc(0) : (request.body as Buffer)
}
