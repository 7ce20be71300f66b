import assert from 'node:assert/strict'
import { request } from 'node:http'
import { describe, test } from 'node:test'
import { UnderstudyError } from '#src/errors.js'
import { until } from '../support/cluster.js'
import { withServer } from '../support/fake-server.js'

const post = { method: 'POST' } as const
const asLines = { ...post, headers: { accept: 'application/x-ndjson' } }

describe('POST /v1/verify', () => {
  test('answers at the end, with positions as text and keys as text or base64', async () => {
    await withServer(async ({ ask, node }) => {
      node.main.verified = {
        ...node.main.verified,
        verdict: 'different',
        nodes: [
          { node: 'b', address: 'b:7400', state: 'different', failure: undefined, differences: 3, more: true },
          {
            node: 'c',
            address: 'c:7400',
            state: 'not-compared',
            failure: { code: 'UNAVAILABLE', message: 'c does not answer' },
            differences: 0,
            more: false,
          },
        ],
        differences: [
          { node: 'b', family: 'default', key: Buffer.from('ключ'), kind: 'value' },
          { node: 'b', family: 'default', key: Buffer.from([0xff, 0]), kind: 'missing-there' },
          { node: 'b', family: 'orders', key: undefined, kind: 'family-missing-there' },
        ],
      }
      const answer = await ask('/v1/verify', { ...post, body: '{"differencesMax":3,"maxBytesPerSecond":1000000}' })
      assert.equal(answer.status, 200)
      const { verdict, position, nodes, differences } = answer.json()
      assert.equal(verdict, 'different')
      assert.equal(position, '1@a.7')
      assert.deepEqual((nodes as Array<Record<string, unknown>>)[1]?.failure, {
        code: 'UNDERSTUDY_UNAVAILABLE',
        message: 'c does not answer',
      })
      assert.deepEqual(differences, [
        { node: 'b', family: 'default', kind: 'value', key: 'ключ' },
        { node: 'b', family: 'default', kind: 'missing-there', keyBase64: '/wA=' },
        { node: 'b', family: 'orders', kind: 'family-missing-there' },
      ])
      assert.deepEqual(node.main.calls.at(-2)?.argument, { differencesMax: 3, maxBytesPerSecond: 1_000_000 })
    })
  })

  test('who accepts NDJSON gets progress, then the result or the error', async () => {
    await withServer(async ({ ask, node }) => {
      const answer = await ask('/v1/verify', asLines)
      assert.match(String(answer.headers['content-type']), /x-ndjson/)
      const lines = answer.text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>)
      assert.deepEqual(
        lines.map(({ type }) => type),
        ['progress', 'result'],
      )
      assert.equal(lines[1]?.verdict, 'equal')
      node.main.failures.set('verifyEnd', new UnderstudyError('CLOSED', 'a is closing'))
      const failed = (await ask('/v1/verify', asLines)).text.trim().split('\n')
      assert.equal(JSON.parse(failed.at(-1)!).error.code, 'UNDERSTUDY_CLOSED')
    })
  })

  test('409 with the reason when nothing can be compared, 400 for what cannot be meant', async () => {
    await withServer(async ({ ask, node }) => {
      node.main.failures.set('verify', new UnderstudyError('VERIFY_REFUSED', 'a knows no other node'))
      for (const options of [post, asLines]) {
        const answer = await ask('/v1/verify', options)
        assert.equal(answer.status, 409)
        assert.equal(answer.json().code, 'UNDERSTUDY_VERIFY_REFUSED')
      }
      node.main.failures.clear()
      node.main.calls.length = 0
      for (const bad of [
        '{"differencesMax":0}',
        '{"maxBytesPerSecond":1}',
        '{"rate":5}',
        '[]',
        '{',
        '{"timeoutMs":-1}',
      ]) {
        const answer = await ask('/v1/verify', { ...post, body: bad })
        assert.equal(answer.status, 400, bad)
      }
      assert.equal(node.main.calls.length, 0)
      assert.equal((await ask('/v1/verify')).status, 405)
    })
  })

  test('a client that goes away ends the comparison', async () => {
    await withServer(async ({ address, node }) => {
      node.main.verifyHangs = true
      for (const accept of ['application/json', 'application/x-ndjson']) {
        node.main.calls.length = 0
        const sent = request(`http://${address}/v1/verify`, { method: 'POST', headers: { accept } })
        sent.on('error', () => undefined)
        sent.end()
        await until(() => node.main.calls.some(({ name }) => name === 'verify'), 'the comparison runs')
        sent.destroy()
        await until(() => node.main.calls.some(({ name }) => name === 'verifyAborted'), 'it is aborted')
      }
    })
  })
})
