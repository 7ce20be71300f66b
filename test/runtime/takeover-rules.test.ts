import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { limits } from '#src/core/limits.js'
import { compareEpochs } from '#src/core/position.js'
import type { ShardRecord } from '#src/core/record.js'
import { timingsOf } from '#src/core/timings.js'
import { UnderstudyError } from '#src/errors.js'
import type { File, FileSystem } from '#src/ports/file-system.js'
import type { ShardContext } from '#src/runtime/shard-context.js'
import {
  contentOf,
  failureOf,
  put,
  read,
  TestCluster,
  until,
  untilApplied,
  untilInSync,
  value,
  withCluster,
} from '../support/cluster.js'

const automatic = { storage: 'simulated', coordinator: 'memory' } as const

function contextOf(cluster: TestCluster, name: string): ShardContext {
  return (cluster.shard(name) as unknown as { readonly context: ShardContext }).context
}

function leaderOf(cluster: TestCluster, names: readonly string[]): string | undefined {
  return names.find((name) => cluster.shard(name).state === 'primary')
}

/** Node a leads with everybody in the set. */
async function settled(cluster: TestCluster): Promise<void> {
  await cluster.startAll()
  await untilInSync(cluster, 'a', cluster.names)
}

async function assertSame(cluster: TestCluster, names: readonly string[] = cluster.names): Promise<void> {
  const expected = await contentOf(cluster, names[0]!)
  for (const name of names) assert.deepEqual(await contentOf(cluster, name), expected, name)
}

/** Files whose fsync takes until `release`, once `hold` was called. */
function hangingDisk(files: FileSystem) {
  let gate: Promise<void> | undefined
  let passes = 0
  let open = () => {}
  const hold = () => {
    gate = new Promise((resolve) => {
      open = resolve
    })
  }
  const wait = async () => {
    while (gate !== undefined && passes === 0) await gate
    passes = 0
  }
  const wrap = (file: File): File =>
    new Proxy(file, {
      get(target, name) {
        const value = Reflect.get(target, name, target)
        if (name === 'sync' || name === 'datasync') return () => wait().then(() => target[name]())
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  const hanging = new Proxy(files, {
    get(target, name) {
      if (name === 'open') {
        return async (...args: Parameters<FileSystem['open']>) => wrap(await target.open(...args))
      }
      const value = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return {
    files: hanging,
    hold,
    /** One of those that wait, or the next one. */
    releaseOne() {
      const wake = open
      passes = 1
      hold()
      wake()
    },
    release() {
      gate = undefined
      open()
    },
  }
}

describe('rules of a takeover', { timeout: 120_000 }, () => {
  test('L3, F37: a primary whose disk hangs gives up; another one leads, and nothing acknowledged is lost', async () => {
    const cluster = new TestCluster(automatic)
    const filesOf = cluster.files.bind(cluster)
    let disk: ReturnType<typeof hangingDisk> | undefined
    cluster.files = (name) => {
      if (name !== 'a') return filesOf(name)
      disk = hangingDisk(filesOf(name))
      return disk.files
    }
    try {
      await settled(cluster)
      await cluster.shard('a').write([put('before', 'v')])
      disk!.hold()
      const write = cluster.shard('b').write([put('during', 'v')])
      await until(() => leaderOf(cluster, ['b', 'c']) !== undefined, 'another one leads')
      assert.notEqual(cluster.shard('a').state, 'primary')
      assert.ok(cluster.warnings.length > 0)
      await write
      const next = leaderOf(cluster, ['b', 'c'])!
      assert.equal(await read(cluster, next, 'during'), 'v')
      disk!.release()
      await untilInSync(cluster, next, cluster.names)
      await assertSame(cluster)
    } finally {
      disk?.release()
      await cluster.close()
    }
  })

  test('C1, I5: a primary counts nothing as committed that its own disk does not have yet', async () => {
    const settings = { failoverMs: 60_000, inSyncTimeoutMs: 60_000 }
    const cluster = new TestCluster({ ...automatic, settings })
    const filesOf = cluster.files.bind(cluster)
    let disk: ReturnType<typeof hangingDisk> | undefined
    cluster.files = (name) => {
      if (name !== 'a') return filesOf(name)
      disk = hangingDisk(filesOf(name))
      return disk.files
    }
    try {
      await settled(cluster)
      const before = await cluster.shard('a').write([put('before', 'v')])
      disk!.hold()
      const a = cluster.shard('a')
      const untilOnOthers = (sequence: number) =>
        until(() => a.status().followers.filter(({ durable }) => durable >= sequence).length === 2, 'durable on others')
      const first = a.write([put('first', 'v')])
      await untilOnOthers(before.sequence + 1)
      // A small one would be gathered until the first is durable.
      const second = a.write([put('second', value('v', limits.blockBytesTarget))])
      await untilOnOthers(before.sequence + 2)
      assert.equal(a.status().sequence.committed, before.sequence)
      await until(() => {
        if (a.status().sequence.durable > before.sequence) return true
        disk!.releaseOne()
        return false
      }, 'durable on a')
      const { committed, durable } = a.status().sequence
      assert.deepEqual([committed, durable], [before.sequence + 1, before.sequence + 1])
      disk!.release()
      await first
      assert.equal((await second).sequence, before.sequence + 2)
    } finally {
      disk?.release()
      await cluster.close()
    }
  })

  test('L1: a standby that was started anew waits out what it may have promised before, also when promoted by hand', async () => {
    const failoverMs = 8000
    const { promiseMs } = timingsOf({ failoverMs, inSyncTimeoutMs: failoverMs })
    const pair = { ...automatic, nodes: ['a', 'b'], settings: { failoverMs, inSyncTimeoutMs: 60_000 } }
    await withCluster(pair, async (cluster) => {
      await settled(cluster)
      await until(() => cluster.shard('a').status().lease !== undefined, 'a lease')
      let leaseAtSwap: unknown = 'no swap'
      const swap = cluster.store.swap.bind(cluster.store)
      cluster.store.swap = (shard: string, expected: number, next: ShardRecord) => {
        if (next.primary.node === 'b') leaseAtSwap = cluster.shard('a').status().lease
        return swap(shard, expected, next)
      }
      cluster.isolate('a')
      cluster.kill('b')
      const beganMs = performance.now()
      await cluster.start('b')
      assert.ok(cluster.shard('a').status().lease !== undefined, 'the promise of the process before still counts')
      await cluster.shard('b').promote({ timeoutMs: 20_000 })
      const tookMs = performance.now() - beganMs
      assert.equal(leaseAtSwap, undefined, 'no swap before the lease of the old primary was over')
      assert.ok(tookMs >= promiseMs, `${Math.round(tookMs)} of ${promiseMs} ms`)
      cluster.network.heal()
      await untilInSync(cluster, 'b', ['a', 'b'])
    })
  })

  test('L1: an own swap that takes effect after it was given up leads to no role before every promise is over', async () => {
    await withCluster({ ...automatic, nodes: ['a', 'b'] }, async (cluster) => {
      await settled(cluster)
      await cluster.shard('a').write([put('k', 'v')])
      const { recordVersion } = cluster.shard('a').status()
      // The takeover of b is sent and stays on its way.
      const coordinator = cluster.coordinators.get('b')!
      let late: (() => void) | undefined
      const swap = coordinator.swap.bind(coordinator)
      coordinator.swap = (shard, expected, next, options) => {
        late ??= () => void swap(shard, expected, next, { timeoutMs: options.timeoutMs })
        return Promise.reject(new UnderstudyError('TIMEOUT', 'no answer', { outcome: 'unknown', retryable: true }))
      }
      cluster.isolate('a')
      await until(() => late !== undefined, 'b tries to take over')
      // It gives up at once, before a finds that b could lead and does not follow.
      cluster.jump('b', 1500)
      cluster.network.heal()
      await until(() => cluster.shard('b').state === 'streaming', 'b follows again')
      // As long as that may happen b promises nothing: a has no lease until the record was written anew.
      await until(() => cluster.shard('a').status().lease !== undefined, 'the lease comes back')
      assert.ok(cluster.shard('a').status().recordVersion! > recordVersion!, 'the record was written anew before')
      assert.equal(cluster.shard('a').status().epoch!.number, 1)
      Reflect.deleteProperty(coordinator, 'swap')
      late!()
      await cluster.shard('a').write([put('k2', 'v')])
      assert.equal(cluster.shard('a').state, 'primary', 'what came so late changed nothing')
      assert.equal(cluster.store.state('main').record?.primary.node, 'a')
    })
  })

  test('L1, C2: who promises nothing is not taken into the set, however far it has caught up', async () => {
    await withCluster(automatic, async (cluster) => {
      for (const name of ['a', 'b']) await cluster.start(name)
      await untilInSync(cluster, 'a', ['a', 'b'])
      await cluster.start('c')
      contextOf(cluster, 'c').mayPromise = () => false
      for (let index = 0; index < 10; index++) {
        const position = await cluster.shard('a').write([put(`k${index}`, 'v')])
        await untilApplied(cluster, ['c'], position)
        assert.deepEqual(cluster.shard('a').status().inSync, ['a', 'b'])
      }
      assert.ok(cluster.shard('a').status().lease !== undefined)
      contextOf(cluster, 'c').mayPromise = () => true
      await untilInSync(cluster, 'a', cluster.names)
    })
  })

  test('S3: every start as primary takes a new epoch, also where the record names this node already', async () => {
    await withCluster({ ...automatic, nodes: ['a'], settings: { inSyncMin: 1 } }, async (cluster) => {
      await settled(cluster)
      for (let before = cluster.shard('a').status().epoch!.number; before < 4; before++) {
        await cluster.shard('a').write([put('k', `${before}`)])
        cluster.kill('a')
        await cluster.start('a')
        await until(() => cluster.shard('a').state === 'primary', 'a leads again')
        assert.equal(cluster.shard('a').status().epoch!.number, before + 1)
      }
    })
  })

  test('C6: the set never falls below inSyncMin, and who comes back joins again', async () => {
    await withCluster(automatic, async (cluster) => {
      await settled(cluster)
      cluster.kill('c')
      await until(() => cluster.shard('a').status().inSync.length === 2, 'c has left')
      cluster.kill('b')
      const error = await failureOf(cluster.shard('a').write([put('k', 'v')], { timeoutMs: 2500 }))
      assert.equal(error.failure, 'ACK_TIMEOUT')
      assert.deepEqual(cluster.shard('a').status().inSync, ['a', 'b'], 'b is waited for')
      const refused = await failureOf(cluster.shard('a').removeFromInSync('b', { timeoutMs: 500 }))
      assert.equal(refused.failure, 'BAD_REQUEST')
      await cluster.start('c')
      // C6: the one that has caught up takes the place of the one that is gone, in one step.
      await until(() => cluster.shard('a').status().inSync.includes('c'), 'c is back')
      await until(() => !cluster.shard('a').status().inSync.includes('b'), 'b has left')
      await cluster.start('b')
      await untilInSync(cluster, 'a', cluster.names)
      await untilApplied(cluster, cluster.names, await cluster.shard('a').write([put('k', 'w')]))
      await assertSame(cluster)
    })
  })

  test('B3, F38: at durability local the old primary undoes by itself what only it has, and keeps it in a side file', async () => {
    const local = { ...automatic, settings: { durability: 'local', inSyncMin: 1 } } as const
    await withCluster(local, async (cluster) => {
      await settled(cluster)
      for (const key of ['k1', 'k2', 'k3']) await cluster.shard('a').write([put(key, 'both')])
      await untilApplied(cluster, ['b', 'c'], (await cluster.shard('a').write([put('k4', 'both')]))!)
      cluster.isolate('a')
      cluster.coordinators.get('a')!.setWeather({ reachable: false })
      await until(() => cluster.shard('a').status().lease === undefined, 'the lease is over')
      const lost = failureOf(cluster.shard('a').write([put('k1', 'only a'), put('new', 'only a')], { forward: false }))
      await until(async () => (await read(cluster, 'a', 'new')) === 'only a', 'it is applied at a')
      await until(() => leaderOf(cluster, ['b', 'c']) !== undefined, 'another one leads')
      const next = leaderOf(cluster, ['b', 'c'])!
      await cluster.shard(next).write([put('k2', `by ${next}`)])
      cluster.network.heal()
      cluster.coordinators.get('a')!.setWeather({})
      assert.equal((await lost).outcome, 'unknown', 'it was never acknowledged')
      await untilInSync(cluster, next, cluster.names)
      await untilApplied(cluster, cluster.names, await cluster.shard('a').write([put('after', 'v')]))
      assert.equal(await read(cluster, 'a', 'k1'), 'both')
      assert.equal(await read(cluster, 'a', 'new'), undefined)
      await assertSame(cluster)
      assert.equal(cluster.shard('a').status().divergentFiles.length, 1)
    })
  })

  test('C9, L3: at durability local writes are taken again when the lease is back, however many had timed out', async () => {
    const local = { ...automatic, nodes: ['a', 'b'], settings: { durability: 'local', inSyncMin: 2 } } as const
    await withCluster(local, async (cluster) => {
      await settled(cluster)
      // Nobody else can lead either: b waits for the coordinator.
      cluster.coordinators.get('b')!.setWeather({ reachable: false })
      cluster.isolate('a')
      await until(() => cluster.shard('a').status().lease === undefined, 'the lease is over')
      await until(() => contextOf(cluster, 'a').primary?.inSync.missing.length === 1, 'b is missed')
      const appended = () => cluster.shard('a').status().sequence.appended
      const patient: Array<Promise<unknown>> = []
      for (let block = 0; block < limits.blocksInFlightMax; block++) {
        const before = appended()
        patient.push(cluster.shard('a').write([put(`k${block}`, 'v')], { timeoutMs: 60_000, forward: false }))
        await until(() => appended() > before, 'a block of its own')
      }
      // As much as may be lost at once: those behind it are not appended, and time out.
      const late = await failureOf(cluster.shard('a').write([put('late', 'v')], { timeoutMs: 100, forward: false }))
      assert.equal(`${late.failure} ${late.outcome}`, 'ACK_TIMEOUT none')
      // As soon as it is known who is missing, further ones are refused at once.
      await until(async () => {
        const refused = await failureOf(cluster.shard('a').write([put('k', 'v')], { timeoutMs: 100, forward: false }))
        return refused.failure === 'BACKPRESSURE'
      }, 'further writes are refused')
      assert.equal(cluster.shard('a').state, 'primary')
      cluster.network.heal()
      await until(() => cluster.shard('a').status().lease !== undefined, 'the lease is back')
      await Promise.all(patient)
      await cluster.shard('a').write([put('k', 'w')], { forward: false })
    })
  })

  test('I8: a promotion by hand that waits for an old registration to end does not hold up the end of its node', async () => {
    const long = { ...automatic, nodes: ['a', 'b'], settings: { inSyncMin: 1, failoverMs: 6000 } }
    await withCluster(long, async (cluster) => {
      await settled(cluster)
      await cluster.shard('a').removeFromInSync('b', { timeoutMs: 5000 })
      cluster.kill('a')
      const coordinator = cluster.coordinators.get('b')!
      const reading = coordinator.read.bind(coordinator)
      let isRead = false
      const promotion = failureOf(cluster.shard('b').promote({ force: true, timeoutMs: 60_000 }))
      await until(() => contextOf(cluster, 'b').standby === undefined, 'the session is over')
      coordinator.read = (...args) => reading(...args).finally(() => setTimeout(() => (isRead = true), 50))
      await until(() => isRead, 'the record is read: what is left is the registration of a')
      const beganMs = performance.now()
      await cluster.stop('b')
      const tookMs = performance.now() - beganMs
      assert.ok(tookMs < 10_000, `${Math.round(tookMs)} ms`)
      await promotion
    })
  })

  test('C5, C6: at durability local a member that lacks what only the primary had may lead after a change of the set', async () => {
    const local = { ...automatic, settings: { durability: 'local', inSyncMin: 1 } } as const
    await withCluster(local, async (cluster) => {
      await settled(cluster)
      await untilApplied(cluster, ['b', 'c'], await cluster.shard('a').write([put('k', 'both')]))
      // Nothing more reaches b, while a goes on alone and drops c.
      cluster.network.partition(cluster.address('a'), cluster.address('b'), { oneWay: true })
      cluster.kill('c')
      const writing = cluster
        .shard('a')
        .write([put('k', 'only a')], { forward: false })
        .catch(() => undefined)
      await until(async () => (await read(cluster, 'a', 'k')) === 'only a', 'it is applied at a')
      await cluster
        .shard('a')
        .removeFromInSync('c', { timeoutMs: 5000 })
        .catch(() => undefined)
      cluster.kill('a')
      void writing
      await until(
        () => cluster.shard('b').state === 'primary',
        () => JSON.stringify(cluster.shard('b').status()),
      )
      assert.equal(await read(cluster, 'b', 'k'), 'both')
    })
  })

  test('C5, F39: by hand and with force: the epoch is lossy, and the old primary undoes what that gave up', async () => {
    await withCluster(automatic, async (cluster) => {
      await leftBehind(cluster)
      const refused = await failureOf(cluster.shard('c').promote({ timeoutMs: 5000 }))
      assert.equal(refused.failure, 'PROMOTION_REFUSED')
      const promoted = cluster.shard('c').promote({ force: true, timeoutMs: 20_000 })
      assert.ok((await promoted).mayLose !== undefined)
      assert.equal(cluster.store.state('main').record?.lossySince.node, 'c')
      // It waits for a second member: the first one that comes back takes that place.
      await cluster.start('a')
      await until(() => cluster.shard('c').state === 'primary', 'c leads')
      await until(() => cluster.shard('c').status().inSync.includes('a'), 'a has joined')
      await cluster.start('b')
      await untilInSync(cluster, 'c', cluster.names)
      await untilApplied(cluster, cluster.names, await cluster.shard('b').write([put('k4', 'all')]))
      assert.equal(await read(cluster, 'a', 'k1'), 'all')
      assert.equal(await read(cluster, 'a', 'k2'), undefined)
      await assertSame(cluster)
      for (const name of ['a', 'b']) assert.equal(cluster.shard(name).status().divergentFiles.length, 1, name)
    })
  })

  test('C5: a node that missed the forced epoch undoes what it gave up in a later one as well', async () => {
    await withCluster(automatic, async (cluster) => {
      await leftBehind(cluster)
      const promoted = cluster.shard('c').promote({ force: true, timeoutMs: 20_000 })
      const { epoch: forced } = await promoted
      await cluster.start('a')
      await until(() => cluster.shard('c').state === 'primary', 'c leads')
      await until(() => cluster.shard('c').status().inSync.includes('a'), 'a has joined')
      await cluster.shard('c').switchover({ to: 'a', timeoutMs: 10_000 })
      await until(() => cluster.shard('a').state === 'primary', 'a leads')
      const { record } = cluster.store.state('main')
      assert.ok(compareEpochs(record!.epoch, forced) > 0, 'a later epoch')
      assert.deepEqual(record!.lossySince, forced)
      await cluster.start('b')
      await untilInSync(cluster, 'a', cluster.names)
      await untilApplied(cluster, cluster.names, await cluster.shard('b').write([put('k4', 'all')]))
      assert.equal(await read(cluster, 'b', 'k2'), undefined)
      await assertSame(cluster)
      assert.equal(cluster.shard('b').status().divergentFiles.length, 1)
      assert.ok(
        !cluster
          .shard('a')
          .status()
          .warnings.some((warning) => warning.includes('forced promotion')),
      )
    })
  })
})

/** `c` alone is up, in nobody's set, and lacks what `a` and `b` committed without it. */
async function leftBehind(cluster: TestCluster): Promise<void> {
  await settled(cluster)
  await cluster.shard('a').write([put('k1', 'all')])
  cluster.kill('c')
  await until(() => cluster.shard('a').status().inSync.length === 2, 'c has left')
  await cluster.shard('a').write([put('k1', 'given up'), put('k2', 'given up')])
  await untilApplied(cluster, ['b'], await cluster.shard('a').write([put('k3', 'given up')]))
  cluster.kill('a')
  cluster.kill('b')
  await cluster.start('c')
}

describe('a coordinator that says something else for a while', { timeout: 60_000 }, () => {
  test('S1: the only member leads again as soon as the record is back', async () => {
    const single = { ...automatic, nodes: ['a'], settings: { inSyncMin: 1 } }
    await withCluster(single, async (cluster) => {
      await settled(cluster)
      await cluster.shard('a').write([put('k', 'v')])
      const { coordinatorId, record } = cluster.store.state('main')
      cluster.store.restore(new Map(), 'd1'.repeat(16))
      await until(() => cluster.shard('a').state === 'fenced', 'it is fenced')
      cluster.store.restore(new Map([['main', record!]]), coordinatorId)
      await until(
        () => cluster.shard('a').state === 'primary',
        () => JSON.stringify(cluster.shard('a').status()),
      )
      assert.equal(await read(cluster, 'a', 'k'), 'v')
      await cluster.shard('a').write([put('k', 'w')])
    })
  })

  test('S1, S3: the epoch of another history is not one of this', async () => {
    await withCluster({ ...automatic, nodes: ['a', 'b'] }, async (cluster) => {
      await settled(cluster)
      await cluster.shard('a').write([put('k', 'v')])
      const { coordinatorId, record } = cluster.store.state('main')
      const foreign = { ...record!, historyId: 'f'.repeat(32), epoch: { number: 99, node: 'x' }, version: 500 }
      cluster.store.restore(new Map([['main', foreign]]), coordinatorId)
      await until(() => cluster.names.every((name) => cluster.shard(name).state === 'fenced'), 'all are fenced')
      for (const name of cluster.names) assert.equal(contextOf(cluster, name).promised.number, 1, name)
      cluster.store.restore(new Map([['main', record!]]), coordinatorId)
      await until(() => leaderOf(cluster, cluster.names) !== undefined, 'somebody leads')
      const primary = leaderOf(cluster, cluster.names)!
      await untilInSync(cluster, primary, cluster.names)
      assert.equal(await read(cluster, primary, 'k'), 'v')
    })
  })
})
