import assert from 'node:assert/strict'
import { closeSync, openSync, readdirSync, rmSync, statSync, unlinkSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { levelEngine } from '#src/engine/level.js'
import { memoryEngine } from '#src/engine/memory.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import {
  contentOf,
  failureOf,
  put,
  read,
  type TestCluster,
  until,
  untilApplied,
  untilInSync,
  value,
  withCluster,
} from '../support/cluster.js'
import { needsRocksdb } from '../support/rocksdb.js'

const names = ['a', 'b'] as const
const settings = { durability: 'standby', inSyncMin: 1 } as const
const onRocksdb = { a: rocksdbEngine, b: rocksdbEngine }

function engineDirectory(cluster: TestCluster, name: string): string {
  return join(cluster.directory(name), 'shards/main/current/engine')
}

function tablesOf(cluster: TestCluster, name: string): string[] {
  return readdirSync(engineDirectory(cluster, name)).filter((file) => file.endsWith('.sst'))
}

/** In place: a node that has the files open reads it from them. */
function overwriteTables(cluster: TestCluster, name: string): string[] {
  const files = tablesOf(cluster, name)
  for (const file of files) {
    const path = join(engineDirectory(cluster, name), file)
    const descriptor = openSync(path, 'r+')
    // The footer stays, by which a file is taken for a table at all.
    const bytes = Math.max(0, statSync(path).size - 4096)
    writeSync(descriptor, Buffer.alloc(bytes, 7), 0, bytes, 0)
    closeSync(descriptor)
  }
  return files
}

async function fill(cluster: TestCluster, from = 0, to = 400): Promise<void> {
  for (let index = from; index < to; index++) {
    await cluster.shard('a').write([put(`fill ${index}`, value(String(index), 20_000))])
  }
}

async function sameContent(cluster: TestCluster): Promise<void> {
  await untilAllApplied(cluster)
  for (const { id } of cluster.shard('a').reader().families) {
    assert.deepEqual(await contentOf(cluster, 'b', id), await contentOf(cluster, 'a', id))
  }
}

async function untilAllApplied(cluster: TestCluster): Promise<void> {
  await untilApplied(cluster, ['b'], await cluster.shard('a').write([put('seen', 'by all')]))
}

describe('nodes with engine rocksdb', { ...needsRocksdb, timeout: 120_000 }, () => {
  for (const [what, engines] of [
    ['rocksdb from rocksdb', onRocksdb],
    ['rocksdb from level', { a: levelEngine, b: rocksdbEngine }],
    ['level from rocksdb', { a: rocksdbEngine, b: levelEngine }],
  ] as const) {
    test(`F7: bootstrap of ${what}, with families that come and go meanwhile`, async () => {
      await withCluster({ nodes: names, settings, engines, checkpointBytes: 1 << 20 }, async (cluster) => {
        await cluster.startAll()
        await untilInSync(cluster, 'a', names)
        await cluster.stop('b')
        rmSync(cluster.directory('b'), { recursive: true })
        const a = cluster.shard('a')
        await a.createFamily('first')
        await a.createFamily('second')
        await a.createFamily('third')
        await a.write([put('k', 'first', 1)])
        await a.write([put('k', 'third', 3)])
        await a.dropFamily('second')
        await fill(cluster)
        await cluster.start('b')
        await a.createFamily('fourth')
        await a.write([put('k', 'fourth', 4)])
        await a.dropFamily('first')
        await fill(cluster, 400, 450)
        await untilInSync(cluster, 'a', names)
        await sameContent(cluster)
        assert.deepEqual(
          cluster
            .shard('b')
            .reader()
            .families.map(({ id, name }) => `${id} ${name}`),
          ['0 default', '3 third', '4 fourth'],
        )
      })
    })
  }

  test('F22: a standby that meets damage while it runs names the file, and is built anew without a restart', async () => {
    await withCluster({ nodes: names, settings, engines: onRocksdb, checkpointBytes: 1 << 20 }, async (cluster) => {
      await cluster.startAll()
      await untilInSync(cluster, 'a', names)
      await fill(cluster)
      await untilAllApplied(cluster)
      const files = overwriteTables(cluster, 'b')
      const error = await failureOf(contentOf(cluster, 'b'))
      assert.equal(error.failure, 'CORRUPTION')
      assert.ok(
        files.some((name) => error.message.includes(name)),
        error.message,
      )
      await until(() => cluster.shard('b').status().state !== 'streaming', 'the standby gives its data up')
      await until(() => cluster.shard('b').status().state === 'streaming', 'the standby streams again')
      await untilInSync(cluster, 'a', names)
      await sameContent(cluster)
    })
  })

  test('F22: a primary that meets damage while it runs gives up its role, and comes back as a standby', async () => {
    const nodes = ['a', 'b', 'c']
    const engines = { ...onRocksdb, c: rocksdbEngine }
    const options = { nodes, engines, coordinator: 'memory', checkpointBytes: 1 << 20 } as const
    await withCluster({ ...options, settings: { failoverMs: 1500, inSyncTimeoutMs: 1500 } }, async (cluster) => {
      await cluster.startAll()
      const leading = () => nodes.find((name) => cluster.shard(name).status().state === 'primary')
      await until(() => leading() !== undefined, 'a node is primary')
      const old = leading()!
      await untilInSync(cluster, old, nodes)
      for (let index = 0; index < 400; index++) {
        await cluster.shard(old).write([put(`fill ${index}`, value(String(index), 20_000))])
      }
      await until(() => tablesOf(cluster, old).length > 1, 'a checkpoint was written')
      overwriteTables(cluster, old)
      assert.equal((await failureOf(contentOf(cluster, old))).failure, 'CORRUPTION')
      await until(() => leading() !== undefined && leading() !== old, 'another node takes over', 30_000)
      await untilInSync(cluster, leading()!, nodes)
      await untilApplied(cluster, [old], await cluster.shard(leading()!).write([put('seen', 'by all')]))
      assert.deepEqual(await contentOf(cluster, old), await contentOf(cluster, leading()!))
    })
  })

  test('F22: a node that is alone fails when it meets damage, and says which file it is', async () => {
    await withCluster({ nodes: ['a'], engines: onRocksdb, checkpointBytes: 1 << 20 }, async (cluster) => {
      await cluster.startAll()
      await until(() => cluster.shard('a').status().state === 'primary', 'the node is primary')
      await fill(cluster)
      await until(() => tablesOf(cluster, 'a').length > 1, 'a checkpoint was written')
      const files = overwriteTables(cluster, 'a')
      assert.equal((await failureOf(contentOf(cluster, 'a'))).failure, 'CORRUPTION')
      const { state, reason } = cluster.shard('a').status()
      assert.equal(state, 'failed')
      assert.ok(
        files.some((name) => reason.includes(name)),
        reason,
      )
      await cluster.stop('a').catch(() => undefined)
      assert.equal((await failureOf(cluster.start('a'))).failure, 'CORRUPTION')
    })
  })

  for (const [made, opened] of [
    [levelEngine, rocksdbEngine],
    [rocksdbEngine, levelEngine],
    [rocksdbEngine, memoryEngine],
  ] as const) {
    test(`a directory made with engine ${made.kind} is refused with engine ${opened.kind}, and is as it was`, async () => {
      await withCluster({ nodes: ['a'], engines: { a: made } }, async (cluster) => {
        await cluster.start('a')
        await until(() => cluster.shard('a').status().state === 'primary', 'the node is primary')
        await cluster.shard('a').write([put('k', 'v')])
        await cluster.stop('a')
        const files = readdirSync(engineDirectory(cluster, 'a')).sort()
        const error = await failureOf(cluster.start('a', { engines: { a: opened } }))
        assert.equal(error.failure, 'ENGINE_MISMATCH')
        assert.ok(error.message.includes(made.kind) && error.message.includes(opened.kind), error.message)
        assert.deepEqual(readdirSync(engineDirectory(cluster, 'a')).sort(), files)
        await cluster.start('a')
        await until(() => cluster.shard('a').status().state === 'primary', 'the node is primary again')
        assert.equal(await read(cluster, 'a', 'k'), 'v')
      })
    })
  }

  for (const damage of ['missing', 'overwritten'] as const) {
    test(`F22: a node with a table file ${damage} is built anew from another one`, async () => {
      await withCluster({ nodes: names, settings, engines: onRocksdb, checkpointBytes: 1 << 20 }, async (cluster) => {
        await cluster.startAll()
        await untilInSync(cluster, 'a', names)
        await fill(cluster)
        await untilAllApplied(cluster)
        await cluster.stop('b')
        const directory = engineDirectory(cluster, 'b')
        const tables = readdirSync(directory).filter((name) => name.endsWith('.sst'))
        for (const table of tables) {
          const path = join(directory, table)
          if (damage === 'missing') unlinkSync(path)
          else writeFileSync(path, Buffer.alloc(statSync(path).size, 7))
        }
        await cluster.start('b')
        await until(() => cluster.shard('b').status().state === 'streaming', 'the standby streams again')
        await sameContent(cluster)
      })
    })
  }
})
