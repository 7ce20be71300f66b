/** Clients that write and read through all nodes and note what they saw. */
import type { Operation } from '../core/entry.js'
import type { Position } from '../core/position.js'
import type { Consistency } from '../runtime/handle.js'
import { PlacedHistory } from './placed-history.js'
import type { RegisterOperation } from './register-history.js'
import { describeAnswer, labelOf, outcomeOf, Requests, readOne } from './requests.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimulatedCluster } from './simulated-cluster.js'
import type { SimulatedNode } from './simulated-node.js'
import type { World } from './world.js'

const rangeKeysMax = 4
/** After the faults: so long a write may be refused, and so long it waits to be tried again. */
const takenMsMax = 5_000
const againMs = 200

/** What is written at once, and what of it the history of each key shows. */
interface Change {
  readonly operations: readonly Operation[]
  readonly seen: ReadonlyArray<Pick<RegisterOperation, 'key' | 'kind' | 'value'>>
}

export class Workload {
  readonly history = new PlacedHistory()
  /** By code or kind of answer. */
  readonly answers = new Map<string, number>()
  private readonly world: World
  private readonly cluster: SimulatedCluster
  private readonly requests: Requests
  private values = 0
  private running = 0
  private isStopping = false

  constructor(world: World, cluster: SimulatedCluster) {
    this.world = world
    this.cluster = cluster
    this.requests = new Requests(world, cluster, 'client network')
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
      if (draw < 0.5) this.write(name, node, this.change(draw / 0.5, key, random), done)
      else this.read(name, node, key, draw < 0.75 ? 'linearizable' : draw < 0.85 ? 'confirmed' : 'local', done)
    }
    time.schedule(random.next() * meanMs, next)
  }

  /** Mostly a put of one key; else several in one batch, a deletion, or one of a range of keys. */
  private change(draw: number, key: string, random: SeededRandom): Change {
    const { keys } = this.world.plan
    if (draw < 0.82) return this.put(key)
    if (draw < 0.9) {
      const other = `k${random.below(keys)}`
      const [one, two] = [this.put(key), this.put(other)]
      if (other === key) return one
      return { operations: [...one.operations, ...two.operations], seen: [...one.seen, ...two.seen] }
    }
    if (draw < 0.96) {
      return {
        operations: [{ type: 'del', family: 0, key: Buffer.from(key) }],
        seen: [{ key, kind: 'del', value: undefined }],
      }
    }
    const all = Array.from({ length: keys }, (_, index) => `k${index}`).sort()
    const from = all.indexOf(key)
    const within = all.slice(from, from + 1 + random.below(rangeKeysMax))
    return {
      operations: [
        // Up to and with the last: no key lies between it and its end.
        { type: 'delRange', family: 0, start: Buffer.from(key), end: Buffer.from(`${within.at(-1)!}\0`) },
      ],
      seen: within.map((one) => ({ key: one, kind: 'del', value: undefined })),
    }
  }

  private put(key: string): Change {
    const value = `v${this.values++}`
    const filled = Buffer.from(value.padEnd(this.world.plan.valueBytes, '.'))
    return {
      operations: [{ type: 'put', family: 0, key: Buffer.from(key), value: filled }],
      seen: [{ key, kind: 'put', value }],
    }
  }

  private write(client: string, at: SimulatedNode, change: Change, done: () => void): void {
    const { time, trace } = this.world
    const calledMs = time.nowMs
    this.requests.ask<Position>(
      at,
      async (node) => {
        const position = await node.shard().write(change.operations)
        this.cluster.answered(at, position)
        return position
      },
      (answer) => {
        const outcome = outcomeOf(answer)
        if (answer.type === 'value') this.cluster.oracle.acknowledge(`${client}@${at.name}`, answer.value)
        const returnedMs = time.nowMs
        for (const { key, kind, value } of change.seen) {
          this.history.add(
            { key, client: `${client}@${at.name}`, kind, value, calledMs, returnedMs, outcome },
            answer.type === 'value' ? { type: 'write', position: answer.value } : undefined,
          )
          trace.text(`${client} ${kind} ${key} ${value} ${outcome}`)
        }
        this.count(`write: ${labelOf(answer)}`)
        if (trace.isTold) {
          trace.detail(
            client,
            `${change.seen.map(({ key, kind, value }) => `${kind} ${key} ${value ?? ''}`).join(', ')} at ${at.name}: ${describeAnswer(answer, ({ sequence }) => String(sequence))}`,
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
    this.requests.ask(
      at,
      (node) => readOne(node, 0, key, wanted),
      (answer) => {
        this.count(`${wanted} read: ${labelOf(answer)}`)
        if (answer.type === 'value' && wanted !== 'local') {
          const returnedMs = time.nowMs
          const { value, applied } = answer.value
          this.history.add(
            { key, client: `${client}@${at.name}`, kind: 'get', value, calledMs, returnedMs, outcome: 'ok' },
            { type: 'read', applied },
          )
        }
        trace.text(`${client} get ${key} ${answer.type === 'value' ? answer.value.value : answer.type}`)
        if (trace.isTold) {
          trace.detail(
            client,
            `${wanted} get ${key} at ${at.name}: ${describeAnswer(answer, ({ value }) => value ?? 'nothing')}`,
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
      const untilMs = time.nowMs + takenMsMax
      for (;;) {
        const before = this.history.operations.length
        await each((done) => this.write('end', one, this.put('k0'), done))
        const { outcome } = this.history.operations[before]!
        if (outcome === 'ok') break
        if (outcome !== 'none' || time.nowMs > untilMs) {
          problem = `I9: after the faults a write through ${one.name} ends with outcome ${outcome}`
          break
        }
        // A coordinator that has just come back may still have a switchover to decide.
        await each((done) => time.schedule(againMs, done))
      }
    }
    const { primary } = this.cluster
    if (primary === undefined) return problem ?? 'I9: no primary after the faults'
    for (let index = 0; index < plan.keys; index++) {
      const key = `k${index}`
      const calledMs = time.nowMs
      await each((done) =>
        this.requests.ask(
          primary,
          (node) => readOne(node, 0, key, plan.coordinator === 'static' ? 'local' : 'linearizable'),
          (answer) => {
            if (answer.type === 'value') {
              const { value, applied } = answer.value
              this.history.add(
                { key, client: 'end', kind: 'get', value, calledMs, returnedMs: time.nowMs, outcome: 'ok' },
                { type: 'read', applied },
              )
            } else problem ??= `I9: after the faults a read of ${key} at ${primary.name} ends with ${labelOf(answer)}`
            done()
          },
        ),
      )
    }
    return problem
  }

  count(what: string): void {
    this.answers.set(what, (this.answers.get(what) ?? 0) + 1)
  }
}
