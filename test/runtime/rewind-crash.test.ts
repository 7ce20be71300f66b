import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Operation } from '#src/core/entry.js'
import { isFailure } from '#src/errors.js'
import type { EngineSnapshot } from '#src/ports/engine.js'
import type { EngineReader } from '#src/runtime/handle.js'
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
  /** Only the connections end, not the process. */
  readonly drop?: boolean
  /** What a crash leaves of the store's unproven changes; undefined if only the process ends. */
  readonly keepChanges: number | undefined
  readonly keepDisk: 'all' | 'none'
}

const endings: readonly Ending[] = [
  { name: 'the process is killed', keepChanges: undefined, keepDisk: 'all' },
  { name: 'the power goes, nothing unsynced is kept', keepChanges: 0, keepDisk: 'none' },
  { name: 'the connection breaks', drop: true, keepChanges: undefined, keepDisk: 'all' },
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
  /** Contents that one of the two histories had at some position: nobody may ever read anything else. */
  private readonly possible = new Set<string>()
  private readonly reads: Array<Promise<void>> = []

  async prepare(): Promise<void> {
    const { cluster, store } = this
    await cluster.start('a', { engines: { a: store.factory() } })
    await cluster.start('b')
    await until(() => cluster.shard('b').status().state === 'streaming', 'b streams')
    const write = async (name: string, ...operations: readonly Operation[]) => {
      await cluster.shard(name).write(operations)
      this.possible.add(JSON.stringify(await contentOf(cluster, name)))
    }
    for (let index = 0; index < 20; index++) await write('a', put(`k${index}`, 'both'))
    await untilApplied(cluster, ['b'], cluster.shard('a').applied!)
    cluster.isolate('a')
    await write('a', put('k1', 'only a'), put('n1', 'only a'))
    await write('a', { type: 'delRange', family: 0, start: Buffer.from('k2'), end: Buffer.from('k5') })
    await write('a', put('k3', 'only a'), { type: 'del', family: 0, key: Buffer.from('k7') })
    await cluster.shard('b').promote({ force: true })
    await write('b', put('k1', 'by b'), put('k4', 'by b'))
    await write('b', { type: 'del', family: 0, key: Buffer.from('k9') }, put('k33', 'by b'))
    cluster.kill('a')
    cluster.network.heal()
    this.disk = cluster.disk('a').clone()
    this.expected = await contentOf(cluster, 'b')
  }

  /** What a reader would find at this very moment, if there is anything to read. */
  private look(): void {
    let reader: EngineReader
    let snapshot: EngineSnapshot
    try {
      reader = this.cluster.shard('a').reader()
      snapshot = reader.snapshot()
    } catch {
      return
    }
    const looked = async () => {
      const found: Array<[string, string]> = []
      const iterator = reader.scan(0, { snapshot })
      for (const [key, value] of await iterator.next(1000)) {
        found.push([Buffer.from(key).toString(), Buffer.from(value).toString()])
      }
      const content = JSON.stringify(found)
      assert.ok(this.possible.has(content) || found.length === 0, `a mixture could be read: ${content}`)
    }
    this.reads.push(
      looked().catch((error: unknown) => {
        // What was open ends when the data is taken away.
        if (!isFailure(error, 'CLOSED')) throw error
      }),
    )
    this.reads.at(-1)?.catch(() => undefined)
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
        if (!dead) this.look()
        if (dead || ++steps !== at) return
        crashes += 1
        if (ending.drop === true) {
          cluster.network.dropConnections(cluster.address('a'), cluster.address('b'))
          return
        }
        dead = true
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
    await Promise.all(this.reads.splice(0))
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
