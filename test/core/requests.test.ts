/**
 * Abstract nodes with journals, epochs and a sound commit rule around the real `OwnRequests`. Primaries change, sessions
 * break and come back, frames of an old session arrive late at a primary that is overtaken, tails are cut. In no
 * committed history is a request twice; whoever was told that a write is done finds it; and when the faults stop, every
 * write is done.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { compareEpochs, type Epoch, epochZero, nextEpoch, sameEpoch } from '#src/core/position.js'
import { OwnRequests } from '#src/core/requests.js'
import { propertyRuns } from '../support/property-runs.js'

interface Entry {
  readonly epoch: Epoch
  /** Undefined: the first block of the epoch. */
  readonly origin: string | undefined
  readonly request: number
}

interface Call {
  readonly origin: string
  readonly request: number
  readonly session: Session | undefined
}

interface Session {
  readonly node: ModelNode
  readonly primary: ModelNode
  readonly epoch: Epoch
  /** On their way to the primary. */
  readonly frames: number[]
  /** On their way back: a sequence, or that it was not appended. */
  readonly answers: Array<{ readonly request: number; readonly sequence: number | undefined }>
  /** Each side notices the end by itself. */
  nodeHas: boolean
  primaryHas: boolean
}

interface ModelNode {
  readonly name: string
  log: Entry[]
  committed: number
  applied: number
  promised: Epoch
  role: { readonly epoch: Epoch; readonly epochStart: number; gathered: Call[]; told: boolean } | undefined
  session: Session | undefined
  /** Taken by the role itself, without anybody who keeps them. */
  readonly hot: Set<number>
  own: OwnRequests
  requests: number
  readonly issued: Set<number>
  readonly done: Map<number, number>
}

interface Mutation {
  /** Sends again as soon as a session stands. */
  readonly atOnce?: boolean
  /** Sends again in the same epoch without a barrier. */
  readonly noBarrier?: boolean
  /** The primary takes frames of a session whose successor it reads from. */
  readonly oldSessions?: boolean
}

class Model {
  readonly nodes: ModelNode[]
  readonly mutation: Mutation
  changes = 0
  resent = 0
  private readonly sendings = new Map<string, number>()

  constructor(count: number, mutation: Mutation = {}) {
    this.mutation = mutation
    this.nodes = ['a', 'b', 'c', 'd', 'e'].slice(0, count).map((name) => ({
      name,
      log: [],
      committed: 0,
      applied: 0,
      promised: epochZero,
      role: undefined,
      session: undefined,
      hot: new Set(),
      own: new OwnRequests(),
      requests: 0,
      issued: new Set(),
      done: new Map(),
    }))
  }

  write(node: ModelNode): void {
    node.requests += 1
    const request = node.requests
    node.issued.add(request)
    if (this.isReady(node)) {
      node.hot.add(request)
      node.role!.gathered.push({ origin: node.name, request, session: undefined })
      return
    }
    node.own.add(request, { direct: true })
    this.pump(node)
  }

  promote(node: ModelNode, others: readonly ModelNode[]): void {
    const asked = [node, ...others.filter((one) => one !== node)]
    if (asked.length * 2 <= this.nodes.length) return
    if (asked.some((one) => compareLogs(one.log, node.log) > 0)) return
    let highest = epochZero
    for (const one of asked) if (compareEpochs(one.promised, highest) > 0) highest = one.promised
    const epoch = nextEpoch(highest, node.name)
    for (const one of asked) {
      one.promised = epoch
      this.demote(one)
      this.disconnect(one)
    }
    node.log = [...node.log, { epoch, origin: undefined, request: 0 }]
    node.role = { epoch, epochStart: node.log.length, gathered: [], told: false }
    this.changes += 1
  }

  /** The role ends; its own writes are kept by the node. */
  demote(node: ModelNode): void {
    const { role } = node
    if (role === undefined) return
    node.role = undefined
    const gathered = role.gathered.filter((call) => call.origin === node.name)
    for (const request of node.hot) {
      if (gathered.some((call) => call.request === request)) node.own.add(request, { direct: true })
      else {
        const sequence = 1 + node.log.findIndex((entry) => entry.origin === node.name && entry.request === request)
        node.own.addAppended(request, role.epoch, sequence <= node.committed ? sequence : undefined)
      }
    }
    for (const call of gathered) if (!node.hot.has(call.request)) node.own.returned(call.request)
    node.hot.clear()
    node.own.end()
  }

  connect(node: ModelNode, primary: ModelNode): void {
    const { role } = primary
    if (role === undefined || node === primary || compareEpochs(role.epoch, node.promised) < 0) return
    this.demote(node)
    this.disconnect(node)
    node.promised = role.epoch
    let common = 0
    while (common < Math.min(node.log.length, primary.log.length) && node.log[common] === primary.log[common]) common++
    assert.ok(common >= node.committed, 'the model itself commits soundly')
    node.log = node.log.slice(0, common)
    // The newest connection of a node is the one that counts.
    if (this.mutation.oldSessions !== true) this.dropAt(primary, node)
    const session: Session = {
      node,
      primary,
      epoch: role.epoch,
      frames: [],
      answers: [],
      nodeHas: true,
      primaryHas: true,
    }
    this.sessions.push(session)
    node.session = session
    if (this.mutation.atOnce === true) node.own.begin(role.epoch, 0, node.applied)
    else node.own.begin(role.epoch, role.epochStart, node.applied)
    this.pump(node)
  }

  disconnect(node: ModelNode): void {
    if (node.session === undefined) return
    node.session.nodeHas = false
    node.session = undefined
    node.own.end()
  }

  /** The oldest frame of any session of this node that its primary still reads from. */
  deliver(node: ModelNode, index: number): void {
    const sessions = this.sessions.filter((one) => one.node === node && one.primaryHas && one.frames.length > 0)
    const session = sessions[index % Math.max(1, sessions.length)]
    if (session === undefined) return
    const request = session.frames.shift()!
    const { role } = session.primary
    if (role === undefined || !sameEpoch(role.epoch, session.epoch) || !this.isReady(session.primary)) {
      session.answers.push({ request, sequence: undefined })
    } else role.gathered.push({ origin: node.name, request, session })
  }

  answer(node: ModelNode): void {
    const { session } = node
    const answer = session?.answers.shift()
    if (answer === undefined) return
    if (answer.sequence !== undefined) node.own.told(answer.request, answer.sequence)
    else if (!node.own.barrierRefused(answer.request)) node.own.returned(answer.request)
    for (const request of node.own.advance(node.applied)) this.finish(node, request)
    this.pump(node)
  }

  /** A write whose time is up before it is appended. */
  refuseGathered(primary: ModelNode): void {
    const call = primary.role?.gathered.findLast((one) => one.session !== undefined)
    if (call === undefined) return
    primary.role!.gathered = primary.role!.gathered.filter((one) => one !== call)
    call.session!.answers.push({ request: call.request, sequence: undefined })
  }

  cut(primary: ModelNode, count: number): void {
    const { role } = primary
    if (role === undefined) return
    const entries = role.gathered
      .splice(0, count)
      .map(({ origin, request }) => ({ epoch: role.epoch, origin, request }))
    primary.log = [...primary.log, ...entries]
  }

  receive(node: ModelNode, count: number): void {
    const { session } = node
    if (session === undefined || !this.feeds(session)) return
    node.log = [...node.log, ...session.primary.log.slice(node.log.length, node.log.length + count)]
  }

  commit(primary: ModelNode): void {
    const { role } = primary
    if (role === undefined) return
    const lengths = this.nodes
      .map((one) => {
        if (one === primary) return one.log.length
        return one.session?.primary === primary && this.feeds(one.session) ? one.log.length : 0
      })
      .sort((x, y) => y - x)
    const held = lengths[Math.floor(this.nodes.length / 2)]!
    if (held >= role.epochStart && held > primary.committed) primary.committed = held
    this.check(primary)
  }

  learn(node: ModelNode): void {
    const { session } = node
    if (session === undefined || !this.feeds(session)) return
    node.committed = Math.max(node.committed, Math.min(session.primary.committed, node.log.length))
  }

  apply(node: ModelNode, count: number): void {
    const to = Math.min(node.committed, node.applied + count)
    for (; node.applied < to; node.applied++) {
      const entry = node.log[node.applied]!
      if (entry.origin !== node.name) continue
      node.own.seen(entry.request)
      this.finish(node, entry.request)
    }
    for (const request of node.own.advance(node.applied)) this.finish(node, request)
    const { role } = node
    if (role !== undefined && !role.told && node.applied >= role.epochStart) {
      role.told = true
      node.own.begin(role.epoch, role.epochStart, node.applied)
    }
    this.pump(node)
  }

  /** Faults stop: one leads, all follow, everything arrives. */
  settle(): void {
    const best = this.nodes.reduce((x, y) => (compareLogs(y.log, x.log) > 0 ? y : x))
    this.promote(best, this.nodes)
    for (const node of this.nodes) this.connect(node, best)
    for (let round = 0; round < 40; round++) {
      for (const node of this.nodes) {
        while (node.session !== undefined && node.session.frames.length > 0) this.deliver(node, 0)
        this.cut(best, 1000)
        this.receive(node, 1000)
      }
      this.commit(best)
      for (const node of this.nodes) {
        this.learn(node)
        this.apply(node, 1000)
        while (node.session !== undefined && node.session.answers.length > 0) this.answer(node)
      }
    }
    const committed = new Set(best.log.slice(0, best.committed).map(nameOf))
    for (const node of this.nodes) {
      for (const request of node.issued) {
        assert.ok(node.done.has(request), `write ${request} of ${node.name} is done`)
        assert.ok(committed.has(`${node.name} ${request}`), `write ${request} of ${node.name} is in the history`)
      }
    }
  }

  private readonly sessions: Session[] = []

  private isReady(node: ModelNode): boolean {
    return node.role !== undefined && node.applied >= node.role.epochStart
  }

  /** Blocks flow, and acknowledgements count. */
  private feeds(session: Session): boolean {
    const { role } = session.primary
    if (role === undefined || !session.nodeHas || !session.primaryHas) return false
    return sameEpoch(role.epoch, session.epoch) && sameEpoch(session.node.promised, session.epoch)
  }

  private dropAt(primary: ModelNode, node: ModelNode): void {
    for (const session of this.sessions)
      if (session.node === node && session.primary === primary) session.primaryHas = false
  }

  private pump(node: ModelNode): void {
    const { own, session } = node
    const send = (request: number) => {
      if (session !== undefined) session.frames.push(request)
      else node.role!.gathered.push({ origin: node.name, request, session: undefined })
    }
    if (session === undefined && !this.isReady(node)) return
    if (own.wantsBarrier) {
      node.requests += 1
      own.barrierSent(node.requests)
      if (this.mutation.noBarrier === true) own.seen(node.requests)
      else send(node.requests)
    }
    for (let request = own.next; request !== undefined; request = own.next) {
      own.sent(request)
      const name = `${node.name} ${request}`
      this.sendings.set(name, (this.sendings.get(name) ?? 0) + 1)
      if (this.sendings.get(name) === 2) this.resent += 1
      send(request)
    }
  }

  private finish(node: ModelNode, request: number): void {
    node.own.remove(request)
    node.hot.delete(request)
    if (node.issued.has(request) && !node.done.has(request)) node.done.set(request, node.applied)
  }

  private check(primary: ModelNode): void {
    const found = new Set<string>()
    for (const entry of primary.log.slice(0, primary.committed)) {
      if (entry.origin === undefined) continue
      const name = nameOf(entry)
      assert.ok(!found.has(name), `${name} is twice in the history`)
      found.add(name)
    }
  }
}

function nameOf(entry: Entry): string {
  return `${entry.origin} ${entry.request}`
}

function compareLogs(a: readonly Entry[], b: readonly Entry[]): number {
  return compareEpochs(a.at(-1)?.epoch ?? epochZero, b.at(-1)?.epoch ?? epochZero) || a.length - b.length
}

const step = fc.record({ dice: fc.nat(99), a: fc.nat(4), b: fc.nat(4), mask: fc.nat(31) })
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

function play(model: Model, { dice, a, b, mask }: Step): void {
  const { nodes } = model
  const one = nodes[a % nodes.length]!
  const leaders = nodes.filter((node) => node.role !== undefined)
  const newest = leaders.reduce<ModelNode | undefined>(
    (x, y) => (x === undefined || compareEpochs(y.role!.epoch, x.role!.epoch) > 0 ? y : x),
    undefined,
  )
  const leader = (b % 4 === 0 ? leaders[mask % Math.max(1, leaders.length)] : newest) ?? one
  const some = nodes.filter((_, index) => (mask & (1 << index)) !== 0)
  if (dice < 14) model.write(one)
  else if (dice < 24) model.connect(one, leader)
  else if (dice < 36) model.deliver(one, mask)
  else if (dice < 44) model.cut(leader, 1 + (mask % 3))
  else if (dice < 58) model.receive(one, 1 + (mask % 4))
  else if (dice < 66) model.commit(leader)
  else if (dice < 74) model.learn(one)
  else if (dice < 84) model.apply(one, 1 + (mask % 3))
  else if (dice < 89) model.answer(one)
  else if (dice < 91) model.refuseGathered(leader)
  else if (dice < 95) model.disconnect(one)
  else if (dice < 97) model.promote(one, some)
  else {
    // Most of what is on its way arrives.
    for (let left = 0; left < 3; left++) model.deliver(one, 0)
    model.cut(leader, 100)
    for (const node of nodes) model.receive(node, 100)
    model.commit(leader)
    for (const node of some) {
      model.learn(node)
      model.apply(node, 100)
    }
  }
}

const steps = fc.array(fc.noBias(step), { minLength: 150, maxLength: 400, size: 'max' })

function run(count: number, mutation: Mutation, moves: readonly Step[]): Model {
  const model = new Model(count, mutation)
  model.promote(model.nodes[0]!, model.nodes)
  for (const one of moves) play(model, one)
  model.settle()
  return model
}

describe("a node's own requests", { timeout: 120_000 }, () => {
  for (const count of [3, 5]) {
    test(`S9: ${count} nodes: no request is twice in a history, and every one ends up in it, whatever happens in which order`, () => {
      let changes = 0
      let resent = 0
      let writes = 0
      fc.assert(
        fc.property(steps, (moves) => {
          const model = run(count, {}, moves)
          changes += model.changes
          resent += model.resent
          for (const node of model.nodes) writes += node.issued.size
        }),
        { numRuns: propertyRuns(1500) },
      )
      assert.ok(
        changes > propertyRuns(400) && resent > propertyRuns(200) && writes > propertyRuns(4000),
        `${changes} changes, ${resent} resent, ${writes} writes`,
      )
    })
  }

  for (const [what, mutation] of [
    ['sent again before the first block of the epoch is applied', { atOnce: true }],
    ['sent again in the same epoch without a barrier', { noBarrier: true }],
    ['read from a session after its successor', { oldSessions: true }],
  ] as const) {
    test(`S9: the model is not blind: ${what}, a request is twice in a history`, () => {
      const result = fc.check(
        fc.property(steps, (moves) => {
          run(3, mutation, moves)
        }),
        { numRuns: 400, endOnFailure: true },
      )
      assert.match(String(result.errorInstance), /is twice in the history/)
    })
  }

  test('S9: what was sent is sent again only when its absence is known', () => {
    const own = new OwnRequests()
    const first = nextEpoch(epochZero, 'a')
    const second = nextEpoch(first, 'b')
    own.begin(first, 1, 1)
    own.add(1, { direct: true })
    own.add(2, { direct: true })
    own.sent(own.next!)
    own.sent(own.next!)
    assert.equal(own.outcomeOf(1), 'unknown')
    own.end()
    own.begin(second, 5, 3)
    assert.equal(own.next, undefined, 'the first block of the epoch is not applied here yet')
    own.seen(2)
    own.advance(4)
    assert.equal(own.next, undefined)
    own.advance(5)
    assert.equal(own.next, 1)
    assert.equal(own.outcomeOf(1), 'none')
    assert.equal(own.outcomeOf(2), 'done')
  })

  test('S9: a connection that was lost within an epoch is settled by a barrier, families are not', () => {
    const own = new OwnRequests()
    const epoch = nextEpoch(epochZero, 'a')
    own.begin(epoch, 1, 1)
    own.add(1, { direct: true })
    own.add(2, { direct: false })
    own.sent(1)
    own.sent(2)
    own.end()
    own.begin(epoch, 1, 7)
    assert.equal(own.next, undefined)
    assert.ok(own.wantsBarrier)
    own.barrierSent(3)
    assert.ok(!own.wantsBarrier)
    assert.ok(own.barrierRefused(3))
    assert.ok(own.wantsBarrier, 'another one in its place')
    own.barrierSent(4)
    own.seen(4)
    assert.equal(own.next, 1)
    own.sent(1)
    assert.equal(own.next, undefined, 'the primary may still append the other one')
    assert.equal(own.outcomeOf(2), 'unknown')
  })
})
