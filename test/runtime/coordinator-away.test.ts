/** Nodes that restart while the coordinator cannot be reached. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { put, read, type TestCluster, until, withCluster } from '../support/cluster.js'

async function settled(cluster: TestCluster): Promise<string> {
  await cluster.startAll()
  const leading = () =>
    cluster.names.find((name) => {
      const { state, inSync } = cluster.shard(name).status()
      return state === 'primary' && inSync.length === cluster.names.length
    })
  await until(() => leading() !== undefined, 'a primary with all in its set')
  return leading()!
}

describe('while the coordinator is away', { timeout: 60_000 }, () => {
  test('L4: a member that was restarted finds the primary and follows, and writes go on', async () => {
    await withCluster({ storage: 'simulated', coordinator: 'memory' }, async (cluster) => {
      const primary = await settled(cluster)
      const [member] = cluster.names.filter((name) => name !== primary)
      await cluster.shard(primary).write([put('k', 'before')])
      for (const name of cluster.names) cluster.coordinators.get(name)!.setWeather({ reachable: false })
      cluster.kill(member!)
      // The set is frozen: this write waits for the member.
      const waiting = cluster.shard(primary).write([put('k', 'after')])
      await cluster.start(member!, { coordinatorAway: true })
      await waiting
      assert.equal(await read(cluster, primary, 'k'), 'after')
      const { state, primary: followed } = cluster.shard(member!).status()
      assert.equal(state, 'streaming')
      assert.equal(followed?.node, primary)
    })
  })
})
