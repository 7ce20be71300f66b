import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { describe, test } from 'node:test'
import { setImmediate as immediate } from 'node:timers/promises'
import { limits } from '#src/core/limits.js'
import { UnderstudyError } from '#src/errors.js'
import { type FakeServer, withServer } from '../support/fake-server.js'

async function put(fake: FakeServer, ...keys: string[]): Promise<void> {
  fake.node.main.apply(
    keys.map((key) => ({ type: 'put', family: 0, key: Buffer.from(key), value: Buffer.from(`v${key}`) })),
  )
}

async function keysOf(fake: FakeServer, query: string): Promise<string[]> {
  const answer = await fake.ask(`/v1/kv${query}`)
  assert.equal(answer.status, 200, answer.text)
  assert.equal(answer.headers['content-type'], 'application/x-ndjson')
  const lines = answer.text.split('\n').filter((line) => line !== '')
  return lines.map((line) => (JSON.parse(line) as { key: string }).key)
}

describe('ranges', () => {
  test('bounds, prefix, limit and reverse mean what they say', async () => {
    await withServer(async (fake) => {
      await put(fake, 'a', 'b', 'ba', 'bb', 'bc', 'c', 'd')
      assert.deepEqual(await keysOf(fake, ''), ['a', 'b', 'ba', 'bb', 'bc', 'c', 'd'])
      assert.deepEqual(await keysOf(fake, '?gte=b&lt=c'), ['b', 'ba', 'bb', 'bc'])
      assert.deepEqual(await keysOf(fake, '?gt=b&lte=c'), ['ba', 'bb', 'bc', 'c'])
      assert.deepEqual(await keysOf(fake, '?prefix=b'), ['b', 'ba', 'bb', 'bc'])
      assert.deepEqual(await keysOf(fake, '?prefix=b&gt=ba'), ['bb', 'bc'])
      assert.deepEqual(await keysOf(fake, '?prefix=b&gte=a&lt=z'), ['b', 'ba', 'bb', 'bc'])
      assert.deepEqual(await keysOf(fake, '?prefix=b&lte=bb'), ['b', 'ba', 'bb'])
      assert.deepEqual(await keysOf(fake, '?reverse=true&limit=2'), ['d', 'c'])
      assert.deepEqual(await keysOf(fake, '?limit=2'), ['a', 'b'])
      assert.deepEqual(await keysOf(fake, '?prefix=%FF'), [])
      assert.equal(fake.node.main.openSnapshots, 0)
    })
  })

  test('F26: text stands as text, base64 is only for what is not UTF-8', async () => {
    await withServer(async (fake) => {
      fake.node.main.apply([
        { type: 'put', family: 0, key: Buffer.from('ü"\n'), value: Buffer.from([0xff]) },
        { type: 'put', family: 0, key: Buffer.from([0xff, 0]), value: Buffer.from('\ufeffv') },
      ])
      const lines = (await fake.ask('/v1/kv')).text.trim().split('\n')
      assert.deepEqual(
        lines.map((line) => JSON.parse(line)),
        [
          { key: 'ü"\n', valueBase64: '/w==' },
          { keyBase64: '/wA=', value: '\ufeffv' },
        ],
      )
      assert.equal((await fake.ask('/v1/kv?gte=%FF')).text.trim().split('\n').length, 1)
    })
  })

  test('a slow reader slows the scan, and a reader that leaves frees it', { timeout: 30_000 }, async () => {
    await withServer(async (fake) => {
      const value = Buffer.alloc(32 * 1024, 0x61)
      const count = 4000
      fake.node.main.apply(
        Array.from({ length: count }, (_, index) => ({
          type: 'put',
          family: 0,
          key: Buffer.from(String(index).padStart(6, '0')),
          value,
        })),
      )
      const request = get(`http://${fake.address}/v1/kv`)
      const [response] = (await once(request, 'response')) as [IncomingMessage]
      response.pause()
      const asked = (): number => fake.node.main.calls.filter((call) => call.name === 'next').length
      // The scan stands still when what is between it and the reader is full.
      let before = -1
      while (asked() !== before) {
        before = asked()
        for (let turn = 0; turn < 50; turn++) await immediate()
      }
      assert.ok(asked() * 2 < count, `${asked()} pieces were read for a reader that takes nothing`)
      assert.equal(fake.node.main.openSnapshots, 1)
      response.destroy()
      while (fake.node.main.openSnapshots > 0) await immediate()
      assert.equal(fake.node.main.openIterators, 0)
    })
  })

  test('a scan that fails midway ends the connection: a part is never taken for the whole', {
    timeout: 30_000,
  }, async () => {
    await withServer(async (fake) => {
      await put(fake, ...Array.from({ length: 5000 }, (_, index) => `${index}${'k'.repeat(2000)}`))
      const corrupt = new UnderstudyError('CORRUPTION', 'bad block')
      const request = get(`http://${fake.address}/v1/kv`)
      const [response] = (await once(request, 'response')) as [IncomingMessage]
      await once(response, 'readable')
      fake.node.main.failures.set('next', corrupt)
      response.resume()
      const [error] = await once(response, 'error')
      assert.equal((error as NodeJS.ErrnoException).code, 'ECONNRESET')
      assert.equal(response.complete, false)

      const atOnce = await fake.ask('/v1/kv')
      assert.equal(atOnce.status, 500)
      assert.equal(atOnce.json().code, 'UNDERSTUDY_CORRUPTION')
      while (fake.node.main.openSnapshots > 0) await immediate()
    })
  })

  test('a node that rebuilds its data says so', async () => {
    await withServer(async (fake) => {
      fake.node.main.failures.set('reader', new UnderstudyError('NOT_READY', 'bootstrapping'))
      const answer = await fake.ask('/v1/kv')
      assert.equal(answer.status, 503)
      assert.equal(answer.json().code, 'UNDERSTUDY_NOT_READY')
    })
  })
})

describe('batches', () => {
  const post = (fake: FakeServer, body: unknown, path = '/v1/batch') =>
    fake.ask(path, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) })

  test('operations of several families are written as one', async () => {
    await withServer(async (fake) => {
      await put(fake, 'old')
      const answer = await post(fake, [
        { type: 'put', key: 'k', value: 'v' },
        { type: 'put', keyBase64: '/w==', valueBase64: 'AAE=', family: 'users' },
        { type: 'put', key: '', value: '' },
        { type: 'del', key: 'old' },
      ])
      assert.equal(answer.status, 200, answer.text)
      assert.deepEqual(answer.json(), { position: '1@a.2', operations: 4 })
      assert.equal(answer.headers['understudy-position'], '1@a.2')
      assert.deepEqual(await keysOf(fake, ''), ['', 'k'])
      assert.deepEqual((await fake.ask('/v1/kv/%FF?family=users')).body, Buffer.from([0, 1]))
    })
  })

  const good = { type: 'put', key: 'k', value: 'v' }
  const cases: Array<[string, unknown, RegExp]> = [
    ['nothing', '', /body is empty/],
    ['no JSON', '[{]', /not JSON/],
    ['no UTF-8', Buffer.from([0xff]).toString('latin1'), /not JSON/],
    ['no array', { type: 'put' }, /must be a JSON array/],
    ['an empty array', [], /batch is empty/],
    ['a number', [good, 7], /operation 1 must be a JSON object/],
    ['an unknown type', [{ ...good, type: 'delRange' }], /operation 0: "type" must be/],
    ['an unknown key', [good, { ...good, famly: 'users' }], /operation 1: unknown key "famly".*did you mean "family"/],
    ['no key', [{ type: 'put', value: 'v' }], /exactly one of "key" and "keyBase64"/],
    ['two keys', [{ ...good, keyBase64: 'AA==' }], /exactly one of "key" and "keyBase64"/],
    ['no value', [{ type: 'put', key: 'k' }], /exactly one of "value"/],
    ['a value to delete', [{ type: 'del', key: 'k', value: 'v' }], /unknown key "value"/],
    ['a numeric value', [{ ...good, value: 1 }], /"value" must be text/],
    ['bad base64', [{ type: 'put', keyBase64: 'A', value: 'v' }], /must be base64/],
    ['half a surrogate pair', '[{"type":"put","key":"\\ud800","value":"v"}]', /not valid Unicode/],
    ['a numeric family', [{ ...good, family: 1 }], /"family" must be text/],
  ]
  for (const [what, body, says] of cases) {
    test(`${what} is refused, and nothing is written`, async () => {
      await withServer(async (fake) => {
        const answer = await post(fake, body)
        assert.equal(answer.status, 400, answer.text)
        const { code, message, hint, outcome } = answer.json()
        assert.equal(code, 'UNDERSTUDY_BAD_REQUEST')
        assert.equal(outcome, 'none')
        assert.match(`${message} ${hint ?? ''}`, says)
        assert.equal(fake.node.main.sequence, 0)
      })
    })
  }

  test('what is too large or unknown has its own code', async () => {
    await withServer(async (fake) => {
      const long = 'k'.repeat(limits.keyBytesMax + 1)
      assert.equal((await post(fake, [good, { type: 'del', key: long }])).json().code, 'UNDERSTUDY_LIMIT_EXCEEDED')
      assert.equal((await post(fake, [{ ...good, family: 'x' }])).json().code, 'UNDERSTUDY_UNKNOWN_FAMILY')
      assert.equal((await post(fake, [good], '/v1/batch?shard=x')).json().code, 'UNDERSTUDY_UNKNOWN_SHARD')
      const huge = await post(fake, `[${' '.repeat(limits.httpBodyBytesMax)}]`)
      assert.equal(huge.status, 413)
      assert.equal(huge.json().code, 'UNDERSTUDY_LIMIT_EXCEEDED')
      assert.equal(fake.node.main.sequence, 0)
    })
  })
})
