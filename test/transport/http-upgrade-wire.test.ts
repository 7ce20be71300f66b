// What the suite cannot see from above: bytes on the wire that no transport of ours would send.
import assert from 'node:assert/strict'
import { createServer, get, type Server } from 'node:http'
import { connect as connectSocket, createServer as createNetServer, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { authenticationTypes, encodeChallenge } from '#src/codec/authentication.js'
import { decodeFailure } from '#src/codec/failure.js'
import { encodeFrameHeader, FrameDecoder } from '#src/codec/frame.js'
import { frameTypes } from '#src/codec/messages.js'
import { isFailure } from '#src/errors.js'
import type { Connection } from '#src/ports/transport.js'
import { Recorder, until } from '#src/transport/conformance-kit.js'
import { createHttpUpgradeTransport, type HttpUpgradeTransport } from '#src/transport/http-upgrade.js'
import type { TransportLimits } from '#src/transport/transport-limits.js'
import { testClock } from '../support/clock.js'
import { closeServer, listenAnywhere } from '../support/listen.js'
import { refusalLogger } from '../support/refusals.js'

const limit = { timeout: 20_000 }
const patient = { timeoutMs: 10_000 }

interface Node {
  readonly transport: HttpUpgradeTransport
  readonly address: string
  readonly port: number
  readonly refusals: string[]
  readonly accepted: Connection[]
  nextAccepted(): Promise<Connection>
}

async function withNode(
  options: { readonly secret?: string; readonly limits?: Partial<TransportLimits>; readonly host?: string },
  use: (node: Node) => Promise<void>,
): Promise<void> {
  const { host, ...rest } = options
  const { logger, codes } = refusalLogger()
  const transport = createHttpUpgradeTransport({ clock: testClock, logger, ...rest })
  const server: Server = createServer((_request, response) => response.end('hello'))
  transport.attach(server)
  const accepted: Connection[] = []
  let wake: (() => void) | undefined
  transport.accept((connection) => {
    accepted.push(connection)
    wake?.()
  })
  const address = await listenAnywhere(server, host)
  const port = Number(address.slice(address.lastIndexOf(':') + 1))
  const nextAccepted = async () => {
    while (accepted.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    const connection = accepted.shift()
    assert.ok(connection)
    return connection
  }
  try {
    await use({ transport, address, port, refusals: codes, accepted, nextAccepted })
  } finally {
    await transport.close()
    server.closeAllConnections()
    await closeServer(server)
  }
}

/** A client that says what it is told to, and keeps what it hears. */
class RawClient {
  readonly socket: Socket
  readonly closed: Promise<void>
  heard = Buffer.alloc(0)

  constructor(port: number) {
    this.socket = connectSocket({ port, host: '127.0.0.1' })
    this.socket.on('data', (bytes: Buffer) => {
      this.heard = Buffer.concat([this.heard, bytes])
    })
    this.socket.on('error', () => {})
    this.closed = new Promise((resolve) => {
      this.socket.on('close', () => resolve())
    })
  }

  say(...parts: ReadonlyArray<string | Uint8Array>): this {
    for (const part of parts) this.socket.write(part)
    return this
  }

  /** Frames behind the answer to the upgrade. */
  frames(): Array<{ type: number; payload: Uint8Array }> {
    const at = this.heard.indexOf('\r\n\r\n') + 4
    const frames: Array<{ type: number; payload: Uint8Array }> = []
    new FrameDecoder(() => 100_000).push(this.heard.subarray(at), (type, payload) => frames.push({ type, payload }))
    return frames
  }

  lastFailure() {
    const last = this.frames().at(-1)
    assert.equal(last?.type, frameTypes.failure, this.heard.toString('latin1'))
    return decodeFailure(last?.payload ?? new Uint8Array(0))
  }
}

const upgrade = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: understudy/1\r\n\r\n'

function frame(type: number, payload: Uint8Array): Uint8Array {
  return Buffer.concat([encodeFrameHeader(type, payload.length), payload])
}

const challenge = frame(authenticationTypes.challenge, encodeChallenge({ secret: false, nonce: '0'.repeat(64) }))

function header(length: number, type?: number): Uint8Array {
  const bytes = Buffer.alloc(type === undefined ? 4 : 5)
  bytes.writeUInt32LE(length)
  if (type !== undefined) bytes[4] = type
  return bytes
}

describe('http upgrade on the wire', () => {
  test('HTTP keeps working beside it on the same port', limit, () =>
    withNode({}, async ({ address, transport }) => {
      const connection = await transport.connect(address, patient)
      const text = await new Promise<string>((resolve, reject) => {
        get(`http://${address}/livez`, { agent: false }, (response) => {
          response.setEncoding('utf8').on('data', resolve)
        }).on('error', reject)
      })
      assert.equal(text, 'hello')
      connection.close()
    }),
  )

  test('IPv6 addresses are written in brackets', limit, async (context) => {
    try {
      await withNode({ host: '::1' }, async ({ address, transport, nextAccepted }) => {
        assert.match(address, /^\[::1\]:/)
        const connection = await transport.connect(address, patient)
        assert.equal(connection.remote, address)
        assert.match((await nextAccepted()).remote, /^\[::1\]:\d+$/)
      })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRNOTAVAIL') throw error
      context.skip('no IPv6 loopback here')
    }
  })

  for (const { title, request, status } of [
    { title: 'another protocol', request: upgrade.replace('understudy/1', 'websocket'), status: 400 },
    { title: 'another method', request: upgrade.replace('GET', 'POST'), status: 400 },
    { title: 'a later version', request: upgrade.replace('understudy/1', 'understudy/2'), status: 426 },
    { title: 'what is no HTTP', request: '\0\x01\x02garbage\r\n\r\n', status: 400 },
  ]) {
    test(`an upgrade by ${title} is answered ${status}`, limit, () =>
      withNode({}, async ({ port, accepted }) => {
        const client = new RawClient(port).say(request)
        await client.closed
        assert.match(client.heard.toString(), new RegExp(`^HTTP/1.1 ${status} `))
        if (status === 426) assert.match(client.heard.toString(), /Upgrade: understudy\/1\r\n/)
        assert.equal(accepted.length, 0)
      }),
    )
  }

  test('several offered protocols may name ours among them, in any case', limit, () =>
    withNode({}, async ({ port, nextAccepted }) => {
      const client = new RawClient(port)
      client.say(upgrade.replace('understudy/1', 'h2c, UNDERSTUDY/1'), challenge)
      await nextAccepted()
      client.socket.destroy()
    }),
  )

  for (const { title, bytes, expected } of [
    { title: 'length 0', bytes: header(0), expected: /length 0/ },
    { title: 'length 0xffffffff', bytes: header(0xffffffff), expected: /4294967295 bytes announced/ },
    { title: 'an unknown type', bytes: header(10, 99), expected: /unknown frame type 99/ },
    { title: 'a control frame over its bound', bytes: header(2 ** 21, frameTypes.hello), expected: /frame hello of/ },
    { title: 'a block over its bound', bytes: header(2 ** 27, frameTypes.block), expected: /announced; at most/ },
    { title: 'text', bytes: Buffer.from('GET / HTTP/1.1\r\n\r\n'), expected: /announced/ },
  ]) {
    test(`F29: a frame with ${title} closes the receiving side with PROTOCOL and tells the sender`, limit, () =>
      withNode({}, async ({ port, nextAccepted }) => {
        const client = new RawClient(port).say(upgrade, challenge, frame(frameTypes.query, new Uint8Array(0)), bytes)
        const recorder = new Recorder(await nextAccepted())
        const error = await recorder.closed
        assert.ok(isFailure(error, 'PROTOCOL'), String(error))
        assert.match(error.message, expected)
        assert.deepEqual(
          recorder.frames.map((one) => one.type),
          [frameTypes.query],
          'frames before the bad one are delivered',
        )
        client.socket.end()
        await client.closed
        assert.equal(client.lastFailure().code, 'PROTOCOL')
      }),
    )
  }

  test('F30: bytes that come one at a time make the same frames', limit, () =>
    withNode({}, async ({ port, nextAccepted }) => {
      const client = new RawClient(port).say(upgrade)
      client.socket.setNoDelay(true)
      const stream = Buffer.concat([
        challenge,
        frame(frameTypes.ack, Buffer.from('first')),
        frame(frameTypes.query, new Uint8Array(0)),
        frame(frameTypes.block, Buffer.alloc(300, 9)),
      ])
      for (const byte of stream) {
        client.say(Uint8Array.of(byte))
        await new Promise<void>((resolve) => setImmediate(resolve))
      }
      const frames = await new Recorder(await nextAccepted()).reach(3)
      assert.deepEqual(
        frames.map((one) => [one.type, one.payload.length]),
        [
          [frameTypes.ack, 5],
          [frameTypes.query, 0],
          [frameTypes.block, 300],
        ],
      )
      client.socket.destroy()
    }),
  )

  test('a connection that ends within a frame is UNAVAILABLE, one that is reset too', limit, () =>
    withNode({}, async ({ port, nextAccepted }) => {
      for (const end of ['end', 'resetAndDestroy'] as const) {
        const client = new RawClient(port).say(upgrade, challenge, header(100, frameTypes.ack), 'some')
        const recorder = new Recorder(await nextAccepted())
        client.socket[end]()
        assert.ok(isFailure(await recorder.closed, 'UNAVAILABLE'), end)
      }
    }),
  )

  test('half-open: a client that only ends its own direction is let go', limit, () =>
    withNode({}, async ({ port, nextAccepted }) => {
      const client = new RawClient(port).say(upgrade, challenge)
      const recorder = new Recorder(await nextAccepted())
      client.socket.end()
      assert.equal(await recorder.closed, undefined)
      await client.closed
    }),
  )

  test('nothing of the protocol is taken before authentication', limit, () =>
    withNode({ secret: 's' }, async ({ port, accepted, refusals }) => {
      const client = new RawClient(port).say(upgrade, frame(frameTypes.query, new Uint8Array(0)))
      await client.closed
      assert.match(client.lastFailure().message, /out of turn/)
      await until(() => refusals.length > 0)
      assert.deepEqual(refusals, ['UNDERSTUDY_PROTOCOL'])
      assert.equal(accepted.length, 0)
    }),
  )

  test("the acceptor's own challenge and proof sent back do not pass (reflection)", limit, () =>
    withNode({ secret: 's' }, async ({ port, refusals }) => {
      const client = new RawClient(port).say(upgrade)
      await until(() => client.heard.indexOf('\r\n\r\n') > 0 && client.frames().length > 0)
      const [first] = client.frames()
      assert.ok(first)
      client.say(frame(first.type, first.payload), frame(authenticationTypes.proof, Buffer.alloc(32, 1)))
      await client.closed
      assert.equal(client.lastFailure().code, 'UNAUTHORIZED')
      await until(() => refusals.length > 0)
      assert.deepEqual(refusals, ['UNDERSTUDY_UNAUTHORIZED'])
    }),
  )

  test('I8: a client that upgrades and never proves itself is dropped, and makes room', limit, () =>
    withNode(
      { limits: { handshakeTimeoutMs: 60, handshakesMax: 2 } },
      async ({ port, transport, address, refusals }) => {
        const silent = [new RawClient(port).say(upgrade), new RawClient(port).say(upgrade)]
        while (silent.some((client) => client.heard.length === 0)) {
          await new Promise<void>((resolve) => setImmediate(resolve))
        }
        await assert.rejects(
          transport.connect(address, patient),
          (error) => isFailure(error, 'UNAVAILABLE') && /not authenticated/.test(error.message),
        )
        await Promise.all(silent.map((client) => client.closed))
        await until(() => refusals.filter((code) => code === 'UNDERSTUDY_TIMEOUT').length === 2)
        const connection = await transport.connect(address, patient)
        connection.close()
      },
    ),
  )

  describe('connecting to', () => {
    const answers = [
      {
        title: 'another version (426)',
        answer: 'HTTP/1.1 426 x\r\nUpgrade: understudy/7\r\n',
        code: 'PROTOCOL_VERSION',
      },
      {
        title: 'another version (101)',
        answer: 'HTTP/1.1 101 x\r\nUpgrade: understudy/7\r\n',
        code: 'PROTOCOL_VERSION',
      },
      {
        title: 'something that is no node',
        answer: 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n',
        code: 'PROTOCOL',
      },
      { title: 'a node that is starting', answer: 'HTTP/1.1 503 x\r\nContent-Length: 0\r\n', code: 'UNAVAILABLE' },
      { title: 'something that speaks no HTTP', answer: 'SSH-2.0-OpenSSH_9.2\r\n', code: 'PROTOCOL' },
    ] as const
    for (const { title, answer, code } of answers) {
      test(`${title} is ${code}`, limit, async () => {
        const server = createNetServer((socket) => {
          socket.on('error', () => {})
          socket.once('data', () => socket.write(`${answer}Connection: Upgrade\r\n\r\n`))
        })
        const address = await listenAnywhere(server)
        const transport = createHttpUpgradeTransport({ clock: testClock, logger: refusalLogger().logger })
        await assert.rejects(transport.connect(address, patient), (error) => {
          assert.ok(isFailure(error, code), String(error))
          assert.ok(error.message.includes(address), error.message)
          return true
        })
        await closeServer(server)
      })
    }

    test('a node that upgrades and falls silent is TIMEOUT', limit, async () => {
      const server = createNetServer((socket) => {
        socket.on('error', () => {})
        socket.once('data', () =>
          socket.write('HTTP/1.1 101 Switching\r\nUpgrade: understudy/1\r\nConnection: Upgrade\r\n\r\n'),
        )
      })
      const address = await listenAnywhere(server)
      const transport = createHttpUpgradeTransport({ clock: testClock, logger: refusalLogger().logger })
      await assert.rejects(transport.connect(address, { timeoutMs: 60 }), (error) => isFailure(error, 'TIMEOUT'))
      await closeServer(server)
    })
  })
})
