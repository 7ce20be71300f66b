import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { limits } from '#src/core/limits.js'
import { put, read, TestCluster, until, untilApplied, untilInSync } from '../support/cluster.js'

describe('takeover in a running cluster', () => {
  test('a write that waits on a standby without a primary is taken when this standby is promoted', async () => {
    const cluster = new TestCluster({ storage: 'simulated' })
    try {
      await cluster.startAll()
      await untilInSync(cluster, 'a', ['a', 'b', 'c'])
      cluster.kill('a')
      await until(() => cluster.shard('b').state === 'reconnecting', 'b has lost its primary')
      const write = cluster.shard('b').write([put('k', 'v')])
      await cluster.shard('b').promote()
      assert.equal((await write).epoch.node, 'b')
      assert.equal(await read(cluster, 'b', 'k'), 'v')
    } finally {
      await cluster.close()
    }
  })

  test('C6: a primary that hangs holds up a takeover only until its silence is noticed', {
    timeout: 60_000,
  }, async () => {
    const cluster = new TestCluster({ storage: 'simulated' })
    try {
      await cluster.startAll()
      await untilInSync(cluster, 'a', ['a', 'b', 'c'])
      await cluster.shard('a').write([put('k', 'v')])
      // Connections stay open and nothing comes through them, as with a stopped process.
      for (const other of ['b', 'c']) cluster.network.partition(cluster.address('a'), cluster.address(other))
      const beganMs = performance.now()
      await cluster.shard('b').promote()
      const position = await cluster.shard('b').write([put('k', 'w')])
      const tookMs = performance.now() - beganMs
      assert.ok(tookMs < 2 * limits.peerSilenceMs, `${Math.round(tookMs)} ms until the new primary took a write`)
      await untilApplied(cluster, ['c'], position)
      cluster.network.heal()
      await untilInSync(cluster, 'b', ['a', 'b', 'c'])
      await untilApplied(cluster, ['a'], position)
      assert.equal(await read(cluster, 'a', 'k'), 'w')
    } finally {
      await cluster.close()
    }
  })
})
