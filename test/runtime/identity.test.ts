import assert from 'node:assert/strict'
import { cpSync, rmSync } from 'node:fs'
import { describe, test } from 'node:test'
import { failureOf, put, read, TestCluster, until, untilApplied, untilInSync, withCluster } from '../support/cluster.js'

const simulated = { storage: 'simulated', timeFactor: 5 } as const
const pair = { nodes: ['a', 'b'], settings: { durability: 'standby', inSyncMin: 1 }, ...simulated } as const

async function started(cluster: TestCluster): Promise<void> {
  await cluster.startAll()
  await untilInSync(cluster, 'a', cluster.names)
}

describe('who belongs together', { timeout: 60_000 }, () => {
  test('S1, S2: an empty directory under an old name bootstraps and does not count as the old member', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      await cluster.shard('a').write([put('k', 'v')])
      const old = cluster.node('c').status().incarnation
      cluster.kill('c')
      cluster.disks.delete('c')
      const stuck = failureOf(cluster.shard('a').write([put('k2', 'waits')], { timeoutMs: 300 }))
      assert.equal((await stuck).code, 'UNDERSTUDY_ACK_TIMEOUT', 'the lost member is waited for')
      await cluster.start('c')
      await untilInSync(cluster, 'a', ['a', 'b', 'c'])
      assert.notEqual(cluster.node('c').status().incarnation, old)
      await untilApplied(cluster, ['c'], cluster.shard('a').applied!)
      assert.equal(await read(cluster, 'c', 'k'), 'v')
    })
  })

  test('S1: an empty primary that starts first creates nothing and fetches what the others have', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      await cluster.shard('a').write([put('k', 'v')])
      const { historyId } = cluster.shard('b').status()
      for (const name of cluster.names) cluster.kill(name)
      cluster.disks.delete('a')
      await cluster.start('a')
      await until(() => cluster.shard('a').status().reason.includes('waiting for b, c'), 'it waits and says for whom')
      assert.equal((await failureOf(cluster.shard('a').promote())).code, 'UNDERSTUDY_PROMOTION_REFUSED')
      await cluster.start('b')
      await cluster.start('c')
      await until(() => cluster.shard('a').state === 'bootstrapping', 'it bootstraps')
      await until(
        () =>
          cluster
            .node('b')
            .status()
            .members.some((one) => one.node === 'c' && one.reachable),
        'c answers b',
      )
      await cluster.shard('b').promote()
      await untilInSync(cluster, 'b', ['a', 'b', 'c'])
      assert.equal(cluster.shard('a').status().historyId, historyId)
      await untilApplied(cluster, ['a'], cluster.shard('b').applied!)
      assert.equal(await read(cluster, 'a', 'k'), 'v')
    })
  })

  test('S1: a node that has not read its directory yet does not pass for an empty one', async () => {
    await withCluster(pair, async (cluster) => {
      await started(cluster)
      await cluster.shard('a').write([put('k', 'v')])
      for (const name of cluster.names) cluster.kill(name)
      cluster.disks.delete('a')
      const held: Array<() => void> = []
      cluster.disk('b').latency = (operation, path) =>
        operation === 'open' && path.endsWith('shard.json') ? new Promise((resolve) => held.push(resolve)) : undefined
      const starting = cluster.start('b')
      await until(() => held.length > 0, 'b reads its directory')
      await cluster.start('a')
      // Long enough to have asked b many times.
      await new Promise((resolve) => setTimeout(resolve, 300))
      assert.equal(cluster.shard('a').state, 'connecting', 'a began a second history')
      cluster.disk('b').latency = undefined
      for (const release of held) release()
      await starting
      await until(() => cluster.shard('a').state === 'bootstrapping', 'a hears that b has data')
    })
  })

  test('S1: another history under the same names is refused and nothing of it is cut', async () => {
    await withCluster({ ...pair, storage: 'disk' }, async (cluster) => {
      await started(cluster)
      const position = await cluster.shard('a').write([put('k', 'ours')])
      await untilApplied(cluster, ['b'], position)
      const other = new TestCluster({ ...pair, storage: 'disk' })
      try {
        await started(other)
        await other.shard('a').write([put('k', 'theirs')])
        for (let index = 0; index < 5; index++) await other.shard('a').write([put(`k${index}`, 'theirs')])
        await untilApplied(other, ['b'], other.shard('a').applied!)
        const durable = other.shard('b').status().sequence.durable
        await other.stop('b')
        await cluster.stop('b')
        rmSync(cluster.directory('b'), { recursive: true })
        cpSync(other.directory('b'), cluster.directory('b'), { recursive: true })
        await cluster.start('b')
        await until(
          () => cluster.shard('b').status().reason.includes('never had a common beginning'),
          () => `refused: ${cluster.shard('b').status().state} ${cluster.shard('b').status().reason}`,
          3000,
        )
        assert.equal(cluster.shard('b').status().sequence.durable, durable, 'nothing was cut')
        const member = cluster
          .node('a')
          .status()
          .members.find((one) => one.node === 'b')
        assert.equal(member?.reachable, false)
        assert.equal(cluster.shard('a').status().sequence.committed, position.sequence)
      } finally {
        await other.close()
      }
    })
  })

  test('a node of another cluster, with other settings or under the name of another is refused', async () => {
    await withCluster(pair, async (cluster) => {
      await started(cluster)
      await cluster.stop('b')
      const foreign = await failureOf(cluster.start('b', { cluster: 'other' }))
      assert.equal(foreign.code, 'UNDERSTUDY_FOREIGN_DIRECTORY')
      const settings = await failureOf(cluster.start('b', { settings: { durability: 'local', inSyncMin: 1 } }))
      assert.equal(settings.code, 'UNDERSTUDY_SETTINGS_MISMATCH', 'S7')
      cluster.disks.delete('b')
      await cluster.start('b', { cluster: 'other' })
      const view = () =>
        cluster
          .node('a')
          .status()
          .members.find((one) => one.node === 'b')
      await new Promise((resolve) => setTimeout(resolve, 200))
      assert.equal(view()?.reachable, false)
      assert.equal(cluster.shard('b').status().historyId, undefined, 'it did not bootstrap either')
      await cluster.stop('b')
      cluster.disks.delete('b')
      await cluster.start('b', { settings: { durability: 'local', inSyncMin: 2 } })
      await new Promise((resolve) => setTimeout(resolve, 200))
      assert.equal(
        cluster.shard('b').status().historyId,
        undefined,
        'S7: an empty node with other settings stays empty',
      )
    })
  })

  test('a wrong address is noticed: another node answers there', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      cluster.kill('c')
      await cluster.start('c', { addresses: { a: cluster.address('b'), b: cluster.address('b') } })
      await until(() => cluster.shard('c').status().reason.includes('b is not the primary'), 'it says who answers')
      const reachable = (node: string) =>
        cluster
          .node('c')
          .status()
          .members.find((one) => one.node === node)?.reachable
      await until(() => reachable('b') === true, 'b is known at its address')
      assert.equal(reachable('a'), false, 'b does not pass for a')
    })
  })

  test('S2: one process has a directory', async () => {
    await withCluster(
      { nodes: ['a'], settings: { durability: 'local', inSyncMin: 1 }, storage: 'disk' },
      async (cluster) => {
        await cluster.start('a')
        cluster.network.crash(cluster.address('a'))
        assert.equal((await failureOf(cluster.start('a'))).code, 'UNDERSTUDY_LOCKED')
      },
    )
  })

  test('F33: a shard that is not there is never replaced by another', async () => {
    await withCluster({ ...pair, nodes: ['a'] }, async (cluster) => {
      await cluster.start('a')
      assert.throws(() => cluster.node('a').shard('second'), { code: 'UNDERSTUDY_UNKNOWN_SHARD' })
    })
  })
})
