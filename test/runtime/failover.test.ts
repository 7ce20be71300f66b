import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { TestCluster, until, untilApplied } from '../support/cluster.js'

const put = (key: string, value: string) =>
  ({ type: 'put', family: 0, key: Buffer.from(key), value: Buffer.from(value) }) as const

const automatic = { storage: 'simulated', coordinator: 'memory' } as const

async function withCluster(
  options: ConstructorParameters<typeof TestCluster>[0],
  run: (cluster: TestCluster) => Promise<void>,
): Promise<void> {
  const cluster = new TestCluster(options)
  try {
    await run(cluster)
  } finally {
    await cluster.close()
  }
}

function primaryOf(cluster: TestCluster, names: readonly string[] = cluster.names): string | undefined {
  const leading = names.filter((name) => cluster.shard(name).state === 'primary')
  return leading.length === 1 ? leading[0] : undefined
}

/** All of `names` in the set, one of them primary. */
async function settled(cluster: TestCluster, names: readonly string[] = cluster.names): Promise<string> {
  const picture = () =>
    JSON.stringify(
      names.map((name) => {
        const { state, reason, inSync, epoch, sequence, warnings } = cluster.shard(name).status()
        return { name, state, reason, inSync, epoch, sequence, warnings }
      }),
    )
  await until(
    () => {
      const primary = primaryOf(cluster, names)
      return primary !== undefined && names.every((name) => cluster.shard(primary).status().inSync.includes(name))
    },
    picture,
    10_000,
  )
  return primaryOf(cluster, names)!
}

describe('automatic failover', () => {
  test('empty nodes make a history together, and all of them join', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      const primary = await settled(cluster)
      assert.equal(primary, 'a')
      const position = await cluster.shard('c').write([put('k', 'v')])
      await untilApplied(cluster, ['a', 'b', 'c'], position)
    })
  })

  test('a killed primary is replaced by itself, and comes back as a standby', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      const first = await settled(cluster)
      await cluster.shard(first).write([put('k', 'v')])
      const begun = performance.now()
      cluster.kill(first)
      const rest = cluster.names.filter((name) => name !== first)
      await until(() => primaryOf(cluster, rest) !== undefined, 'a new primary', 5000)
      const tookMs = performance.now() - begun
      const second = primaryOf(cluster, rest)!
      assert.ok(tookMs < 1500, `${tookMs} ms`)
      await cluster.shard(second).write([put('k2', 'v2')])
      await cluster.start(first)
      await settled(cluster)
      const position = await cluster.shard(first).write([put('k3', 'v3')])
      await untilApplied(cluster, cluster.names, position)
    })
  })

  test('a switchover hands over without failing a write, and back', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      await settled(cluster)
      for (const to of ['b', 'c', 'a']) {
        // Asked for anywhere, carried out by the primary.
        const result = await cluster.shard('b').switchover({ to })
        assert.equal(result.primary, to)
        assert.ok(result.pauseMs < 1000, `${result.pauseMs} ms`)
        assert.equal(await settled(cluster), to)
        const position = await cluster.shard(to).write([put(`to ${to}`, 'v')])
        await untilApplied(cluster, cluster.names, position)
      }
    })
  })

  test('a primary that stops cleanly hands over, and holds up nobody', async () => {
    await withCluster(automatic, async (cluster) => {
      await cluster.startAll()
      const first = await settled(cluster)
      const rest = cluster.names.filter((name) => name !== first)
      await cluster.stop(first)
      const second = primaryOf(cluster, rest)
      assert.ok(second !== undefined, 'the other leads when the first has stopped')
      assert.ok(!cluster.shard(second).status().inSync.includes(first), 'and does not wait for it')
      await cluster.shard(second).write([put('k', 'v')], { timeoutMs: 500 })
    })
  })
})
