/** One run from one seed: start, faults under load, the end of the faults, convergence, and what is left on the disks. */

import { ContentAudit } from './content-audit.js'
import { FamilyClients } from './family-clients.js'
import type { FaultKind } from './fault-kinds.js'
import { compareDisks, compareNodes } from './final-checks.js'
import { Injector } from './injector.js'
import { checkLinearizability } from './linearizability.js'
import { OperationCounts, type OperationKind } from './operation-kinds.js'
import { describePlan, type Plan, type PlanOptions, planOf } from './plan.js'
import { Readers } from './readers.js'
import { SeededStreams } from './seeded-random.js'
import { SimulatedCluster } from './simulated-cluster.js'
import { Workload } from './workload.js'
import { World } from './world.js'

export interface SimulationOptions extends PlanOptions {
  /** One line of what happens, for people. */
  readonly tell?: (line: string) => void
}

export interface SimulationResult {
  readonly seed: number
  /** What was violated, first things first, each with the id of its rule; empty if all is well. */
  readonly problems: readonly string[]
  /** Of everything that happened: the same seed and program give the same. */
  readonly fingerprint: string
  readonly plan: Plan
  readonly simulatedMs: number
  readonly events: number
  /** Writes that a client was told are done. */
  readonly acknowledged: number
  /** Entries of the history that was judged: reads, and each key of each write. */
  readonly operations: number
  /** In which something was led or written. */
  readonly epochs: number
  /** How often each fault was done. */
  readonly faults: ReadonlyMap<FaultKind, number>
  /** How often clients and checks did what not all runs have. */
  readonly kinds: ReadonlyMap<OperationKind, number>
  /** How often clients got each answer, by request and outcome. */
  readonly answers: ReadonlyMap<string, number>
}

const startMsMax = 60_000
const convergeMsMax = 240_000
const settleMsMax = 60_000
const promoteEveryMs = 8_000

/** One run; the same seed, options and program give the same. */
export async function simulate(seed: number, options: SimulationOptions = {}): Promise<SimulationResult> {
  const plan = planOf(seed, new SeededStreams(seed), options)
  options.tell?.(describePlan(plan))
  const world = new World(plan, options.tell)
  const { time } = world
  const cluster = new SimulatedCluster(world)
  const workload = new Workload(world, cluster)
  const injector = new Injector(world, cluster)
  const operations = new OperationCounts()
  const readers = new Readers(world, cluster, operations, (answer) => workload.count(answer))
  const families = new FamilyClients(world, cluster, {
    history: workload.history,
    counts: operations,
    count: (answer) => workload.count(answer),
  })
  const audit = new ContentAudit(world, cluster, operations)
  const problems: string[] = []
  const { oracle } = cluster
  const bad = () => oracle.problems.count > 0 || oracle.epochs.problems.count > 0
  /** Until it holds, the time is over, or something is wrong. */
  const until = async (holds: () => boolean, withinMs: number): Promise<boolean> => {
    const endMs = time.nowMs + withinMs
    let held = false
    await time.run(() => {
      held = holds()
      return held || bad() || time.nowMs > endMs
    })
    return held
  }
  /** Asked now and then only: it looks at every node. */
  const untilConverged = async (withinMs: number): Promise<string | undefined> => {
    const endMs = time.nowMs + withinMs
    let promoteMs = time.nowMs + promoteEveryMs
    for (;;) {
      if (time.nowMs > promoteMs) {
        cluster.promoteSomebody()
        promoteMs += promoteEveryMs
      }
      const missing = cluster.whatIsMissing()
      if (missing === undefined || bad() || time.nowMs > endMs) return missing
      const nextMs = time.nowMs + 50
      await time.run(() => time.nowMs >= nextMs)
    }
  }
  const go = async (): Promise<void> => {
    cluster.startAll()
    const missing = await untilConverged(startMsMax)
    if (missing !== undefined) return void problems.push(`I9: not ready ${startMsMax} ms after the start: ${missing}`)
    world.trace.story('world', 'all are in sync: clients and faults begin')
    workload.start()
    readers.start()
    families.start()
    audit.start()
    injector.start()
    const faultsEndMs = time.nowMs + plan.faultMs
    await until(() => time.nowMs >= faultsEndMs, plan.faultMs)
    world.trace.story('world', 'the faults are over')
    injector.stop()
    workload.stop()
    readers.stop()
    families.stop()
    if (!(await until(() => workload.isOver && readers.isOver && families.isOver, settleMsMax)))
      return void problems.push('I8: clients wait without end')
    const late = await untilConverged(convergeMsMax)
    if (late !== undefined) {
      return void problems.push(`I9: not converged ${convergeMsMax} ms after the faults: ${late}`)
    }
    world.trace.story('world', 'all have converged')
    const refused = await workload.finish(async (promise) => {
      let isDone = false
      void promise.then(() => {
        isDone = true
      })
      await until(() => isDone, settleMsMax)
    })
    if (refused !== undefined) problems.push(refused)
    audit.stop()
    const unequal = await untilConverged(settleMsMax)
    if (unequal !== undefined) return void problems.push(`I9: not equal at the end: ${unequal}`)
    problems.push(...(await compareNodes(cluster)).texts)
    oracle.finish()
    cluster.stopAll()
    if (!(await until(() => cluster.all.every((one) => one.run === undefined), settleMsMax))) {
      problems.push('I8: a node does not stop')
    }
    problems.push(...(await compareDisks(cluster)).texts)
  }
  const rejections: string[] = []
  const onRejection = (reason: unknown) => rejections.push(`rejected and not handled: ${describeError(reason)}`)
  process.on('unhandledRejection', onRejection)
  try {
    await go()
  } catch (error) {
    problems.push(`thrown: ${describeError(error)}`)
  } finally {
    process.off('unhandledRejection', onRejection)
  }
  operations.add('bootstrap-by-files', cluster.installedFiles)
  if (!oracle.mayLose) {
    operations.add('history-replaced', oracle.replaced)
    operations.add('acknowledged-given-up', oracle.givenUpEpochs)
  }
  // What broke first comes first: a run that is cut short by it says more than that it was.
  const broken = [...oracle.problems.texts, ...oracle.epochs.problems.texts.map((text) => `I2: ${text}`)]
  const judged = checkLinearizability(workload.history.judged(oracle))
  if (judged.verdict === 'violated') broken.push(`I7: ${judged.violation?.text}`)
  if (judged.verdict === 'undecided') broken.push(`undecided: ${judged.undecidedKeys.join(', ')}`)
  problems.unshift(...broken)
  problems.push(...rejections)
  return {
    seed,
    problems,
    fingerprint: world.trace.fingerprint,
    plan,
    simulatedMs: time.nowMs,
    events: time.events,
    acknowledged: oracle.acknowledgedCount,
    operations: workload.history.operations.length,
    epochs: oracle.epochs.epochs,
    faults: injector.counts,
    kinds: operations.counts,
    answers: workload.answers,
  }
}

function describeError(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
