import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, request } from 'node:http'
import { describe, test } from 'node:test'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { limits } from '#src/core/limits.js'
import { silentLogger } from '#src/ports/logger.js'
import { createHttpServer } from '#src/server/http-server.js'
import type { LivePicture, PictureHistory } from '#src/server/live-picture.js'
import { readPage } from '#src/server/page-files.js'
import { PeerStatuses } from '#src/server/peer-statuses.js'
import { EventStreamParser, type StreamEvent } from '../../web/src/model/event-stream.js'
import { Authority, withoutOpenssl } from '../support/certificates.js'
import { testCredentials } from '../support/credentials.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { FakeNode } from '../support/fake-node.js'
import { withServer } from '../support/fake-server.js'
import { closeServer, listenAnywhere } from '../support/listen.js'

const member = (node: string, address: string, reachable = true) => ({
  ...({ node, address, reachable, role: 'standby', state: 'streaming', epoch: { number: 1, node: 'a' } } as const),
  ...{ durable: 7, applied: 7, inSync: true, lastSeenMs: 10 },
})

/** A stream that is being read. */
class Stream {
  readonly response: IncomingMessage
  readonly events: StreamEvent[] = []
  ended = false
  private readonly parser = new EventStreamParser()
  private wake = () => {}

  constructor(response: IncomingMessage) {
    this.response = response
    response.setEncoding('utf8')
    response.on('data', (piece: string) => {
      this.events.push(...this.parser.push(piece))
      this.wake()
    })
    const onEnd = () => {
      this.ended = true
      this.wake()
    }
    response.on('end', onEnd)
    response.on('error', onEnd)
  }

  static async open(address: string, headers: Record<string, string> = {}): Promise<Stream> {
    const [host, port] = address.split(':')
    const sent = request({ host, port, path: '/page/live', headers, agent: false })
    sent.end()
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    return new Stream(response)
  }

  /** The first event for which that holds; fails if the stream ends before. */
  async find<T>(event: string, holds: (data: T) => boolean): Promise<T> {
    for (let at = 0; ; at++) {
      while (at >= this.events.length) {
        assert.ok(!this.ended, `the stream ended before: ${JSON.stringify(this.events.map((one) => one.event))}`)
        await new Promise<void>((resolve) => {
          this.wake = resolve
        })
      }
      const found = this.events[at]!
      if (found.event !== event) continue
      const data = JSON.parse(found.data) as T
      if (holds(data)) return data
    }
  }

  close(): void {
    this.response.destroy()
  }
}

describe('the files of the status page', () => {
  test('the whole page is under 150 KB compressed, and names no other host', async () => {
    const files = await readPage()
    let [br, gzip] = [0, 0]
    for (const [path, { bodies, type }] of files) {
      br += bodies.br.length
      gzip += bodies.gzip.length
      assert.deepEqual(brotliDecompressSync(bodies.br), bodies.identity)
      assert.deepEqual(gunzipSync(bodies.gzip), bodies.identity)
      const text = bodies.identity.toString()
      // Names of XML and links to explanations of messages are no requests; the browser test sees those.
      const hosts = [...text.matchAll(/(?:src|href|url\()\s*[=(]?\s*["']?(?:https?:)?\/\/([a-z0-9.-]+)/gi)]
      assert.deepEqual(
        hosts.map((match) => match[1]),
        [],
        `${path} (${type})`,
      )
    }
    assert.ok(files.size >= 4, [...files.keys()].join())
    assert.ok(gzip < 150_000, `${gzip} bytes`)
    assert.ok(br <= gzip)
  })

  test('served with a strict policy, revalidated by its hash; assets never change', async () => {
    await withServer(async ({ ask }) => {
      const page = await ask('/')
      assert.equal(page.status, 200)
      assert.equal(page.headers['content-type'], 'text/html; charset=utf-8')
      assert.equal(page.headers['cache-control'], 'no-cache')
      const policy = page.headers['content-security-policy'] as string
      for (const rule of ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"]) {
        assert.ok(policy.includes(rule), policy)
      }
      assert.ok(!/unsafe|https?:|\*/.test(policy), policy)
      assert.equal(page.headers['x-content-type-options'], 'nosniff')
      const again = await ask('/', { headers: { 'if-none-match': page.headers.etag as string } })
      assert.deepEqual([again.status, again.body.length], [304, 0])
      const assets = [...page.text.matchAll(/(?:src|href)="\.(\/assets\/[^"]+)"/g)].map((match) => match[1]!)
      assert.equal(assets.length, 3)
      const types = { js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8', svg: 'image/svg+xml' }
      for (const path of assets) {
        assert.match(path, /-[A-Za-z0-9_-]{8}\.(js|css|svg)$/, 'its name holds a hash of its content')
        const asset = await ask(path)
        assert.equal(asset.status, 200)
        assert.equal(asset.headers['content-type'], types[path.split('.').at(-1) as keyof typeof types])
        assert.equal(asset.headers['cache-control'], 'public, max-age=31536000, immutable')
      }
      const head = await ask('/', { method: 'HEAD' })
      assert.deepEqual([head.status, head.body.length], [200, 0])
      const missing = await ask('/assets/nothing-12345678.js')
      assert.deepEqual([missing.status, missing.json().code], [404, 'UNDERSTUDY_NOT_FOUND'])
      assert.equal((await ask('/assets/..%2findex.html')).status, 404)
    })
  })

  test('compressed for whoever takes it, each form with its own tag', async () => {
    await withServer(async ({ ask }) => {
      const plain = await ask('/')
      assert.equal(plain.headers['content-encoding'], undefined)
      const tags = new Set([plain.headers.etag])
      for (const [accept, encoding] of [
        ['gzip, deflate, br', 'br'],
        ['gzip;q=0.8', 'gzip'],
        ['br;q=0, GZIP', 'gzip'],
      ] as const) {
        const answer = await ask('/', { headers: { 'accept-encoding': accept } })
        assert.equal(answer.headers['content-encoding'], encoding)
        assert.equal(answer.headers.vary, 'Accept-Encoding')
        const body = encoding === 'br' ? brotliDecompressSync(answer.body) : gunzipSync(answer.body)
        assert.deepEqual(body, plain.body)
        tags.add(answer.headers.etag)
      }
      assert.equal(tags.size, 3)
      const none = await ask('/', { headers: { 'accept-encoding': 'br;q=0, gzip;q=0.0' } })
      assert.equal(none.headers['content-encoding'], undefined)
    })
  })

  test('the files are for everybody, what they show is not', async () => {
    await withServer(
      async ({ ask, address }) => {
        assert.equal((await ask('/')).status, 200)
        assert.equal((await ask('/page/live')).status, 401)
        const stream = await Stream.open(address, { authorization: 'Bearer geheim-geheim-geheim' })
        assert.equal(stream.response.statusCode, 200)
        stream.close()
      },
      { secret: 'geheim-geheim-geheim' },
    )
  })
})

describe('the stream of pictures', { timeout: 60_000 }, () => {
  test('begins with the history and goes on with a picture in each interval', async () => {
    await withServer(async ({ address, node }) => {
      const first = await Stream.open(address)
      assert.equal(first.response.headers['content-type'], 'text/event-stream; charset=utf-8')
      const history = await first.find<PictureHistory>('history', () => true)
      assert.equal(history.intervalMs, limits.pictureIntervalMs)
      await first.find<LivePicture>('picture', ({ self }) => self.node === 'a' && self.shards[0]!.state === 'primary')
      node.main.sequence = 41
      await first.find<LivePicture>('picture', ({ sample }) => sample.nodes.a?.applied === 41)
      const second = await Stream.open(address)
      const { samples } = await second.find<PictureHistory>('history', () => true)
      assert.equal(samples.at(-1)?.nodes.a?.applied, 41, 'what was before somebody looked is there')
      first.close()
      second.close()
    })
  })

  test('changes are told once: transitions, the in-sync set, members that come and go, failovers', async () => {
    await withServer(async ({ address, node }) => {
      node.members = [member('b', '127.0.0.1:1')]
      const stream = await Stream.open(address)
      const texts: string[] = []
      const told = (text: string) =>
        stream.find<LivePicture>('picture', ({ events }) => events.some((event) => event.text.includes(text)))
      // The node is followed from the first interval on.
      await stream.find<LivePicture>('picture', () => stream.events.length >= 3)
      node.main.emit({ type: 'transition', from: 'streaming', to: 'reconnecting', reason: 'the session broke' })
      node.main.emit({ type: 'in-sync', added: [], removed: ['c'], inSync: ['a', 'b'], reason: 'it was away' })
      node.members = [member('b', '127.0.0.1:1', false), member('d', '127.0.0.1:2')]
      node.main.failovers = [
        {
          ...{ at: '2026-01-01T00:00:01.000Z', epoch: { number: 2, node: 'a' }, primary: 'a', kind: 'failover' },
          ...{ tookMs: 1234, mayLose: { entries: 2, seconds: 1, reason: 'durability local' } },
        } as const,
      ]
      await told('streaming → reconnecting: the session broke')
      await told('In-sync set: a, b (c left: it was away)')
      await told('does not answer any more')
      await told('is a member now')
      await told('is primary in epoch 2@a, by failover, took 1.2 s')
      const last = await told('may have lost 2 entries')
      texts.push(...last.events.map(({ text }) => text))
      await stream.find<LivePicture>('picture', ({ atMs }) => atMs > last.atMs)
      const all = stream.events
        .filter(({ event }) => event === 'picture')
        .flatMap(({ data }) => (JSON.parse(data) as LivePicture).events.map(({ text }) => text))
      assert.equal(new Set(all).size, all.length, `each once: ${all.join('; ')}`)
      stream.close()
    })
  })

  test('the others are asked with the credentials of whoever watches, and only while somebody does', async () => {
    const secret = 'geheim-geheim-geheim'
    const other = new FakeNode('b')
    other.main.state = 'streaming'
    let asked = 0
    const status = other.status.bind(other)
    other.status = () => {
      asked += 1
      return status()
    }
    const server = createHttpServer({
      ...{
        node: other,
        listen: { host: '127.0.0.1', port: 0 },
        credentials: testCredentials({ secret }),
        logger: silentLogger,
      },
    })
    const peerAddress = await server.listen()
    try {
      await withServer(
        async ({ address, node }) => {
          node.members = [member('b', peerAddress), member('x', peerAddress), member('y', '127.0.0.1:1')]
          const stream = await Stream.open(address, { authorization: `Bearer ${secret}` })
          const { peers } = await stream.find<LivePicture>(
            'picture',
            (picture) => picture.peers[0]?.status !== undefined,
          )
          assert.equal(peers[0]!.status!.node, 'b')
          assert.match(peers[1]!.error!, /^node b of cluster shop answers at /, 'another node than was expected')
          assert.match(peers[2]!.error!, /nothing listens there/)
          stream.close()
        },
        { secret },
      )
      const before = asked
      await withServer(async ({ node, address }) => {
        node.members = [member('b', peerAddress)]
        const stream = await Stream.open(address)
        const { peers } = await stream.find<LivePicture>('picture', (picture) => picture.peers[0]?.error !== undefined)
        assert.match(
          peers[0]!.error!,
          /asks for a token|not asked/,
          'this node has no secret that it could add by itself',
        )
        stream.close()
      })
      assert.ok(asked - before < 10)
    } finally {
      await server.close()
    }
  })

  test("a node that has a token of its own shows that one, and keeps the reader's to itself", async () => {
    const tokens = 'read:token-of-a-reader-0 replicate:token-of-the-nodes-0'
    const shown: string[] = []
    const peer = createServer((request, response) => {
      shown.push(request.headers.authorization ?? 'none')
      response.end(JSON.stringify(new FakeNode('b').status()))
    })
    const peerAddress = await listenAnywhere(peer)
    try {
      await withServer(
        async ({ address, node, ask }) => {
          node.members = [member('b', peerAddress)]
          assert.equal((await ask('/page/live')).status, 401)
          const stream = await Stream.open(address, { authorization: 'Bearer token-of-a-reader-0' })
          await stream.find<LivePicture>('picture', ({ peers }) => peers[0]?.status?.node === 'b')
          assert.deepEqual([...new Set(shown)], ['Bearer token-of-the-nodes-0'])
          stream.close()
        },
        { credentials: testCredentials({ tokens }) },
      )
    } finally {
      await closeServer(peer)
    }
  })

  test('with TLS the others are asked with TLS, and believed only with a certificate of the same authority', {
    skip: withoutOpenssl,
  }, async () => {
    const directory = await makeDirectory()
    try {
      const authority = new Authority(directory)
      const stranger = new Authority(directory, 'stranger')
      const own = testCredentials({ tls: { ...authority.issue('a.internal'), ca: authority.ca, clients: 'none' } })
      const foreign = testCredentials({ tls: { ...stranger.issue('b.internal'), ca: stranger.ca, clients: 'none' } })
      const answerOf = async (address: string) => {
        const peers = new PeerStatuses('shop')
        const asked = [{ node: 'a', address }]
        peers.ask(asked, { authorization: undefined, tls: own.dial().tls })
        await peers.settled()
        return peers.answers(asked)[0]!
      }
      await withServer(
        async ({ address }) => assert.equal((await answerOf(address)).status?.node, 'a', 'the same authority'),
        { credentials: own },
      )
      await withServer(
        async ({ address }) => {
          const { status, error } = await answerOf(address)
          assert.equal(status, undefined)
          assert.match(error!, /certificate|signature/)
        },
        { credentials: foreign },
      )
    } finally {
      await removeDirectory(directory)
    }
  })

  test('a node that is starting says so, and the stream goes on when it is there', async () => {
    let node: FakeNode | undefined = new FakeNode()
    const started = node
    await withServer(
      async ({ address, ask }) => {
        const stream = await Stream.open(address)
        node = undefined
        assert.equal((await ask('/page/live')).status, 503)
        const failure = await stream.find<{ code: string }>('failure', () => true)
        assert.equal(failure.code, 'UNDERSTUDY_NOT_READY')
        const seen = stream.events.length
        node = started
        await stream.find<LivePicture>('picture', () => stream.events.length > seen + 1)
        stream.close()
      },
      { node: () => node },
    )
  })

  test('so many may watch and no more; a place that is left is free', async () => {
    await withServer(async ({ address, ask }) => {
      const streams = await Promise.all(Array.from({ length: limits.pictureWatchersMax }, () => Stream.open(address)))
      const refused = await ask('/page/live')
      assert.deepEqual([refused.status, refused.json().code], [503, 'UNDERSTUDY_BACKPRESSURE'])
      streams[0]!.close()
      for (;;) {
        const stream = await Stream.open(address)
        streams.push(stream)
        if (stream.response.statusCode === 200) break
        stream.close()
      }
      for (const stream of streams) stream.close()
    })
  })

  test('I8: a server that closes ends its streams and waits for none', async () => {
    const server = createHttpServer({
      ...{
        node: new FakeNode(),
        listen: { host: '127.0.0.1', port: 0 },
        credentials: testCredentials({}),
        logger: silentLogger,
      },
    })
    const stream = await Stream.open(await server.listen())
    await stream.find('picture', () => true)
    // A stop begins so: the port stays open while another node takes over.
    server.drain()
    if (!stream.ended) await once(stream.response, 'end')
    assert.equal(stream.events.at(-1)?.event, 'closing')
    assert.equal(await server.drained(1_000), true)
    await server.close()
  })
})
