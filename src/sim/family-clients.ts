/** Clients that create and drop column families, and write and read in them, while everybody else works (S8). */
import type { Family, Operation } from '../core/entry.js'
import type { Position } from '../core/position.js'
import type { Node } from '../runtime/node.js'
import type { OperationCounts } from './operation-kinds.js'
import type { PlacedHistory } from './placed-history.js'
import { type Answer, describeAnswer, labelOf, outcomeOf, Requests, readOne } from './requests.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimulatedCluster } from './simulated-cluster.js'
import type { SimulatedNode } from './simulated-node.js'
import type { World } from './world.js'

/** So few that they meet each other all the time. */
const names = ['f0', 'f1', 'f2', 'f3']
const keys = ['k0', 'k1', 'k2']
/** Behind them all. */
const keysEnd = 'k9'

interface Done {
  readonly family: Family
  /** Of what was written, where that is known. */
  readonly position?: Position
}

export class FamilyClients {
  private readonly world: World
  private readonly cluster: SimulatedCluster
  private readonly requests: Requests
  private readonly history: PlacedHistory
  private readonly counts: OperationCounts
  private readonly count: (answer: string) => void
  private values = 0
  private running = 0
  private isStopping = false

  constructor(
    world: World,
    cluster: SimulatedCluster,
    parts: {
      readonly history: PlacedHistory
      readonly counts: OperationCounts
      readonly count: (answer: string) => void
    },
  ) {
    this.world = world
    this.cluster = cluster
    this.history = parts.history
    this.counts = parts.counts
    this.count = parts.count
    this.requests = new Requests(world, cluster, 'family network')
  }

  start(): void {
    const { plan } = this.world
    for (let index = 0; index < plan.familyClients; index++) this.client(index)
  }

  stop(): void {
    this.isStopping = true
  }

  get isOver(): boolean {
    return this.running === 0
  }

  private client(index: number): void {
    const { plan, time, streams } = this.world
    const random = streams.of(`family client ${index}`)
    const client = `family client ${index}`
    const meanMs = (1_000 * plan.familyClients) / plan.familyOperationsPerSecond
    this.running += 1
    const next = () => {
      if (this.isStopping) {
        this.running -= 1
        return
      }
      const anybody = random.pick(this.cluster.nodes)
      const at = random.chance(0.5) ? (this.cluster.primary ?? anybody) : anybody
      const name = random.pick(names)
      const draw = random.next()
      const done = () => void time.schedule(random.next() * 2 * meanMs, next)
      if (draw < 0.15) this.create(client, at, name, done)
      else if (draw < 0.25) this.drop(client, at, name, done)
      else if (draw < 0.65) this.write(client, at, name, random, done)
      else this.read(client, at, name, random.pick(keys), done)
    }
    time.schedule(random.next() * meanMs, next)
  }

  private create(client: string, at: SimulatedNode, name: string, done: () => void): void {
    this.counts.add('create-family')
    this.requests.ask<Done>(
      at,
      async (node) => ({ family: await node.shard().createFamily(name) }),
      (answer) => {
        this.tell(client, 'create-family', `${name} at ${at.name}`, answer)
        if (answer.type === 'value') {
          const { id } = answer.value.family
          const known = this.cluster.oracle.fold.family(id)
          this.demand(known?.name === name, `S8: ${at.name} has created ${name} as ${id}, and nobody has applied that`)
        }
        done()
      },
    )
  }

  private drop(client: string, at: SimulatedNode, name: string, done: () => void): void {
    this.counts.add('drop-family')
    this.requests.ask<Done>(
      at,
      async (node) => {
        const family = familyOf(node, name)
        await node.shard().dropFamily(name)
        return { family }
      },
      (answer) => {
        this.tell(client, 'drop-family', `${name} at ${at.name}`, answer)
        if (answer.type === 'value') {
          const { id } = answer.value.family
          const known = this.cluster.oracle.fold.family(id)
          this.demand(known?.dropped === true, `S8: ${at.name} has dropped family ${id}, and nobody has applied that`)
        }
        done()
      },
    )
  }

  /** One or several keys of a family, and sometimes of the default family in the same batch. */
  private write(client: string, at: SimulatedNode, name: string, random: SeededRandom, done: () => void): void {
    const key = random.pick(keys)
    const across = random.chance(0.3) ? `k${random.below(this.world.plan.keys)}` : undefined
    const isDeletion = random.chance(0.1)
    const isRange = random.chance(0.05)
    const kind = across === undefined ? 'write-family' : 'write-across-families'
    this.counts.add(kind)
    const value = `f${this.values++}`
    const bytes = Buffer.from(value.padEnd(this.world.plan.valueBytes, '.'))
    const { time } = this.world
    const calledMs = time.nowMs
    let family: Family | undefined
    /** What the client was left with before the request came to the node, which may have stood still. */
    let early: Answer<Done> | undefined
    const touched = isRange ? keys.filter((one) => one >= key) : [key]
    const note = (family: Family, answer: Answer<Done>, returnedMs: number) => {
      const position = answer.type === 'value' ? answer.value.position : undefined
      const more = { client: `${client}@${at.name}`, calledMs, returnedMs, outcome: outcomeOf(answer) }
      const place = position === undefined ? undefined : ({ type: 'write', position } as const)
      for (const one of touched) {
        const change =
          isRange || isDeletion ? ({ kind: 'del', value: undefined } as const) : { kind: 'put' as const, value }
        this.history.add({ key: nameOf(family, one), ...change, ...more }, place)
      }
      if (across !== undefined) this.history.add({ key: across, kind: 'put', value, ...more }, place)
    }
    this.requests.ask<Done>(
      at,
      async (node) => {
        family = familyOf(node, name)
        const { id } = family
        if (early !== undefined) note(family, early, time.nowMs)
        const operations: Operation[] = isRange
          ? [{ type: 'delRange', family: id, start: Buffer.from(key), end: Buffer.from(keysEnd) }]
          : isDeletion
            ? [{ type: 'del', family: id, key: Buffer.from(key) }]
            : [{ type: 'put', family: id, key: Buffer.from(key), value: bytes }]
        if (across !== undefined) operations.push({ type: 'put', family: 0, key: Buffer.from(across), value: bytes })
        const position = await node.shard().write(operations)
        this.cluster.answered(at, position)
        return { family, position }
      },
      (answer) => {
        this.tell(client, kind, `${value} as ${key} of ${name} at ${at.name}`, answer)
        const position = answer.type === 'value' ? answer.value.position : undefined
        if (position !== undefined) this.cluster.oracle.acknowledge(`${client}@${at.name}`, position)
        if (family === undefined) early = answer
        else note(family, answer, time.nowMs)
        done()
      },
    )
  }

  private read(client: string, at: SimulatedNode, name: string, key: string, done: () => void): void {
    const { plan, time } = this.world
    this.counts.add('read-family')
    const consistency = plan.coordinator === 'static' ? 'local' : 'linearizable'
    const calledMs = time.nowMs
    this.requests.ask(
      at,
      async (node) => {
        const family = familyOf(node, name)
        return { family, ...(await readOne(node, family.id, key, consistency)) }
      },
      (answer) => {
        this.tell(client, 'read-family', `${key} of ${name} at ${at.name}`, answer)
        if (answer.type === 'value' && consistency === 'linearizable') {
          const { family, value, applied } = answer.value
          this.history.add(
            {
              key: nameOf(family, key),
              client: `${client}@${at.name}`,
              kind: 'get',
              value,
              calledMs,
              returnedMs: time.nowMs,
              outcome: 'ok',
            },
            { type: 'read', applied },
          )
        }
        done()
      },
    )
  }

  private demand(holds: boolean, problem: string): void {
    const { oracle } = this.cluster
    if (!holds && !oracle.mayLose && !oracle.givenUp.isAnything) oracle.problems.add(problem)
  }

  private tell(client: string, kind: string, what: string, answer: Answer<Done>): void {
    const { trace } = this.world
    this.count(`${kind}: ${labelOf(answer)}`)
    trace.text(`${client} ${kind} ${what} ${answer.type}`)
    if (trace.isTold) {
      const shown = describeAnswer(
        answer,
        ({ family, position }) => `family ${family.id}${position === undefined ? '' : ` at ${position.sequence}`}`,
      )
      trace.detail(client, `${kind} ${what}: ${shown}`)
    }
  }
}

/** As a database that was asked for a family by its name knows it; throws if the node has none of that name. */
function familyOf(node: Node, name: string): Family {
  const family = node
    .shard()
    .reader()
    .families.find((one) => one.name === name)
  if (family === undefined) throw new UnknownFamily(name)
  return family
}

class UnknownFamily extends Error {
  constructor(name: string) {
    super('no such family here')
    this.name = name
  }
}

/** A family that is created anew under a name of before has nothing to do with that. */
function nameOf(family: Family, key: string): string {
  return `${family.id}:${key}`
}
