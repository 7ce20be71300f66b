import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { createRequire } from 'node:module'
import { describe, test } from 'node:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { z } from 'zod'
import { resolveOptions } from '#src/config/check-options.js'
import { UnderstudyError } from '#src/errors.js'
import { silentLogger } from '#src/ports/logger.js'
import {
  batchRequest,
  inSyncRequest,
  promoteRequest,
  switchoverRequest,
  verifyRequest,
} from '#src/server/answer-schemas.js'
import { isDescribed } from '#src/server/openapi.js'
import { routeDescriptions } from '#src/server/route-descriptions.js'
import { statusSchema } from '#src/server/status-schema.js'
import { startNode } from '#src/start-node.js'
import { testCredentials } from '../support/credentials.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { type FakeServer, withServer } from '../support/fake-server.js'
import { type Answer, ask } from '../support/http.js'

// Ajv comes with the validator of the document.
type Check = ((data: unknown) => boolean) & { errors?: unknown }
const require = createRequire(import.meta.url)
const { Ajv2020 } = require('ajv/dist/2020.js') as {
  Ajv2020: new (options: object) => { compile(schema: object): Check; addSchema(schema: object): void }
}
const addFormats = require('ajv-formats') as (ajv: object) => void

interface Operation {
  readonly responses: Record<string, { readonly content?: Record<string, { readonly schema?: object }> }>
  readonly 'x-understudy-access': string
  readonly security: readonly object[]
}

interface Document {
  readonly openapi: string
  readonly paths: Record<string, Record<string, Operation>>
  readonly components: { readonly schemas: Record<string, object> }
}

async function documentOf(fake: Pick<FakeServer, 'ask'>): Promise<Document> {
  const answer = await fake.ask('/v1/openapi.json')
  assert.equal(answer.status, 200)
  assert.match(answer.headers['content-type'] ?? '', /^application\/json/)
  return answer.json() as unknown as Document
}

/** Holds answers against the document, as a client that was generated from it would. */
class Checker {
  readonly document: Document
  readonly seen = new Set<string>()
  private readonly compiled = new Map<string, Check>()

  constructor(document: Document) {
    this.document = document
  }

  check(method: string, path: string, answer: Pick<Answer, 'status' | 'headers' | 'text'>): void {
    const what = `${method} ${path} ${answer.status}`
    const operation = this.document.paths[path]?.[method.toLowerCase()]
    assert.ok(operation !== undefined, `${what}: not described`)
    const described = operation.responses[String(answer.status)]
    assert.ok(described !== undefined, `${what}: this status is not described: ${answer.text}`)
    this.seen.add(`${method} ${path}`)
    if (described.content === undefined) {
      assert.equal(answer.text, '', what)
      return
    }
    const type = (answer.headers['content-type'] ?? '').split(';')[0]!
    const content = described.content[type]
    assert.ok(content !== undefined, `${what}: answers ${type}, described is ${Object.keys(described.content).join()}`)
    if (content.schema === undefined) return
    const bodies = type === 'application/x-ndjson' ? answer.text.trim().split('\n') : [answer.text]
    for (const body of bodies) this.conforms(content.schema, JSON.parse(body), what)
  }

  private conforms(schema: object, value: unknown, what: string): void {
    const name = JSON.stringify(schema)
    let check = this.compiled.get(name)
    if (check === undefined) {
      const ajv = new Ajv2020({ strict: false, allErrors: true, formats: { base64: true } })
      addFormats(ajv)
      check = ajv.compile({ ...schema, components: this.document.components })
      this.compiled.set(name, check)
    }
    assert.ok(check(value), `${what}: ${JSON.stringify(check.errors)}\n${JSON.stringify(value)}`)
  }
}

describe('the OpenAPI document', () => {
  test('is valid OpenAPI 3.1', async () => {
    await withServer(async (fake) => {
      const document = await documentOf(fake)
      const validator = new Validator()
      const result = await validator.validate(structuredClone(document) as unknown as Record<string, unknown>)
      assert.ok(result.valid, JSON.stringify(result.errors))
      assert.equal(validator.version, '3.1')
    })
  })

  test('describes every route that exists, and no other', async () => {
    await withServer(async (fake) => {
      const document = await documentOf(fake)
      const described = Object.entries(document.paths).flatMap(([path, operations]) =>
        Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
      )
      const existing = fake.server.routes.filter(({ path }) => isDescribed(path))
      assert.deepEqual(described.sort(), existing.map(({ method, path }) => `${method} ${path}`).sort())
      assert.deepEqual(Object.keys(routeDescriptions).sort(), described.sort(), 'a description without a route')
    })
  })

  test('says who may use a route as the server does', async () => {
    const tokens = 'read:test-token-for-read write:test-token-for-write admin:test-token-for-admin'
    await withServer(
      async (fake) => {
        const document = await documentOf(fake)
        for (const [path, operations] of Object.entries(document.paths)) {
          for (const [method, operation] of Object.entries(operations)) {
            // Streams never end: who may read them is tested where they are.
            if (path === '/v1/events') continue
            const asked = path.replace('{key}', 'k')
            const needed = operation['x-understudy-access']
            const status = async (token?: string) =>
              (
                await fake.ask(asked, {
                  method: method.toUpperCase(),
                  headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
                })
              ).status
            const isOpen = needed === 'everybody'
            assert.equal((await status()) === 401, !isOpen, `${method} ${path} without a token`)
            assert.equal(operation.security.length === 0, isOpen)
            for (const scope of ['read', 'write', 'admin']) {
              const mayPass = isOpen || needed === 'anybody-known' || needed === scope
              assert.equal((await status(`test-token-for-${scope}`)) !== 403, mayPass, `${method} ${path} as ${scope}`)
            }
          }
        }
      },
      { credentials: testCredentials({ tokens }) },
    )
  })

  test('real answers of every route conform to it, refusals as well', { timeout: 60_000 }, async () => {
    const directory = await makeDirectory()
    const options = { data: `${directory}/data`, cluster: 'shop', node: 'a', listen: '127.0.0.1:0' }
    const running = await startNode(resolveOptions(options), { logger: silentLogger })
    try {
      await running.node.shard().ready()
      const address = running.address!
      const checker = new Checker(await documentOf({ ask: (path) => ask(address, path) }))
      const tell = async (
        method: string,
        path: string,
        asked: string,
        body?: string,
        headers = {},
      ): Promise<Answer> => {
        const answer = await ask(address, asked, { method, headers, ...(body === undefined ? {} : { body }) })
        checker.check(method, path, answer)
        return answer
      }
      const key = '/v1/kv/{key}'
      assert.equal((await tell('PUT', key, '/v1/kv/k', 'v')).status, 204)
      assert.equal((await tell('GET', key, '/v1/kv/k')).status, 200)
      assert.equal((await tell('HEAD', key, '/v1/kv/k')).status, 200)
      const batch = '[{"type":"put","keyBase64":"/w==","valueBase64":"/w=="},{"type":"del","key":"gone"}]'
      assert.equal((await tell('POST', '/v1/batch', '/v1/batch', batch)).status, 200)
      assert.equal((await tell('GET', '/v1/kv', '/v1/kv')).status, 200)
      assert.equal((await tell('DELETE', key, '/v1/kv/k')).status, 204)
      assert.equal((await tell('GET', key, '/v1/kv/k')).status, 404)
      assert.equal((await tell('GET', '/v1/status', '/v1/status')).status, 200)
      for (const path of ['/livez', '/readyz', '/metrics', '/v1/openapi.json']) {
        assert.equal((await tell('GET', path, path)).status, 200)
      }
      for (const path of ['/livez', '/readyz']) assert.equal((await tell('HEAD', path, path)).status, 200)
      assert.equal((await tell('GET', '/readyz', '/readyz?role=standby')).status, 503)
      // A single node is primary already, has nobody to hand over to, and its set is itself.
      await tell('POST', '/v1/promote', '/v1/promote', '{}')
      assert.equal((await tell('POST', '/v1/switchover', '/v1/switchover', '{}')).status, 409)
      await tell('POST', '/v1/in-sync', '/v1/in-sync', '{"remove":"z"}')
      assert.equal((await tell('POST', '/v1/verify', '/v1/verify', '{}')).status, 409, 'nobody to compare with')
      for (const [method, path, asked, body, status] of [
        ['GET', key, '/v1/kv/%zz', undefined, 400],
        ['GET', key, '/v1/kv/k?shard=x', undefined, 404],
        ['PUT', key, `/v1/kv/${'k'.repeat(70_000)}`, 'v', 413],
        ['POST', '/v1/batch', '/v1/batch', '[]', 400],
        ['POST', '/v1/promote', '/v1/promote', '{', 400],
        ['GET', '/v1/status', `/v1/status?${'x'.repeat(9_000)}`, undefined, 414],
        ['GET', '/v1/events', '/v1/events?x=1', undefined, 400],
      ] as const) {
        assert.equal((await tell(method, path, asked, body)).status, status, asked)
      }
      const stream = get(`http://${address}/v1/events`, { agent: false })
      const [response] = (await once(stream, 'response')) as [IncomingMessage]
      const [first] = (await once(response, 'data')) as [Buffer]
      checker.check('GET', '/v1/events', { status: 200, headers: response.headers, text: first.toString() })
      stream.destroy()
      const all = Object.keys(routeDescriptions).sort()
      assert.deepEqual([...checker.seen].sort(), all, 'every route was asked')
    } finally {
      await running.close()
      await removeDirectory(directory)
    }
  })

  test('answers of promote, switchover and in-sync conform to it', async () => {
    await withServer(async ({ ask, node }) => {
      const checker = new Checker(await documentOf({ ask }))
      node.main.inSync = ['a', 'b', 'c']
      for (const [path, body] of [
        ['/v1/promote', '{"force":true}'],
        ['/v1/switchover', '{"to":"b"}'],
        ['/v1/verify', '{"differencesMax":3}'],
        ['/v1/in-sync', '{"remove":"c"}'],
      ] as const) {
        const answer = await ask(path, { method: 'POST', body })
        assert.equal(answer.status, 200)
        checker.check('POST', path, answer)
      }
      const verified = await ask('/v1/verify', { method: 'POST', body: '{}' })
      assert.equal(verified.status, 200)
      checker.check('POST', '/v1/verify', verified)
      node.main.failures.set('write', new UnderstudyError('DISK_FULL', 'no space'))
      checker.check('PUT', '/v1/kv/{key}', await ask('/v1/kv/k', { method: 'PUT', body: 'v' }))
    })
  })

  test('no field of a status is left out of it', async () => {
    // In this form of the schema a field that it does not name is an error.
    const ajv = new Ajv2020({ strict: false, allErrors: true, formats: { base64: true } })
    addFormats(ajv)
    const check = ajv.compile(z.toJSONSchema(statusSchema, { io: 'output' }))
    await withServer(async ({ ask, node }) => {
      const at = '2026-01-01T00:00:00.000Z'
      const epoch = { number: 2, node: 'a' }
      node.main.followers = [
        {
          ...{ node: 'b', address: 'b:1', connected: true, inSync: true, state: 'streaming', since: at },
          ...{ received: 1, durable: 1, applied: 1, lagEntries: 0, lagBytes: 0, lagMs: 0 },
        },
      ]
      const mayLose = { entries: 1, seconds: 2, reason: 'b was ahead' }
      node.main.failovers = [{ at, epoch, primary: 'a', kind: 'failover', tookMs: 700, mayLose }]
      node.main.bootstrap = {
        ...{ phase: 'transferring', method: 'checkpoint', source: 'b', position: 1, bytesDone: 1, bytesExpected: 2 },
        ...{
          entriesDone: 1,
          bytesPerSecond: 1,
          secondsLeft: 1,
          resumedFrom: 'x',
          restarts: 0,
          retryInMs: 1,
          lastError: 'x',
        },
      }
      node.members = [
        {
          ...{ node: 'b', address: 'b:1', reachable: true, role: 'standby', state: 'streaming', epoch, durable: 1 },
          ...{ applied: 1, inSync: true, lastSeenMs: 1 },
        },
      ]
      const status = (await ask('/v1/status')).json()
      assert.ok(check(status), JSON.stringify(check.errors))
    })
  })

  test('bodies: what the schema of a request refuses, the server refuses, and what it takes is taken', async () => {
    await withServer(async ({ ask, node }) => {
      node.main.inSync = ['a', 'b', 'c']
      for (const [path, schema, bodies] of [
        [
          '/v1/promote',
          promoteRequest,
          [{}, { force: true }, { force: 1 }, { timeoutMs: 0 }, { timeoutMs: 5 }, { x: 1 }],
        ],
        ['/v1/switchover', switchoverRequest, [{}, { to: 'b' }, { to: '' }, { to: 1 }, { timeoutMs: 1.5 }, { x: 1 }]],
        [
          '/v1/verify',
          verifyRequest,
          [{}, { differencesMax: 0 }, { differencesMax: 5 }, { maxBytesPerSecond: 1 }, { timeoutMs: 0 }, { x: 1 }],
        ],
        ['/v1/in-sync', inSyncRequest, [{ remove: 'c' }, {}, { remove: '' }, { remove: 1 }, { remove: 'c', x: 1 }]],
        [
          '/v1/batch',
          batchRequest,
          [
            [],
            [{ type: 'put', key: 'k', value: 'v' }],
            [{ type: 'put', keyBase64: '/w==', valueBase64: '' }],
            [{ type: 'del', key: 'k', value: 'v' }],
            [{ type: 'del', keyBase64: '!' }],
            [{ type: 'clear' }],
            {},
          ],
        ],
      ] as const) {
        for (const body of bodies) {
          const { status } = await ask(path, { method: 'POST', body: JSON.stringify(body) })
          const isTaken = schema.safeParse(body).success
          assert.equal(status !== 400, isTaken, `${path} ${JSON.stringify(body)}: ${status}`)
        }
      }
    })
  })
})
