/** Clients that write and read through all nodes and note what they saw. */
import type { Operation } from '../core/entry.js'
import type { Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { Consistency } from '../runtime/handle.js'
import type { Node } from '../runtime/node.js'
import type { RegisterOperation, RegisterOutcome } from './register-history.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimulatedCluster } from './simulated-cluster.js'
import type { Run, SimulatedNode } from './simulated-node.js'
import type { World } from './world.js'

/** Between a client and its node, each way. */
const wayMsMax = 1
/** Beyond the node's own time-out. */
const patienceMs = 3_000

type Answer<T> =
  | { readonly type: 'value'; readonly value: T }
  | { readonly type: 'error'; readonly error: Error }
  /** The connection broke, nobody listens, or no answer came in time. */
  | { readonly type: 'nothing'; readonly sent: boolean }

export class Workload {
  readonly history: RegisterOperation[] = []
  /** By code or kind of answer. */
  readonly answers = new Map<string, number>()
  private readonly world: World
  private readonly cluster: SimulatedCluster
  private readonly waiting = new Map<Run, Set<() => void>>()
  private readonly random: SeededRandom
  private values = 0
  private running = 0
  private isStopping = false

  constructor(world: World, cluster: SimulatedCluster) {
    this.world = world
    this.cluster = cluster
    this.random = world.streams.of('client network')
    cluster.endListeners.add((run) => {
      for (const lose of [...(this.waiting.get(run) ?? [])]) lose()
      this.waiting.delete(run)
    })
  }

  start(): void {
    const { clients } = this.world.plan
    for (let index = 0; index < clients; index++) this.client(index)
  }

  stop(): void {
    this.isStopping = true
  }

  get isOver(): boolean {
    return this.running === 0
  }

  private client(index: number): void {
    const { plan, time, streams } = this.world
    const random = streams.of(`client ${index}`)
    const name = `client ${index}`
    const meanMs = (1_000 * plan.clients) / plan.operationsPerSecond
    let home = random.pick(this.cluster.nodes)
    this.running += 1
    const next = () => {
      if (this.isStopping) {
        this.running -= 1
        return
      }
      if (random.chance(0.05)) home = random.pick(this.cluster.nodes)
      const node = random.chance(0.6) ? (this.cluster.primary ?? home) : home
      const done = () => void time.schedule(random.next() * 2 * meanMs, next)
      const key = `k${random.below(plan.keys)}`
      const draw = random.next()
      if (draw < 0.45) this.write(name, node, key, 'put', done)
      else if (draw < 0.5) this.write(name, node, key, 'del', done)
      else this.read(name, node, key, draw < 0.75 ? 'linearizable' : draw < 0.85 ? 'confirmed' : 'local', done)
    }
    time.schedule(random.next() * meanMs, next)
  }

  private write(client: string, at: SimulatedNode, key: string, kind: 'put' | 'del', done: () => void): void {
    const { plan, time, trace } = this.world
    const value = kind === 'put' ? `v${this.values++}` : undefined
    const filled = value?.padEnd(plan.valueBytes, '.')
    const operation: Operation =
      filled === undefined
        ? { type: 'del', family: 0, key: Buffer.from(key) }
        : { type: 'put', family: 0, key: Buffer.from(key), value: Buffer.from(filled) }
    const calledMs = time.nowMs
    this.ask<Position>(
      at,
      (node) => node.shard().write([operation]),
      (answer) => {
        const outcome = outcomeOf(answer)
        if (answer.type === 'value') this.cluster.oracle.acknowledge(`${client}@${at.name}`, answer.value)
        const returnedMs = time.nowMs
        this.history.push({ key, client: `${client}@${at.name}`, kind, value, calledMs, returnedMs, outcome })
        this.count(`write: ${labelOf(answer)}`)
        trace.text(`${client} ${kind} ${key} ${value} ${outcome}`)
        if (trace.isTold) {
          trace.detail(
            client,
            `${kind} ${key} ${value ?? ''} at ${at.name}: ${describeAnswer(answer, ({ sequence }) => String(sequence))}`,
          )
        }
        done()
      },
    )
  }

  private read(client: string, at: SimulatedNode, key: string, consistency: Consistency, done: () => void): void {
    const { plan, time, trace } = this.world
    const wanted = plan.coordinator === 'static' ? 'local' : consistency
    const calledMs = time.nowMs
    this.ask(
      at,
      (node) => readOne(node, key, wanted),
      (answer) => {
        this.count(`${wanted} read: ${labelOf(answer)}`)
        if (answer.type === 'value' && wanted !== 'local') {
          const returnedMs = time.nowMs
          const value = answer.value
          this.history.push({
            key,
            client: `${client}@${at.name}`,
            kind: 'get',
            value,
            calledMs,
            returnedMs,
            outcome: 'ok',
          })
        }
        trace.text(`${client} get ${key} ${answer.type === 'value' ? answer.value : answer.type}`)
        if (trace.isTold) {
          trace.detail(
            client,
            `${wanted} get ${key} at ${at.name}: ${describeAnswer(answer, (value) => value ?? 'nothing')}`,
          )
        }
        done()
      },
    )
  }

  /** At the end: a write through each node, and what is there then. */
  async finish(until: (promise: Promise<void>) => Promise<void>): Promise<string | undefined> {
    const { plan, time } = this.world
    let problem: string | undefined
    const each = (work: (done: () => void) => void) => until(new Promise((resolve) => work(resolve)))
    for (const one of this.cluster.nodes) {
      const before = this.history.length
      await each((done) => this.write('end', one, 'k0', 'put', done))
      const { outcome } = this.history[before]!
      if (outcome !== 'ok') problem = `I9: after the faults a write through ${one.name} ends with outcome ${outcome}`
    }
    const { primary } = this.cluster
    if (primary === undefined) return problem ?? 'I9: no primary after the faults'
    for (let index = 0; index < plan.keys; index++) {
      const key = `k${index}`
      const calledMs = time.nowMs
      await each((done) =>
        this.ask(
          primary,
          (node) => readOne(node, key, plan.coordinator === 'static' ? 'local' : 'linearizable'),
          (answer) => {
            if (answer.type === 'value') {
              const { value } = answer
              this.history.push({
                key,
                client: 'end',
                kind: 'get',
                value,
                calledMs,
                returnedMs: time.nowMs,
                outcome: 'ok',
              })
            } else problem ??= `I9: after the faults a read of ${key} at ${primary.name} ends with ${labelOf(answer)}`
            done()
          },
        ),
      )
    }
    return problem
  }

  /** A request on its way to a node, and the answer on its way back, each of which may be lost with the process. */
  private ask<T>(at: SimulatedNode, call: (node: Node) => Promise<T>, answered: (answer: Answer<T>) => void): void {
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
    const timer = time.schedule(plan.writeTimeoutMs + patienceMs, lose)
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

  private count(what: string): void {
    this.answers.set(what, (this.answers.get(what) ?? 0) + 1)
  }
}

/** As the database reads: the value first, then whether it may be handed out. */
async function readOne(node: Node, key: string, consistency: Consistency): Promise<string | undefined> {
  const shard = node.shard()
  const ticket = shard.beginRead(consistency)
  const value = await shard.reader().get(0, Buffer.from(key))
  if (!ticket.isGranted) await ticket.granted()
  return value === undefined ? undefined : Buffer.from(value).toString().replace(/\.+$/, '')
}

function outcomeOf(answer: Answer<unknown>): RegisterOutcome {
  if (answer.type === 'value') return 'ok'
  if (answer.type === 'nothing') return answer.sent ? 'unknown' : 'none'
  if (!(answer.error instanceof UnderstudyError)) return 'unknown'
  return answer.error.outcome === 'none' ? 'none' : 'unknown'
}

function labelOf(answer: Answer<unknown>): string {
  if (answer.type === 'value') return 'ok'
  if (answer.type === 'nothing') return answer.sent ? 'no answer' : 'nobody there'
  return answer.error instanceof UnderstudyError
    ? `${answer.error.failure} (${answer.error.outcome})`
    : answer.error.message
}

function describeAnswer<T>(answer: Answer<T>, describe: (value: T) => string): string {
  if (answer.type === 'value') return describe(answer.value)
  return answer.type === 'error' ? `${labelOf(answer)} ${answer.error.message}` : labelOf(answer)
}
