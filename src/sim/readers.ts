/** Clients that read through any node and say how fresh it must be: at least a position, at most an age (L6). */
import { formatPosition, type Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { Consistency, ReadOptions } from '../runtime/handle.js'
import type { Node } from '../runtime/node.js'
import { judgeFreshRead } from './fresh-reads.js'
import type { OperationCounts, OperationKind } from './operation-kinds.js'
import { describeAnswer, labelOf, Requests } from './requests.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimulatedCluster } from './simulated-cluster.js'
import type { SimulatedNode } from './simulated-node.js'
import type { World } from './world.js'

const lagMsMin = 5
const lagMsMax = 5_000
/** What is asked for has mostly arrived, or comes soon: nobody waits for it as long as for a write. */
const waitMsMin = 20
const waitMsMax = 2_000

interface Wish {
  readonly kind: OperationKind
  readonly options: ReadOptions
}

export class Readers {
  private readonly world: World
  private readonly cluster: SimulatedCluster
  private readonly requests: Requests
  private readonly counts: OperationCounts
  private readonly count: (answer: string) => void
  private running = 0
  private isStopping = false

  constructor(world: World, cluster: SimulatedCluster, counts: OperationCounts, count: (answer: string) => void) {
    this.world = world
    this.cluster = cluster
    this.counts = counts
    this.count = count
    this.requests = new Requests(world, cluster, 'reader network')
  }

  start(): void {
    const { plan } = this.world
    for (let index = 0; index < plan.readers; index++) this.reader(index)
  }

  stop(): void {
    this.isStopping = true
  }

  get isOver(): boolean {
    return this.running === 0
  }

  private reader(index: number): void {
    const { plan, time, streams } = this.world
    const random = streams.of(`reader ${index}`)
    const name = `reader ${index}`
    const meanMs = (1_000 * plan.readers) / plan.freshReadsPerSecond
    /** The newest that it has been shown. */
    let seen: Position | undefined
    this.running += 1
    const next = () => {
      if (this.isStopping) {
        this.running -= 1
        return
      }
      const at = random.pick(this.cluster.nodes)
      const key = `k${random.below(plan.keys)}`
      this.read(name, at, key, this.wish(random, seen), (applied) => {
        if (applied !== undefined) seen = applied
        time.schedule(random.next() * 2 * meanMs, next)
      })
    }
    time.schedule(random.next() * meanMs, next)
  }

  private wish(random: SeededRandom, seen: Position | undefined): Wish {
    const told = this.cluster.oracle.newestAcknowledged
    const timeoutMs = Math.round(random.skewed(waitMsMin, waitMsMax))
    const draw = random.next()
    const maxLagMs = Math.round(random.skewed(lagMsMin, lagMsMax))
    const consistency: { consistency?: Consistency } = random.chance(0.3) ? { consistency: 'local' } : {}
    // Without a lease a primary vouches for nothing, and may be asked all the same.
    if (draw < 0.25 && seen !== undefined) {
      return { kind: 'read-own-position', options: { minPosition: seen, timeoutMs, ...consistency } }
    }
    if (draw < 0.5 && told !== undefined) {
      const both = random.chance(0.2) ? { maxLagMs } : {}
      return { kind: 'read-told-position', options: { minPosition: told, timeoutMs, ...both, ...consistency } }
    }
    return { kind: 'read-max-lag', options: { maxLagMs, ...consistency } }
  }

  private read(
    client: string,
    at: SimulatedNode,
    key: string,
    { kind, options }: Wish,
    done: (applied: Position | undefined) => void,
  ): void {
    const { plan, time, trace } = this.world
    const { oracle } = this.cluster
    this.counts.add(kind)
    const { minPosition, maxLagMs } = options
    this.requests.ask(
      at,
      async (node) => {
        const shown = await readFresh(node, key, options, () => time.nowMs)
        const { value, applied, checkedMs } = shown
        const problem = judgeFreshRead(
          oracle,
          { clockDrift: plan.clockDrift, ageIsKnown: plan.coordinator !== 'static' },
          { node: at.name, family: 0, key, value, applied, checkedMs, minPosition, maxLagMs },
        )
        if (problem !== undefined) oracle.problems.add(problem)
        return shown
      },
      (answer) => {
        this.count(`${kind}: ${labelOf(answer)}`)
        const error = answer.type === 'error' ? answer.error : undefined
        if (error instanceof UnderstudyError && error.failure === 'DIVERGED' && minPosition !== undefined) {
          this.cluster.oracle.refused(at.name, minPosition)
        }
        trace.text(`${client} ${kind} ${key} ${answer.type}`)
        if (trace.isTold) {
          const position = minPosition === undefined ? '' : ` at ${formatPosition(minPosition)} or later`
          const age = maxLagMs === undefined ? '' : ` at most ${maxLagMs} ms old`
          const shown = describeAnswer(answer, ({ applied }) => `as of ${formatPosition(applied)}`)
          trace.detail(client, `get ${key}${position}${age} at ${at.name}: ${shown}`)
        }
        done(answer.type === 'value' ? answer.value.applied : undefined)
      },
    )
  }
}

/** As the database reads. */
async function readFresh(node: Node, key: string, options: ReadOptions, nowMs: () => number) {
  const shard = node.shard()
  await shard.fresh(options)
  const checkedMs = nowMs()
  const ticket = shard.beginRead(options.consistency)
  const reader = shard.reader()
  const { applied } = reader
  const value = await reader.get(0, Buffer.from(key))
  if (!ticket.isGranted) await ticket.granted()
  return { value, applied, checkedMs }
}
