import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { describe, test } from 'node:test'
import { limits } from '#src/core/limits.js'
import type { ShardEvent } from '#src/runtime/handle.js'
import {
  contentOf,
  put,
  read,
  sameJournals,
  type TestCluster,
  until,
  untilApplied,
  untilInSync,
  value,
  withCluster,
} from '../support/cluster.js'

const oneOfTwo = { durability: 'standby', inSyncMin: 1 } as const

/** Several megabytes, so that a bootstrap takes several chunks. */
async function fill(cluster: TestCluster, primary: string, megabytes: number): Promise<void> {
  for (let index = 0; index < megabytes * 4; index++) {
    await cluster
      .shard(primary)
      .write([put(`fill ${String(index).padStart(4, '0')}`, value(String(index), limits.chunkBytes / 4))])
  }
}

/** The primary with data, all others started and still empty: the first start waits for the empty directories. */
async function begun(cluster: TestCluster): Promise<void> {
  await cluster.startAll()
  await untilInSync(cluster, 'a', cluster.names)
}

/** Takes a node out of the set and its directory away, as after the loss of a disk. */
async function wipe(cluster: TestCluster, name: string): Promise<void> {
  const { rmSync } = await import('node:fs')
  await cluster.stop(name)
  rmSync(cluster.directory(name), { recursive: true, force: true })
}

/** Its own record still says that it is a member. */
async function cutOffAndRemoved(cluster: TestCluster, name: string): Promise<void> {
  const a = cluster.shard('a')
  cluster.isolate(name)
  await until(() => !a.status().followers.some((one) => one.node === name && one.connected), `${name} is gone`)
  await a.removeFromInSync(name)
}

async function sameContent(cluster: TestCluster, names: readonly string[]): Promise<void> {
  const expected = await contentOf(cluster, names[0]!)
  for (const name of names) assert.deepEqual(await contentOf(cluster, name), expected, `content of ${name}`)
}

function follow(cluster: TestCluster, name: string): { readonly events: ShardEvent[]; phases(): string[] } {
  const events: ShardEvent[] = []
  cluster.shard(name).subscribe((event) => events.push(event))
  return {
    events,
    phases: () => [...new Set(events.map((event) => (event.type === 'bootstrap' ? event.progress.phase : event.type)))],
  }
}

function bootstrapOf(cluster: TestCluster, name: string) {
  return cluster.shard(name).status().bootstrap
}

describe('bootstrap', { timeout: 120_000 }, () => {
  test('J4, F2: a node with the engine in memory is built once, not for ever', async () => {
    await withCluster(
      { nodes: ['a', 'b'], storage: 'simulated', settings: oneOfTwo, timeFactor: 5 },
      async (cluster) => {
        await begun(cluster)
        await cluster.stop('b')
        for (let index = 0; index < 50; index++) await cluster.shard('a').write([put(`k${index}`, 'v')])
        cluster.disks.delete('b')
        await cluster.start('b')
        const { events } = follow(cluster, 'b')
        await untilInSync(cluster, 'a', ['a', 'b'])
        const position = await cluster.shard('a').write([put('after', 'v')])
        await untilApplied(cluster, ['b'], position)
        await sameContent(cluster, ['a', 'b'])
        const begins = events.filter((event) => event.type === 'transition' && event.to === 'bootstrapping')
        assert.ok(begins.length <= 1, `${begins.length} bootstraps`)
      },
    )
  })

  test('F6, B1: under load no entry is missing at the seam, and the journals are byte-identical', async () => {
    await withCluster({ nodes: ['a', 'b', 'c'], storage: 'disk', settings: oneOfTwo }, async (cluster) => {
      await begun(cluster)
      await fill(cluster, 'a', 4)
      const users = await cluster.shard('a').createFamily('users')
      await wipe(cluster, 'c')
      let stop = false
      let written = 0
      const load: Promise<unknown> = (async () => {
        while (!stop) {
          written += 1
          await cluster
            .shard('a')
            .write([
              put(`load ${written % 200}`, `v${written}`),
              put(`u${written % 50}`, `v${written}`, users.id),
              { type: 'del', family: 0, key: Buffer.from(`load ${(written * 7) % 200}`) },
            ])
        }
      })().catch((error) => error)
      await cluster.start('c', { bootstrapMaxBytesPerSecond: 8 * 1024 * 1024 })
      await until(() => (bootstrapOf(cluster, 'c')?.bytesDone ?? 0) > 0, 'transferring')
      const early = await cluster.shard('a').createFamily('made during the bootstrap')
      await cluster.shard('a').write([put('k', 'in the new family', early.id)])
      await cluster.shard('a').dropFamily('users')
      const again = await cluster.shard('a').createFamily('users')
      assert.ok(again.id > early.id, 'S8: ids are never reused')
      await cluster.shard('a').write([put('k', 'second users', again.id)])
      stop = true
      assert.equal(
        ((await load) as { code?: string } | undefined)?.code,
        'UNDERSTUDY_UNKNOWN_FAMILY',
        'users was dropped',
      )
      await untilInSync(cluster, 'a', ['a', 'b', 'c'])
      const position = await cluster.shard('a').write([put('last', 'x')])
      await untilApplied(cluster, ['b', 'c'], position)
      await sameContent(cluster, ['a', 'b', 'c'])
      for (const id of [early.id, again.id]) {
        assert.deepEqual(await contentOf(cluster, 'c', id), await contentOf(cluster, 'a', id))
      }
      assert.deepEqual(cluster.shard('c').reader().families, cluster.shard('a').reader().families)
      assert.equal(await read(cluster, 'c', 'fill 0003'), value('3', limits.chunkBytes / 4))
      await sameJournals(cluster, ['a', 'b', 'c'])
    })
  })

  test('B1, F8, F9: a bootstrap that the destination interrupts is not readable, is resumed, and says from where', async () => {
    await withCluster({ nodes: ['a', 'b'], storage: 'disk', settings: oneOfTwo }, async (cluster) => {
      await begun(cluster)
      await fill(cluster, 'a', 5)
      await wipe(cluster, 'b')
      await cluster.start('b', { bootstrapMaxBytesPerSecond: 4 * 1024 * 1024 })
      await until(() => (bootstrapOf(cluster, 'b')?.bytesDone ?? 0) > 1024 * 1024, 'two chunks')
      assert.throws(() => cluster.shard('b').reader(), /no readable data/)
      const promoted = await cluster
        .shard('b')
        .promote()
        .catch((error) => error)
      assert.equal(promoted.code, 'UNDERSTUDY_PROMOTION_REFUSED', 'F9: half a node is not promoted')
      await cluster.stop('b')
      assert.deepEqual(
        readdirSync(`${cluster.directory('b')}/shards/main`),
        ['incoming'],
        'F9: nothing that looks like data',
      )
      await cluster.shard('a').write([put('between', 'x')])
      await cluster.start('b')
      await until(
        () => (bootstrapOf(cluster, 'b')?.resumedFrom ?? '') !== '' || cluster.shard('b').state === 'streaming',
        'resumed',
      )
      const lines: string[] = []
      lines.push(bootstrapOf(cluster, 'b')?.resumedFrom ?? '')
      await untilInSync(cluster, 'a', ['a', 'b'])
      await untilApplied(cluster, ['b'], cluster.shard('a').applied!)
      assert.match(lines.join(), /from key 0x[0-9a-f]+ on|all chunks present|files present/)
      await sameContent(cluster, ['a', 'b'])
    })
  })

  test('B1: a bootstrap goes on when the source restarts, and on another source when it does not', async () => {
    await withCluster(
      { nodes: ['a', 'b', 'c'], storage: 'disk', settings: oneOfTwo, timeFactor: 3 },
      async (cluster) => {
        await begun(cluster)
        await fill(cluster, 'a', 5)
        await wipe(cluster, 'c')
        await cluster.start('c', { bootstrapMaxBytesPerSecond: 2 * 1024 * 1024 })
        const { events } = follow(cluster, 'c')
        await until(() => (bootstrapOf(cluster, 'c')?.bytesDone ?? 0) > 0, 'a chunk')
        assert.equal(bootstrapOf(cluster, 'c')?.source, 'b', 'a standby is asked before the primary')
        const before = bootstrapOf(cluster, 'c')!.bytesDone
        await cluster.stop('b')
        await until(
          () => bootstrapOf(cluster, 'c')?.source === 'a' || cluster.shard('c').state === 'streaming',
          'the other source',
        )
        await untilInSync(cluster, 'a', ['a', 'c'])
        const done = events.flatMap((event) => (event.type === 'bootstrap' ? [event.progress] : []))
        assert.ok(
          done.every((progress) => progress.restarts === 0),
          'nothing began again',
        )
        assert.ok(done.at(-1)!.bytesDone >= before)
        await untilApplied(cluster, ['c'], cluster.shard('a').applied!)
        await sameContent(cluster, ['a', 'c'])
      },
    )
  })

  test('B2: every node keeps the journal that a bootstrap needs, not only its source', async () => {
    await withCluster(
      {
        nodes: ['a', 'b', 'c'],
        coordinator: 'memory',
        storage: 'disk',
        settings: oneOfTwo,
        segmentBytes: limits.segmentBytesMin,
        checkpointBytes: 256 * 1024,
        timeFactor: 5,
      },
      async (cluster) => {
        for (const name of ['a', 'b']) await cluster.start(name)
        await untilInSync(cluster, 'a', ['a', 'b'])
        await fill(cluster, 'a', 4)
        // c was never here: no slot of a standby holds anything for it.
        await cluster.start('c', { bootstrapMaxBytesPerSecond: 1024 * 1024 })
        await until(() => (bootstrapOf(cluster, 'c')?.bytesDone ?? 0) > 0, 'a chunk')
        const { source, position } = bootstrapOf(cluster, 'c')!
        assert.equal(source, 'b')
        for (let index = 0; index < 100; index++) {
          await cluster.shard('a').write([put(`k${index % 10}`, value(`v${index}`, 30_000))])
        }
        const { committed } = cluster.shard('a').status().sequence
        await until(() => cluster.shard('a').status().sequence.checkpoint > committed - 20, 'a could trim')
        const bases: number[] = []
        await until(() => {
          if (bootstrapOf(cluster, 'c')?.phase === 'transferring') {
            bases.push(cluster.shard('a').status().journal.baseSequence)
          }
          return cluster.shard('a').status().inSync.length === 3
        }, 'c is whole')
        assert.ok(bases.length > 0)
        assert.ok(Math.max(...bases) <= position!, `a begins after ${bases.at(-1)}, the bootstrap at ${position}`)
        await untilApplied(cluster, ['c'], cluster.shard('a').applied!)
        await sameContent(cluster, ['a', 'b', 'c'])
      },
    )
  })

  test('a source that fails with a disk error of its own is replaced; the destination is not at fault', async () => {
    await withCluster(
      { nodes: ['a', 'b', 'c'], storage: 'simulated', settings: oneOfTwo, timeFactor: 10 },
      async (cluster) => {
        await begun(cluster)
        for (let index = 0; index < 50; index++) await cluster.shard('a').write([put(`k${index}`, value('v', 4000))])
        await untilApplied(cluster, ['b'], cluster.shard('a').applied!)
        await cluster.stop('c')
        cluster.disks.delete('c')
        let failures = 0
        cluster.disk('b').fault = (operation, path) => {
          if (failures > 0 || operation !== 'write' || !path.includes('shard.json')) return undefined
          failures += 1
          return Object.assign(new Error('EIO: write'), { code: 'EIO' })
        }
        await cluster.start('c')
        await untilInSync(cluster, 'a', ['a', 'b', 'c'])
        assert.ok(failures > 0, 'the first source could not store the slot')
        await untilApplied(cluster, ['c'], cluster.shard('a').applied!)
        await sameContent(cluster, ['a', 'c'])
      },
    )
  })

  test('chunk time-outs in a row mean another source', async () => {
    await withCluster(
      { nodes: ['a', 'b', 'c'], storage: 'disk', settings: oneOfTwo, timeFactor: 10 },
      async (cluster) => {
        await begun(cluster)
        await fill(cluster, 'a', 3)
        await wipe(cluster, 'c')
        await cluster.start('c', { bootstrapMaxBytesPerSecond: 4 * 1024 * 1024 })
        await until(() => (bootstrapOf(cluster, 'c')?.bytesDone ?? 0) > 0, 'a chunk')
        assert.equal(bootstrapOf(cluster, 'c')?.source, 'b')
        cluster.network.partition(cluster.address('b'), cluster.address('c'))
        await untilInSync(cluster, 'a', ['a', 'b', 'c'])
        await untilApplied(cluster, ['c'], cluster.shard('a').applied!)
        await sameContent(cluster, ['a', 'c'])
      },
    )
  })

  test('F42, F2: a standby whose slot is over its cap is told, rebuilt once, and leaves no slot of the bootstrap behind', async () => {
    await withCluster(
      {
        nodes: ['a', 'b'],
        storage: 'disk',
        settings: oneOfTwo,
        segmentBytes: limits.segmentBytesMin,
        checkpointBytes: 256 * 1024,
        slotRetainBytes: 256 * 1024,
      },
      async (cluster) => {
        await begun(cluster)
        await cluster.stop('b')
        for (let index = 0; index < 100; index++) {
          await cluster.shard('a').write([put(`k${index % 10}`, value(`v${index}`, 30_000))])
        }
        await until(() => cluster.shard('a').status().journal.baseSequence > 20, 'the journal was trimmed')
        const told = cluster.warnings.find((line) => line.node === 'a' && line.message.startsWith('slot over its cap'))
        assert.equal(told?.fields.slot, 'standby:b')
        await cluster.start('b')
        const { events } = follow(cluster, 'b')
        await untilInSync(cluster, 'a', ['a', 'b'])
        const begins = events.filter((event) => event.type === 'transition' && event.to === 'bootstrapping')
        assert.equal(begins.length, 1)
        assert.match((begins[0] as { reason: string }).reason, /journal begins after/)
        await untilApplied(cluster, ['b'], cluster.shard('a').applied!)
        await sameContent(cluster, ['a', 'b'])
        await until(
          () =>
            !cluster
              .shard('a')
              .status()
              .slots.some((slot) => slot.name.startsWith('bootstrap:')),
          () => `no slot is left: ${JSON.stringify(cluster.shard('a').status().slots)}`,
        )
        assert.ok(
          cluster
            .shard('a')
            .status()
            .slots.some((slot) => slot.name === 'standby:b'),
        )
      },
    )
  })

  test('F1, B4: a bootstrap at run time closes the engine first: readers end with a code, none sees the old data', async () => {
    await withCluster(
      {
        nodes: ['a', 'b'],
        storage: 'disk',
        settings: oneOfTwo,
        segmentBytes: limits.segmentBytesMin,
        checkpointBytes: 256 * 1024,
        slotRetainBytes: 256 * 1024,
        timeFactor: 3,
      },
      async (cluster) => {
        await begun(cluster)
        await cluster.shard('a').write([put('old', 'x')])
        await untilApplied(cluster, ['b'], cluster.shard('a').applied!)
        const iterator = cluster.shard('b').reader().scan(0, {})
        cluster.network.partition(cluster.address('a'), cluster.address('b'))
        await until(() => cluster.shard('b').state === 'reconnecting', 'b is alone')
        await until(
          () =>
            !cluster
              .shard('a')
              .status()
              .followers.some((one) => one.connected),
          'a is alone',
        )
        await cluster.shard('a').removeFromInSync('b')
        await cluster.shard('a').write([{ type: 'del', family: 0, key: Buffer.from('old') }])
        for (let index = 0; index < 100; index++) {
          await cluster.shard('a').write([put(`k${index % 10}`, value(`v${index}`, 30_000))])
        }
        await until(() => cluster.shard('a').status().journal.baseSequence > 20, 'the journal was trimmed')
        cluster.network.heal()
        await untilInSync(cluster, 'a', ['a', 'b'])
        await untilApplied(cluster, ['b'], cluster.shard('a').applied!)
        await assert.rejects(iterator.next(1), { code: 'UNDERSTUDY_CLOSED' })
        assert.equal(await read(cluster, 'b', 'old'), undefined)
        await sameContent(cluster, ['a', 'b'])
      },
    )
  })

  test('F9: killed at any point of a bootstrap and its installation, a node is empty or whole', async () => {
    let interrupted = 0
    for (let operations = 5; ; operations += 6) {
      let whole = false
      await withCluster(
        { nodes: ['a', 'b'], storage: 'simulated', settings: oneOfTwo, timeFactor: 10 },
        async (cluster) => {
          await begun(cluster)
          await cluster.stop('b')
          for (let index = 0; index < 3; index++) await cluster.shard('a').write([put(`k${index}`, 'v')])
          cluster.disks.delete('b')
          cluster.files('b')
          let left = operations
          let dead = false
          cluster.disk('b').latency = () => {
            left -= 1
            if (left === 0) {
              dead = true
              queueMicrotask(() => cluster.losePower('b', operations % 4 === 1 ? 'none' : 'all'))
            }
            return undefined
          }
          let started = false
          cluster.start('b').then(
            () => {
              started = true
            },
            () => undefined,
          )
          await until(() => dead || (started && cluster.shard('b').state === 'streaming'), 'whole or dead')
          cluster.disk('b').latency = undefined
          whole = !dead
          if (whole) return
          interrupted += 1
          await cluster.start('b')
          await untilInSync(cluster, 'a', ['a', 'b'])
          await untilApplied(cluster, ['b'], cluster.shard('a').applied!)
          await sameContent(cluster, ['a', 'b'])
        },
      )
      if (whole) break
      assert.ok(operations < 1000, 'ends')
    }
    assert.ok(interrupted > 10, `only ${interrupted} interruptions`)
  })

  for (const [holder, what] of [
    ['b', 'a standby'],
    ['a', 'a former primary that has heard of nothing'],
  ] as const) {
    test(`B1, B2: what ${what} has and the present primary has not is fetched once and never installed`, async () => {
      await withCluster(
        { nodes: ['a', 'b', 'c', 'd'], storage: 'simulated', settings: oneOfTwo, timeFactor: 5 },
        async (cluster) => {
          await begun(cluster)
          await cutOffAndRemoved(cluster, 'c')
          const position = await cluster.shard('a').write([put('k', 'given up')])
          await untilApplied(cluster, ['b'], position)
          // The holder does not hear that c gives it up by force.
          for (const name of ['a', 'b', 'd']) if (name !== holder) cluster.kill(name)
          const { mayLose } = await cluster.shard('c').promote({ force: true })
          assert.ok(mayLose !== undefined)
          await untilInSync(cluster, 'c', ['c'])
          await cluster.shard('c').write([put('k', 'by c')])
          cluster.disks.delete('d')
          cluster.network.heal(cluster.address('c'), cluster.address('d'))
          await cluster.start('d')
          const { events } = follow(cluster, 'd')
          const found: Array<Promise<string | undefined>> = []
          cluster.shard('d').subscribe(() => found.push(read(cluster, 'd', 'k').catch(() => undefined)))
          await untilInSync(cluster, 'c', ['c', 'd'])
          await untilApplied(cluster, ['d'], cluster.shard('c').applied!)
          const installed = events.filter(
            (event) => event.type === 'transition' && event.from === 'bootstrapping' && event.to !== 'bootstrapping',
          )
          assert.equal(installed.length, 1, 'built once, from what the primary has')
          assert.ok(!(await Promise.all(found)).includes('given up'))
          const { bootstrapRestarts } = cluster.node('d').metrics().shards[0]!.counters
          assert.equal(bootstrapRestarts, 1)
          await sameContent(cluster, ['c', 'd'])
        },
      )
    })
  }

  test('S2, I1: a rebuilt node knows the set of its primary before its answer counts in a promotion', async () => {
    await withCluster({ storage: 'simulated', timeFactor: 5 }, async (cluster) => {
      await begun(cluster)
      await cutOffAndRemoved(cluster, 'c')
      await cluster.shard('a').write([put('k', 'without c')])
      await untilApplied(cluster, ['b'], cluster.shard('a').applied!)
      // b loses its disk and is rebuilt from c, which lags behind; a confirms that it fits.
      cluster.kill('b')
      cluster.disks.delete('b')
      cluster.network.heal(cluster.address('b'), cluster.address('c'))
      await cluster.start('b')
      // Before b can follow a, of which it would hear the rest.
      await new Promise<void>((resolve) => {
        cluster.shard('b').subscribe((event) => {
          if (event.type !== 'transition' || event.from !== 'bootstrapping') return
          cluster.kill('a')
          resolve()
        })
      })
      const error = await cluster
        .shard('c')
        .promote()
        .catch((caught) => caught)
      assert.equal(error.code, 'UNDERSTUDY_PROMOTION_REFUSED', 'c lacks what a and b had committed')
    })
  })
})
