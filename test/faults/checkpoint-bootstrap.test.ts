import assert from 'node:assert/strict'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { ClusterProcesses } from '#src/cli/cluster-processes.js'
import type { BootstrapStatus } from '#src/runtime/handle.js'
import { needsRocksdb } from '../support/rocksdb.js'
import {
  assertNothingLost,
  assertSameJournals,
  chooseSeed,
  createRandom,
  isFull,
  untilAcknowledged,
  withEmptyStandby,
} from './support.js'

const names = ['a', 'b', 'c'] as const
const mebibyte = 1024 * 1024
const entries = isFull ? 400_000 : 80_000
/** Slow enough that a kill lands in the middle; checkpoints of the engine small, so that there are several files. */
const slow = ['--bootstrap-max-rate', isFull ? '16MiB' : '4MiB']

const createCluster = (random: () => number) =>
  withEmptyStandby(random, {
    entries,
    operationsPerSecond: 500,
    args: ['--engine', 'rocksdb', '--checkpoint-bytes', '2MiB'],
  })

/** Bytes of table files that are whole at c. */
function wholeBytes(cluster: ClusterProcesses): number {
  const directory = join(cluster.data('c'), 'shards/main/incoming/files')
  if (!existsSync(directory)) return 0
  const tables = readdirSync(directory).filter((name) => name.endsWith('.sst'))
  return tables.reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
}

describe('bootstrap by files under load, with real processes', { ...needsRocksdb }, () => {
  for (const victim of ['standby', 'source'] as const) {
    test(`B1, F9: the ${victim} killed in the middle: it goes on with the files that were whole`, {
      timeout: 240_000,
    }, async (context) => {
      const seed = chooseSeed()
      context.diagnostic(`UNDERSTUDY_FAULT_SEED=${seed}`)
      const { cluster, load } = await createCluster(createRandom(seed))
      try {
        load.start()
        cluster.start('c', slow)
        const half = (
          await cluster.until(
            'c',
            'a whole table file',
            (shard) => shard.bootstrap?.phase === 'transferring' && wholeBytes(cluster) > mebibyte,
            60_000,
          )
        ).bootstrap!
        assert.equal(half.method, 'checkpoint')
        const source = half.source!
        if (victim === 'standby') await cluster.kill('c')
        else await cluster.kill(source)
        const kept = wholeBytes(cluster)
        if (victim === 'standby') {
          cluster.start('c', slow)
          let resumed: BootstrapStatus | undefined
          await cluster.until('c', 'going on', ({ bootstrap, state }) => {
            if (bootstrap?.resumedFrom !== undefined) resumed = bootstrap
            return resumed !== undefined || state === 'streaming'
          })
          assert.match(resumed?.resumedFrom ?? '', /^\d+ files present/)
        } else {
          cluster.start(source)
          // Without the primary nothing is confirmed; it comes back by the vote of the others.
          await cluster.until('c', 'streaming', (shard) => shard.state === 'streaming', 120_000)
        }
        context.diagnostic(
          `${source} is the source, ${victim} killed with ${kept} of ${half.bytesExpected} bytes whole`,
        )
        await cluster.untilInSync('a', names, 120_000)
        await untilAcknowledged(load, 300)
        await load.stop()
        await assertNothingLost(cluster, load, names)
        const journals = await assertSameJournals(cluster, names)
        context.diagnostic(`${journals.blocks} blocks equal, ${journals.from} to ${journals.to}`)
      } finally {
        load.close()
        await cluster.close()
      }
    })
  }
})
