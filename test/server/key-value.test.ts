import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { limits } from '#src/core/limits.js'
import { UnderstudyError } from '#src/errors.js'
import { percentDecode, percentEncode } from '#src/server/percent.js'
import { withServer } from '../support/fake-server.js'
import type { Answer } from '../support/http.js'

function refused(answer: Answer, status: number, code: string, says: RegExp): void {
  assert.equal(answer.status, status, answer.text)
  assert.match(answer.headers['content-type'] ?? '', /application\/json/)
  const error = answer.json()
  assert.equal(error.code, `UNDERSTUDY_${code}`)
  assert.match(`${error.message} ${error.hint ?? ''}`, says)
  assert.ok(['none', 'unknown', 'done'].includes(error.outcome as string))
}

describe('single keys', () => {
  test('a value is put, read and deleted, raw, with its position', async () => {
    await withServer(async ({ ask }) => {
      const put = await ask('/v1/kv/hello', { method: 'PUT', body: 'world' })
      assert.equal(put.status, 204, put.text)
      assert.equal(put.headers['understudy-position'], '1@a.1')
      const got = await ask('/v1/kv/hello')
      assert.equal(got.status, 200)
      assert.equal(got.text, 'world')
      assert.equal(got.headers['content-type'], 'application/octet-stream')
      assert.equal(got.headers['x-content-type-options'], 'nosniff')
      assert.equal(got.headers['cache-control'], 'no-store')
      assert.equal(got.headers['understudy-position'], '1@a.1')
      const head = await ask('/v1/kv/hello', { method: 'HEAD' })
      assert.equal(head.headers['content-length'], '5')
      const deleted = await ask('/v1/kv/hello', { method: 'DELETE' })
      assert.equal(deleted.status, 204)
      assert.equal(deleted.headers['understudy-position'], '1@a.2')
      refused(await ask('/v1/kv/hello'), 404, 'NOT_FOUND', /no value under this key/)
    })
  })

  test('any bytes are a key and a value, whatever the content type says', async () => {
    await withServer(async ({ ask }) => {
      const keys = [
        Buffer.alloc(0),
        Buffer.from([0]),
        Buffer.from([0xff, 0xfe, 0x25, 0x2f]),
        Buffer.from('a/b?c#d+e f'),
      ]
      const value = Buffer.from([0, 1, 2, 0xff])
      for (const type of ['application/json', 'text/plain; charset=utf-8', 'application/octet-stream']) {
        for (const key of keys) {
          const path = `/v1/kv/${percentEncode(key)}`
          const put = await ask(path, { method: 'PUT', body: value, headers: { 'content-type': type } })
          assert.equal(put.status, 204, put.text)
          assert.deepEqual((await ask(path)).body, value)
        }
      }
      // Slashes may stand as they are; an empty value is a value.
      assert.equal((await ask('/v1/kv/x/y', { method: 'PUT' })).status, 204)
      const empty = await ask('/v1/kv/x%2Fy')
      assert.equal(empty.status, 200)
      assert.equal(empty.body.length, 0)
    })
  })

  test('percent-coding gives back every key', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (key) => {
        assert.deepEqual(percentDecode(percentEncode(key), false), Buffer.from(key))
        assert.deepEqual(percentDecode(percentEncode(key), true), Buffer.from(key))
      }),
    )
  })

  test('the longest key and value pass, longer ones are refused', async () => {
    await withServer(async ({ ask, node }) => {
      const longest = percentEncode(Buffer.alloc(limits.keyBytesMax, 0xff))
      assert.equal((await ask(`/v1/kv/${longest}`, { method: 'PUT', body: 'v' })).status, 204)
      refused(await ask(`/v1/kv/${longest}x`, { method: 'PUT', body: 'v' }), 413, 'LIMIT_EXCEEDED', /65537 bytes/)
      const value = Buffer.alloc(limits.valueBytesMax)
      assert.equal((await ask('/v1/kv/big', { method: 'PUT', body: value })).status, 204)
      const sequence = node.main.sequence
      const larger = Buffer.alloc(limits.valueBytesMax + 1)
      refused(await ask('/v1/kv/big', { method: 'PUT', body: larger }), 413, 'LIMIT_EXCEEDED', /larger/)
      assert.equal(node.main.sequence, sequence)
    })
  })

  test('families and shards are named, never guessed (F33)', async () => {
    await withServer(async ({ ask, node }) => {
      await ask('/v1/kv/k?family=users', { method: 'PUT', body: 'u' })
      assert.equal((await ask('/v1/kv/k?family=users')).text, 'u')
      assert.equal((await ask('/v1/kv/k')).status, 404)
      assert.equal((await ask('/v1/kv/k?family=users&shard=main')).text, 'u')
      refused(await ask('/v1/kv/k?family=nope'), 404, 'UNKNOWN_FAMILY', /there are: default, users/)
      refused(await ask('/v1/kv/k?shard=other'), 404, 'UNKNOWN_SHARD', /no shard "other"/)
      refused(await ask('/v1/kv/k?shard='), 404, 'UNKNOWN_SHARD', /no shard ""/)
      const before = node.main.sequence
      for (const method of ['PUT', 'DELETE']) {
        refused(await ask('/v1/kv/k?shard=other', { method }), 404, 'UNKNOWN_SHARD', /no shard/)
        refused(await ask('/v1/kv/k?family=nope', { method }), 404, 'UNKNOWN_FAMILY', /no column family/)
      }
      assert.equal(node.main.sequence, before)
    })
  })

  test('freshness and write options reach the node', async () => {
    await withServer(async ({ ask, node }) => {
      await ask('/v1/kv/k', { headers: { 'Understudy-Min-Position': '3@b.17', 'Understudy-Max-Lag-Ms': '250' } })
      const fresh = node.main.calls.find((call) => call.name === 'fresh')?.argument as Record<string, unknown>
      assert.deepEqual(fresh.minPosition, { epoch: { number: 3, node: 'b' }, sequence: 17 })
      assert.equal(fresh.maxLagMs, 250)
      await ask('/v1/kv/k?forward=false', {
        method: 'PUT',
        headers: { 'Understudy-Wait-For': 'applied', 'Understudy-Timeout-Ms': '1500' },
      })
      const write = node.main.calls.find((call) => call.name === 'write')?.argument
      assert.deepEqual(write, { timeoutMs: 1500, waitFor: 'applied', forward: false })
    })
  })

  test('a standby that may not forward names the primary in Location', async () => {
    await withServer(async ({ ask, node }) => {
      const error = new UnderstudyError('NOT_PRIMARY', 'b is the primary', { primary: '10.0.0.2:7400' })
      node.main.failures.set('write', error)
      const answer = await ask('/v1/kv/a%2Fb?forward=false', { method: 'PUT', body: 'v' })
      refused(answer, 421, 'NOT_PRIMARY', /b is the primary/)
      assert.equal(answer.headers.location, 'http://10.0.0.2:7400/v1/kv/a%2Fb?forward=false')
    })
  })

  test('the outcome of a failed write reaches the client; bugs are not shown', async () => {
    await withServer(async ({ ask, node }) => {
      node.main.failures.set('write', new UnderstudyError('ACK_TIMEOUT', 'no answer', { outcome: 'unknown' }))
      const late = await ask('/v1/kv/k', { method: 'PUT' })
      refused(late, 504, 'ACK_TIMEOUT', /no answer/)
      assert.equal(late.json().outcome, 'unknown')
      node.main.failures.set('write', new UnderstudyError('BACKPRESSURE', 'too much'))
      const busy = await ask('/v1/kv/k', { method: 'PUT' })
      refused(busy, 503, 'BACKPRESSURE', /too much/)
      assert.equal(busy.headers['retry-after'], '1')
      node.main.failures.set('write', new TypeError('x is not a function'))
      const bug = await ask('/v1/kv/k', { method: 'PUT' })
      refused(bug, 500, 'INTERNAL', /log has the details/)
      assert.ok(!bug.text.includes('x is not'))
    })
  })
})

describe('bad input is refused by name', () => {
  const cases: Array<[string, string, Record<string, string>, RegExp]> = [
    ['GET', '/v1/kv/%zz', {}, /the key in the path/],
    ['GET', '/v1/kv/%f', {}, /the key in the path/],
    ['GET', '/v1/kv/k?famly=users', {}, /"famly".*known here: family, shard/],
    ['GET', '/v1/kv/k?family=users&family=users', {}, /stands twice/],
    ['GET', '/v1/kv/k?family=%', {}, /not percent-encoded/],
    ['PUT', '/v1/kv/k?forward=maybe', {}, /true or false, not "maybe"/],
    ['PUT', '/v1/kv/k?forward', {}, /true or false, not ""/],
    ['GET', '/v1/kv/k', { 'Understudy-Min-Position': '17' }, /no position: "17"/],
    ['GET', '/v1/kv/k', { 'Understudy-Max-Lag-Ms': '-1' }, /Max-Lag-Ms must be an integer/],
    ['GET', '/v1/kv/k', { 'Understudy-Max-Lag-Ms': '1e3' }, /not "1e3"/],
    ['PUT', '/v1/kv/k', { 'Understudy-Wait-For': 'all' }, /committed, standby, applied, not "all"/],
    ['PUT', '/v1/kv/k', { 'Understudy-Timeout-Ms': '0' }, /from 1 to 600000/],
    ['GET', '/v1/kv?limit=0', {}, /"limit" must be an integer from 1/],
    ['GET', '/v1/kv?limit=ten', {}, /not "ten"/],
    ['GET', '/v1/kv?reverse=1', {}, /true or false/],
    ['GET', '/v1/kv?gt=a&gte=b', {}, /exclude each other/],
    ['GET', '/v1/kv?lt=a&lte=b', {}, /exclude each other/],
    ['GET', '/readyz?role=boss', {}, /primary or standby, not "boss"/],
    ['GET', '/readyz?lag_ms=x', {}, /"lag_ms" must be an integer/],
    ['GET', '/livez?x=1', {}, /unknown query parameter "x"/],
    ['GET', '/metrics?x=1', {}, /unknown query parameter "x"/],
  ]
  for (const [method, path, headers, says] of cases) {
    test(`${method} ${path} ${JSON.stringify(headers)}`, async () => {
      await withServer(async ({ ask, node }) => {
        refused(await ask(path, { method, headers }), 400, 'BAD_REQUEST', says)
        assert.equal(node.main.sequence, 0)
      })
    })
  }

  test('a path that is none', async () => {
    await withServer(async ({ ask }) => {
      refused(await ask('/v2/kv'), 404, 'NOT_FOUND', /nothing answers GET \/v2\/kv/)
      refused(await ask('/v1/kv-key'), 404, 'NOT_FOUND', /nothing answers/)
      for (const [method, path, allow] of [
        ['DELETE', '/v1/status', 'GET'],
        ['POST', '/v1/kv/k', 'DELETE, GET, HEAD, PUT'],
        ['GET', '/v1/batch', 'POST'],
        ['PATCH', '/v1/kv', 'GET'],
      ] as const) {
        const answer = await ask(path, { method })
        refused(answer, 405, 'BAD_REQUEST', new RegExp(`does not answer ${method}`))
        assert.equal(answer.headers.allow, allow)
      }
      refused(await ask('/%ff'), 400, 'BAD_REQUEST', /percent-encoded UTF-8/)
    })
  })

  test('what is not HTTP gets the same shape', async () => {
    await withServer(async ({ address }) => {
      const [host, port] = address.split(':')
      const socket = connect(Number(port), host)
      socket.end('HELLO\r\n\r\n')
      let text = ''
      socket.on('data', (part) => {
        text += part
      })
      await once(socket, 'close')
      assert.match(text, /^HTTP\/1.1 400 /)
      assert.equal(JSON.parse(text.slice(text.indexOf('{'))).code, 'UNDERSTUDY_BAD_REQUEST')
    })
  })
})

describe('consistency', () => {
  test('what is asked for reaches the shard, and a value without a lease is not shown', async () => {
    await withServer(async ({ ask, node }) => {
      const { main } = node
      await ask('/v1/kv/k', { method: 'PUT', body: 'v' })
      const asked = () => main.calls.filter(({ name }) => name === 'beginRead').map(({ argument }) => argument)
      for (const path of ['/v1/kv/k', '/v1/kv?gte=k']) {
        main.calls.length = 0
        const mark = path.includes('?') ? '&' : '?'
        assert.equal((await ask(path)).status, 200)
        assert.equal((await ask(`${path}${mark}consistency=confirmed`)).status, 200)
        assert.deepEqual(asked(), [undefined, 'confirmed'])
        refused(await ask(`${path}${mark}consistency=strong`), 400, 'BAD_REQUEST', /linearizable, confirmed, local/)
        main.failures.set('granted', new UnderstudyError('FENCED', 'no lease'))
        refused(await ask(path, { headers: { 'Understudy-Timeout-Ms': '33' } }), 503, 'FENCED', /no lease/)
        const wait = main.calls.find(({ name }) => name === 'granted')?.argument as { timeoutMs: number }
        assert.equal(wait.timeoutMs, 33)
        assert.equal(main.openSnapshots, 0)
        main.failures.clear()
      }
    })
  })

  test('a standby that is asked for more than it has names the primary', async () => {
    await withServer(async ({ ask, node }) => {
      const error = new UnderstudyError('NOT_PRIMARY', 'b is', { primary: 'b.test:7400' })
      node.main.failures.set('beginRead', error)
      const answer = await ask('/v1/kv/k?consistency=linearizable')
      refused(answer, 421, 'NOT_PRIMARY', /b is/)
      assert.equal(answer.headers.location, 'http://b.test:7400/v1/kv/k?consistency=linearizable')
    })
  })
})
