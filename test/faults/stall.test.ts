import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ClusterProcesses } from '#src/cli/cluster-processes.js'
import {
  assertNothingLost,
  assertSameJournals,
  chooseSeed,
  createLoad,
  createRandom,
  isFull,
  pass,
  untilAcknowledged,
} from './support.js'

const mebibyte = 1024 * 1024
const stallMs = isFull ? 60_000 : 10_000
/**
 * What the primary may keep for a standby that takes nothing: its send buffer (32 MiB), the tail of the journal
 * (16 MiB), the credit given, and what the runtime has not collected yet.
 */
const growthBytesMax = 160 * mebibyte
const valueBytes = 2_000

/** Highest resident memory while time passes. */
async function watchMemory(cluster: ClusterProcesses, name: string, ms: number): Promise<number> {
  const endMs = performance.now() + ms
  let highest = 0
  while (performance.now() < endMs) {
    highest = Math.max(highest, cluster.process(name).residentBytes ?? 0)
    await pass(50)
  }
  return highest
}

describe(`a standby that hangs for ${stallMs / 1000} s under load`, () => {
  test('durability local: the primary goes on, its memory is bounded, the standby catches up', {
    timeout: 120_000 + 2 * stallMs,
  }, async (context) => {
    const seed = chooseSeed()
    context.diagnostic(`UNDERSTUDY_FAULT_SEED=${seed}`)
    const names = ['a', 'b'] as const
    const cluster = await ClusterProcesses.create({ names, durability: 'local', inSyncMin: 1 })
    const load = createLoad(cluster.url('a'), createRandom(seed), {
      writers: 64,
      operationsPerSecond: 6_000,
      batchPercent: 20,
      valueBytes,
    })
    try {
      for (const name of names) cluster.start(name)
      await cluster.untilInSync('a', names, 60_000)
      load.start()
      await untilAcknowledged(load, 5_000)
      const before = cluster.process('a').residentBytes ?? 0
      cluster.process('b').signal('SIGSTOP')
      const acknowledgedBefore = load.ledger.counts.acknowledged
      const highest = await watchMemory(cluster, 'a', stallMs)
      const during = load.ledger.counts.acknowledged - acknowledgedBefore
      cluster.process('b').signal('SIGCONT')
      context.diagnostic(
        `${during} writes acknowledged meanwhile; memory of the primary ${Math.round(before / mebibyte)} MiB before, at most ${Math.round(highest / mebibyte)} MiB`,
      )
      assert.ok(during > stallMs / 4, `only ${during} writes were acknowledged in ${stallMs} ms`)
      assert.ok(
        highest - before < growthBytesMax,
        `I8: memory grew by ${Math.round((highest - before) / mebibyte)} MiB`,
      )
      await untilAcknowledged(load, 1_000)
      await load.stop()
      await assertNothingLost(cluster, load, names, valueBytes)
      await assertSameJournals(cluster, names)
      assert.equal(load.ledger.counts.unknown + load.ledger.counts.refused, 0, load.describeFailures())
    } finally {
      load.close()
      await cluster.close()
    }
  })

  test('C9: durability standby: writes time out and are refused, go on without it, and it comes back', {
    timeout: 120_000 + 2 * stallMs,
  }, async (context) => {
    const seed = chooseSeed()
    context.diagnostic(`UNDERSTUDY_FAULT_SEED=${seed}`)
    const names = ['a', 'b', 'c'] as const
    const args = ['--write-timeout-ms', '1000']
    const cluster = await ClusterProcesses.create({ names, durability: 'standby', inSyncMin: 2, args })
    const load = createLoad(cluster.url('a'), createRandom(seed), {
      writers: 64,
      operationsPerSecond: 3_000,
      valueBytes,
    })
    try {
      for (const name of names) cluster.start(name)
      await cluster.untilInSync('a', names, 60_000)
      load.start()
      await untilAcknowledged(load, 2_000)
      const before = cluster.process('a').residentBytes ?? 0
      cluster.process('c').signal('SIGSTOP')
      const highest = await watchMemory(cluster, 'a', stallMs / 2)
      const stalled = load.ledger.counts.acknowledged
      const codes = [...load.failures.keys()]
      assert.ok(codes.includes('UNDERSTUDY_ACK_TIMEOUT (unknown)'), codes.join(', '))
      assert.ok(codes.includes('UNDERSTUDY_BACKPRESSURE (none)'), codes.join(', '))
      assert.ok(
        highest - before < growthBytesMax,
        `I8: memory grew by ${Math.round((highest - before) / mebibyte)} MiB`,
      )
      const { warnings } = await cluster.shard('a')
      assert.match(warnings.join('\n'), /wait for c/, 'F43: status says what is in the way')
      await pass(500)
      assert.equal(load.ledger.counts.acknowledged, stalled, 'F41: nothing is acknowledged without it')

      const beganMs = performance.now()
      await cluster.removeFromInSync('a', 'c')
      await untilAcknowledged(load, 500)
      context.diagnostic(`writes went on ${Math.round(performance.now() - beganMs)} ms after c was taken out by hand`)
      await pass(stallMs / 2)
      cluster.process('c').signal('SIGCONT')
      await cluster.untilInSync('a', names, 60_000)
      await untilAcknowledged(load, 500)

      // And once more, without anybody's help: the same writers go on when it is back.
      cluster.process('b').signal('SIGSTOP')
      await pass(4_000)
      cluster.process('b').signal('SIGCONT')
      await untilAcknowledged(load, 500)
      await load.stop()
      await cluster.untilInSync('a', names)
      const results = await assertNothingLost(cluster, load, names, valueBytes)
      await assertSameJournals(cluster, names)
      const { acknowledged, unknown } = load.ledger.counts
      context.diagnostic(
        `${acknowledged} acknowledged, ${unknown} unknown (${results[0]!.unknownSeen} of their keys there); memory at most ${Math.round(highest / mebibyte)} MiB`,
      )
      context.diagnostic(`answers that were no success:\n${load.describeFailures()}`)
    } finally {
      load.close()
      await cluster.close()
    }
  })
})
