import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { limits } from '#src/core/limits.js'
import { UnderstudyError } from '#src/errors.js'
import {
  contentOf,
  failureOf,
  put,
  read,
  type TestCluster,
  until,
  untilApplied,
  untilInSync,
  value,
  withCluster,
} from '../support/cluster.js'

const simulated = { storage: 'simulated', timeFactor: 5 } as const
const pair = { nodes: ['a', 'b'], ...simulated } as const

async function started(cluster: TestCluster): Promise<void> {
  await cluster.startAll()
  await untilInSync(cluster, 'a', cluster.names)
  await untilApplied(cluster, cluster.names.slice(1), cluster.shard('a').applied!)
}

async function settledWithin(work: Promise<unknown>, timeoutMs: number): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, timeoutMs, 'still waiting')
  })
  try {
    return await Promise.race([work.catch((error) => error), late])
  } finally {
    clearTimeout(timer)
  }
}

describe('writes', { timeout: 60_000 }, () => {
  test('C9, F41: with inSyncMin out of reach writes in flight end with outcome unknown, new ones are refused, and both pass when it is back', async () => {
    await withCluster(pair, async (cluster) => {
      await started(cluster)
      cluster.kill('b')
      const late = await failureOf(cluster.shard('a').write([put('k', 'v')], { timeoutMs: 300 }))
      assert.equal(late.code, 'UNDERSTUDY_ACK_TIMEOUT')
      assert.equal(late.outcome, 'unknown')
      const startedMs = performance.now()
      const refused = await failureOf(cluster.shard('a').write([put('k2', 'v')]))
      assert.equal(refused.code, 'UNDERSTUDY_BACKPRESSURE')
      assert.equal(refused.outcome, 'none')
      assert.ok(performance.now() - startedMs < 1000, 'at once')
      assert.equal(await read(cluster, 'a', 'k'), undefined, 'durability never degrades')
      await cluster.start('b')
      await until(
        () =>
          cluster
            .shard('a')
            .status()
            .followers.some((one) => one.connected),
        'b is back',
      )
      await until(async () => (await read(cluster, 'a', 'k')) === 'v', 'the write in flight is committed after all')
      await cluster.shard('a').write([put('k2', 'v')])
      assert.equal(await read(cluster, 'a', 'k2'), 'v')
    })
  })

  test('S9: a forwarded write is applied once and readable where it was made', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      const before = cluster.shard('a').status().sequence.committed
      const writes = await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          cluster.shard(index % 2 === 0 ? 'b' : 'c').write([put(`k${index}`, 'v')]),
        ),
      )
      assert.equal(new Set(writes.map((position) => position.sequence)).size <= 50, true)
      assert.equal(cluster.shard('a').status().sequence.committed, before + 50, 'one entry each')
      assert.equal(await read(cluster, 'b', 'k0'), 'v')
      const refused = await failureOf(cluster.shard('b').write([put('k', 'v')], { forward: false }))
      assert.equal(refused.code, 'UNDERSTUDY_NOT_PRIMARY')
      assert.equal(refused.primary, cluster.address('a'))
    })
  })

  test('S9: a write that finds no primary was not made', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      cluster.kill('a')
      await until(() => cluster.shard('b').state === 'reconnecting', 'b is alone')
      const error = await failureOf(cluster.shard('b').write([put('k', 'v')], { timeoutMs: 300 }))
      assert.equal(error.outcome, 'none')
    })
  })

  test('B5: clear with range, limit and direction leaves the same on all nodes, also when it is forwarded', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      const keys = 2500
      for (const from of ['a', 'b']) {
        for (const limit of [undefined, 0, 5, 1500]) {
          for (const reverse of [false, true]) {
            await cluster
              .shard('a')
              .write(Array.from({ length: keys }, (_, index) => put(`k${String(index).padStart(5, '0')}`, 'v')))
            await untilApplied(cluster, ['b'], cluster.shard('a').applied!)
            const position = await cluster.shard(from).clear({
              family: 0,
              start: Buffer.from('k00100'),
              end: Buffer.from('k02400'),
              endClosed: true,
              reverse,
              ...(limit === undefined ? {} : { limit }),
            })
            await untilApplied(cluster, ['a', 'b', 'c'], position)
            const left = await contentOf(cluster, 'a')
            const deleted = Math.min(limit ?? 2301, 2301)
            assert.equal(left.length, keys - deleted, `${from}, limit ${limit}, reverse ${reverse}`)
            for (const name of ['b', 'c']) assert.deepEqual(await contentOf(cluster, name), left)
            const edge = reverse ? 'k02400' : 'k00100'
            assert.equal(
              left.some(([key]) => key === edge),
              deleted === 0,
            )
          }
        }
      }
    })
  })

  test('S8: families are created and dropped through any node, ids are never reused', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      const first = await cluster.shard('b').createFamily('users')
      const [one, two] = await Promise.all([cluster.shard('b').createFamily('x'), cluster.shard('c').createFamily('x')])
      assert.deepEqual(one, two, 'the same name is the same family')
      await cluster.shard('c').fresh({ minPosition: cluster.shard('a').applied! })
      await cluster.shard('c').write([put('k', 'v', first.id)])
      await cluster.shard('c').dropFamily('users')
      await cluster.shard('b').fresh({ minPosition: cluster.shard('a').applied! })
      const again = await cluster.shard('b').createFamily('users')
      assert.ok(again.id > one.id)
      await cluster.shard('b').write([put('k2', 'v', again.id)])
      await untilApplied(cluster, ['b', 'c'], cluster.shard('a').applied!)
      for (const name of cluster.names) assert.deepEqual(await contentOf(cluster, name, again.id), [['k2', 'v']])
      const unknown = await failureOf(cluster.shard('b').write([put('k', 'v', first.id)]))
      assert.equal(unknown.code, 'UNDERSTUDY_UNKNOWN_FAMILY')
    })
  })

  test('I8: close ends every wait', async () => {
    await withCluster(pair, async (cluster) => {
      await started(cluster)
      cluster.isolate('a')
      const a = cluster.shard('a')
      const b = cluster.shard('b')
      const never = { epoch: { number: 1, node: 'a' }, sequence: 1_000_000 }
      const waits = [
        a.write([put('k', 'v')], { timeoutMs: 600_000 }),
        a.write([put('k', 'v')], { timeoutMs: 600_000, waitFor: 'applied' }),
        a.clear({ family: 0 }, { timeoutMs: 600_000 }),
        a.createFamily('x', { timeoutMs: 600_000 }),
        a.fresh({ minPosition: never, timeoutMs: 600_000 }),
        b.write([put('k', 'v')], { timeoutMs: 600_000 }),
        b.clear({ family: 0 }, { timeoutMs: 600_000 }),
        b.fresh({ minPosition: never, timeoutMs: 600_000 }),
        b.promote({ timeoutMs: 600_000 }),
      ]
      const outcomes = waits.map((wait) => settledWithin(wait, 15_000))
      await new Promise((resolve) => setImmediate(resolve))
      assert.notEqual(await settledWithin(Promise.all([cluster.stop('a'), cluster.stop('b')]), 10_000), 'still waiting')
      for (const [index, outcome] of (await Promise.all(outcomes)).entries()) {
        assert.ok(
          outcome instanceof UnderstudyError || (outcome as { epoch?: unknown })?.epoch !== undefined,
          `wait ${index}: ${String(outcome)}`,
        )
      }
      for (const wait of [
        () => a.ready(),
        () => a.write([put('k', 'v')]),
        () => a.fresh({ minPosition: never }),
        () => b.ready(),
        () => b.promote(),
        () => b.write([put('k', 'v')]),
      ]) {
        const outcome = await settledWithin(wait(), 2_000)
        assert.ok(outcome instanceof UnderstudyError, `after close: ${wait}: ${String(outcome)}`)
        assert.equal(outcome.code, 'UNDERSTUDY_CLOSED')
      }
    })
  })

  test('I8, F31: a standby that takes nothing in costs the primary a bounded amount of memory', async () => {
    await withCluster(
      { nodes: ['a', 'b'], storage: 'disk', settings: { durability: 'standby', inSyncMin: 1 }, timeFactor: 0.2 },
      async (cluster) => {
        await started(cluster)
        await cluster.shard('a').removeFromInSync('b')
        cluster.network.partition(cluster.address('a'), cluster.address('b'), { oneWay: true })
        const external = process.memoryUsage().external
        for (let index = 0; index < 60; index++)
          await cluster.shard('a').write([put(`k${index % 4}`, value('v', 1024 * 1024))])
        const grown = process.memoryUsage().external - external
        assert.ok(
          cluster
            .shard('a')
            .status()
            .followers.some((one) => one.connected),
          'the session still stands',
        )
        // Tail cache, credit, the write queue, and what the engine and the collector still hold.
        assert.ok(grown < 2 * limits.creditBytes + limits.tailCacheBytes, `${grown} bytes for 60 MiB written`)
        cluster.network.heal()
        await untilApplied(cluster, ['b'], cluster.shard('a').applied!)
        assert.equal(await read(cluster, 'b', 'k3'), value('v', 1024 * 1024))
      },
    )
  })

  test('L6: a position of another history is DIVERGED, not waited for', async () => {
    await withCluster(pair, async (cluster) => {
      await started(cluster)
      await cluster.shard('a').write([put('k', 'v')])
      const error = await failureOf(
        cluster.shard('a').fresh({ minPosition: { epoch: { number: 9, node: 'z' }, sequence: 1 } }),
      )
      assert.equal(error.code, 'UNDERSTUDY_DIVERGED')
    })
  })
})

describe('disk errors', { timeout: 60_000 }, () => {
  for (const [what, operation, errno] of [
    ['an fsync error', 'datasync', 'EIO'],
    ['a full disk', 'write', 'ENOSPC'],
  ] as const) {
    test(`F17, F18, I5: ${what} on the primary ends it: nothing is acknowledged afterwards, another one takes over`, async () => {
      await withCluster(simulated, async (cluster) => {
        await started(cluster)
        await cluster.shard('a').write([put('k', 'before')])
        let failing = true
        const { appended } = cluster.shard('a').status().sequence
        // The mark of an idle journal may be under way: it is the block of the write that fails.
        cluster.disk('a').fault = (op, path) =>
          failing &&
          op === operation &&
          path.includes('journal') &&
          cluster.shard('a').status().sequence.appended > appended
            ? Object.assign(new Error(errno), { code: errno })
            : undefined
        const error = await failureOf(cluster.shard('a').write([put('k', 'lost')]))
        assert.equal(error.code, 'UNDERSTUDY_FENCED', 'at once, not by a time-out')
        assert.equal(error.outcome, 'unknown')
        failing = false
        assert.equal(cluster.shard('a').state, 'failed')
        assert.ok(
          cluster
            .shard('a')
            .status()
            .warnings.some((warning) => warning.startsWith('failed')),
        )
        const code = errno === 'ENOSPC' ? 'UNDERSTUDY_DISK_FULL' : 'UNDERSTUDY_IO'
        for (const work of [() => cluster.shard('a').write([put('k', 'x')]), async () => cluster.shard('a').reader()]) {
          const after = await failureOf(work())
          assert.equal(after.code, code)
          assert.ok((after.hint ?? '') !== '')
        }
        assert.equal((await failureOf(cluster.shard('a').promote())).code, code)
        await cluster.shard('b').promote()
        await cluster.shard('b').write([put('k', 'by b')], { timeoutMs: 20_000 })
        await cluster.stop('a')
        await cluster.start('a')
        await untilInSync(cluster, 'b', ['a', 'b', 'c'])
        await untilApplied(cluster, ['a'], cluster.shard('b').applied!)
        assert.equal(await read(cluster, 'a', 'k'), 'by b')
      })
    })

    test(`F17, F18, I5: ${what} on a standby: it acknowledges nothing that is not on its disk`, async () => {
      await withCluster(simulated, async (cluster) => {
        await started(cluster)
        const before = await cluster.shard('a').write([put('k', 'before')])
        cluster.disk('b').fault = (op, path) =>
          op === operation && path.includes('journal') ? Object.assign(new Error(errno), { code: errno }) : undefined
        const error = await failureOf(cluster.shard('a').write([put('k', 'v')], { timeoutMs: 1_500 }))
        assert.equal(error.code, 'UNDERSTUDY_ACK_TIMEOUT')
        assert.equal(cluster.shard('b').state, 'failed')
        assert.equal(cluster.shard('a').status().sequence.committed, before.sequence)
        cluster.disk('b').fault = undefined
        await cluster.shard('a').removeFromInSync('b')
        await until(async () => (await read(cluster, 'a', 'k')) === 'v', 'the others go on')
        await cluster.stop('b')
        await cluster.start('b')
        await untilInSync(cluster, 'a', ['a', 'b', 'c'])
      })
    })
  }
})
