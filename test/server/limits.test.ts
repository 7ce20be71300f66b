import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get, type IncomingMessage, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { setImmediate as immediate } from 'node:timers/promises'
import { limits } from '#src/core/limits.js'
import { silentLogger } from '#src/ports/logger.js'
import { BodyReader } from '#src/server/body-reader.js'
import { createHttpServer } from '#src/server/http-server.js'
import { RangeStream } from '#src/server/range.js'
import { testCredentials } from '../support/credentials.js'
import { FakeNode } from '../support/fake-node.js'
import { withServer } from '../support/fake-server.js'
import { ask } from '../support/http.js'

interface Heard {
  readonly status: number
  readonly code: string
  readonly outcome: string
}

/** Sends these bytes and hears the answer to the end of the connection. */
async function say(address: string, ...parts: string[]): Promise<Heard> {
  const [host, port] = address.split(':')
  const socket = connect(Number(port), host)
  socket.on('error', () => {})
  for (const part of parts) socket.write(part)
  return heard(socket)
}

async function heard(socket: Socket): Promise<Heard> {
  let text = ''
  socket.on('data', (part: Buffer) => {
    text += part.toString()
  })
  await once(socket, 'close')
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1])
  const error = JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)) as { code: string; outcome: string }
  return { status, code: error.code, outcome: error.outcome }
}

describe('slow clients', { timeout: 30_000 }, () => {
  const times = { headersTimeoutMs: 100, requestTimeoutMs: 200, keepAliveMs: 50, checkMs: 20, bodyStallMs: 50 }

  test('headers that do not come to an end are answered 408, however they drip', async () => {
    await withServer(
      async ({ address }) => {
        const [host, port] = address.split(':')
        const socket = connect(Number(port), host)
        socket.on('error', () => {})
        socket.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n')
        const drip = setInterval(() => socket.write('X: y\r\n'), 10)
        const { status, code } = await heard(socket)
        clearInterval(drip)
        assert.deepEqual([status, code], [408, 'UNDERSTUDY_TIMEOUT'])
      },
      { times },
    )
  })

  test('a body that does not go on is answered 408, and nothing was written', async () => {
    await withServer(
      async ({ address, node }) => {
        const head = 'PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n'
        const { status, code, outcome } = await say(address, head, 'abc')
        assert.deepEqual([status, code, outcome], [408, 'UNDERSTUDY_TIMEOUT', 'none'])
        assert.equal(node.main.sequence, 0)
      },
      { times: { ...times, requestTimeoutMs: 60_000 } },
    )
  })

  test('a connection without a request is ended', async () => {
    await withServer(
      async ({ address }) => {
        const [host, port] = address.split(':')
        const socket = connect(Number(port), host)
        socket.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n')
        socket.resume()
        await once(socket, 'close')
      },
      { times },
    )
  })

  test('F45: a range that is not read on is ended, and its snapshot freed', async () => {
    const { main } = new FakeNode()
    const value = Buffer.alloc(64 * 1024)
    main.apply(
      Array.from({ length: 100 }, (_, index) => ({ type: 'put', family: 0, key: Buffer.from([index]), value })),
    )
    const reader = main.reader()
    const range = new RangeStream(reader, reader.snapshot(), 0, {}, 20)
    assert.equal(main.openSnapshots, 1)
    // One piece now and then keeps it: only who takes nothing for the whole time is ended.
    for (let count = 0; count < 3; count++) {
      await once(range, 'readable')
      range.read()
    }
    const [error] = (await once(range, 'error')) as [Error]
    assert.match(error.message, /not read on/)
    if (!range.closed) await once(range, 'close')
    assert.equal(main.openSnapshots, 0)
    assert.equal(main.openIterators, 0)
  })
})

describe('large requests', { timeout: 60_000 }, () => {
  test('each kind of body has its limit, announced or not', async () => {
    await withServer(async ({ address, node }) => {
      for (const [method, path, bytes] of [
        ['PUT', '/v1/kv/k', limits.valueBytesMax],
        ['POST', '/v1/promote', limits.httpControlBodyBytesMax],
        ['POST', '/v1/switchover', limits.httpControlBodyBytesMax],
      ] as const) {
        const announced = await ask(address, path, { method, body: Buffer.alloc(bytes + 1) })
        assert.equal(announced.status, 413, `${method} ${path}`)
        assert.equal(announced.json().code, 'UNDERSTUDY_LIMIT_EXCEEDED')
        const chunked = request({ host: '127.0.0.1', port: address.split(':')[1], path, method, agent: false })
        chunked.on('error', () => {})
        chunked.write(Buffer.alloc(bytes))
        chunked.write('x')
        const [response] = (await once(chunked, 'response')) as [IncomingMessage]
        assert.equal(response.statusCode, 413, `${method} ${path}, chunked`)
        assert.equal(response.headers.connection, 'close')
        response.resume()
        chunked.destroy()
      }
      assert.equal(node.main.calls.length, 0)
    })
  })

  test('path and headers: 414 for a long path that holds no key, 431 for what is larger than can be read', async () => {
    await withServer(async ({ address, ask }) => {
      const long = await ask(`/v1/status?shard=${'x'.repeat(limits.httpUrlBytesMax)}`)
      assert.deepEqual([long.status, long.json().code], [414, 'UNDERSTUDY_LIMIT_EXCEEDED'])
      const headers = `GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(limits.httpHeaderBytesMax)}\r\n\r\n`
      const { status, code } = await say(address, headers)
      assert.deepEqual([status, code], [431, 'UNDERSTUDY_LIMIT_EXCEEDED'])
    })
  })

  test('an encoded body is not stored as if it were the value', async () => {
    await withServer(async ({ ask, node }) => {
      const answer = await ask('/v1/kv/k', { method: 'PUT', body: 'x', headers: { 'content-encoding': 'gzip' } })
      assert.equal(answer.status, 415)
      assert.match(String(answer.json().message), /header Content-Encoding: "gzip"/)
      assert.equal(node.main.calls.length, 0)
      const identity = { method: 'PUT', body: 'x', headers: { 'content-encoding': 'identity' } }
      assert.equal((await ask('/v1/kv/k', identity)).status, 204)
    })
  })

  test('F29: bodies under way are bounded together, and given back', async () => {
    const bodies = new BodyReader({ bytesMax: 1_000 })
    const server = createHttpServer({
      node: new FakeNode(),
      listen: { host: '127.0.0.1', port: 0 },
      credentials: testCredentials(),
      logger: silentLogger,
    })
    // Requests as they arrive, taken apart before the routes see them.
    const arrived: IncomingMessage[] = []
    server.server.removeAllListeners('request')
    server.server.on('request', (one: IncomingMessage) => void arrived.push(one))
    const address = await server.listen()
    const send = async (bytes: number): Promise<IncomingMessage> => {
      const [host, port] = address.split(':')
      const sent = request({ host, port, path: '/', method: 'PUT', agent: false })
      sent.on('error', () => {})
      sent.end(Buffer.alloc(bytes))
      while (arrived.length === 0) await once(server.server, 'request')
      return arrived.shift()!
    }
    const first = await bodies.read(await send(600), 1_000)
    assert.equal(bodies.bytes, 600)
    await assert.rejects(bodies.read(await send(600), 1_000), { code: 'UNDERSTUDY_BACKPRESSURE' })
    assert.equal(bodies.bytes, 600)
    first.release()
    first.release()
    assert.equal(bodies.bytes, 0)
    const second = await bodies.read(await send(600), 1_000)
    assert.equal(second.body.length, 600)
    second.release()
    await server.close()
  })
})

describe('many requests', { timeout: 30_000 }, () => {
  test('beyond the bound they are refused with Retry-After, and probes are answered', async () => {
    let open: () => void = () => {}
    await withServer(
      async ({ ask, node }) => {
        node.main.gate = new Promise((resolve) => {
          open = resolve
        })
        const writes = [1, 2].map((index) => ask(`/v1/kv/${index}`, { method: 'PUT', body: 'v' }))
        while (node.main.calls.filter(({ name }) => name === 'write').length < 2) await immediate()
        const refused = await ask('/v1/kv/3', { method: 'PUT', body: 'v' })
        assert.deepEqual([refused.status, refused.json().code], [503, 'UNDERSTUDY_BACKPRESSURE'])
        assert.equal(refused.headers['retry-after'], '1')
        assert.equal((await ask('/livez')).status, 200)
        assert.equal((await ask('/readyz')).status, 200)
        open()
        for (const write of writes) assert.equal((await write).status, 204)
        assert.equal((await ask('/v1/kv/3', { method: 'PUT', body: 'v' })).status, 204)
      },
      { requestsMax: 2 },
    )
  })
})

describe('draining', { timeout: 30_000 }, () => {
  test('what is under way is answered, new requests are sent elsewhere, probes say why', async () => {
    await withServer(async ({ address, node, server }) => {
      let open: () => void = () => {}
      node.main.gate = new Promise((resolve) => {
        open = resolve
      })
      const write = ask(address, '/v1/kv/k', { method: 'PUT', body: 'v' })
      while (node.main.calls.length === 0) await immediate()
      // A connection that is kept alive is not cut: its next request is refused, and then it ends.
      server.drain()
      assert.equal(await server.drained(10), false)
      const refused = await ask(address, '/v1/kv/k')
      assert.equal(refused.status, 503)
      assert.deepEqual(
        [refused.headers.connection, refused.headers['retry-after'], refused.json().outcome],
        ['close', '1', 'none'],
      )
      assert.equal((await ask(address, '/livez')).status, 200)
      const ready = await ask(address, '/readyz')
      assert.deepEqual([ready.status, ready.json().message], [503, 'the node is closing'])
      open()
      const written = await write
      assert.deepEqual([written.status, written.headers.connection], [204, 'close'])
      assert.equal(await server.drained(1_000), true)
    })
  })

  test('a range that is under way goes on to its end', async () => {
    await withServer(async ({ address, node, server }) => {
      const value = Buffer.alloc(16 * 1024, 0x61)
      node.main.apply(
        Array.from({ length: 500 }, (_, index) => ({
          type: 'put',
          family: 0,
          key: Buffer.from(String(index).padStart(4, '0')),
          value,
        })),
      )
      const sent = get(`http://${address}/v1/kv`, { agent: false })
      const [response] = (await once(sent, 'response')) as [IncomingMessage]
      server.drain()
      let lines = 0
      for await (const part of response as AsyncIterable<Buffer>) lines += part.toString().split('\n').length - 1
      assert.equal(lines, 500)
      assert.equal(await server.drained(1_000), true)
      assert.equal(node.main.openSnapshots, 0)
    })
  })
})
