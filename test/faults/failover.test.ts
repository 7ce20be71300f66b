import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ClusterProcesses } from '#src/cli/cluster-processes.js'
import {
  assertNothingLost,
  assertSameJournals,
  chooseSeed,
  createLoad,
  createRandom,
  distribution,
  fullRounds,
  isFull,
  pass,
  untilAcknowledged,
} from './support.js'

const names = ['a', 'b', 'c'] as const
const rounds = isFull ? fullRounds : 3
/** Journals in many files, checkpointed and trimmed all the time. */
const smallFiles = ['--segment-bytes', '64KiB', '--checkpoint-bytes', '256KiB']
const faults = ['kill', 'stop', 'restart'] as const
/** UNDERSTUDY_FAULT_KINDS=kill,stop: only these. */
const wanted = process.env.UNDERSTUDY_FAULT_KINDS?.split(',')
const chosen = faults.filter((fault) => wanted === undefined || wanted.includes(fault))

describe('failover of real processes', () => {
  test(`I1, F34, F38, F39: ${rounds} rounds of load, a primary that dies or hangs, another one promoted, nothing acknowledged lost`, {
    timeout: 60_000 + rounds * 30_000,
  }, async (context) => {
    const seed = chooseSeed()
    context.diagnostic(`UNDERSTUDY_FAULT_SEED=${seed}`)
    const random = createRandom(seed)
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
    const args = random() < 0.5 ? [] : smallFiles
    context.diagnostic(`arguments: ${args.join(' ') || 'none'}`)
    const cluster = await ClusterProcesses.create({ names, durability: 'standby', inSyncMin: 2, args })
    const load = createLoad(cluster.url('a'), random)
    const times: Record<(typeof faults)[number], number[]> = { kill: [], stop: [], restart: [] }
    try {
      for (const name of names) cluster.start(name)
      await cluster.untilInSync('a', names, 60_000)
      let primary: string = 'a'
      for (let round = 1; round <= rounds; round++) {
        load.start()
        await untilAcknowledged(load, 1)
        await pass(200 + random() * 1_000)
        // The first rounds show every kind of fault, also in the sample.
        const fault = chosen[round - 1] ?? pick(chosen)
        const old: string = primary
        if (fault === 'stop') cluster.process(old).signal('SIGSTOP')
        else await cluster.kill(old)
        const beganMs = performance.now()
        if (fault === 'restart') {
          load.switchTo(cluster.url(old))
          cluster.start(old)
          times[fault].push((await load.untilFirstAcknowledged()).atMs - beganMs)
        } else {
          primary = pick(names.filter((name) => name !== old))
          load.switchTo(cluster.url(primary))
          await cluster.promote(primary)
          times[fault].push((await load.untilFirstAcknowledged()).atMs - beganMs)
          await pass(random() * 500)
          if (fault === 'stop') cluster.process(old).signal('SIGCONT')
          else cluster.start(old)
        }
        await cluster.untilInSync(primary, names, 60_000)
        await untilAcknowledged(load, 100)
        await load.stop()
        const [result] = await assertNothingLost(cluster, load, names)
        const journals = await assertSameJournals(cluster, names)
        const { acknowledged, unknown } = load.ledger.counts
        context.diagnostic(
          `round ${round} (${fault} ${old}, now ${primary}): ${acknowledged} acknowledged, 0 lost, ${unknown} unknown (${result!.unknownSeen} of their keys there), ${times[fault].at(-1)!.toFixed(0)} ms to the first write, ${journals.blocks} blocks equal`,
        )
      }
      for (const fault of faults) {
        if (times[fault].length > 0) context.diagnostic(`first write after ${fault}: ${distribution(times[fault])}`)
      }
      context.diagnostic(`answers that were no success:\n${load.describeFailures()}`)
      assert.ok(load.ledger.counts.acknowledged > rounds * 100)
    } finally {
      load.close()
      await cluster.close()
    }
  })
})
