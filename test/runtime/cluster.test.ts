import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { put, read, TestCluster, untilApplied, untilInSync } from '../support/cluster.js'

for (const storage of ['simulated', 'disk'] as const) {
  describe(`cluster over ${storage} storage`, () => {
    test('a node without members is primary by itself and keeps its data', { timeout: 30_000 }, async () => {
      const cluster = new TestCluster({ nodes: ['a'], storage, settings: { durability: 'local', inSyncMin: 1 } })
      try {
        await cluster.start('a')
        await cluster.shard('a').ready()
        await cluster.shard('a').write([put('k', 'v')])
        assert.equal(await read(cluster, 'a', 'k'), 'v')
        await cluster.stop('a')
        await cluster.start('a')
        await cluster.shard('a').ready()
        assert.equal(await read(cluster, 'a', 'k'), 'v')
        assert.equal(cluster.shard('a').status().epoch?.number, 2, 'S3: every start as primary takes a new epoch')
      } finally {
        await cluster.close()
      }
    })

    test('three nodes form, replicate, promote and take the old primary back', { timeout: 60_000 }, async () => {
      const cluster = new TestCluster({ storage })
      try {
        await cluster.startAll()
        await untilInSync(cluster, 'a', ['a', 'b', 'c'])
        const position = await cluster.shard('a').write([put('k1', 'v1')])
        await untilApplied(cluster, ['b', 'c'], position)
        for (const name of ['a', 'b', 'c']) assert.equal(await read(cluster, name, 'k1'), 'v1')
        const forwarded = await cluster.shard('b').write([put('k2', 'v2')])
        assert.equal(await read(cluster, 'b', 'k2'), 'v2', 'a forwarded write is readable where it was made')
        await untilApplied(cluster, ['a', 'c'], forwarded)
        await cluster.stop('a')
        const result = await cluster.shard('b').promote()
        assert.equal(result.epoch.node, 'b')
        const third = await cluster.shard('b').write([put('k3', 'v3')])
        await untilApplied(cluster, ['c'], third)
        await cluster.start('a')
        await untilInSync(cluster, 'b', ['a', 'b', 'c'])
        await untilApplied(cluster, ['a'], third)
        assert.equal(await read(cluster, 'a', 'k3'), 'v3')
      } finally {
        await cluster.close()
      }
    })
  })
}
