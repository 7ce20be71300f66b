/** What each route takes and answers: the OpenAPI document is made from this list and the routes that exist. */
import type { z } from 'zod'
import { limits } from '../core/limits.js'
import * as answers from './answer-schemas.js'
import { statusSchema } from './status-schema.js'

export interface ParameterDescription {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly description: string
  readonly schema: Readonly<Record<string, unknown>>
}

export interface AnswerDescription {
  readonly description: string
  readonly type?: string
  /** Of JSON, or of one line of NDJSON; a name is a component of the document. */
  readonly schema?: z.ZodType
  readonly component?: string
  readonly headers?: readonly string[]
}

export interface RouteDescription {
  readonly summary: string
  readonly parameters?: readonly ParameterDescription[]
  readonly body?: { readonly type: string; readonly schema?: z.ZodType; readonly required: boolean }
  /** By status; those of errors besides. */
  readonly answers: Readonly<Record<number, AnswerDescription>>
  readonly errors: readonly number[]
}

const json = 'application/json'
const text = { type: 'string' } as const
const flag = { type: 'string', enum: ['true', 'false'] } as const
const integer = (minimum: number, maximum: number) => ({ type: 'integer', minimum, maximum })

function query(name: string, description: string, schema: ParameterDescription['schema'] = text): ParameterDescription {
  return { name, in: 'query', description, schema }
}

function header(
  name: string,
  description: string,
  schema: ParameterDescription['schema'] = text,
): ParameterDescription {
  return { name, in: 'header', description, schema }
}

const key: ParameterDescription = {
  name: 'key',
  in: 'path',
  description: 'The key, percent-encoded; slashes may stand as they are',
  schema: text,
}
const shard = query('shard', 'The shard; default `main`')
const family = query('family', 'The column family; default `default`')
const forward = query('forward', '`false`: a standby answers 421 instead of sending the write on', flag)
const consistency = query('consistency', 'What the read is worth; default `linearizable` on a primary, else `local`', {
  type: 'string',
  enum: ['linearizable', 'confirmed', 'local'],
})
const timeout = header('Understudy-Timeout-Ms', 'How long to wait', integer(1, limits.writeTimeoutMsMax))
const waitFor = header('Understudy-Wait-For', 'What to wait for beyond the commit', {
  type: 'string',
  enum: ['committed', 'standby', 'applied'],
})
const reading = [
  header('Understudy-Min-Position', 'Waits until this position is applied here'),
  header('Understudy-Max-Lag-Ms', 'Refuses data that is older', integer(0, Number.MAX_SAFE_INTEGER)),
  timeout,
]
const positionHeader = ['Understudy-Position']
const valueAnswer: AnswerDescription = {
  description: 'The value, as it was written',
  type: 'application/octet-stream',
  headers: positionHeader,
}
const written: AnswerDescription = { description: 'Committed, and readable here', headers: positionHeader }
const readErrors = [400, 404, 409, 413, 421, 503, 504]
const writeErrors = [400, 404, 408, 409, 413, 415, 421, 503, 504, 507]
const operateErrors = [400, 404, 408, 409, 413, 415, 421, 503, 504]

function jsonAnswer(description: string, schema: z.ZodType, component: string): AnswerDescription {
  return { description, type: json, schema, component }
}

const readKey: RouteDescription = {
  summary: 'Reads a value',
  parameters: [key, family, shard, consistency, ...reading],
  answers: { 200: valueAnswer },
  errors: readErrors,
}

const live: RouteDescription = {
  summary: 'Whether the process answers',
  answers: { 200: jsonAnswer('It does', answers.liveAnswer, 'Live') },
  errors: [400],
}

const ready: RouteDescription = {
  summary: 'Whether this node serves what is asked for: for load balancers',
  parameters: [
    query('role', 'Only as this', { type: 'string', enum: ['primary', 'standby'] }),
    query('lag_ms', 'Only if its data is not older', integer(0, Number.MAX_SAFE_INTEGER)),
    shard,
  ],
  answers: { 200: jsonAnswer('It does', answers.readyAnswer, 'Ready') },
  errors: [400, 404, 503],
}

/** By method and path. */
export const routeDescriptions: Readonly<Record<string, RouteDescription>> = {
  'GET /v1/kv/{key}': readKey,
  'HEAD /v1/kv/{key}': { ...readKey, summary: 'Whether there is a value, and at which position' },
  'PUT /v1/kv/{key}': {
    summary: 'Writes a value',
    parameters: [key, family, shard, forward, waitFor, timeout],
    body: { type: 'application/octet-stream', required: false },
    answers: { 204: written },
    errors: writeErrors,
  },
  'DELETE /v1/kv/{key}': {
    summary: 'Deletes a key; also one that is not there',
    parameters: [key, family, shard, forward, waitFor, timeout],
    answers: { 204: written },
    errors: writeErrors,
  },
  'GET /v1/kv': {
    summary: 'A range in the order of its keys, as of one moment, streamed',
    parameters: [
      ...[query('gte', 'From this key'), query('gt', 'From behind this key')],
      ...[query('lte', 'Up to this key'), query('lt', 'Up to before this key')],
      query('prefix', 'Keys that begin with this'),
      query('limit', 'Keys at most', integer(1, limits.rangeLimitMax)),
      query('reverse', 'From the last key to the first', flag),
      ...[family, shard, consistency, ...reading],
    ],
    answers: {
      200: {
        description: 'One JSON object per line; text, or base64 for bytes that are not UTF-8',
        type: 'application/x-ndjson',
        schema: answers.entrySchema,
        component: 'Entry',
        headers: positionHeader,
      },
    },
    errors: readErrors,
  },
  'POST /v1/batch': {
    summary: 'Writes and deletes many keys, atomically',
    parameters: [shard, forward, waitFor, timeout],
    body: { type: json, schema: answers.batchRequest, required: true },
    answers: {
      200: { ...jsonAnswer('Committed, and readable here', answers.batchAnswer, 'Batch'), headers: positionHeader },
    },
    errors: writeErrors,
  },
  'GET /v1/status': {
    summary: 'The whole picture, as this node sees it',
    parameters: [shard],
    answers: { 200: jsonAnswer('The status', statusSchema, 'Status') },
    errors: [400, 404, 503],
  },
  'GET /v1/events': {
    summary: 'Server-sent events: the status, then what happens',
    parameters: [
      query('status_ms', 'The status again, so often', integer(limits.eventsStatusMsMin, limits.eventsStatusMsMax)),
      header('Last-Event-ID', 'Tells what happened since, as far as it is kept'),
    ],
    answers: { 200: { description: 'Events without end', type: 'text/event-stream' } },
    errors: [400, 503],
  },
  'POST /v1/promote': {
    summary: 'Makes this node the primary; fails closed',
    parameters: [shard],
    body: { type: json, schema: answers.promoteRequest, required: false },
    answers: { 200: jsonAnswer('It is the primary', answers.promoteAnswer, 'Promoted') },
    errors: operateErrors,
  },
  'POST /v1/switchover': {
    summary: 'Hands over to a standby, without losing a write, or changes nothing',
    parameters: [shard],
    body: { type: json, schema: answers.switchoverRequest, required: false },
    answers: { 200: jsonAnswer('Another node is the primary', answers.switchoverAnswer, 'SwitchedOver') },
    errors: operateErrors,
  },
  'POST /v1/in-sync': {
    summary: 'Takes a member out of the in-sync set; asked of the primary',
    parameters: [shard],
    body: { type: json, schema: answers.inSyncRequest, required: true },
    answers: { 200: jsonAnswer('The set without it', answers.inSyncAnswer, 'InSync') },
    errors: operateErrors,
  },
  'POST /v1/verify': {
    summary: 'Compares this node with all others at one position, while they serve',
    parameters: [shard],
    body: { type: json, schema: answers.verifyRequest, required: false },
    answers: {
      200: jsonAnswer(
        'Compared; differences are a result and no error. To `Accept: application/x-ndjson`: lines of progress before',
        answers.verifyAnswer,
        'Verified',
      ),
    },
    errors: operateErrors,
  },
  'GET /livez': live,
  'HEAD /livez': live,
  'GET /readyz': ready,
  'HEAD /readyz': ready,
  'GET /metrics': {
    summary: 'Metrics of Prometheus',
    answers: { 200: { description: 'Text exposition format', type: 'text/plain' } },
    errors: [400, 503],
  },
  'GET /v1/openapi.json': {
    summary: 'This document',
    answers: { 200: { description: 'OpenAPI 3.1', type: json } },
    errors: [400],
  },
}
