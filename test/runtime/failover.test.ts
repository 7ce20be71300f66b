import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { memoryEngine } from '#src/engine/memory.js'
import { UnderstudyError } from '#src/errors.js'
import type { EngineFactory } from '#src/ports/engine.js'
import { TestCluster, until, untilApplied } from '../support/cluster.js'

const put = (key: string, value: string) =>
  ({ type: 'put', family: 0, key: Buffer.from(key), value: Buffer.from(value) }) as const

const automatic = { storage: 'simulated', coordinator: 'memory' } as const

async function withCluster(
  options: ConstructorParameters<typeof TestCluster>[0],
  run: (cluster: TestCluster) => Promise<void>,
): Promise<void> {
  const cluster = new TestCluster(options)
  try {
    await run(cluster)
  } finally {
    await cluster.close()
  }
}

function primaryOf(cluster: TestCluster, names: readonly string[] = cluster.names): string | undefined {
  const leading = names.filter((name) => cluster.shard(name).state === 'primary')
  return leading.length === 1 ? leading[0] : undefined
}

/** All of `names` in the set, one of them primary. */
async function settled(cluster: TestCluster, names: readonly string[] = cluster.names): Promise<string> {
  const picture = () =>
    JSON.stringify(
      names.map((name) => {
        const { state, reason, inSync, epoch, sequence, warnings } = cluster.shard(name).status()
        return { name, state, reason, inSync, epoch, sequence, warnings }
      }),
    )
  await until(
    () => {
      const primary = primaryOf(cluster, names)
      return primary !== undefined && names.every((name) => cluster.shard(primary).status().inSync.includes(name))
    },
    picture,
    10_000,
  )
  return primaryOf(cluster, names)!
}

describe('automatic failover', () => {
  test('empty nodes make a history together, and all of them join', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      const primary = await settled(cluster)
      assert.equal(primary, 'a')
      const position = await cluster.shard('c').write([put('k', 'v')])
      await untilApplied(cluster, ['a', 'b', 'c'], position)
    })
  })

  test('a killed primary is replaced by itself, and comes back as a standby', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      const first = await settled(cluster)
      await cluster.shard(first).write([put('k', 'v')])
      const begun = performance.now()
      cluster.kill(first)
      const rest = cluster.names.filter((name) => name !== first)
      await until(() => primaryOf(cluster, rest) !== undefined, 'a new primary', 5000)
      const tookMs = performance.now() - begun
      const second = primaryOf(cluster, rest)!
      assert.ok(tookMs < 1500, `${tookMs} ms`)
      await cluster.shard(second).write([put('k2', 'v2')])
      await cluster.start(first)
      await settled(cluster)
      const position = await cluster.shard(first).write([put('k3', 'v3')])
      await untilApplied(cluster, cluster.names, position)
    })
  })

  test('a switchover hands over without failing a write, and back', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      await settled(cluster)
      for (const to of ['b', 'c', 'a']) {
        // Asked for anywhere, carried out by the primary.
        const result = await cluster.shard('b').switchover({ to })
        assert.equal(result.primary, to)
        assert.ok(result.pauseMs < 1000, `${result.pauseMs} ms`)
        assert.equal(await settled(cluster), to)
        const position = await cluster.shard(to).write([put(`to ${to}`, 'v')])
        await untilApplied(cluster, cluster.names, position)
      }
    })
  })

  test('a primary that stops cleanly hands over, and holds up nobody', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      const first = await settled(cluster)
      const rest = cluster.names.filter((name) => name !== first)
      await cluster.stop(first)
      const second = primaryOf(cluster, rest)
      assert.ok(second !== undefined, 'the other leads when the first has stopped')
      assert.ok(!cluster.shard(second).status().inSync.includes(first), 'and does not wait for it')
      await cluster.shard(second).write([put('k', 'v')], { timeoutMs: 500 })
    })
  })

  test('F39: two failovers in quick succession: nothing is lost, and everybody comes back', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      const first = await settled(cluster)
      await cluster.shard(first).write([put('k1', 'v')])
      cluster.kill(first)
      const rest = cluster.names.filter((name) => name !== first)
      await until(() => primaryOf(cluster, rest) !== undefined, 'a second primary', 5000)
      const second = primaryOf(cluster, rest)!
      await cluster.shard(second).write([put('k2', 'v')])
      cluster.kill(second)
      await cluster.start(first)
      // The third was in the set; the first has joined it or not: either way somebody leads with everything.
      const left = cluster.names.filter((name) => name !== second)
      await until(() => primaryOf(cluster, left) !== undefined, 'a third primary', 10_000)
      await cluster.start(second)
      const primary = await settled(cluster)
      for (const key of ['k1', 'k2']) assert.ok(await holds(cluster, primary, key), key)
    })
  })

  test('all nodes end at once and start again in every order', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      let primary = await settled(cluster)
      const orders = ['abc', 'acb', 'bac', 'bca', 'cab', 'cba'].map((order) => order.split(''))
      for (const [index, order] of orders.entries()) {
        await cluster.shard(primary).write([put(`k${index}`, 'v')])
        for (const name of cluster.names) cluster.kill(name)
        for (const name of order) await cluster.start(name)
        primary = await settled(cluster)
        for (let known = 0; known <= index; known++) assert.ok(await holds(cluster, primary, `k${known}`), `k${known}`)
      }
    })
  })

  test('L3: a primary that is cut off from everybody gives up; another one leads', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      const first = await settled(cluster)
      cluster.isolate(first)
      cluster.coordinators.get(first)!.setWeather({ reachable: false })
      const rest = cluster.names.filter((name) => name !== first)
      await until(() => primaryOf(cluster, rest) !== undefined, 'another primary', 5000)
      const second = primaryOf(cluster, rest)!
      await cluster.shard(second).write([put('k', 'v')])
      await until(() => cluster.shard(first).state !== 'primary', 'the first gives up', 5000)
      await assert.rejects(cluster.shard(first).write([put('x', 'lost')], { timeoutMs: 100, forward: false }))
      cluster.network.heal()
      cluster.coordinators.get(first)!.setWeather({})
      const primary = await settled(cluster)
      assert.ok(await holds(cluster, primary, 'k'))
      assert.equal(await holds(cluster, primary, 'x'), false)
    })
  })

  test('L1: a standby with a broken link deposes nobody while another one hears the primary', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      const first = await settled(cluster)
      const [cut, other] = cluster.names.filter((name) => name !== first) as [string, string]
      cluster.network.partition(cluster.address(first), cluster.address(cut))
      await until(() => !cluster.shard(first).status().inSync.includes(cut), 'who is cut off leaves the set', 5000)
      assert.equal(cluster.shard(first).state, 'primary')
      assert.deepEqual(cluster.shard(first).status().epoch, { number: 1, node: 'a' })
      await cluster.shard(first).write([put('k', 'v')])
      assert.equal(cluster.shard(other).state, 'streaming')
      cluster.network.heal()
      await settled(cluster)
      assert.deepEqual(cluster.shard(first).status().epoch, { number: 1, node: 'a' })
    })
  })

  test('L4: without the coordinator the primary goes on, the set is frozen, and nobody is promoted', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      const first = await settled(cluster)
      for (const coordinator of cluster.coordinators.values()) coordinator.setWeather({ reachable: false })
      await cluster.shard(first).write([put('k', 'v')])
      const [gone, other] = cluster.names.filter((name) => name !== first) as [string, string]
      cluster.kill(gone)
      await assert.rejects(cluster.shard(first).write([put('k2', 'v')], { timeoutMs: 1500 }), {
        code: 'UNDERSTUDY_ACK_TIMEOUT',
      })
      assert.equal(cluster.shard(first).state, 'primary')
      assert.equal(cluster.shard(other).state, 'streaming')
      for (const name of [first, other]) cluster.coordinators.get(name)!.setWeather({})
      await until(() => !cluster.shard(first).status().inSync.includes(gone), 'who is gone has left the set', 5000)
      await cluster.shard(first).write([put('k3', 'v')], { timeoutMs: 5000 })
    })
  })

  test('S1: a wiped coordinator decides nothing over data before an operator does', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      const first = await settled(cluster)
      await cluster.shard(first).write([put('k', 'v')])
      cluster.store.restore(new Map(), 'd1'.repeat(16))
      await until(() => cluster.names.every((name) => cluster.shard(name).state === 'fenced'), 'all are fenced', 5000)
      await cluster.shard('b').promote()
      const primary = await settled(cluster)
      assert.equal(primary, 'b')
      assert.ok(await holds(cluster, primary, 'k'))
    })
  })

  test('S3: a coordinator that was restored from an old backup decides nothing', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      const first = await settled(cluster)
      const old = cluster.store.state('main').record!
      await cluster.shard(first).switchover({ to: 'b' })
      await settled(cluster)
      await cluster.shard('b').write([put('k', 'v')])
      cluster.store.restore(new Map([['main', old]]))
      await until(() => cluster.names.every((name) => cluster.shard(name).state === 'fenced'), 'all are fenced', 5000)
      await cluster.shard('b').promote({ force: true })
      const primary = await settled(cluster)
      assert.ok(await holds(cluster, primary, 'k'))
    })
  })

  test('C5: a forced promotion whose answer never came says what it may lose when it is found to have happened', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      assert.equal(await settled(cluster), 'a')
      await cluster.stop('c')
      await until(() => !cluster.shard('a').status().inSync.includes('c'), 'c has left')
      await cluster.shard('a').write([put('k', 'without c')])
      for (const name of ['a', 'b']) cluster.kill(name)
      await cluster.start('c')
      const coordinator = cluster.coordinators.get('c')!
      const { swap } = coordinator
      coordinator.tell = () => undefined
      coordinator.swap = async (...args) => {
        await swap.apply(coordinator, args)
        throw new UnderstudyError('TIMEOUT', 'the reply was lost', { outcome: 'unknown', retryable: true })
      }
      await assert.rejects(cluster.shard('c').promote({ force: true }), UnderstudyError)
      for (const name of ['tell', 'swap']) Reflect.deleteProperty(coordinator, name)
      coordinator.reconnect()
      await cluster.start('b')
      await until(
        () => cluster.shard('c').state === 'primary',
        () => cluster.shard('c').status().reason,
      )
      const { mayLose } = await cluster.shard('c').promote({ force: true })
      assert.match(mayLose?.reason ?? '', /forced promotion/)
      const last = cluster.shard('c').status().failovers.at(-1)
      assert.deepEqual([last?.kind, last?.mayLose], ['by-hand', mayLose])
    })
  })

  test('C3: a reply that is lost leaves the change of the set known all the same', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      const first = await settled(cluster)
      cluster.coordinators.get(first)!.setWeather({ loseReplies: 2 })
      const gone = cluster.names.find((name) => name !== first)!
      cluster.kill(gone)
      await until(() => !cluster.shard(first).status().inSync.includes(gone), 'it has left', 10_000)
      await cluster.shard(first).write([put('k', 'v')], { timeoutMs: 5000 })
      assert.equal(cluster.shard(first).state, 'primary')
      assert.equal(cluster.shard(first).status().epoch?.number, 1, 'it was not taken for the change of somebody else')
    })
  })

  test('I7: a write answered on a standby is seen by a read on the primary, however slowly that applies', async () => {
    const slow: EngineFactory = {
      ...memoryEngine,
      open: async (...args) => {
        const engine = await memoryEngine.open(...args)
        const apply = engine.apply.bind(engine)
        engine.apply = async (...blocks) => {
          await new Promise((resolve) => setTimeout(resolve, 30))
          return apply(...blocks)
        }
        return engine
      },
    }
    await withCluster({ ...automatic, engines: { a: slow } }, async (cluster) => {
      await cluster.startAll()
      assert.equal(await settled(cluster), 'a')
      for (let index = 0; index < 5; index++) {
        await cluster.shard('b').write([put(`k${index}`, 'v')])
        assert.ok(await holds(cluster, 'a', `k${index}`), `k${index}`)
      }
    })
  })

  test('durability local: the most advanced member of the set leads, and the loss window is told', async () => {
    const local = { ...automatic, settings: { durability: 'local', inSyncMin: 1 } } as const
    await withCluster(local, async (cluster) => {
      await cluster.startAll()
      const first = await settled(cluster)
      await cluster.shard(first).write([put('k', 'v')])
      cluster.kill(first)
      const rest = cluster.names.filter((name) => name !== first)
      await until(() => primaryOf(cluster, rest) !== undefined, 'a new primary', 5000)
      const second = primaryOf(cluster, rest)!
      const failover = cluster.shard(second).status().failovers.at(-1)!
      assert.equal(failover.kind, 'failover')
      assert.ok(failover.mayLose !== undefined)
      assert.ok(failover.mayLose.seconds !== undefined && failover.mayLose.seconds < 5)
      await cluster.start(first)
      await settled(cluster)
    })
  })
})

async function holds(cluster: TestCluster, name: string, key: string): Promise<boolean> {
  return (await cluster.shard(name).reader().get(0, Buffer.from(key))) !== undefined
}
