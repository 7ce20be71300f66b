import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { formatEpoch } from '#src/core/position.js'
import {
  contentOf,
  failureOf,
  journalBytes,
  put,
  read,
  type TestCluster,
  until,
  untilApplied,
  untilInSync,
  withCluster,
} from '../support/cluster.js'

const simulated = { storage: 'simulated', timeFactor: 5 } as const

async function started(cluster: TestCluster): Promise<void> {
  await cluster.startAll()
  await untilInSync(cluster, 'a', cluster.names)
}

async function sameContent(cluster: TestCluster, names: readonly string[]): Promise<void> {
  const expected = await contentOf(cluster, names[0]!)
  for (const name of names) assert.deepEqual(await contentOf(cluster, name), expected, `content of ${name}`)
}

describe('restart', { timeout: 60_000 }, () => {
  test('J1, C5: an uncommitted tail is not applied at restart and is cut when a new history is joined', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      const before = await cluster.shard('a').write([put('k', 'committed')])
      await untilApplied(cluster, ['b', 'c'], before)
      cluster.isolate('a')
      const lost = await failureOf(cluster.shard('a').write([put('k', 'uncommitted')], { timeoutMs: 500 }))
      assert.equal(lost.code, 'UNDERSTUDY_ACK_TIMEOUT')
      assert.equal(lost.outcome, 'unknown')
      const tail = cluster.shard('a').status().sequence
      assert.ok(tail.durable > tail.committed, 'the entry is in the journal')
      cluster.kill('a')
      await cluster.shard('b').promote()
      const after = await cluster.shard('b').write([put('k2', 'new history')])
      await cluster.start('a')
      assert.equal(cluster.shard('a').status().sequence.durable, tail.durable, 'the tail survived')
      assert.equal(cluster.shard('a').status().sequence.applied, before.sequence, 'and was not applied')
      cluster.network.heal()
      await untilInSync(cluster, 'b', ['a', 'b', 'c'])
      await untilApplied(cluster, ['a'], after)
      assert.equal(await read(cluster, 'a', 'k'), 'committed')
      await sameContent(cluster, ['b', 'a', 'c'])
      const cut = cluster.warnings.find((line) => line.node === 'a' && line.message.startsWith('uncommitted tail cut'))
      assert.equal(cut?.fields.cutEntries, tail.durable - before.sequence)
      for (const name of cluster.names) await cluster.stop(name)
      const bytes = await journalBytes(cluster, 'b')
      for (const name of ['a', 'c']) assert.deepEqual(await journalBytes(cluster, name), bytes, 'I3: byte-identical')
    })
  })

  test('C4: an uncommitted tail of the former primary commits with the first block of its new epoch', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      cluster.isolate('a')
      await failureOf(cluster.shard('a').write([put('k', 'late')], { timeoutMs: 300 }))
      cluster.kill('a')
      cluster.network.heal()
      await cluster.start('a')
      await untilInSync(cluster, 'a', ['a', 'b', 'c'])
      assert.equal(await read(cluster, 'a', 'k'), 'late', 'nobody has taken over: the tail is kept')
      await untilApplied(cluster, ['b', 'c'], cluster.shard('a').applied!)
      await sameContent(cluster, ['a', 'b', 'c'])
    })
  })

  test('S3: a primary that had sent what it had not flushed takes a new epoch and repeats no (epoch, sequence)', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      const before = await cluster.shard('a').write([put('k', 'before')])
      // The disk of the primary hangs: what is written from now on reaches the standbys and never its own platter.
      let hang = true
      cluster.disk('a').latency = (operation, path) =>
        hang && path.includes('journal') && (operation === 'write' || operation === 'datasync')
          ? new Promise(() => {})
          : undefined
      const lost = failureOf(cluster.shard('a').write([put('k', 'sent but not flushed')], { timeoutMs: 2_000 }))
      await until(
        () => cluster.shard('b').status().sequence.durable > before.sequence,
        'the standby has the block that the primary has not flushed',
      )
      cluster.losePower('a')
      hang = false
      cluster.disk('a').latency = undefined
      await cluster.start('a')
      await untilInSync(cluster, 'a', ['a', 'b', 'c'])
      const epoch = cluster.shard('a').status().epoch!
      assert.ok(epoch.number > before.epoch.number, `a new epoch, not ${formatEpoch(before.epoch)}`)
      const after = await cluster.shard('a').write([put('k', 'after')])
      await untilApplied(cluster, ['b', 'c'], after)
      for (const name of cluster.names) assert.equal(await read(cluster, name, 'k'), 'after')
      cluster.shard('a')
      for (const name of cluster.names) await cluster.stop(name)
      const bytes = await journalBytes(cluster, 'a')
      for (const name of ['b', 'c']) assert.deepEqual(await journalBytes(cluster, name), bytes, 'I3: byte-identical')
      await Promise.race([lost, Promise.resolve()])
    })
  })

  for (const order of ['abc', 'acb', 'bac', 'bca', 'cab', 'cba']) {
    test(`V3, I1, C8: all lose power at once and come back in the order ${order}: nothing is lost, no hand is needed`, async () => {
      await withCluster(simulated, async (cluster) => {
        await started(cluster)
        for (let index = 0; index < 20; index++) await cluster.shard('a').write([put(`k${index}`, `v${index}`)])
        const epoch = cluster.shard('a').status().epoch!
        for (const name of cluster.names) cluster.losePower(name)
        for (const [index, name] of [...order].entries()) {
          await cluster.start(name)
          if (order.slice(0, index + 1).includes('a') && index < 2) {
            await until(() => cluster.shard('a').status().state === 'fenced', 'the former primary waits')
            assert.match(
              cluster.shard('a').status().reason,
              new RegExp(
                order
                  .slice(index + 1)
                  .split('')
                  .sort()
                  .join(', '),
              ),
            )
          }
        }
        await untilInSync(cluster, 'a', ['a', 'b', 'c'])
        assert.ok(cluster.shard('a').status().epoch!.number > epoch.number)
        const position = await cluster.shard('a').write([put('after', 'x')])
        await untilApplied(cluster, ['b', 'c'], position)
        for (let index = 0; index < 20; index++) {
          for (const name of cluster.names) assert.equal(await read(cluster, name, `k${index}`), `v${index}`)
        }
      })
    })
  }

  test('I1: any part of what was not synced may survive a power loss of the whole cluster', async () => {
    for (const seed of [1, 2, 3]) {
      await withCluster(simulated, async (cluster) => {
        await started(cluster)
        const writes = Array.from({ length: 60 }, (_, index) => cluster.shard('a').write([put(`k${index}`, 'v')]))
        const acknowledged: number[] = []
        for (const [index, write] of writes.entries()) {
          write.then(
            () => acknowledged.push(index),
            () => undefined,
          )
        }
        await Promise.race(writes)
        let state = seed * 7919
        const coin = () => {
          state = (state * 48271) % 2147483647
          return state % 2 === 0
        }
        for (const name of cluster.names) cluster.losePower(name, coin)
        const kept = [...acknowledged]
        for (const name of cluster.names) await cluster.start(name)
        await untilInSync(cluster, 'a', ['a', 'b', 'c'])
        for (const index of kept) assert.equal(await read(cluster, 'a', `k${index}`), 'v', `seed ${seed}, k${index}`)
        await untilApplied(cluster, ['b', 'c'], cluster.shard('a').applied!)
        await sameContent(cluster, ['a', 'b', 'c'])
      })
    }
  })

  test('C8: a former primary that restarts is not primary before all confirm, and a promotion without them is refused', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      for (const name of cluster.names) cluster.kill(name)
      await cluster.start('a')
      await until(() => cluster.shard('a').status().state === 'fenced', 'fenced')
      assert.equal((await failureOf(cluster.shard('a').write([put('k', 'v')]))).code, 'UNDERSTUDY_FENCED')
      assert.throws(() => cluster.shard('a').reader(), /fenced/)
      const refused = await failureOf(cluster.shard('a').promote())
      assert.equal(refused.code, 'UNDERSTUDY_PROMOTION_REFUSED')
      assert.match(refused.message, /1 of 3 nodes answer/)
      await until(() => cluster.shard('a').status().state === 'fenced', 'fenced again')
      await cluster.start('b')
      // Two of three are enough for a hand, not for coming back by itself.
      await until(
        () =>
          cluster
            .node('a')
            .status()
            .members.some((one) => one.node === 'b' && one.reachable),
        'b answers',
      )
      assert.equal(cluster.shard('a').status().state, 'fenced')
      await cluster.shard('a').promote()
      await until(() => cluster.shard('a').status().state === 'primary', 'primary')
    })
  })

  test('C8: a former primary that was replaced follows, in whatever order they come back', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      cluster.kill('a')
      await cluster.shard('b').promote()
      const position = await cluster.shard('b').write([put('k', 'by b')])
      await untilApplied(cluster, ['c'], position)
      for (const name of ['b', 'c']) cluster.kill(name)
      await cluster.start('a')
      await cluster.start('c')
      await until(
        () => cluster.shard('a').status().state !== 'fenced' && cluster.shard('a').status().state !== 'connecting',
        'a has heard from c who leads',
      )
      assert.notEqual(cluster.shard('a').status().state, 'primary')
      await cluster.start('b')
      await untilInSync(cluster, 'b', ['a', 'b', 'c'])
      await untilApplied(cluster, ['a'], position)
      assert.equal(await read(cluster, 'a', 'k'), 'by b')
    })
  })

  test('F9: a power loss while the directory is made leaves an empty node, not half of one', async () => {
    for (let operations = 1; ; operations += 3) {
      let completed = false
      await withCluster(
        { nodes: ['a'], settings: { durability: 'local', inSyncMin: 1 }, ...simulated },
        async (cluster) => {
          cluster.files('a')
          let left = operations
          cluster.disk('a').latency = () => {
            left -= 1
            if (left === 0) queueMicrotask(() => cluster.losePower('a'))
            return undefined
          }
          cluster.start('a').then(
            async () => {
              await cluster.shard('a').ready()
              completed = left > 0
            },
            () => undefined,
          )
          await until(() => left <= 0 || completed, 'power loss')
          cluster.disk('a').latency = undefined
          if (completed) return
          await cluster.start('a')
          await cluster.shard('a').ready()
          await cluster.shard('a').write([put('k', 'v')])
          assert.equal(await read(cluster, 'a', 'k'), 'v')
        },
      )
      if (completed) break
      assert.ok(operations < 400, 'ends')
    }
  })
})
