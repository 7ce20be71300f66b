import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { decodeEntries, encodeOperations } from '#src/codec/block.js'
import { chainZero } from '#src/codec/digest.js'
import { decodeMessage } from '#src/codec/messages.js'
import { limits } from '#src/core/limits.js'
import type { UnderstudyError } from '#src/errors.js'
import { inspectJournal } from '#src/journal/inspect.js'
import { Link } from '#src/link/link.js'
import { nodeClock } from '#src/platform/node-clock.js'
import { silentLogger } from '#src/ports/logger.js'
import type { WriteOptions } from '#src/runtime/handle.js'
import { createHttpServer } from '#src/server/http-server.js'
import {
  contentOf,
  failureOf,
  put,
  read,
  type TestCluster,
  until,
  untilApplied,
  untilInSync,
  withCluster,
} from '../support/cluster.js'
import { testCredentials } from '../support/credentials.js'
import { ask } from '../support/http.js'

const simulated = { storage: 'simulated', timeFactor: 5 } as const
/** In the cluster's time, which is faster. */
const patient: WriteOptions = { timeoutMs: 100_000 }

async function started(cluster: TestCluster): Promise<void> {
  await cluster.startAll()
  await untilInSync(cluster, 'a', cluster.names)
  await untilApplied(cluster, cluster.names.slice(1), cluster.shard('a').applied!)
}

function isFollowing(cluster: TestCluster, name: string, primary: string): boolean {
  const status = cluster.shard(name).status()
  return status.state === 'streaming' && status.primary?.node === primary
}

/** How often each key was put, over the whole journal of a node that has stopped; fails where a request is twice. */
async function putsOf(cluster: TestCluster, name: string): Promise<Map<string, number>> {
  const requests = new Set<string>()
  const puts = new Map<string, number>()
  const directory = `${cluster.directory(name)}/shards/main/current/journal`
  let next = 1
  for await (const record of inspectJournal(cluster.files(name), directory)) {
    if (record.type !== 'block') continue
    assert.equal(record.block.header.firstSequence, next, 'the whole journal')
    next = record.block.end.sequence + 1
    for (const { origin, request, operations } of decodeEntries(record.block)) {
      const id = `${origin.node} ${origin.boot} ${request}`
      assert.ok(!requests.has(id), `S9: request ${id} is twice in the journal of ${name}`)
      requests.add(id)
      for (const operation of operations) {
        if (operation.type !== 'put') continue
        const key = Buffer.from(operation.key).toString()
        puts.set(key, (puts.get(key) ?? 0) + 1)
      }
    }
  }
  return puts
}

/** Stops everything, then reads the journal: every key of `acknowledged` was put once, no other key more than once. */
async function assertOnce(cluster: TestCluster, name: string, acknowledged: Iterable<string>): Promise<void> {
  for (const one of cluster.names) await cluster.stop(one)
  const puts = await putsOf(cluster, name)
  for (const key of acknowledged) assert.equal(puts.get(key), 1, `${key} was acknowledged`)
  for (const [key, count] of puts) assert.equal(count, 1, `S9: ${key} was written ${count} times`)
}

/** Writers on one node, each with one write after the other under keys of its own. */
class Writers {
  readonly acknowledged: string[] = []
  readonly failures: UnderstudyError[] = []
  private stopped = false
  private running: Promise<void>[] = []

  constructor(cluster: TestCluster, name: string, count: number, options: WriteOptions = patient) {
    const shard = cluster.shard(name)
    const life = ++lives
    const run = async (writer: number) => {
      for (let index = 0; !this.stopped; index++) {
        const key = `${name}-${life}-${writer}-${index}`
        try {
          await shard.write([put(key, 'v')], options)
          this.acknowledged.push(key)
        } catch (error) {
          this.failures.push(error as UnderstudyError)
          return
        }
      }
    }
    this.running = Array.from({ length: count }, (_, writer) => run(writer))
  }

  async stop(): Promise<void> {
    this.stopped = true
    await Promise.all(this.running)
    assert.deepEqual(
      this.failures.map((error) => `${error.code} ${error.outcome}: ${error.message}`),
      [],
      'no write fails',
    )
  }

  /** Its node is dead: nobody answers these writers any more. */
  abandon(): void {
    this.stopped = true
  }

  async progress(more = 5): Promise<void> {
    const wanted = this.acknowledged.length + more
    await until(
      () => this.acknowledged.length >= wanted || this.failures.length > 0,
      () => `${more} more writes acknowledged, ${this.acknowledged.length} are`,
    )
  }
}
let lives = 0

describe('writes over a change of the primary', { timeout: 120_000 }, () => {
  test('S9: writers on all nodes go on while the primary is killed; nothing fails, is lost or written twice', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      const lost: Writers[] = []
      const writers = new Map(cluster.names.map((name) => [name, new Writers(cluster, name, 8)]))
      for (const [dead, next] of [
        ['a', 'b'],
        ['b', 'c'],
        ['c', 'a'],
      ] as const) {
        for (const one of writers.values()) await one.progress()
        writers.get(dead)!.abandon()
        lost.push(writers.get(dead)!)
        cluster.kill(dead)
        await cluster.shard(next).promote()
        for (const name of cluster.names) if (name !== dead) await writers.get(name)!.progress()
        await cluster.start(dead)
        await untilInSync(cluster, next, ['a', 'b', 'c'])
        writers.set(dead, new Writers(cluster, dead, 8))
      }
      for (const one of writers.values()) await one.stop()
      const all = [...writers.values(), ...lost].flatMap((one) => one.acknowledged)
      await assertOnce(cluster, 'a', all)
    })
  })

  test('S9: writers on all nodes go on while another node is promoted, also those of the former primary', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      const writers = cluster.names.map((name) => new Writers(cluster, name, 8))
      for (const next of ['b', 'c', 'a', 'c']) {
        for (const one of writers) await one.progress()
        await cluster.shard(next).promote()
        await untilInSync(cluster, next, ['a', 'b', 'c'])
      }
      for (const one of writers) await one.progress()
      for (const one of writers) await one.stop()
      await assertOnce(
        cluster,
        'b',
        writers.flatMap((one) => one.acknowledged),
      )
    })
  })

  test('S9: writers on all nodes go on while connections break and a primary is cut off from those who follow another', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      const writers = cluster.names.map((name) => new Writers(cluster, name, 8))
      let primary = 'a'
      for (const next of ['b', 'c', 'b']) {
        for (const other of cluster.names) {
          if (other !== primary) cluster.network.dropConnections(cluster.address(primary), cluster.address(other))
        }
        for (const one of writers) await one.progress()
        cluster.isolate(primary)
        await cluster.shard(next).promote()
        for (const [index, name] of cluster.names.entries()) if (name !== primary) await writers[index]!.progress()
        cluster.network.heal()
        await untilInSync(cluster, next, ['a', 'b', 'c'])
        primary = next
      }
      for (const one of writers) await one.stop()
      await assertOnce(
        cluster,
        'c',
        writers.flatMap((one) => one.acknowledged),
      )
    })
  })

  test('L5, S9: writers on all nodes go on over switchovers and takeovers under an automatic coordinator', async () => {
    await withCluster({ storage: 'simulated', coordinator: 'memory' }, async (cluster) => {
      await started(cluster)
      const writers = new Map(cluster.names.map((name) => [name, new Writers(cluster, name, 8)]))
      for (const to of ['b', 'c', 'a', 'b']) {
        for (const one of writers.values()) await one.progress()
        await cluster.shard('c').switchover({ to })
        await untilInSync(cluster, to, ['a', 'b', 'c'])
      }
      const dead = writers.get('b')!
      dead.abandon()
      cluster.kill('b')
      for (const name of ['a', 'c']) await writers.get(name)!.progress(20)
      for (const name of ['a', 'c']) await writers.get(name)!.stop()
      await cluster.start('b')
      await until(() => cluster.shard('b').state === 'streaming', 'b follows')
      await assertOnce(
        cluster,
        'a',
        [...writers.values()].flatMap((one) => one.acknowledged),
      )
    })
  })

  test('S9: clients of a standby over HTTP notice nothing of a failover', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      const listen = { host: '127.0.0.1', port: 0 }
      const server = createHttpServer({
        node: cluster.node('c'),
        listen,
        credentials: testCredentials(),
        logger: silentLogger,
      })
      const address = await server.listen()
      const acknowledged: string[] = []
      let stopped = false
      const client = async (number: number) => {
        for (let index = 0; !stopped; index++) {
          const key = `http-${number}-${index}`
          const headers = { 'Understudy-Timeout-Ms': '100000' }
          const answer = await ask(address, `/v1/kv/${key}`, { method: 'PUT', body: 'v', headers })
          assert.equal(answer.status, 204, answer.text)
          assert.equal(await read(cluster, 'c', key), 'v', 'readable where it was written')
          acknowledged.push(key)
        }
      }
      const clients = Promise.all([1, 2, 3, 4].map(client))
      clients.catch(() => undefined)
      try {
        await until(() => acknowledged.length > 10, 'writes before')
        cluster.kill('a')
        const before = acknowledged.length
        await cluster.shard('b').promote()
        await until(() => acknowledged.length > before + 10, 'writes after')
      } finally {
        stopped = true
        await clients
        await server.close()
      }
      await assertOnce(cluster, 'b', acknowledged)
    })
  })

  test('S9: what a primary had appended and nobody else has is cut, and written again in the new history', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      cluster.isolate('a')
      const writes = Array.from({ length: 20 }, (_, index) =>
        cluster.shard('a').write([put(`k${index}`, 'v')], patient),
      )
      await until(() => cluster.shard('a').status().sequence.appended > 5, 'appended')
      await cluster.shard('b').promote()
      await cluster.shard('b').write([put('other', 'v')], patient)
      cluster.network.heal()
      for (const position of await Promise.all(writes)) assert.equal(position.epoch.node, 'b')
      assert.ok(
        cluster.warnings.some((line) => line.node === 'a' && line.message.startsWith('uncommitted tail cut')),
        'it was cut',
      )
      await assertOnce(
        cluster,
        'a',
        Array.from({ length: 20 }, (_, index) => `k${index}`),
      )
    })
  })

  test('S9, C4: what the next primary has in its tail is done, and not written again', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      // b gets the blocks of a, but a does not hear of it.
      cluster.network.partition(cluster.address('b'), cluster.address('a'), { oneWay: true })
      cluster.network.partition(cluster.address('c'), cluster.address('a'))
      const before = cluster.shard('b').status().sequence.durable
      const write = cluster.shard('a').write([put('k', 'v')], patient)
      await until(() => cluster.shard('b').status().sequence.durable > before, 'b has it')
      const promotion = cluster.shard('b').promote()
      await promotion
      cluster.network.heal()
      assert.equal((await write).epoch.node, 'a', 'it is in the epoch in which it was appended')
      await untilInSync(cluster, 'b', ['a', 'b', 'c'])
      await assertOnce(cluster, 'a', ['k'])
    })
  })

  test('S9: a forwarded write whose connection breaks is settled in the next session, whether it had arrived or not', async () => {
    for (const arrived of [true, false]) {
      await withCluster(simulated, async (cluster) => {
        await started(cluster)
        const [from, to] = arrived ? ['a', 'b'] : ['b', 'a']
        cluster.network.partition(cluster.address(from!), cluster.address(to!), { oneWay: true })
        const before = cluster.shard('a').status().sequence.appended
        const write = cluster.shard('b').write([put('k', 'v')], patient)
        if (arrived) await until(() => cluster.shard('a').status().sequence.appended > before, 'it has arrived')
        else for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
        cluster.network.dropConnections(cluster.address('a'), cluster.address('b'))
        cluster.network.heal()
        await write
        assert.equal(await read(cluster, 'b', 'k'), 'v')
        assert.equal(cluster.shard('a').status().epoch?.number, 1, 'the same primary')
        await assertOnce(cluster, 'a', ['k'])
      })
    }
  })

  test('S9: a write that asked for more than a commit gets it from the next primary', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      // The forwarded write is committed, and the primary dies before c could say that it is applied there.
      const slow = cluster.shard('b').write([put('first', 'v')], { ...patient, waitFor: 'applied' })
      await slow
      cluster.network.partition(cluster.address('a'), cluster.address('b'), { oneWay: true })
      const before = cluster.shard('c').status().sequence.durable
      const write = cluster.shard('b').write([put('k', 'v')], { ...patient, waitFor: 'applied' })
      await until(() => cluster.shard('c').status().sequence.durable > before, 'c has it, b does not')
      cluster.kill('a')
      await cluster.shard('c').promote()
      await write
      for (const name of ['b', 'c']) assert.equal(await read(cluster, name, 'k'), 'v', `applied on ${name}`)
      await assertOnce(cluster, 'c', ['first', 'k'])
    })
  })

  test('S9: the pieces of a clear go on at the next primary', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      const keys = Array.from({ length: 8000 }, (_, index) => put(`k${String(index).padStart(5, '0')}`, 'v'))
      await untilApplied(cluster, ['b', 'c'], await cluster.shard('a').write(keys))
      const clear = cluster.shard('b').clear({ family: 0 }, patient)
      const pieces = cluster.shard('a').status().sequence.committed
      await until(() => cluster.shard('a').status().sequence.committed > pieces + 1, 'the first pieces')
      cluster.kill('a')
      await cluster.shard('c').promote()
      await clear
      assert.deepEqual(await contentOf(cluster, 'b'), [])
      await cluster.stop('b')
      await cluster.stop('c')
      await putsOf(cluster, 'c')
    })
  })

  test('S8, S9: a family whose creation meets a failover is created once', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      cluster.isolate('a')
      const here = cluster.shard('a').createFamily('users', patient)
      const there = cluster.shard('c').createFamily('orders', patient)
      await cluster.shard('b').promote()
      const orders = await there
      cluster.network.heal()
      const users = await here
      assert.notEqual(users.id, orders.id)
      await untilInSync(cluster, 'b', ['a', 'b', 'c'])
      await untilApplied(cluster, ['a', 'c'], cluster.shard('b').applied!)
      for (const name of cluster.names) {
        const families = cluster
          .shard(name)
          .reader()
          .families.map((family) => `${family.id} ${family.name}`)
        assert.deepEqual(families.sort(), ['0 default', `${orders.id} orders`, `${users.id} users`].sort(), name)
      }
    })
  })

  test('S9: families too are entries under the request number of the node that asked for them', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      for (let index = 0; index < 50; index++) await cluster.shard('a').write([put(`a${index}`, 'v')])
      await cluster.shard('c').write([put('c1', 'v')])
      await cluster.shard('c').createFamily('users')
      await cluster.shard('c').dropFamily('users')
      await cluster.shard('c').clear({ family: 0 })
      await cluster.shard('c').write([put('c2', 'v')])
      for (const name of cluster.names) await cluster.stop(name)
      const directory = `${cluster.directory('a')}/shards/main/current/journal`
      const requests: number[] = []
      for await (const record of inspectJournal(cluster.files('a'), directory)) {
        if (record.type !== 'block') continue
        for (const entry of decodeEntries(record.block)) if (entry.origin.node === 'c') requests.push(entry.request)
      }
      // The clear is a barrier and a piece.
      assert.deepEqual(requests, [1, 2, 3, 4, 5, 6])
    })
  })

  test('S2, S9: of two sessions of one node the primary reads from the newer one alone', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      await cluster.stop('c')
      const { historyId, settings, epoch } = cluster.shard('a').status()
      const transport = cluster.network.transport(cluster.address('c'))
      const boot = 'cc'.repeat(8)
      const session = async (): Promise<Link> => {
        const link = new Link(await transport.connect(cluster.address('a'), { timeoutMs: 1000 }), nodeClock)
        link.send('hello', {
          protocolMin: limits.protocolVersion,
          protocolMax: limits.protocolVersion,
          cluster: 'test',
          node: 'c',
          incarnation: 'c'.repeat(32),
          boot,
          shard: 'main',
          purpose: 'follow',
          historyId,
          coordinatorId: undefined,
          settings,
          promised: epoch!,
          advertise: '',
        })
        await link.expect('welcome', 1000)
        const position = { epoch: { number: 0, node: '' }, sequence: 0, chain: chainZero(historyId!, 'main') }
        link.send('subscribe', { position, epochs: [], creditBytes: limits.creditBytes })
        await link.expect('stream', 1000)
        return link
      }
      const send = (link: Link, request: number, key: string) => {
        const operations = encodeOperations([put(key, 'v')])
        link.send('forward', { epoch: epoch!, boot, request, waitFor: 'committed', timeoutMs: 10_000 }, operations)
      }
      const older = await session()
      const newer = await session()
      const outcomes: string[] = []
      newer.handle((name, payload) => {
        if (name !== 'forwarded') return
        const { request, failure } = decodeMessage('forwarded', payload)
        outcomes.push(`${request} ${failure?.code} ${failure?.outcome}`)
      })
      send(older, 1, 'older')
      const other = { ...epoch!, number: epoch!.number + 1 }
      newer.send('forward', { epoch: other, boot, request: 3, waitFor: 'committed', timeoutMs: 10_000 })
      send(newer, 2, 'newer')
      await until(async () => (await read(cluster, 'a', 'newer')) === 'v', 'the newer session is served')
      assert.equal((await older.closed)?.code, 'UNDERSTUDY_STALE_INCARNATION')
      assert.equal(await read(cluster, 'a', 'older'), undefined)
      assert.equal(outcomes[0], '3 STALE_EPOCH none', 'and takes a write in the epoch that it names or not at all')
      newer.close()
      await transport.close()
    })
  })

  test('S9: time-outs say what may have become of the write: none before it was sent, unknown after', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      cluster.network.partition(cluster.address('a'), cluster.address('b'))
      const sent = failureOf(cluster.shard('b').write([put('k1', 'v')], { timeoutMs: 2_000 }))
      const error = await sent
      assert.equal(error.code, 'UNDERSTUDY_ACK_TIMEOUT')
      assert.equal(error.outcome, 'unknown')
      await until(() => cluster.shard('b').state === 'reconnecting', 'b has lost the primary')
      const unsent = await failureOf(cluster.shard('b').write([put('k2', 'v')], { timeoutMs: 300 }))
      assert.equal(unsent.code, 'UNDERSTUDY_UNAVAILABLE')
      assert.equal(unsent.outcome, 'none')
      const abort = new AbortController()
      const aborted = failureOf(cluster.shard('b').write([put('k3', 'v')], { ...patient, signal: abort.signal }))
      abort.abort()
      assert.equal((await aborted).code, 'UNDERSTUDY_ABORTED')
      assert.equal((await aborted).outcome, 'none')
      cluster.network.heal()
      await until(() => isFollowing(cluster, 'b', 'a'), 'b follows a')
      await cluster.shard('b').write([put('k4', 'v')], patient)
      for (const key of ['k2', 'k3']) assert.equal(await read(cluster, 'b', key), undefined, `${key} was given up`)
      await assertOnce(cluster, 'a', ['k4'])
    })
  })

  test('NOT_PRIMARY at once where a write must not be forwarded, also without a primary', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      cluster.kill('a')
      await until(() => cluster.shard('b').state === 'reconnecting', 'b is alone')
      const error = await failureOf(cluster.shard('b').write([put('k', 'v')], { ...patient, forward: false }))
      assert.equal(error.code, 'UNDERSTUDY_NOT_PRIMARY')
      assert.equal(error.outcome, 'none')
    })
  })
})
