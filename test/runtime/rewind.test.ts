import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspectJournal, rawBlocks } from '#src/journal/inspect.js'
import { nodeFileSystem } from '#src/platform/node-file-system.js'
import type { FileSystem } from '#src/ports/file-system.js'
import type { ShardEvent } from '#src/runtime/handle.js'
import {
  type ClusterOptions,
  contentOf,
  failureOf,
  journalBytes,
  put,
  read,
  type TestCluster,
  until,
  untilApplied,
  value,
  withCluster,
} from '../support/cluster.js'
import { understudy } from '../support/command.js'

const local = { durability: 'local', inSyncMin: 1 } as const
const pair = { nodes: ['a', 'b'], settings: local } as const
const storages: ReadonlyArray<Partial<ClusterOptions>> = [{ storage: 'disk' }, { storage: 'simulated', timeFactor: 5 }]

async function streaming(cluster: TestCluster, name: string): Promise<void> {
  await until(
    () => cluster.shard(name).status().state === 'streaming',
    () => `${name} streams: ${cluster.shard(name).status().state}, ${cluster.shard(name).status().reason}`,
  )
}

/** Both nodes hold the same five keys. */
async function started(cluster: TestCluster): Promise<void> {
  await cluster.startAll()
  await streaming(cluster, 'b')
  for (let index = 0; index < 5; index++) await cluster.shard('a').write([put(`k${index}`, 'both')])
  await untilApplied(cluster, ['b'], cluster.shard('a').applied!)
}

/** a goes on alone, and b is made primary by force. Returns how many entries only a has. */
async function parted(cluster: TestCluster, alone: () => Promise<void>): Promise<number> {
  const common = cluster.shard('b').applied!.sequence
  cluster.isolate('a')
  await alone()
  const cut = cluster.shard('a').status().sequence.appended - common
  await cluster.shard('b').promote({ force: true })
  return cut
}

async function assertSame(cluster: TestCluster, position = cluster.shard('b').applied!): Promise<void> {
  await untilApplied(cluster, ['a'], position)
  const families = cluster.shard('b').reader().families
  assert.deepEqual(cluster.shard('a').reader().families, families)
  for (const { id } of families) {
    assert.deepEqual(await contentOf(cluster, 'a', id), await contentOf(cluster, 'b', id), `family ${id}`)
  }
}

function sideFile(cluster: TestCluster, name: string): string {
  const file = cluster.shard(name).status().divergentFiles[0]
  assert.ok(file !== undefined, 'there is a side file')
  return `${cluster.directory(name)}/shards/main/${file.name}`
}

/** Files of node a, beside the running node. */
function filesOf(cluster: TestCluster): FileSystem {
  return cluster.disks.get('a')?.process() ?? nodeFileSystem
}

async function bytesOf(cluster: TestCluster, path: string, from = 0): Promise<Buffer> {
  const blocks: Uint8Array[] = []
  for await (const block of rawBlocks(filesOf(cluster), path, from)) blocks.push(block)
  return Buffer.concat(blocks)
}

describe('rewind', { timeout: 120_000 }, () => {
  for (const storage of storages) {
    test(`B3, F39: an old primary undoes by itself what only it has (${storage.storage})`, async () => {
      await withCluster({ ...pair, ...storage }, async (cluster) => {
        await started(cluster)
        const events: ShardEvent[] = []
        cluster.shard('a').subscribe((event) => events.push(event))
        const cut = await parted(cluster, async () => {
          await cluster.shard('a').write([put('k0', 'only a'), put('new', 'only a')])
          await cluster.shard('a').write([{ type: 'del', family: 0, key: Buffer.from('k1') }])
          await cluster.shard('a').write([put('k2', 'only a')])
        })
        assert.equal(cut, 3)
        const journal = `${cluster.directory('a')}/shards/main/current/journal`
        const before = await bytesOf(cluster, journal, cluster.shard('a').status().sequence.appended - cut + 1)
        await cluster.shard('b').write([put('k2', 'by b'), put('k3', 'by b')])
        const engine = cluster.shard('a').reader()
        const iterator = engine.scan(0, {})
        const snapshot = engine.snapshot()
        cluster.network.heal()
        await until(() => cluster.shard('a').status().divergentFiles.length === 1, 'a side file')
        await streaming(cluster, 'a')
        await assertSame(cluster)
        assert.equal(await read(cluster, 'a', 'k0'), 'both')
        assert.equal(await read(cluster, 'a', 'k1'), 'both')
        assert.equal(await read(cluster, 'a', 'k2'), 'by b')
        assert.equal(await read(cluster, 'a', 'new'), undefined)
        // B4: what was open ended with it.
        assert.equal((await failureOf(iterator.next(1))).code, 'UNDERSTUDY_CLOSED')
        assert.equal((await failureOf(engine.get(0, Buffer.from('k0'), snapshot))).code, 'UNDERSTUDY_CLOSED')

        const { divergentFiles } = cluster.shard('a').status()
        assert.deepEqual(
          divergentFiles.map(({ epoch, entries, missingEntries }) => ({ epoch, entries, missingEntries })),
          [{ epoch: '1@a', entries: 3, missingEntries: 0 }],
        )
        assert.ok((await bytesOf(cluster, sideFile(cluster, 'a'))).equals(before), 'exactly the cut blocks')
        const diverged = events.filter((event) => event.type === 'diverged')
        assert.equal(diverged.length, 1)
        assert.deepEqual([diverged[0]!.cutEntries, diverged[0]!.file], [3, divergentFiles[0]!.name])
        assert.equal(cluster.node('a').metrics().shards[0]?.counters.rewoundEntries, 3)
        assert.ok(events.some((event) => event.type === 'transition' && /rewinding 3 entries/.test(event.reason)))

        const position = await cluster.shard('b').write([put('after', 'v')])
        await assertSame(cluster, position)
        const file = sideFile(cluster, 'a')
        const from = cluster.shard('b').status().journal.baseSequence + 1
        for (const name of cluster.names) await cluster.stop(name)
        const bytes = await journalBytes(cluster, 'b', from)
        assert.ok((await journalBytes(cluster, 'a', from)).equals(bytes), 'I3: byte-identical')
        if (storage.storage !== 'disk') return
        const shard = `${cluster.directory('a')}/shards/main`
        const [listed, records] = await Promise.all([
          understudy(['journal', shard]),
          understudy(['journal', file, '--json']),
        ])
        assert.match(listed.stdout, /divergent-1@a-7\.journal: 3 cut entries, 7 to 9\n$/)
        const blocks = records.stdout
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line))
          .filter(({ type }) => type === 'block')
        assert.deepEqual([blocks[0].firstSequence, blocks.at(-1).sequence], [7, 9])
      })
    })
  }

  test('B3: ranges that were deleted, and keys deleted and written in the other history, come out the same', async () => {
    await withCluster({ ...pair, storage: 'disk' }, async (cluster) => {
      await started(cluster)
      const { id } = await cluster.shard('a').createFamily('users')
      for (let index = 0; index < 300; index++) await cluster.shard('a').write([put(`u${index}`, 'both', id)])
      await untilApplied(cluster, ['b'], cluster.shard('a').applied!)
      await parted(cluster, async () => {
        await cluster.shard('a').clear({ family: id, start: Buffer.from('u1'), end: Buffer.from('u3') })
        await cluster
          .shard('a')
          .write([{ type: 'delRange', family: id, start: Buffer.from('u20'), end: Buffer.from('u9') }])
        await cluster.shard('a').write([put('u25', 'only a', id), put('u250000', 'only a', id)])
      })
      await cluster
        .shard('b')
        .write([{ type: 'del', family: id, key: Buffer.from('u21') }, put('u22', 'by b', id), put('u2222', 'by b', id)])
      cluster.network.heal()
      await until(() => cluster.shard('a').status().divergentFiles.length === 1, 'a side file')
      await streaming(cluster, 'a')
      await assertSame(cluster)
    })
  })

  test('S8: entries that created or dropped a column family are not undone key by key: the node is rebuilt', async () => {
    await withCluster({ ...pair, storage: 'disk' }, async (cluster) => {
      await started(cluster)
      await parted(cluster, async () => {
        const { id } = await cluster.shard('a').createFamily('users')
        await cluster.shard('a').write([put('k', 'only a', id)])
      })
      const iterator = cluster.shard('a').reader().scan(0, {})
      const { id } = await cluster.shard('b').createFamily('orders')
      await cluster.shard('b').write([put('k', 'by b', id)])
      cluster.network.heal()
      await until(() => cluster.shard('a').status().divergentFiles.length === 1, 'a side file')
      await streaming(cluster, 'a')
      await assertSame(cluster)
      assert.equal((await failureOf(iterator.next(1))).code, 'UNDERSTUDY_CLOSED', 'B4: what was open has ended')
      assert.equal(cluster.shard('a').status().divergentFiles.length, 1, 'the bootstrap keeps it, and adds no other')
      const counts: Record<string, number> = {}
      for await (const { type } of inspectJournal(filesOf(cluster), sideFile(cluster, 'a'))) {
        counts[type] = (counts[type] ?? 0) + 1
      }
      assert.deepEqual(counts, { segment: 1, block: 2, mark: 1 })
    })
  })

  test('C5: after a forced promotion at durability standby the record lets what it lost be undone', async () => {
    await withCluster({ nodes: ['a', 'b'], storage: 'disk', settings: { inSyncMin: 1 } }, async (cluster) => {
      await started(cluster)
      await cluster.stop('b')
      await until(() => cluster.shard('a').status().inSync.length === 1, 'b has left')
      await cluster.shard('a').write([put('k0', 'only a')])
      await cluster.stop('a')
      await cluster.start('b')
      await cluster.shard('b').promote({ force: true })
      assert.equal(await read(cluster, 'b', 'k0'), 'both')
      await cluster
        .shard('b')
        .write([put('k1', 'by b')], { timeoutMs: 2_000 })
        .catch(() => undefined)
      await cluster.start('a')
      await until(() => cluster.shard('a').status().divergentFiles.length === 1, 'a side file')
      await streaming(cluster, 'a')
      await assertSame(cluster)
      assert.equal(await read(cluster, 'a', 'k0'), 'both')
    })
  })

  test('F38: two failovers in a row: each node is cut where its epochs part from the primary, not where it had committed', async () => {
    await withCluster({ nodes: ['a', 'b', 'c'], settings: local, storage: 'disk' }, async (cluster) => {
      await cluster.startAll()
      for (const name of ['b', 'c']) await streaming(cluster, name)
      for (let index = 0; index < 5; index++) await cluster.shard('a').write([put(`k${index}`, 'all')])
      await untilApplied(cluster, ['b', 'c'], cluster.shard('a').applied!)
      cluster.isolate('a')
      for (const key of ['k0', 'k1', 'x']) await cluster.shard('a').write([put(key, 'only a')])
      await cluster.shard('b').promote({ force: true })
      await until(() => cluster.shard('c').status().state === 'streaming', 'c follows b')
      await untilApplied(cluster, ['c'], await cluster.shard('b').write([put('k1', 'b and c')]))
      cluster.isolate('b')
      for (const key of ['k2', 'y']) await cluster.shard('b').write([put(key, 'only b')])
      await cluster.shard('c').promote({ force: true })
      // c passes both of them: by sequence alone nobody could tell.
      for (let index = 0; index < 8; index++) await cluster.shard('c').write([put('k3', `by c ${index}`)])
      cluster.network.heal()
      for (const name of ['a', 'b']) {
        await until(() => cluster.shard(name).status().divergentFiles.length === 1, `${name} has a side file`)
        await streaming(cluster, name)
        await untilApplied(cluster, [name], cluster.shard('c').applied!)
        assert.deepEqual(await contentOf(cluster, name), await contentOf(cluster, 'c'), name)
      }
      const cuts = (name: string) =>
        cluster
          .shard(name)
          .status()
          .divergentFiles.map(({ epoch, entries }) => `${epoch} ${entries}`)
      assert.deepEqual([cuts('a'), cuts('b')], [['1@a 3'], ['2@b 2']])
      assert.equal(await read(cluster, 'b', 'k1'), 'b and c')
    })
  })

  test('C7: a node under repair is not readable, not promotable and no source; it waits for a primary', async () => {
    await withCluster({ ...pair, storage: 'simulated', timeFactor: 5 }, async (cluster) => {
      await started(cluster)
      await parted(cluster, async () => {
        await cluster.shard('a').write([put('k0', 'only a')])
      })
      // The side file is the first thing of a rewind: from then on b is away.
      const disk = cluster.disk('a')
      disk.fault = (operation, path) => {
        if (operation === 'rename' && path.includes('divergent')) cluster.isolate('a')
        return undefined
      }
      cluster.network.heal()
      await until(
        () => cluster.shard('a').status().state === 'bootstrapping',
        () => `a is repaired: ${cluster.shard('a').status().reason}`,
      )
      disk.fault = undefined
      const { role, position } = cluster.shard('a').status()
      assert.deepEqual([role, position], ['joining', undefined])
      assert.throws(() => cluster.shard('a').reader(), /NOT_READY|no readable data/)
      const refused = await failureOf(cluster.shard('a').promote({ force: true }))
      assert.equal(refused.code, 'UNDERSTUDY_PROMOTION_REFUSED')
      cluster.kill('a')
      const again = await cluster.start('a')
      await until(() => again.shard().status().state === 'bootstrapping', 'still under repair after a restart')
      assert.throws(() => cluster.shard('a').reader(), /NOT_READY|no readable data/)
      cluster.network.heal()
      await streaming(cluster, 'a')
      await assertSame(cluster)
    })
  })

  test('B3: values of a history that is gone before they were replayed: the node is rebuilt, however short the new one', async () => {
    const options = { nodes: ['a', 'b', 'c'], settings: local, storage: 'simulated', timeFactor: 5 } as const
    await withCluster(options, async (cluster) => {
      await cluster.startAll()
      for (const name of ['b', 'c']) await streaming(cluster, name)
      for (let index = 0; index < 5; index++) await cluster.shard('a').write([put(`k${index}`, 'all')])
      await untilApplied(cluster, ['b', 'c'], cluster.shard('a').applied!)
      cluster.isolate('a')
      await cluster.shard('a').write([put('k0', 'only a')])
      cluster.isolate('c')
      await cluster.shard('b').promote({ force: true })
      for (let index = 0; index < 20; index++) await cluster.shard('b').write([put('k0', `only b ${index}`)])
      // a takes values from b, and as soon as its journal is cut it is alone again.
      const disk = cluster.disk('a')
      let isCut = false
      disk.fault = (operation, path) => {
        if (operation !== 'remove' || !path.endsWith('/truncation')) return undefined
        isCut = true
        cluster.isolate('a')
        return undefined
      }
      cluster.network.heal()
      cluster.isolate('c')
      await until(() => isCut, 'the journal of a is cut')
      disk.fault = undefined
      cluster.kill('b')
      await cluster.shard('c').promote({ force: true })
      cluster.network.heal()
      await streaming(cluster, 'a')
      await untilApplied(cluster, ['a'], cluster.shard('c').applied!)
      assert.deepEqual(await contentOf(cluster, 'a'), await contentOf(cluster, 'c'))
      assert.equal(await read(cluster, 'a', 'k0'), 'all')
      const { divergentFiles } = cluster.shard('a').status()
      assert.deepEqual(
        divergentFiles.map(({ epoch, entries }) => [epoch, entries]),
        [['1@a', 1]],
      )
    })
  })

  test('B4: a node that is rebuilt because the primary has trimmed too far keeps what the primary lacks', async () => {
    const options = { ...pair, storage: 'disk', checkpointBytes: 100_000, slotRetainBytes: 1 } as const
    await withCluster(options, async (cluster) => {
      await started(cluster)
      await parted(cluster, async () => {
        await cluster.shard('a').write([put('k0', 'only a')])
        await cluster.shard('a').write([put('k1', 'only a')])
      })
      const common = cluster.shard('a').status().sequence.appended - 2
      await until(async () => {
        await cluster.shard('b').write([put('large', value('by b', 50_000))])
        return cluster.shard('b').status().journal.baseSequence > common
      }, 'b has trimmed the common position')
      cluster.network.heal()
      await until(() => cluster.shard('a').status().divergentFiles.length === 1, 'a side file')
      await streaming(cluster, 'a')
      await assertSame(cluster)
      assert.equal(cluster.node('a').metrics().shards[0]?.counters.rewoundEntries, 0)
      assert.equal(cluster.shard('a').status().divergentFiles[0]?.entries, 2)
    })
  })
})
