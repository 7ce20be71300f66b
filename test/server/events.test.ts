import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { describe, test } from 'node:test'
import { limits } from '#src/core/limits.js'
import { type FakeServer, withServer } from '../support/fake-server.js'

interface Told {
  readonly event: string
  readonly id: string | undefined
  readonly data: Record<string, unknown>
}

/** A reader of events, as a browser would be one. */
class Reader {
  readonly response: IncomingMessage
  readonly told: Told[] = []
  heartbeats = 0
  ended = false
  #text = ''
  #wake: () => void = () => {}

  private constructor(response: IncomingMessage) {
    this.response = response
    response.setEncoding('utf8')
    response.on('data', (part: string) => this.#take(part))
    const end = () => {
      this.ended = true
      this.#wake()
    }
    response.on('end', end).on('error', end).on('close', end)
  }

  static async open(address: string, path = '/v1/events', headers: Record<string, string> = {}): Promise<Reader> {
    const request = get(`http://${address}${path}`, { headers, agent: false })
    request.on('error', () => {})
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    assert.equal(response.statusCode, 200)
    assert.match(response.headers['content-type'] ?? '', /^text\/event-stream/)
    return new Reader(response)
  }

  #take(part: string): void {
    this.#text += part
    const blocks = this.#text.split('\n\n')
    this.#text = blocks.pop() ?? ''
    for (const block of blocks) {
      if (block.startsWith(':')) this.heartbeats += 1
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1]
      const [event, data] = [field('event'), field('data')]
      if (event !== undefined && data !== undefined) this.told.push({ event, id: field('id'), data: JSON.parse(data) })
    }
    this.#wake()
  }

  async until(is: () => boolean): Promise<void> {
    while (!is()) {
      assert.ok(!this.ended, `ended with ${JSON.stringify(this.told.map(({ event }) => event))}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  async untilEnded(): Promise<void> {
    while (!this.ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  close(): void {
    this.response.destroy()
  }
}

const transition = { type: 'transition', from: 'streaming', to: 'promoting', reason: 'a is gone' } as const

describe('events', { timeout: 30_000 }, () => {
  test('the present status comes first, then what happens, in the form that is documented', async () => {
    await withServer(async ({ address, node }) => {
      const reader = await Reader.open(address)
      await reader.until(() => reader.told.length === 1)
      const [first] = reader.told
      assert.equal(first?.event, 'status')
      assert.equal(first.data.node, 'a')
      assert.ok('access' in first.data)
      node.main.emit(transition)
      node.main.emit({ type: 'lag', lag: { entries: 3, lagMs: 12 } })
      node.main.emit({ type: 'in-sync', added: [], removed: ['c'], inSync: ['a', 'b'], reason: 'c is away' })
      node.main.emit({ type: 'failure', error: new Error('disk') })
      await reader.until(() => reader.told.length === 5)
      const [, role, lag, set, failure] = reader.told
      const { at, ...change } = role!.data
      assert.ok(!Number.isNaN(Date.parse(String(at))))
      assert.deepEqual(change, {
        shard: 'main',
        from: 'streaming',
        to: 'promoting',
        fromRole: 'standby',
        toRole: 'standby',
        reason: 'a is gone',
      })
      assert.match(role!.id!, /^[0-9a-f]{16}-1$/)
      assert.equal(lag?.event, 'lag')
      assert.equal(lag.id, undefined, 'the next one takes its place: it is not kept')
      assert.deepEqual([set?.event, set?.data.removed], ['in-sync', ['c']])
      assert.equal(failure?.data.code, 'UNDERSTUDY_IO')
      reader.close()
    })
  })

  test('Last-Event-ID gets what was missed, oldest first; an unknown one gets the status alone', async () => {
    await withServer(async ({ address, node }) => {
      const reader = await Reader.open(address)
      await reader.until(() => reader.told.length === 1)
      const id = reader.told[0]!.id!
      node.main.emit(transition)
      await reader.until(() => reader.told.length === 2)
      reader.close()
      node.main.emit({ ...transition, from: 'promoting', to: 'primary' })
      const again = await Reader.open(address, '/v1/events', { 'Last-Event-ID': id })
      await again.until(() => again.told.length === 3)
      assert.deepEqual(
        again.told.map(({ event, data }) => [event, data.to]),
        [
          ['transition', 'promoting'],
          ['transition', 'primary'],
          ['status', undefined],
        ],
      )
      assert.equal(again.told.at(-1)!.id, again.told.at(-2)!.id)
      again.close()
      for (const unknown of [`${'f'.repeat(16)}-1`, `${id.slice(0, 16)}-99`]) {
        const other = await Reader.open(address, '/v1/events', { 'Last-Event-ID': unknown })
        await other.until(() => other.told.length > 0)
        assert.equal(other.told[0]!.event, 'status')
        other.close()
      }
    })
  })

  test('with more events missed than are kept, none is told: the status stands for them', async () => {
    await withServer(async ({ address, node }) => {
      const reader = await Reader.open(address)
      await reader.until(() => reader.told.length === 1)
      const id = reader.told[0]!.id!
      for (let count = 0; count <= limits.eventsKept; count++) node.main.emit(transition)
      const late = await Reader.open(address, '/v1/events', { 'Last-Event-ID': id })
      await late.until(() => late.told.length === 1)
      assert.equal(late.told[0]!.event, 'status')
      late.close()
      reader.close()
    })
  })

  test('status comes again where that is asked for, and a heartbeat when nothing happens', async () => {
    const heartbeatMs = 20
    await withServer(
      async ({ address }) => {
        const reader = await Reader.open(address, `/v1/events?status_ms=${limits.eventsStatusMsMin}`)
        await reader.until(() => reader.heartbeats > 2 && reader.told.length > 2)
        assert.ok(reader.told.every(({ event }) => event === 'status'))
        reader.close()
      },
      { times: { heartbeatMs } },
    )
  })

  test('bad input is refused by name', async () => {
    await withServer(async ({ ask }) => {
      for (const [path, headers, says] of [
        ['/v1/events?status_ms=1', {}, /"status_ms" must be an integer from 250/],
        ['/v1/events?since=1', {}, /unknown query parameter "since"/],
        ['/v1/events', { 'Last-Event-ID': '7' }, /header Last-Event-ID/],
      ] as const) {
        const answer = await ask(path, { headers })
        assert.equal(answer.status, 400)
        assert.match(String(answer.json().message), says)
      }
    })
  })

  test('F31: a reader that takes nothing in is dropped at a bound, and the others are not held up', async () => {
    await withServer(async ({ address, node, server }) => {
      const [host, port] = address.split(':')
      const lazy = connect(Number(port), host)
      lazy.on('error', () => {})
      lazy.pause()
      lazy.write('GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n')
      await once(server.server, 'request')
      const reader = await Reader.open(address)
      const before = process.memoryUsage().arrayBuffers
      // Far more than the kernel's buffers and the bound together.
      const reason = 'x'.repeat(256 * 1024)
      let isDropped = false
      const gone = serverSocketClosed(server).then(() => {
        isDropped = true
      })
      for (let count = 0; count < 400 && !isDropped; count++) {
        const seen = reader.told.length
        node.main.emit({ ...transition, reason })
        await reader.until(() => reader.told.length > seen)
      }
      await gone
      assert.ok(process.memoryUsage().arrayBuffers - before < 64 * 1024 * 1024)
      const seen = reader.told.length
      node.main.emit(transition)
      await reader.until(() => reader.told.length > seen)
      reader.close()
      lazy.destroy()
    })
  })

  test('only so many streams are open at a time; one that ends makes room', async () => {
    await withServer(async ({ address, ask }) => {
      const readers = await Promise.all(Array.from({ length: limits.eventStreamsMax }, () => Reader.open(address)))
      const refused = await ask('/v1/events')
      assert.equal(refused.status, 503)
      assert.equal(refused.json().code, 'UNDERSTUDY_BACKPRESSURE')
      readers[0]!.close()
      for (;;) {
        const status = (await statusOf(address)).status
        if (status === 200) break
        assert.equal(status, 503)
      }
      for (const reader of readers) reader.close()
    })
  })

  test('a stop tells the readers and does not wait for them', async () => {
    const readers: Reader[] = []
    const startedMs = Date.now()
    await withServer(async ({ address }) => {
      readers.push(await Reader.open(address))
      await readers[0]!.until(() => readers[0]!.told.length === 1)
    })
    await readers[0]!.untilEnded()
    assert.equal(readers[0]!.told.at(-1)!.event, 'closing')
    assert.ok(Date.now() - startedMs < limits.closeTimeoutMs)
  })
})

/** Resolves when the server's side of any connection has ended. */
function serverSocketClosed({ server }: FakeServer['server']): Promise<void> {
  return new Promise((resolve) => {
    server.getConnections((_error, count) => {
      const look = () => {
        server.getConnections((_again, now) => {
          if (now < count) resolve()
          else setImmediate(look)
        })
      }
      look()
    })
  })
}

/** The head of an answer, whose body goes on for ever. */
function statusOf(address: string): Promise<{ readonly status: number }> {
  return new Promise((resolve, reject) => {
    const request = get(`http://${address}/v1/events`, { agent: false }, (response) => {
      response.destroy()
      resolve({ status: response.statusCode ?? 0 })
    })
    request.on('error', reject)
  })
}
