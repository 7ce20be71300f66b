import type { Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { Consistency } from '../runtime/handle.js'
import type { Node } from '../runtime/node.js'
import type { RegisterOutcome } from './register-history.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimulatedCluster } from './simulated-cluster.js'
import type { Run, SimulatedNode } from './simulated-node.js'
import type { World } from './world.js'

/** Between a client and its node, each way. */
const wayMsMax = 1
/** Beyond the node's own time-out. */
const patienceMs = 3_000

export type Answer<T> =
  | { readonly type: 'value'; readonly value: T }
  | { readonly type: 'error'; readonly error: Error }
  /** The connection broke, nobody listens, or no answer came in time. */
  | { readonly type: 'nothing'; readonly sent: boolean }

/** What is between clients and nodes: requests on their way, and their answers, each of which may be lost. */
export class Requests {
  private readonly world: World
  private readonly cluster: SimulatedCluster
  private readonly waiting = new Map<Run, Set<() => void>>()
  private readonly random: SeededRandom

  constructor(world: World, cluster: SimulatedCluster, network: string) {
    this.world = world
    this.cluster = cluster
    this.random = world.streams.of(network)
    cluster.endListeners.add((run) => {
      for (const lose of [...(this.waiting.get(run) ?? [])]) lose()
      this.waiting.delete(run)
    })
  }

  /** A request on its way to a node, and the answer on its way back, each of which may be lost with the process. */
  ask<T>(at: SimulatedNode, call: (node: Node) => Promise<T>, answered: (answer: Answer<T>) => void): void {
    const { time, plan } = this.world
    const { run } = at
    const node = at.serving
    if (run === undefined || node === undefined) {
      time.schedule(this.random.next() * wayMsMax, () => answered({ type: 'nothing', sent: false }))
      return
    }
    let pending = true
    const settle = (answer: Answer<T>) => {
      if (!pending) return
      pending = false
      timer.cancel()
      this.waiting.get(run)?.delete(lose)
      answered(answer)
    }
    const lose = () => settle({ type: 'nothing', sent: true })
    const askedMs = time.nowMs
    const timer = time.schedule(plan.writeTimeoutMs + patienceMs, () => {
      const { stoodStillMs } = run.process
      if (run.ended === undefined && (stoodStillMs === undefined || stoodStillMs < askedMs)) {
        this.cluster.oracle.problems.add(
          `I8: ${at.name} has not answered a request of ${askedMs.toFixed(0)} ms within ${plan.writeTimeoutMs + patienceMs} ms`,
        )
      }
      lose()
    })
    const waiting = this.waiting.get(run) ?? new Set()
    this.waiting.set(run, waiting)
    waiting.add(lose)
    const answer = (what: Answer<T>) => {
      if (!run.process.isDead) time.schedule(this.random.next() * wayMsMax, () => settle(what))
    }
    run.process.after(this.random.next() * wayMsMax, () => {
      // A request that arrives when nobody waits for it any more is carried out all the same.
      try {
        call(node).then(
          (value) => answer({ type: 'value', value }),
          (error: Error) => answer({ type: 'error', error }),
        )
      } catch (error) {
        answer({ type: 'error', error: error as Error })
      }
    })
  }
}

export function labelOf(answer: Answer<unknown>): string {
  if (answer.type === 'value') return 'ok'
  if (answer.type === 'nothing') return answer.sent ? 'no answer' : 'nobody there'
  return answer.error instanceof UnderstudyError
    ? `${answer.error.failure} (${answer.error.outcome})`
    : answer.error.message
}

export function describeAnswer<T>(answer: Answer<T>, describe: (value: T) => string): string {
  if (answer.type === 'value') return describe(answer.value)
  return answer.type === 'error' ? `${labelOf(answer)} ${answer.error.message}` : labelOf(answer)
}

/** As the database reads: the value first, then whether it may be handed out. */
export async function readOne(
  node: Node,
  family: number,
  key: string,
  consistency: Consistency,
): Promise<{ readonly value: string | undefined; readonly applied: Position }> {
  const shard = node.shard()
  const ticket = shard.beginRead(consistency)
  const reader = shard.reader()
  const { applied } = reader
  const value = await reader.get(family, Buffer.from(key))
  if (!ticket.isGranted) await ticket.granted()
  return { value: value === undefined ? undefined : Buffer.from(value).toString().replace(/\.+$/, ''), applied }
}

export function outcomeOf(answer: Answer<unknown>): RegisterOutcome {
  if (answer.type === 'value') return 'ok'
  if (answer.type === 'nothing') return answer.sent ? 'unknown' : 'none'
  if (!(answer.error instanceof UnderstudyError)) return 'unknown'
  return answer.error.outcome === 'none' ? 'none' : 'unknown'
}
