import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { UnderstudyError } from '#src/errors.js'
import type { ShardContext } from '#src/runtime/shard-context.js'
import { diskError } from '#src/sim/disk.js'
import { failureOf, put, read, type TestCluster, until, untilApplied, withCluster } from '../support/cluster.js'

const automatic = { storage: 'simulated', coordinator: 'memory' } as const

function contextOf(cluster: TestCluster, name: string): ShardContext {
  return (cluster.shard(name) as unknown as { readonly context: ShardContext }).context
}

/** Node a leads, all others are in its set, and it has its lease. */
async function settled(cluster: TestCluster, primary = 'a'): Promise<void> {
  const picture = () =>
    JSON.stringify(
      cluster.names.map((name) => {
        const { state, reason, inSync, epoch, warnings } = cluster.shard(name).status()
        return { name, state, reason, inSync, epoch, warnings }
      }),
    )
  await until(() => {
    const { state, inSync, lease } = cluster.shard(primary).status()
    return state === 'primary' && lease !== undefined && inSync.length === cluster.names.length
  }, picture)
}

/** From now on changes of the record get lost on their way to the store, until what is returned is called. */
function loseRequests(cluster: TestCluster, name: string): () => void {
  const coordinator = cluster.coordinators.get(name)!
  coordinator.swap = () =>
    Promise.reject(new UnderstudyError('TIMEOUT', 'the request was lost', { outcome: 'unknown', retryable: true }))
  return () => Reflect.deleteProperty(coordinator, 'swap')
}

/** Writes one key after the other until told to stop; says how many, and what failed. */
function writer(cluster: TestCluster, name: string) {
  const failures: string[] = []
  let written = 0
  let isStopping = false
  const running = (async () => {
    while (!isStopping) {
      await cluster
        .shard(name)
        .write([put(`w${written}`, 'v')])
        .then(
          () => {
            written += 1
          },
          (error: Error) => failures.push(error.message),
        )
      // A test that fails leaves its writer behind.
      if (failures.length > 100) return
    }
  })()
  return {
    get written() {
      return written
    },
    async stop() {
      isStopping = true
      await running
      return failures
    },
  }
}

const isPaused = (cluster: TestCluster, name: string) => contextOf(cluster, name).primary?.isHandingOver === true

describe('switchover', { timeout: 60_000 }, () => {
  test('L5: a hand-over whose swap never arrives is rolled back: writes go on, none fails, and the lease comes back', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      await settled(cluster)
      const epoch = cluster.shard('a').status().epoch
      const { recordVersion } = cluster.shard('a').status()
      const writes = writer(cluster, 'a')
      await until(() => writes.written > 10, 'writes flow')
      const heal = loseRequests(cluster, 'a')
      const outcome = failureOf(cluster.shard('a').switchover({ to: 'b', timeoutMs: 300 }))
      await until(() => isPaused(cluster, 'a'), 'writes are paused')
      await until(() => cluster.shard('a').status().lease === undefined, 'the lease is given up')
      const ticket = cluster.shard('a').beginRead('linearizable')
      assert.equal(ticket.isGranted, false, 'nothing is read under a lease that was given up')
      const before = writes.written
      // The time of the hand-over is over, its own way back is on its way.
      await until(() => cluster.warnings.some((line) => line.message === 'the hand-over is taken back'), 'taken back')
      assert.ok(isPaused(cluster, 'a'), 'until its own swap has decided')
      heal()
      const error = await outcome
      assert.equal(error.failure, 'SWITCHOVER_REFUSED')
      assert.equal(error.outcome, 'none')
      await until(() => writes.written > before + 10, 'writes go on')
      assert.deepEqual(await writes.stop(), [])
      await settled(cluster)
      assert.deepEqual(cluster.shard('a').status().epoch, epoch)
      assert.equal(cluster.shard('a').status().recordVersion, recordVersion! + 1, 'its own swap decided')
      // And the next one finds nothing in its way.
      assert.equal((await cluster.shard('a').switchover({ to: 'b' })).primary, 'b')
    })
  })

  test('L5: a hand-over whose reply is lost is known to have happened', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      await settled(cluster)
      const writes = writer(cluster, 'c')
      await until(() => writes.written > 5, 'writes flow')
      // Neither the replies nor the watch of a tell: only its own next swap shows what is there.
      const coordinator = cluster.coordinators.get('a')!
      coordinator.tell = () => undefined
      coordinator.setWeather({ loseReplies: 1 })
      const result = await cluster.shard('a').switchover({ to: 'b', timeoutMs: 500 })
      Reflect.deleteProperty(coordinator, 'tell')
      assert.equal(result.primary, 'b')
      const before = writes.written
      await until(() => writes.written > before + 5, 'writes go on at the new primary')
      assert.deepEqual(await writes.stop(), [])
      await settled(cluster, 'b')
      for (let index = 0; index < writes.written; index++)
        assert.equal(await read(cluster, 'b', `w${index}`), 'v', `w${index}`)
    })
  })

  test('L5: a hand-over that has happened is not taken back because the disk of the old primary is full', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      await settled(cluster)
      const coordinator = cluster.coordinators.get('a')!
      const swap = coordinator.swap.bind(coordinator)
      // The reply comes first, before the watch tells of it.
      coordinator.tell = () => undefined
      coordinator.swap = async (...call) => {
        const result = await swap(...call)
        cluster.disk('a').fault = (operation) =>
          operation === 'create' ? diskError('ENOSPC', 'create: no space left') : undefined
        return result
      }
      await cluster
        .shard('a')
        .switchover({ to: 'b' })
        .catch(() => undefined)
      const led = () => cluster.store.state('main').record
      await until(() => cluster.shard('b').state === 'primary', 'b leads')
      await cluster.shard('b').write([put('k', 'v')])
      assert.equal(led()?.primary.node, 'b')
      assert.deepEqual(led()?.epoch, cluster.shard('b').status().epoch)
    })
  })

  test('L5: who was overtaken while it handed over stops leading, also where nobody else tells it', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      await settled(cluster)
      const coordinator = cluster.coordinators.get('a')!
      coordinator.tell = () => undefined
      const heal = loseRequests(cluster, 'a')
      const outcome = failureOf(cluster.shard('a').switchover({ to: 'c', timeoutMs: 300 }))
      await until(() => isPaused(cluster, 'a'), 'writes are paused')
      cluster.isolate('a')
      await until(() => cluster.shard('b').state === 'primary', 'the first of the others leads')
      heal()
      const error = await outcome
      assert.match(error.message, /another node became primary/)
      assert.equal(error.outcome, 'unknown')
      assert.equal(contextOf(cluster, 'a').primary, undefined)
      Reflect.deleteProperty(coordinator, 'tell')
    })
  })

  test('C9: writes that end in the pause of a hand-over leave the way free for those after it', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      await settled(cluster)
      const heal = loseRequests(cluster, 'a')
      const outcome = failureOf(cluster.shard('a').switchover({ to: 'b', timeoutMs: 300 }))
      await until(() => isPaused(cluster, 'a'), 'writes are paused')
      // Longer than a slow write: the queue takes it for a stall.
      const error = await failureOf(cluster.shard('a').write([put('k', 'v')], { timeoutMs: 2500, forward: false }))
      assert.equal(error.failure, 'ACK_TIMEOUT')
      assert.equal(error.outcome, 'none')
      const refused = await failureOf(cluster.shard('a').write([put('k', 'v')], { timeoutMs: 2500, forward: false }))
      assert.equal(refused.failure, 'BACKPRESSURE')
      assert.match(refused.message, /the end of a switchover, which the coordinator decides/)
      assert.match(refused.hint ?? '', /coordinator/)
      heal()
      await outcome
      await cluster.shard('a').write([put('k', 'w')], { forward: false })
    })
  })

  test('L5, C6: nobody is handed over to who has left the set meanwhile, though it follows on', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      await settled(cluster)
      const removed = cluster.shard('a').removeFromInSync('b')
      const error = await failureOf(cluster.shard('a').switchover({ to: 'b' }))
      assert.equal(error.failure, 'SWITCHOVER_REFUSED')
      assert.match(error.message, /b has left the in-sync set/)
      await removed
      await cluster.shard('a').write([put('k', 'v')])
    })
  })

  test('C3, S3: of a hand-over and a leave that waited for the same change one comes after the other', async () => {
    for (const handOverFirst of [true, false]) {
      await withCluster({ ...automatic, nodes: ['a', 'b', 'c', 'd'] }, async (cluster) => {
        await cluster.startAll()
        await settled(cluster)
        const { store } = cluster
        const swap = store.swap.bind(store)
        const steps: number[] = []
        store.swap = (shard, revision, next) => {
          const before = store.state(shard).record!
          const result = swap(shard, revision, next)
          if (result.swapped) steps.push(next.version - before.version)
          return result
        }
        const removed = cluster.shard('a').removeFromInSync('d')
        const handOver = () => cluster.shard('a').switchover({ to: 'c' })
        const leave = () => cluster.shard('a').removeFromInSync('b')
        const both = handOverFirst ? [handOver(), leave()] : [leave(), handOver()]
        await removed
        await Promise.allSettled(both)
        assert.ok(steps.length >= 2)
        assert.deepEqual(
          steps.filter((step) => step !== 1),
          [],
        )
        Reflect.deleteProperty(store, 'swap')
      })
    }
  })

  test('C3: a standby that leaves while a hand-over is decided waits for that; nothing fails', async () => {
    await withCluster({ ...automatic, nodes: ['a', 'b', 'c', 'd'] }, async (cluster) => {
      await cluster.startAll()
      await settled(cluster)
      const heal = loseRequests(cluster, 'a')
      const outcome = failureOf(cluster.shard('a').switchover({ to: 'b', timeoutMs: 300 }))
      await until(() => isPaused(cluster, 'a'), 'writes are paused')
      const leaving = cluster.shard('a').removeFromInSync('d', { timeoutMs: 20_000 })
      await until(() => cluster.warnings.some((line) => line.message === 'the hand-over is taken back'), 'taken back')
      heal()
      assert.equal((await outcome).failure, 'SWITCHOVER_REFUSED')
      await leaving
      assert.equal(cluster.shard('a').state, 'primary')
      assert.ok(!cluster.shard('a').status().inSync.includes('d'))
      const position = await cluster.shard('a').write([put('k', 'v')])
      await untilApplied(cluster, ['b', 'c'], position)
    })
  })

  test('I9: a standby that stops and is back before its leave was decided stays in the set', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      await settled(cluster)
      const role = contextOf(cluster, 'a').primary!
      const removed: string[] = []
      cluster.shard('a').subscribe((event) => {
        if (event.type === 'in-sync') removed.push(...event.removed)
      })
      const heal = loseRequests(cluster, 'a')
      // Some change is under way and decided only later: the leave has to wait for it.
      role.renewRecord()
      await cluster.stop('b')
      await cluster.start('b')
      await until(() => cluster.shard('b').state === 'streaming', 'b follows again')
      assert.ok(role.inSync.changing, 'the change is still under way')
      heal()
      await until(() => !role.inSync.changing, 'the change was decided')
      await cluster.shard('a').write([put('k', 'v')])
      await until(() => !role.inSync.changing, 'no change is under way')
      // Taken out by what its former session asked for, it would stay out as long as this one lasts.
      assert.deepEqual(removed, [])
    })
  })

  test('I8: a primary that is stopped while the coordinator goes away closes all the same', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      await settled(cluster)
      loseRequests(cluster, 'a')
      const beganMs = performance.now()
      await cluster.stop('a')
      const tookMs = performance.now() - beganMs
      assert.ok(tookMs < 12_000, `${Math.round(tookMs)} ms`)
      // Nobody was handed anything: the others find it missing.
      await until(() => ['b', 'c'].some((name) => cluster.shard(name).state === 'primary'), 'another one leads')
    })
  })

  test('L5: a target that does not catch up in time: nothing was given up, writes go on', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      await settled(cluster)
      const writes = writer(cluster, 'a')
      await until(() => writes.written > 5, 'writes flow')
      cluster.network.partition(cluster.address('a'), cluster.address('b'))
      const error = await failureOf(cluster.shard('a').switchover({ to: 'b', timeoutMs: 200 }))
      assert.equal(error.failure, 'SWITCHOVER_REFUSED')
      cluster.network.heal()
      const before = writes.written
      await until(() => writes.written > before + 5, 'writes go on')
      assert.deepEqual(await writes.stop(), [])
      assert.equal(cluster.shard('a').state, 'primary')
    })
  })
})
