import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { timingsOf } from '#src/core/timings.js'
import type { Consistency, WaitOptions } from '#src/runtime/handle.js'
import type { ShardContext } from '#src/runtime/shard-context.js'
import { type ClusterOptions, failureOf, put, read, type TestCluster, until, withCluster } from '../support/cluster.js'

const automatic = { storage: 'simulated', coordinator: 'memory' } as const
const timings = timingsOf({ failoverMs: 1000, inSyncTimeoutMs: 1000 })

/** A primary with all others in its set, and its lease. */
async function settled(cluster: TestCluster): Promise<string> {
  await cluster.startAll()
  const leading = () =>
    cluster.names.find((name) => {
      const { state, inSync, lease } = cluster.shard(name).status()
      return state === 'primary' && inSync.length === cluster.names.length && lease !== undefined
    })
  const picture = () =>
    JSON.stringify(
      cluster.names.map((name) => {
        const { state, reason, inSync, lease, warnings } = cluster.shard(name).status()
        return { name, state, reason, inSync, lease, warnings }
      }),
    )
  await until(() => leading() !== undefined, picture)
  return leading()!
}

/** A read as the database makes it. */
async function readAs(
  cluster: TestCluster,
  name: string,
  key: string,
  consistency?: Consistency,
  options: WaitOptions = {},
): Promise<string | undefined> {
  const ticket = cluster.shard(name).beginRead(consistency)
  const value = await read(cluster, name, key)
  if (!ticket.isGranted) await ticket.granted(options)
  return value
}

function contextOf(cluster: TestCluster, name: string): ShardContext {
  return (cluster.shard(name) as unknown as { readonly context: ShardContext }).context
}

async function withPrimary(
  options: ClusterOptions,
  work: (cluster: TestCluster, primary: string, others: readonly string[]) => Promise<void>,
): Promise<void> {
  await withCluster({ ...automatic, ...options }, async (cluster) => {
    const primary = await settled(cluster)
    const others = cluster.names.filter((name) => name !== primary)
    await cluster.shard(primary).write([put('k', 'old')])
    await work(cluster, primary, others)
  })
}

describe('reads of a cluster that fails over by itself', { timeout: 60_000 }, () => {
  test('a primary reads under its lease, a standby says what it cannot be', async () => {
    await withPrimary({}, async (cluster, primary, [standby]) => {
      assert.equal(await readAs(cluster, primary, 'k'), 'old')
      assert.equal(await readAs(cluster, primary, 'k', 'linearizable'), 'old')
      assert.equal(await readAs(cluster, primary, 'k', 'confirmed'), 'old')
      const { lease, warnings, lagMs } = cluster.shard(primary).status()
      assert.ok(lease!.heldMs > 0 && lease!.heldMs <= timings.leaseMs, `${lease!.heldMs} ms`)
      assert.deepEqual(
        warnings.filter((warning) => warning.includes('lease')),
        [],
      )
      assert.equal(lagMs, 0)
      assert.equal(cluster.shard(standby!).status().lease, undefined)
      for (const consistency of ['linearizable', 'confirmed'] as const) {
        const error = await failureOf(readAs(cluster, standby!, 'k', consistency))
        assert.equal(error.code, 'UNDERSTUDY_NOT_PRIMARY')
        assert.equal(error.primary, cluster.address(primary))
      }
      await cluster.shard(standby!).fresh({ minPosition: cluster.shard(primary).applied! })
      assert.equal(await readAs(cluster, standby!, 'k'), 'old')
      assert.equal(await readAs(cluster, standby!, 'k', 'local'), 'old')
    })
  })

  test('I7, L2, F35: a primary that is cut off answers no read that began after its successor took a write', async () => {
    await withPrimary({}, async (cluster, primary, others) => {
      const answers: Array<{ readonly beganMs: number; readonly value: string | undefined }> = []
      const failures = new Set<string>()
      let reading = true
      let reads = 0
      const reader = async () => {
        while (reading) {
          const beganMs = performance.now()
          reads += 1
          // Said aloud: as soon as it knows that it is a standby, a read is local unless more is asked for.
          await readAs(cluster, primary, 'k', 'linearizable', { timeoutMs: 50 }).then(
            (value) => answers.push({ beganMs, value }),
            (error) => failures.add(error.code),
          )
          await new Promise((resolve) => setTimeout(resolve, 1))
        }
      }
      const running = reader()
      const cutMs = performance.now()
      cluster.isolate(primary)
      await until(() => others.some((name) => cluster.shard(name).state === 'primary'), 'a new primary')
      const next = others.find((name) => cluster.shard(name).state === 'primary')!
      await cluster.shard(next).write([put('k', 'new')])
      const ackedMs = performance.now()
      assert.equal(await read(cluster, primary, 'k'), 'old', 'what is on its disk is old')
      await new Promise((resolve) => setTimeout(resolve, 200))
      reading = false
      await running
      const stale = answers.filter(({ beganMs, value }) => beganMs > ackedMs && value !== 'new')
      assert.deepEqual(stale, [])
      assert.ok(
        answers.some(({ beganMs }) => beganMs > cutMs - 5),
        `${reads} reads`,
      )
      assert.ok(failures.size > 0, 'reads without a lease failed')
      const expected = ['UNDERSTUDY_FENCED', 'UNDERSTUDY_NOT_PRIMARY', 'UNDERSTUDY_NOT_READY']
      assert.deepEqual(
        [...failures].filter((code) => !expected.includes(code)),
        [],
      )
      assert.ok(failures.has('UNDERSTUDY_FENCED'), [...failures].join())
    })
  })

  test('L2: without a lease a read waits up to failoverMs, then fails FENCED; local reads do not wait', async () => {
    await withPrimary({}, async (cluster, primary) => {
      cluster.isolate(primary)
      await until(() => cluster.shard(primary).status().lease === undefined, 'the lease runs out', 2000)
      const { warnings } = cluster.shard(primary).status()
      assert.ok(
        warnings.some((warning) => warning.startsWith('no read lease: b, c promised nothing of late')),
        warnings.join('; '),
      )
      const beganMs = performance.now()
      const error = await failureOf(readAs(cluster, primary, 'k'))
      const tookMs = performance.now() - beganMs
      assert.equal(error.code, 'UNDERSTUDY_FENCED')
      assert.equal(error.outcome, 'none')
      assert.ok(tookMs <= timings.failoverMs + 500, `${Math.round(tookMs)} ms`)
      cluster.network.heal()
    })
    await withPrimary({}, async (cluster, primary) => {
      cluster.isolate(primary)
      await until(() => cluster.shard(primary).status().lease === undefined, 'the lease runs out', 2000)
      const waiting = readAs(cluster, primary, 'k')
      assert.equal(await readAs(cluster, primary, 'k', 'local'), 'old')
      // Back before anybody has taken over: the read goes on under a new lease.
      cluster.network.heal()
      assert.equal(await waiting, 'old')
    })
  })

  test('F36, L1: a process that stood still between reading and answering finds its lease over', async () => {
    await withPrimary({}, async (cluster, primary, others) => {
      const ticket = cluster.shard(primary).beginRead()
      const value = await read(cluster, primary, 'k')
      assert.equal(value, 'old')
      assert.equal(ticket.isGranted, true)
      cluster.isolate(primary)
      cluster.jump(primary, timings.leaseMs)
      assert.equal(ticket.isGranted, false)
      await until(() => others.some((name) => cluster.shard(name).state === 'primary'), 'a new primary')
      assert.equal((await failureOf(ticket.granted({ timeoutMs: 20 }))).code, 'UNDERSTUDY_FENCED')
      cluster.network.heal()
      await until(() => cluster.shard(primary).role !== 'primary', 'it hears of the new epoch')
      assert.equal(ticket.isGranted, false, 'a role that is over grants nothing')
      assert.equal((await failureOf(ticket.granted({ timeoutMs: 20 }))).code, 'UNDERSTUDY_FENCED')
    })
  })

  test('L3: a primary that is heard and does not hear is taken for gone', async () => {
    await withPrimary({}, async (cluster, primary, others) => {
      for (const name of others) {
        cluster.network.partition(cluster.address(name), cluster.address(primary), { oneWay: true })
      }
      await until(() => others.some((name) => cluster.shard(name).state === 'primary'), 'a new primary', 5000)
      const next = others.find((name) => cluster.shard(name).state === 'primary')!
      await cluster.shard(next).write([put('k', 'new')])
      const error = await failureOf(readAs(cluster, primary, 'k', 'linearizable', { timeoutMs: 50 }))
      assert.ok(['UNDERSTUDY_FENCED', 'UNDERSTUDY_NOT_PRIMARY'].includes(error.code), error.code)
    })
  })

  test('L1: a standby holds what it promised before the primary counts it, and longer, whatever becomes of the connection', async () => {
    await withPrimary({}, async (cluster, primary, [standby]) => {
      const { clock, leasePromise } = contextOf(cluster, standby!)
      for (let round = 0; round < 20; round++) {
        const heldMs = cluster.shard(primary).status().lease?.heldMs ?? 0
        const leftMs = leasePromise.untilMs - clock.nowMs()
        assert.ok(leftMs > heldMs, `${leftMs} ms promised, lease for ${heldMs} ms`)
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      const { untilMs } = leasePromise
      // It cannot come back at once, before anybody has looked.
      cluster.network.partition(cluster.address(primary), cluster.address(standby!))
      cluster.network.dropConnections(cluster.address(primary), cluster.address(standby!))
      await until(() => cluster.shard(standby!).state !== 'streaming', 'the connection is gone')
      assert.ok(leasePromise.untilMs >= untilMs)
      assert.equal(leasePromise.isOver(clock.nowMs()), false)
    })
  })

  test('L1: who may take over promises nothing: the lease ends while everybody is connected, until the record was renewed', async () => {
    await withPrimary({}, async (cluster, primary, [standby]) => {
      const context = contextOf(cluster, standby!)
      const { recordVersion } = cluster.shard(primary).status()
      context.mayPromise = () => false
      await until(() => cluster.shard(primary).status().lease === undefined, 'the lease ends', 2000)
      assert.equal(cluster.shard(standby!).state, 'streaming')
      assert.deepEqual(
        cluster
          .shard(primary)
          .status()
          .warnings.filter((warning) => warning.includes('lease')),
        [`no read lease: ${standby} promised nothing of late; linearizable reads wait, then fail`],
      )
      await cluster.shard(primary).write([put('k', 'still written')])
      // A swap of an older revision cannot happen any more: what the standby waits for.
      await until(() => cluster.shard(primary).status().recordVersion! > recordVersion!, 'a new version', 5000)
      assert.deepEqual(cluster.shard(primary).status().inSync.length, 3)
      context.mayPromise = () => true
      await until(() => cluster.shard(primary).status().lease !== undefined, 'the lease is back', 2000)
    })
  })

  test('L4: alone in its set after a restart, a primary reads under its registration if it ever had company', async () => {
    await withPrimary({ nodes: ['a', 'b'], settings: { inSyncMin: 1 } }, async (cluster, primary, [other]) => {
      cluster.kill(other!)
      await until(() => cluster.shard(primary).status().inSync.length === 1, 'the other one has left')
      cluster.kill(primary)
      // Nobody is there any more who would tell of the other one.
      await until(() => cluster.store.members.length === 0, 'no registration is left')
      await cluster.start(primary)
      await until(() => cluster.shard(primary).state === 'primary', 'it leads again')
      assert.equal(await readAs(cluster, primary, 'k'), 'old')
      cluster.coordinators.get(primary)!.setWeather({ reachable: false })
      await until(() => cluster.shard(primary).status().lease === undefined, 'its registration is over')
      const failure = await failureOf(readAs(cluster, primary, 'k', undefined, { timeoutMs: 200 }))
      assert.equal(failure.failure, 'FENCED')
    })
  })

  test('a confirmed read needs an answer of every member, after it began', async () => {
    await withPrimary({}, async (cluster, primary, others) => {
      const ticket = cluster.shard(primary).beginRead('confirmed')
      assert.equal(ticket.isGranted, false, 'the lease alone is not enough')
      await ticket.granted()
      assert.equal(ticket.isGranted, true)
      cluster.network.partition(cluster.address(primary), cluster.address(others[0]!))
      const late = cluster.shard(primary).beginRead('confirmed')
      assert.equal((await failureOf(late.granted({ timeoutMs: 100 }))).code, 'UNDERSTUDY_FENCED')
      const abort = new AbortController()
      const aborted = failureOf(cluster.shard(primary).beginRead('confirmed').granted({ signal: abort.signal }))
      abort.abort()
      assert.equal((await aborted).code, 'UNDERSTUDY_ABORTED')
      cluster.network.heal()
      await late.granted({ timeoutMs: 10_000 })
    })
  })

  test('L6: what a standby hears is no fresher than its own last message that was heard', async () => {
    await withPrimary({}, async (cluster, primary, [standby]) => {
      const lagMs = () => cluster.shard(standby!).status().lagMs
      await until(() => (lagMs() ?? 1000) < 200, 'fresh')
      await cluster.shard(standby!).fresh({ maxLagMs: 200 })
      // Announcements still come, and say nothing of when they were sent.
      cluster.network.partition(cluster.address(standby!), cluster.address(primary), { oneWay: true })
      const session = cluster.shard(standby!).state
      assert.equal(session, 'streaming')
      await until(() => cluster.shard(standby!).state !== 'streaming' || (lagMs() ?? 0) > 350, 'it ages', 3000)
      assert.equal(cluster.shard(standby!).state, 'streaming', 'still connected')
      const error = await failureOf(cluster.shard(standby!).fresh({ maxLagMs: 300 }))
      assert.equal(error.code, 'UNDERSTUDY_LAG_EXCEEDED')
    })
  })

  test('L6: a primary without a lease does not know how old its data is', async () => {
    await withPrimary({}, async (cluster, primary) => {
      await cluster.shard(primary).fresh({ maxLagMs: 0, consistency: 'local' })
      cluster.isolate(primary)
      await until(() => (cluster.shard(primary).status().lagMs ?? 0) > 100, 'it ages', 3000)
      const error = await failureOf(cluster.shard(primary).fresh({ maxLagMs: 50, consistency: 'local' }))
      assert.equal(error.code, 'UNDERSTUDY_LAG_EXCEEDED')
    })
  })

  test('L3: at durability local a write is not answered without a lease, and may be lost then', async () => {
    await withPrimary({ settings: { durability: 'local', inSyncMin: 1 } }, async (cluster, primary, others) => {
      cluster.isolate(primary)
      await until(() => cluster.shard(primary).status().lease === undefined, 'the lease runs out', 2000)
      const { durable } = cluster.shard(primary).status().sequence
      const write = failureOf(cluster.shard(primary).write([put('k', 'lost')], { timeoutMs: 20_000 }))
      const late = failureOf(cluster.shard(primary).write([put('k', 'late')], { timeoutMs: 60 }))
      await until(() => cluster.shard(primary).status().sequence.durable > durable, 'it is on the disk')
      const error = await late
      assert.equal(error.code, 'UNDERSTUDY_ACK_TIMEOUT')
      assert.equal(error.outcome, 'unknown')
      await until(() => others.some((name) => cluster.shard(name).state === 'primary'), 'a new primary')
      cluster.network.heal()
      assert.equal((await write).outcome, 'unknown')
    })
  })

  test('L3: at durability local a write waits for the lease to come back', async () => {
    await withPrimary({ settings: { durability: 'local', inSyncMin: 1 } }, async (cluster, primary) => {
      cluster.isolate(primary)
      await until(() => cluster.shard(primary).status().lease === undefined, 'the lease runs out', 2000)
      let answered = false
      const write = cluster
        .shard(primary)
        .write([put('k', 'kept')], { timeoutMs: 20_000 })
        .then((position) => {
          answered = true
          return position
        })
      await until(() => cluster.shard(primary).applied!.sequence === 3, 'it is applied')
      assert.equal(answered, false)
      cluster.network.heal()
      await write
      assert.equal(await readAs(cluster, primary, 'k'), 'kept')
    })
  })
})

test('C8: with the static coordinator reads are local, and say so when more is asked for', async () => {
  await withCluster({ storage: 'simulated' }, async (cluster) => {
    await cluster.startAll()
    await until(() => cluster.shard('a').status().inSync.length === 3, 'all in sync')
    await cluster.shard('a').write([put('k', 'v')])
    assert.equal(await readAs(cluster, 'a', 'k'), 'v')
    assert.equal(cluster.shard('a').status().lease, undefined)
    for (const consistency of ['linearizable', 'confirmed'] as const) {
      assert.equal((await failureOf(readAs(cluster, 'a', 'k', consistency))).code, 'UNDERSTUDY_BAD_REQUEST')
    }
  })
  await withCluster({ storage: 'simulated', nodes: ['a'], settings: { inSyncMin: 1 } }, async (cluster) => {
    await cluster.startAll()
    await cluster.shard('a').ready()
    await cluster.shard('a').write([put('k', 'v')])
    assert.equal(await readAs(cluster, 'a', 'k', 'linearizable'), 'v', 'nobody else could be primary')
  })
})
