import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { ClusterProcesses } from '#src/cli/cluster-processes.js'
import {
  assertNothingLost,
  assertSameJournals,
  chooseSeed,
  createLoad,
  createRandom,
  pass,
  untilAcknowledged,
} from './support.js'

const names = ['a', 'b', 'c'] as const
const valueBytes = 2_000
const loadOptions = { writers: 32, operationsPerSecond: 4_000, batchPercent: 20, valueBytes } as const

/** A small file system of its own; undefined where this user may not mount one. */
function mountSmallDisk(): { readonly directory: string; grow(): void; unmount(): void } | undefined {
  const directory = mkdtempSync(join(tmpdir(), 'understudy-small-'))
  const mount = (...args: readonly string[]) => spawnSync('mount', args, { encoding: 'utf8' }).status === 0
  if (process.platform !== 'linux' || !mount('-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', directory)) {
    rmSync(directory, { recursive: true, force: true })
    return undefined
  }
  return {
    directory,
    grow: () => assert.ok(mount('-o', 'remount,size=400m', directory)),
    unmount: () => {
      spawnSync('umount', [directory])
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

describe('a disk that is full', () => {
  // With the memory engine nothing but the journal uses the disk.
  for (const engine of ['level', 'memory'] as const) {
    test(`F17: of the primary, engine ${engine}: coded, nothing acknowledged lost, another node takes over`, {
      timeout: 120_000,
    }, async (context) => {
      const disk = mountSmallDisk()
      if (disk === undefined) return context.skip('this user may not mount a tmpfs')
      const seed = chooseSeed()
      context.diagnostic(`UNDERSTUDY_FAULT_SEED=${seed}`)
      const cluster = await ClusterProcesses.create({
        names,
        durability: 'standby',
        inSyncMin: 2,
        args: ['--segment-bytes', '4MiB', '--engine', engine],
        dataOf: { a: join(disk.directory, 'a') },
      })
      const load = createLoad(cluster.url('a'), createRandom(seed), loadOptions)
      try {
        for (const name of names) cluster.start(name)
        await cluster.untilInSync('a', names, 60_000)
        load.start()
        const failed = await cluster.until('a', 'failed', (shard) => shard.state === 'failed', 60_000)
        assert.match(failed.reason, /ENOSPC|no space/i, 'it says why')
        await untilFailure(load, /DISK_FULL/)
        assert.ok(cluster.process('a').isRunning, 'the process goes on and says what is wrong')

        load.switchTo(cluster.url('b'))
        await cluster.promote('b')
        const beganMs = performance.now()
        await load.untilFirstAcknowledged()
        context.diagnostic(
          `${failed.reason}; first write ${Math.round(performance.now() - beganMs)} ms after the promotion`,
        )
        await untilAcknowledged(load, 500)
        assert.ok(cluster.process('a').isRunning)
        await cluster.stop('a')
        disk.grow()
        cluster.start('a')
        await cluster.untilInSync('b', names, 60_000)
        await untilAcknowledged(load, 500)
        await load.stop()
        await assertNothingLost(cluster, load, names, valueBytes)
        await assertSameJournals(cluster, names)
        context.diagnostic(`${load.ledger.counts.acknowledged} acknowledged\n${load.describeFailures()}`)
      } finally {
        load.close()
        await cluster.close()
        disk.unmount()
      }
    })
  }

  test('F17: of a standby: the primary goes on once it is taken out, and it comes back with more room', {
    timeout: 120_000,
  }, async (context) => {
    const disk = mountSmallDisk()
    if (disk === undefined) return context.skip('this user may not mount a tmpfs')
    const seed = chooseSeed()
    context.diagnostic(`UNDERSTUDY_FAULT_SEED=${seed}`)
    const cluster = await ClusterProcesses.create({
      names,
      durability: 'standby',
      inSyncMin: 2,
      args: ['--segment-bytes', '4MiB', '--write-timeout-ms', '2000'],
      dataOf: { c: join(disk.directory, 'c') },
    })
    const load = createLoad(cluster.url('a'), createRandom(seed), loadOptions)
    try {
      for (const name of names) cluster.start(name)
      await cluster.untilInSync('a', names, 60_000)
      load.start()
      const failed = await cluster.until('c', 'failed', (shard) => shard.state === 'failed', 60_000)
      assert.match(failed.reason, /ENOSPC|no space/i, 'it says why')
      assert.ok(cluster.process('c').isRunning)
      await cluster.until('a', 'waiting for c', ({ warnings }) => /wait for c/.test(warnings.join()), 10_000)
      await cluster.removeFromInSync('a', 'c')
      await untilAcknowledged(load, 500)
      await cluster.stop('c')
      disk.grow()
      cluster.start('c')
      await cluster.untilInSync('a', names, 60_000)
      await untilAcknowledged(load, 500)
      await load.stop()
      await assertNothingLost(cluster, load, names, valueBytes)
      await assertSameJournals(cluster, names)
      context.diagnostic(
        `${failed.reason}\n${load.ledger.counts.acknowledged} acknowledged\n${load.describeFailures()}`,
      )
    } finally {
      load.close()
      await cluster.close()
      disk.unmount()
    }
  })
})

async function untilFailure(load: ReturnType<typeof createLoad>, code: RegExp): Promise<void> {
  const endMs = performance.now() + 10_000
  while (![...load.failures.keys()].some((name) => code.test(name))) {
    if (performance.now() > endMs) throw new Error(`no answer with ${code}: ${load.describeFailures()}`)
    await pass(20)
  }
}
