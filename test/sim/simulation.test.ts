/** Whole clusters on virtual time. One run, told: `npm run sim -- --seed N --trace`. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type FaultKind, faultKinds } from '#src/sim/fault-kinds.js'
import { type OperationKind, operationKinds } from '#src/sim/operation-kinds.js'
import { type SimulationOptions, simulate } from '#src/sim/simulation.js'
import { plantedTexts, search } from './plant.js'
import { plantedBugs } from './planted-bugs.js'

/** Seeds that once found something, here or in the simulator; see docs/TRACK-RECORD.md. */
const regressionSeeds = [44, 1041, 1137, 2088, 2386, 3987, 5672, 6323, 6960, 7613, 9005, 500293]
const regressionRuns: ReadonlyArray<readonly [number, SimulationOptions]> = [
  [64, { faults: ['restart', 'partition-node', 'disk-slow', 'stall', 'coordinator-away'] }],
  [700093, { faults: ['restart', 'disk-slow', 'partition-node', 'stall', 'switchover'], coordinator: 'static' }],
]

const batchMs = 20_000

/** Each breaks another part, and is seen by another checker. */
const quicklyFound = ['applied before it is committed', 'acknowledged before fsync', 'a new primary cuts its tail']
const quickSeedsMax = 40

async function passes(seed: number, options: SimulationOptions = {}) {
  const result = await simulate(seed, options)
  assert.deepEqual(result.problems, [], `repeat: npm run sim -- --seed ${seed} --trace`)
  return result
}

describe('the simulation', () => {
  test('the same seed gives the same run, event by event, whether anybody listens or not', async () => {
    for (const coordinator of ['memory', 'builtin', 'static'] as const) {
      const options = { coordinator, faultMs: 5_000 }
      const first = await simulate(7, options)
      let lines = 0
      const second = await simulate(7, { ...options, tell: () => void lines++ })
      assert.equal(second.fingerprint, first.fingerprint, coordinator)
      assert.equal(second.events, first.events)
      assert.ok(lines > 20, 'the story was told')
      const other = await simulate(8, options)
      assert.notEqual(other.fingerprint, first.fingerprint)
    }
  })

  test('nothing real is reachable: no timer, no clock, no chance', async (t) => {
    const refuse = (name: string) => () => {
      throw new Error(`${name} was called in a simulation`)
    }
    t.mock.method(globalThis, 'setTimeout', refuse('setTimeout'))
    t.mock.method(globalThis, 'setInterval', refuse('setInterval'))
    t.mock.method(Math, 'random', refuse('Math.random'))
    t.mock.method(Date, 'now', refuse('Date.now'))
    t.mock.method(performance, 'now', refuse('performance.now'))
    t.mock.method(AbortSignal, 'timeout', refuse('AbortSignal.timeout'))
    for (const coordinator of ['memory', 'builtin', 'static'] as const) {
      await passes(3, { coordinator, faultMs: 3_000 })
    }
  })

  test('every kind of fault is injected somewhere', async () => {
    const alone = new Set<FaultKind>(['wipe', 'bit-rot', 'misdirected-read', 'second-process'])
    const calm = new Set<FaultKind>(['coordinator-rolled-back', 'coordinator-wiped'])
    const byHand = new Set<FaultKind>(['promote'])
    const others = faultKinds.filter((kind) => !alone.has(kind) && !calm.has(kind) && !byHand.has(kind))
    for (const [coordinator, kinds] of [
      ['memory', others],
      // Only where all is whole, or everybody is there.
      ['memory', [...alone]],
      ['memory', [...calm]],
      ['static', [...byHand]],
    ] as const) {
      const missing = new Set<FaultKind>(kinds)
      for (let seed = 1; seed < 40 && missing.size > 0; seed++) {
        const { faults } = await passes(seed, { faults: [...missing], coordinator, faultMs: 6_000 })
        for (const kind of faults.keys()) missing.delete(kind)
      }
      assert.deepEqual([...missing], [])
    }
  })

  test('what clients do only in some runs happens somewhere; a forced promotion gives something up', async () => {
    const missing = new Set<OperationKind>(operationKinds)
    const lossy = new Set<OperationKind>(['history-replaced', 'acknowledged-given-up'])
    for (let seed = 1; seed < 60 && missing.size > 0; seed++) {
      const onlyLossy = [...missing].every((kind) => lossy.has(kind))
      const { kinds } = await passes(seed, { faults: ['promote-forced'], faultMs: onlyLossy ? 12_000 : 3_000 })
      for (const kind of kinds.keys()) missing.delete(kind)
    }
    assert.deepEqual([...missing], [])
  })

  test('seeds that have found something pass', async () => {
    for (const seed of regressionSeeds) await passes(seed)
    for (const [seed, options] of regressionRuns) await passes(seed, options)
  })

  test('seeds that nobody has chosen pass', async (t) => {
    const from = Number(process.env.SIM_FROM ?? 1_000_000 + Math.floor(Math.random() * 1_000_000_000))
    const endMs = performance.now() + batchMs
    let seeds = 0
    // At least one, and as many as there is time for: on a busy machine the batch is smaller, not the test slower.
    for (let seed = from; seeds === 0 || performance.now() < endMs; seed++) {
      await passes(seed)
      seeds += 1
    }
    t.diagnostic(`${seeds} seeds from ${from}; the same again: npm run sim -- --seeds ${seeds} --from ${from}`)
  })

  test('every planted bug still fits the program', () => {
    for (const bug of plantedBugs) assert.ok(plantedTexts(bug).size > 0)
    assert.ok(plantedBugs.length >= 25)
  })

  test('planted bugs are found: those that take few seeds', async () => {
    for (const name of quicklyFound) {
      const bug = plantedBugs.find((one) => one.name === name)
      assert.ok(bug !== undefined, name)
      const { seedsTaken, said } = await search({ ...bug, seeds: quickSeedsMax }, 1, 1)
      assert.ok(seedsTaken !== undefined, `${name} survived ${quickSeedsMax} seeds: ${said}`)
    }
  })

  test('the command ends with the number of failures, and refuses what it does not know', () => {
    const main = fileURLToPath(new URL('../../../dist/sim/main.js', import.meta.url))
    const run = (...options: string[]) => spawnSync(process.execPath, [main, ...options], { encoding: 'utf8' })
    const many = run('--seeds', '2', '--from', '40', '--ticks', '1000', '--workers', '1')
    assert.equal(many.status, 0, many.stdout + many.stderr)
    assert.match(many.stdout, /\n2 seeds, 0 failed\n$/)
    assert.match(many.stdout, /\d+ crash, /)
    const story = run('--seed', '40', '--ticks', '1000', '--trace')
    assert.match(story.stdout, /all have converged/)
    assert.equal(run('--seed', 'x').status, 2)
    assert.equal(run('--seed', '1', '--faults', 'rain').status, 2)
    assert.match(run('--seed', '40', '--ticks', '500', '--nodes', '4').stdout, /^4 nodes, /)
    assert.equal(run('--seed', '1', '--nodes', '5').status, 2)
  })
})
