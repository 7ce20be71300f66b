import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { failureOf, patient, successor, until, Watcher, write } from '#src/coordinator/conformance-kit.js'
import { limits } from '#src/core/limits.js'
import { UnderstudyError } from '#src/errors.js'
import { Link } from '#src/link/link.js'
import { SimulatedDisk } from '#src/sim/disk.js'
import { createInMemoryNetwork } from '#src/transport/in-memory.js'
import { testClock } from '../support/clock.js'
import { TestCluster } from '../support/cluster.js'
import { acceptFor, inMemoryWiring, registrationMs, VoterHost, voterAddress } from './builtin-support.js'

const options = { timeout: 60_000 }
const member = (node: string) => ({ node, address: `${node}.test:7400`, boot: '0'.repeat(15) + node.length })

async function withHost(use: (host: VoterHost) => Promise<void>, host = new VoterHost()): Promise<void> {
  await host.start()
  try {
    await use(host)
  } finally {
    await host.close()
  }
}

async function connected(...clients: ReadonlyArray<{ readonly coordinator: ReturnType<VoterHost['local']> }>) {
  const watchers = clients.map(({ coordinator }) => new Watcher(coordinator))
  for (const { coordinator } of clients) coordinator.start()
  await until(() => watchers.every((watcher) => watcher.count('connected') > 0), 'connected')
  return watchers
}

describe('builtin coordinator', () => {
  test(
    'C3: a swap whose connection breaks is unknown; what never left is none, and a read is asked again',
    options,
    () =>
      withHost(async (host) => {
        const client = host.client()
        const { coordinator } = client
        await connected(client)
        const before = await write(coordinator)
        client.transport.loseReplies()
        const next = successor(before)
        const swap = failureOf(testClock, () => coordinator.swap('main', before.revision, next, patient))
        const read = coordinator.read('main', patient)
        await until(() => host.voter.read('main').record?.nonce === next.nonce, 'it was written')
        client.transport.heal()
        assert.deepEqual(
          [(await swap).error.failure, (await swap).error.outcome, (await swap).error.retryable],
          ['UNAVAILABLE', 'unknown', true],
        )
        assert.equal((await read).record?.nonce, next.nonce)
        client.transport.cut('refused')
        await until(() => host.voter.status.sessions === 0, 'the break is noticed')
        const never = await failureOf(testClock, () => coordinator.swap('main', 1, next, { timeoutMs: 100 }))
        assert.deepEqual([never.error.failure, never.error.outcome], ['UNAVAILABLE', 'none'])
        assert.match(never.error.message, /was not reached within 100 ms: cannot reach/)
        await coordinator.close()
      }),
  )

  test('a voter that says nothing is lost after a third of a registration', options, () =>
    withHost(async (host) => {
      const client = host.client()
      const [watcher] = await connected(client)
      const startMs = testClock.nowMs()
      client.transport.cut('silent')
      await until(() => watcher!.count('disconnected') > 0, 'the silence is noticed')
      const tookMs = testClock.nowMs() - startMs
      assert.ok(tookMs < (limits.peerSilenceMs + registrationMs / 3) / 2, `${tookMs} ms`)
      await client.coordinator.close()
    }),
  )

  test('within the process of the voter: the same records, members and events', options, () =>
    withHost(async (host) => {
      const client = host.client()
      const own = { coordinator: host.local() }
      const watchers = await connected(own, client)
      own.coordinator.register(member('w'))
      client.coordinator.register(member('bb'))
      const first = await write(own.coordinator)
      const second = await write(client.coordinator)
      assert.ok(second.revision > first.revision)
      for (const watcher of watchers) {
        await until(() => watcher.last('main')?.revision === second.revision, 'both hear both')
        await until(() => watcher.names.join() === 'bb,w', 'both see both')
        assert.deepEqual(watcher.distinct('main'), [first, second])
      }
      const aborter = new AbortController()
      aborter.abort()
      const aborted = await failureOf(testClock, () =>
        own.coordinator.read('main', { timeoutMs: 1000, signal: aborter.signal }),
      )
      assert.equal(aborted.error.failure, 'ABORTED')
      await own.coordinator.close()
      await until(() => watchers[1]!.names.join() === 'bb', 'it gave its registration back')
      await client.coordinator.close()
    }),
  )

  test('a voter whose disk fails disconnects everybody, also within its process, and connects nobody', options, () =>
    withHost(async (host) => {
      const client = host.client()
      const own = { coordinator: host.local() }
      const watchers = await connected(own, client)
      const before = await write(client.coordinator)
      host.disk.fault = (operation) => (operation === 'datasync' ? new Error('no more') : undefined)
      const swap = await failureOf(testClock, () =>
        client.coordinator.swap('main', before.revision, successor(before), patient),
      )
      assert.equal(swap.error.outcome, 'unknown')
      for (const watcher of watchers) {
        await until(() => watcher.count('disconnected') === 1, 'told')
        assert.equal(watcher.count('connected'), 1)
      }
      for (const { coordinator } of [own, client]) {
        const { error } = await failureOf(testClock, () => coordinator.read('main', { timeoutMs: 300 }))
        assert.deepEqual([error.failure, error.retryable], ['UNAVAILABLE', true])
        await coordinator.close()
      }
      host.disk.fault = undefined
    }),
  )

  test('S6, V2: a voter that lost its disk is another coordinator, and its clients are told so', options, () =>
    withHost(async (host) => {
      const client = host.client()
      const [watcher] = await connected(client)
      const before = await write(client.coordinator)
      await until(() => watcher!.last('main') !== undefined, 'the record is told')
      await host.kill()
      await until(() => watcher!.count('disconnected') > 0, 'the end is told')
      watcher!.stop()
      host.disk = new SimulatedDisk()
      const told: unknown[] = []
      client.coordinator.subscribe((event) => {
        if (event.type === 'record') told.push(event.state)
      })
      await host.start()
      const after = await client.coordinator.read('main', patient)
      assert.notEqual(after.coordinatorId, before.coordinatorId)
      assert.deepEqual([after.record, after.revision], [undefined, 0])
      assert.deepEqual(told, [after], 'that the record is gone is told, too')
      await client.coordinator.close()
    }),
  )

  test('a voter that restarts has forgotten who was registered: nobody seems to have left', options, () =>
    withHost(async (host) => {
      const clients = [host.client(), host.client()]
      const [watcher] = await connected(...clients)
      clients[0]!.coordinator.register(member('a'))
      clients[1]!.coordinator.register(member('bb'))
      await until(() => watcher!.names.join() === 'a,bb', 'both are seen')
      const heard = watcher!.events.length
      await clients[1]!.cut('silent')
      await host.restart()
      await until(() => watcher!.count('connected') > 1, 'connected again')
      await until(() => host.voter.members.length === 1, 'one registers again')
      const since = watcher!.events.slice(heard)
      for (const event of since) {
        if (event.type === 'members') assert.equal(event.members.length, 2)
      }
      await until(() => watcher!.names.join() === 'a', 'who does not come back is gone in the end')
      for (const { coordinator } of clients) await coordinator.close()
    }),
  )

  test(
    'S6: where the voter itself says that it is reached wins over the configuration, which is a seed',
    options,
    async () => {
      const network = createInMemoryNetwork()
      await withHost(
        async (host) => {
          const forwarded = network.transport('seed.test:7400')
          forwarded.accept(acceptFor(host.voter))
          const client = host.client({ address: 'seed.test:7400' })
          const [watcher] = await connected(client)
          network.crash('seed.test:7400')
          await until(() => watcher!.count('connected') > 1, 'connected again, at the address of the list')
          await write(client.coordinator)
          await client.coordinator.close()
        },
        new VoterHost(inMemoryWiring(network)),
      )
    },
  )

  test('who does not belong here is refused: another cluster, another voter than the one named', options, () =>
    withHost(async (host) => {
      for (const [client, code] of [
        [host.client({ cluster: 'other' }), 'CLUSTER_MISMATCH'],
        [host.client({ voter: 'v' }), 'CONFIG'],
      ] as const) {
        const watcher = new Watcher(client.coordinator)
        client.coordinator.start()
        await until(() => watcher.count('disconnected') > 0, 'refused')
        const [event] = watcher.events
        assert.ok(event?.type === 'disconnected' && event.error instanceof UnderstudyError)
        assert.equal(event.error.failure, code)
        await client.coordinator.close()
      }
    }),
  )

  test('a node that hosts no voter says so', options, async () => {
    const cluster = new TestCluster({
      nodes: ['a'],
      storage: 'simulated',
      settings: { durability: 'local', inSyncMin: 1 },
    })
    try {
      await cluster.startAll()
      const transport = cluster.network.transport('x.test:7400')
      const link = new Link(await transport.connect(cluster.address('a'), { timeoutMs: 1000 }), testClock)
      link.send('coordinatorHello', {
        protocolMin: 1,
        protocolMax: 1,
        cluster: 'test',
        node: 'x',
        boot: '0'.repeat(16),
      })
      await assert.rejects(link.expect('coordinatorWelcome', 5_000), {
        code: 'UNDERSTUDY_CONFIG',
        message: /hosts no voter/,
      })
      await transport.close()
    } finally {
      await cluster.close()
    }
  })

  test('I8, F31: a watcher that takes nothing in is dropped; the others and the voter go on', options, async () => {
    const network = createInMemoryNetwork()
    await withHost(
      async (host) => {
        const client = host.client()
        const transport = network.transport('slow.test:7400')
        try {
          const [watcher] = await connected(client)
          // Whatever the machine does meanwhile, this side notices no silence of the other, and the other none of this one.
          const patient = { ...testClock, nowMs: () => testClock.nowMs() / 1000 }
          const link = new Link(await transport.connect(voterAddress, { timeoutMs: 1000 }), patient)
          link.send('coordinatorHello', {
            protocolMin: 1,
            protocolMax: 1,
            cluster: 'test',
            node: 'slow',
            boot: '0'.repeat(16),
          })
          await link.expect('coordinatorWelcome', 5_000)
          link.send('coordinatorWatch', { request: 1 })
          await until(() => host.voter.status.sessions === 2, 'it watches')
          network.partition(voterAddress, 'slow.test:7400', { oneWay: true })
          const long = 'x'.repeat(limits.addressBytesMax - 12)
          for (let round = 0; round < 100_000 && host.voter.status.sessions === 2; round++) {
            const address = `${long}${round % 2}:7400`
            host.voter.register({ ...member('a'), address }, { ttlMs: 60_000, takesOver: true })
            if (round % 100 === 0) {
              link.send('heartbeat', { stamp: 1, echo: 0 })
              await new Promise<void>((resolve) => setImmediate(resolve))
            }
          }
          assert.equal(host.voter.status.sessions, 1, 'it was dropped')
          network.heal()
          const error = await link.closed
          assert.equal(error?.failure, 'BACKPRESSURE')
          await write(client.coordinator)
          await until(() => watcher!.last('main') !== undefined, 'the others hear what happens')
        } finally {
          await client.coordinator.close()
          await transport.close()
        }
      },
      new VoterHost(inMemoryWiring(network)),
    )
  })
})
