import assert from 'node:assert/strict'
import { readdirSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { levelEngine } from '#src/engine/level.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import {
  contentOf,
  put,
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
