import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { put, TestCluster, until, untilApplied, untilInSync } from '../support/cluster.js'

describe('in-sync set of a running cluster', () => {
  test('C6: a standby that was not in the set replaces a member that is gone', { timeout: 60_000 }, async () => {
    const cluster = new TestCluster({ storage: 'simulated' })
    try {
      await cluster.startAll()
      await untilInSync(cluster, 'a', ['a', 'b', 'c'])
      await cluster.stop('c')
      await untilInSync(cluster, 'a', ['a', 'b'])
      const position = await cluster.shard('a').write([put('k', 'v')])
      cluster.kill('a')
      await cluster.start('c')
      await until(
        () =>
          cluster
            .node('b')
            .status()
            .members.some((member) => member.node === 'c' && member.reachable),
        'b sees c',
      )
      await cluster.shard('b').promote()
      // The set is b and, to keep its size, the dead a, until c has caught up and takes its place.
      await untilInSync(cluster, 'b', ['b', 'c'])
      await cluster.shard('b').write([put('k', 'w')])
      await untilApplied(cluster, ['c'], position)
    } finally {
      await cluster.close()
    }
  })

  test('a member that leaves before it stops is not taken in again while it closes', { timeout: 60_000 }, async () => {
    const cluster = new TestCluster({ storage: 'simulated' })
    try {
      await cluster.startAll()
      await untilInSync(cluster, 'a', ['a', 'b', 'c'])
      const joined: string[][] = []
      cluster.shard('a').subscribe((event) => {
        if (event.type === 'record') joined.push(event.record.inSync.map((member) => member.node))
      })
      await cluster.stop('c')
      await untilInSync(cluster, 'a', ['a', 'b'])
      await cluster.shard('a').write([put('k', 'v')], { timeoutMs: 2_000 })
      assert.deepEqual(joined, [['a', 'b']])
      await cluster.start('c')
      await untilInSync(cluster, 'a', ['a', 'b', 'c'])
    } finally {
      await cluster.close()
    }
  })
})
