import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { limits } from '#src/core/limits.js'
import { levelEngine } from '#src/engine/level.js'
import { memoryEngine } from '#src/engine/memory.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import type { Engine, EngineFactory } from '#src/ports/engine.js'
import type { VerifyResult } from '#src/runtime/verify-report.js'
import { failureOf, put, type TestCluster, until, untilApplied, untilInSync, withCluster } from '../support/cluster.js'
import { needsRocksdb } from '../support/rocksdb.js'

/** Engines of nodes within reach of a test. */
class Engines {
  readonly open = new Map<string, Engine>()

  of(node: string, factory: EngineFactory): EngineFactory {
    return {
      kind: factory.kind,
      open: async (directory, empty) => {
        const engine = await factory.open(directory, empty)
        this.open.set(node, engine)
        return engine
      },
    }
  }

  /** Behind the journal's back, without a trace in any position. */
  async plant(node: string, family: number, key: string, value: string | undefined): Promise<void> {
    const engine = this.open.get(node)!
    const bytes = value === undefined ? undefined : Buffer.from(value)
    await engine.rewind([{ family, key: Buffer.from(key), value: bytes }], engine.applied)
  }
}

const all = ['a', 'b', 'c'] as const

async function started(cluster: TestCluster): Promise<void> {
  await cluster.startAll()
  await untilInSync(cluster, 'a', all)
}

async function fill(cluster: TestCluster, count: number, family = 0, prefix = 'key'): Promise<void> {
  for (let at = 0; at < count; at += 500) {
    const operations = Array.from({ length: Math.min(500, count - at) }, (_, index) =>
      put(`${prefix}-${String(at + index).padStart(6, '0')}`, `value ${at + index}`, family),
    )
    await cluster.shard('a').write(operations)
  }
}

function named(result: VerifyResult): string[] {
  return result.differences.map(
    ({ node, family, key, kind }) => `${node} ${family} ${Buffer.from(key ?? []).toString()} ${kind}`,
  )
}

const kinds = { level: levelEngine, rocksdb: rocksdbEngine, memory: memoryEngine }

describe('verify', () => {
  test('equal nodes with different engines are found equal under load, from any node', {
    timeout: 120_000,
  }, async () => {
    const engines = { a: levelEngine, b: memoryEngine, c: needsRocksdb.skip === false ? rocksdbEngine : levelEngine }
    await withCluster({ storage: 'disk', engines }, async (cluster) => {
      await started(cluster)
      await fill(cluster, 3_000)
      const orders = await cluster.shard('a').createFamily('orders')
      let on = true
      let writes = 0
      const load = Array.from({ length: 8 }, async (_, writer) => {
        while (on) {
          const key = `key-${String((writes * 7919) % 4_000).padStart(6, '0')}`
          const operations =
            writes % 5 === 0
              ? [{ type: 'del' as const, family: 0, key: Buffer.from(key) }]
              : [put(key, `${writer} ${writes}`), put(key, `${writes}`, orders.id)]
          writes += 1
          await cluster.shard(all[writer % 3]!).write(operations)
        }
      })
      try {
        for (const node of [...all, ...all]) {
          const before = writes
          const result = await cluster.shard(node).verify({ maxBytesPerSecond: 4 * 1024 * 1024 })
          assert.equal(result.verdict, 'equal', JSON.stringify(result))
          assert.deepEqual(
            result.nodes.map(({ state }) => state),
            ['equal', 'equal'],
          )
          assert.ok(result.entries > 2_000 && result.families === 2, JSON.stringify(result))
          assert.ok(writes > before, 'writes went on meanwhile')
        }
      } finally {
        on = false
        await Promise.all(load)
      }
    })
  })

  for (const kind of ['level', 'rocksdb', 'memory'] as const) {
    test(`F46: what was changed behind the journal is named down to the key (${kind})`, {
      timeout: 60_000,
    }, async () => {
      const engines = new Engines()
      const factories = Object.fromEntries(all.map((node) => [node, engines.of(node, kinds[kind])]))
      await withCluster({ storage: 'disk', engines: factories }, async (cluster) => {
        await started(cluster)
        const orders = await cluster.shard('a').createFamily('orders')
        await fill(cluster, 2_500)
        await fill(cluster, 40, orders.id, 'order')
        await untilApplied(cluster, ['b', 'c'], await cluster.shard('a').write([]))
        await engines.plant('b', 0, 'key-000007', 'another value')
        await engines.plant('b', 0, 'key-001800', undefined)
        await engines.plant('b', 0, 'zzz', 'there only')
        await engines.plant('c', orders.id, 'order-000039', 'value 3')
        await engines.plant('c', orders.id, 'a', '')
        const result = await cluster.shard('a').verify()
        assert.equal(result.verdict, 'different')
        assert.deepEqual(named(result), [
          'b default key-000007 value',
          'b default key-001800 missing-there',
          'b default zzz missing-here',
          'c orders a missing-here',
          'c orders order-000039 value',
        ])
        const fromB = await cluster.shard('b').verify()
        assert.deepEqual(
          named(fromB).filter((line) => line.startsWith('a ')),
          ['a default key-000007 value', 'a default key-001800 missing-here', 'a default zzz missing-there'],
        )
      })
    })
  }

  test('differences are bounded, also where one node has very much more', { timeout: 60_000 }, async () => {
    const engines = new Engines()
    const factories = Object.fromEntries(all.map((node) => [node, engines.of(node, memoryEngine)]))
    await withCluster({ engines: factories }, async (cluster) => {
      await started(cluster)
      await cluster.shard('a').write([put('only', 'one')])
      await untilApplied(cluster, ['b', 'c'], await cluster.shard('a').write([]))
      const engine = engines.open.get('b')!
      const keys = Array.from({ length: 5_000 }, (_, index) => ({
        family: 0,
        key: Buffer.from(`x${index}`),
        value: Buffer.from('1'),
      }))
      await engine.rewind(keys, engine.applied)
      const result = await cluster.shard('a').verify({ differencesMax: 10 })
      const [b, c] = result.nodes
      assert.deepEqual([b?.state, b?.differences, b?.more], ['different', 10, true])
      assert.deepEqual([c?.state, c?.more], ['equal', false])
      assert.equal(result.differences.length, 10)
    })
  })

  test('a node that is away makes the result incomplete, never equal', { timeout: 60_000 }, async () => {
    await withCluster({ settings: { inSyncMin: 1 } }, async (cluster) => {
      await started(cluster)
      await cluster.stop('c')
      await until(() => !cluster.shard('a').status().inSync.includes('c'), 'c has left')
      const result = await cluster.shard('a').verify()
      assert.equal(result.verdict, 'incomplete')
      const c = result.nodes.find(({ node }) => node === 'c')
      assert.equal(c?.state, 'not-compared')
      assert.equal(c?.failure?.code, 'UNAVAILABLE')
      assert.equal(result.nodes.find(({ node }) => node === 'b')?.state, 'equal')
      await cluster.stop('b')
      await until(() => !cluster.shard('a').status().inSync.includes('b'), 'b has left')
      const alone = await cluster.shard('a').verify()
      assert.equal(alone.verdict, 'incomplete')
      assert.equal(alone.position, undefined)
    })
  })

  test('a node that is behind is waited for as long as was said, then named', { timeout: 60_000 }, async () => {
    const engines = new Engines()
    const factories = Object.fromEntries(all.map((node) => [node, engines.of(node, memoryEngine)]))
    await withCluster({ engines: factories }, async (cluster) => {
      await started(cluster)
      const engine = engines.open.get('c')!
      const apply = engine.apply.bind(engine)
      let release: () => void = () => undefined
      const held = new Promise<void>((resolve) => {
        release = resolve
      })
      engine.apply = async (blocks) => {
        await held
        return apply(blocks)
      }
      const result = await cluster.shard('b').verify({ timeoutMs: 1_500 })
      const c = result.nodes.find(({ node }) => node === 'c')
      assert.equal(c?.failure?.code, 'TIMEOUT', JSON.stringify(result))
      assert.match(c?.failure?.message ?? '', /is not applied here/)
      assert.equal(result.verdict, 'incomplete')
      // What c applies in one go holds the entry that marks the position, and others behind it.
      const { applied: before } = cluster.shard('a')
      const verified = cluster.shard('a').verify()
      await until(() => cluster.shard('a').applied!.sequence > before!.sequence, 'the position is marked')
      for (let write = 0; write < 20; write++) await cluster.shard('a').write([put(`k${write}`, 'v')])
      release()
      const late = await verified
      assert.equal(late.verdict, 'equal', JSON.stringify(late))
    })
  })

  test('a snapshot that expires makes the result incomplete', { timeout: 60_000 }, async () => {
    // Time runs faster for the nodes: the pause between two requests is longer than a snapshot is kept.
    await withCluster({ storage: 'simulated', timeFactor: 4, nodes: ['a', 'b'] }, async (cluster) => {
      await cluster.startAll()
      await untilInSync(cluster, 'a', ['a', 'b'])
      await fill(cluster, 17_500)
      // The first request is about 480 kB of content.
      const result = await cluster.shard('a').verify({ maxBytesPerSecond: (450_000 * 1000) / limits.snapshotIdleMs })
      assert.equal(result.verdict, 'incomplete')
      assert.match(result.nodes[0]?.failure?.message ?? '', /nothing was asked for/)
    })
  })

  test('refused with the reason: nobody else, one at a time, no writes possible', { timeout: 60_000 }, async () => {
    await withCluster({ nodes: ['a'], settings: { durability: 'local', inSyncMin: 1 } }, async (cluster) => {
      await cluster.start('a')
      await cluster.shard('a').ready()
      assert.equal((await failureOf(cluster.shard('a').verify())).failure, 'VERIFY_REFUSED')
    })
    await withCluster({}, async (cluster) => {
      await started(cluster)
      const [first, second] = await Promise.allSettled([cluster.shard('a').verify(), cluster.shard('a').verify()])
      assert.equal(first.status, 'fulfilled')
      assert.equal((second as PromiseRejectedResult).reason.failure, 'VERIFY_REFUSED')
      await cluster.stop('a')
      const refused = await failureOf(cluster.shard('b').verify({ timeoutMs: 500 }))
      assert.equal(refused.failure, 'VERIFY_REFUSED')
      assert.match(refused.message, /nothing can be written now/)
      assert.equal((await failureOf(cluster.shard('b').verify({ timeoutMs: 500 }))).failure, 'VERIFY_REFUSED')
    })
  })

  test('an abort ends it at once and gives all snapshots back', { timeout: 60_000 }, async () => {
    await withCluster({}, async (cluster) => {
      await started(cluster)
      await fill(cluster, 20_000)
      const abort = new AbortController()
      const failure = await failureOf(
        cluster.shard('a').verify({
          signal: abort.signal,
          maxBytesPerSecond: limits.verifyBytesPerSecondMin,
          onProgress: ({ phase }) => {
            if (phase === 'comparing') abort.abort()
          },
        }),
      )
      assert.equal(failure.failure, 'ABORTED')
      assert.equal((await failureOf(cluster.shard('a').verify({ signal: abort.signal }))).failure, 'ABORTED')
      assert.equal((await cluster.shard('a').verify()).verdict, 'equal', 'another one can be begun')
    })
  })
})
