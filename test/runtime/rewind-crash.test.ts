import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type DiskOperation, SimulatedDisk } from '#src/sim/disk.js'
import { contentOf, put, TestCluster, until, untilApplied } from '../support/cluster.js'
import { SurvivingStore } from '../support/surviving-engine.js'

const changing: ReadonlySet<DiskOperation> = new Set<DiskOperation>([
  'create',
  'write',
  'datasync',
  'sync',
  'truncate',
  'makeDirectory',
  'rename',
  'remove',
  'syncDirectory',
])

interface Ending {
  readonly name: string
  /** What a crash leaves of the store's unproven changes; undefined if only the process ends. */
  readonly keepChanges: number | undefined
  readonly keepDisk: 'all' | 'none'
}

const endings: readonly Ending[] = [
  { name: 'the process is killed', keepChanges: undefined, keepDisk: 'all' },
  { name: 'the power goes, nothing unsynced is kept', keepChanges: 0, keepDisk: 'none' },
  { name: 'the power goes, some of it is kept', keepChanges: 1, keepDisk: 'all' },
]

/** An old primary whose disk holds entries that b, which leads now, does not have. */
class Scene {
  readonly cluster = new TestCluster({
    nodes: ['a', 'b'],
    storage: 'simulated',
    timeFactor: 5,
    settings: { durability: 'local', inSyncMin: 1 },
  })
  private disk = new SimulatedDisk()
  private store = new SurvivingStore()
  private expected: Array<[string, string]> = []

  async prepare(): Promise<void> {
    const { cluster, store } = this
    await cluster.start('a', { engines: { a: store.factory() } })
    await cluster.start('b')
    await until(() => cluster.shard('b').status().state === 'streaming', 'b streams')
    for (let index = 0; index < 20; index++) await cluster.shard('a').write([put(`k${index}`, 'both')])
    await untilApplied(cluster, ['b'], cluster.shard('a').applied!)
    cluster.isolate('a')
    await cluster.shard('a').write([put('k1', 'only a'), put('n1', 'only a')])
    await cluster.shard('a').write([{ type: 'delRange', family: 0, start: Buffer.from('k2'), end: Buffer.from('k5') }])
    await cluster.shard('a').write([put('k3', 'only a'), { type: 'del', family: 0, key: Buffer.from('k7') }])
    await cluster.shard('b').promote({ force: true })
    await cluster.shard('b').write([put('k1', 'by b'), put('k4', 'by b')])
    await cluster.shard('b').write([{ type: 'del', family: 0, key: Buffer.from('k9') }, put('k33', 'by b')])
    cluster.kill('a')
    cluster.network.heal()
    this.disk = cluster.disk('a').clone()
    this.expected = await contentOf(cluster, 'b')
  }

  /** Starts a from where it was killed and ends it at the given steps; returns how many of them were reached. */
  async run(crashAt: readonly number[], ending: Ending): Promise<number> {
    const { cluster, expected } = this
    const disk = this.disk.clone()
    const store = this.store.clone()
    cluster.disks.set('a', disk)
    let crashes = 0
    for (const at of [...crashAt, Number.POSITIVE_INFINITY]) {
      let steps = 0
      let dead = false
      const step = () => {
        if (dead || ++steps !== at) return
        dead = true
        crashes += 1
        cluster.kill('a')
        if (ending.keepChanges !== undefined) disk.crash({ keep: ending.keepDisk })
      }
      disk.fault = (operation) => {
        if (changing.has(operation)) step()
        return undefined
      }
      store.step = async () => {
        step()
        if (dead) await new Promise<never>(() => {})
      }
      const starting = cluster.start('a', { engines: { a: store.factory() } })
      starting.catch(() => undefined)
      let seen = ''
      await until(
        () => {
          if (dead) return true
          let status: ReturnType<ReturnType<TestCluster['shard']>['status']> | undefined
          try {
            status = cluster.shard('a').status()
          } catch {
            return false
          }
          seen = `${status.state}: ${status.reason}`
          assert.notEqual(status.state, 'failed', seen)
          return status.state === 'streaming'
        },
        () => `a streams or ends; ${seen}`,
      )
      if (!dead) break
      disk.fault = undefined
      if (ending.keepChanges !== undefined) store.losePower(ending.keepChanges)
    }
    await untilApplied(cluster, ['a'], cluster.shard('b').applied!)
    assert.deepEqual(await contentOf(cluster, 'a'), expected)
    const { divergentFiles, bootstrap } = cluster.shard('a').status()
    assert.deepEqual(
      divergentFiles.map(({ entries, missingEntries }) => [entries, missingEntries]),
      [[3, 0]],
    )
    assert.equal(bootstrap, undefined, 'it was rewound, not rebuilt')
    // What is true now must not rest in the cache.
    cluster.kill('a')
    disk.fault = undefined
    store.step = undefined
    disk.crash({ keep: 'none' })
    store.losePower(0)
    await cluster.start('a', { engines: { a: store.factory() } })
    await untilApplied(cluster, ['a'], cluster.shard('b').applied!)
    assert.deepEqual(await contentOf(cluster, 'a'), expected, 'after a further loss of power')
    cluster.kill('a')
    return crashes
  }
}

describe('crashes while entries are undone', { timeout: 600_000 }, () => {
  for (const ending of endings) {
    test(`B3, F39: at whatever step ${ending.name}, the node comes back and has what the primary has`, async () => {
      const scene = new Scene()
      try {
        await scene.prepare()
        let at = 1
        for (; ; at++) {
          try {
            if ((await scene.run([at], ending)) === 0) break
          } catch (error) {
            throw new Error(`crash at step ${at}: ${error instanceof Error ? error.stack : error}`)
          }
        }
        assert.ok(at > 30, `${at} steps`)
        // Twice: the second time while what the first has left is gone on with.
        for (let first = 10; first < at; first += 7) {
          for (const second of [15, 25, 40]) {
            try {
              await scene.run([first, second], ending)
            } catch (error) {
              throw new Error(`crashes at ${first} and ${second}: ${error instanceof Error ? error.stack : error}`)
            }
          }
        }
      } finally {
        await scene.cluster.close()
      }
    })
  }
})
