/**
 * Abstract nodes around the real decisions: who may join, what is committed, who may be promoted, what is cut at a
 * rejoin. Messages may be late, sessions break at any point, promotions overlap. After every step: a committed
 * sequence is the same everywhere and for ever (I1, I2), and no promotion begins without all of them.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { answerSubscription, decideRejoin } from '#src/core/history.js'
import { InSyncState, type MemberProgress } from '#src/core/in-sync.js'
import { compareEpochs, type Epoch, epochZero, formatEpoch, higherEpoch, sameEpoch } from '#src/core/position.js'
import { confirmPromotion, decidePromotion, type PeerState, type PromotionDecision } from '#src/core/promotion.js'
import { compareRecords, type Member, type ShardRecord, sameMember } from '#src/core/record.js'
import { propertyRuns } from '../support/property-runs.js'
import { type Entry, epochsOf, positionAt } from './model-journal.js'
import { member, record } from './support.js'

interface Session {
  readonly primary: ModelNode
  readonly epoch: Epoch
  /** Acknowledgements that were sent and have not arrived. */
  readonly acks: MemberProgress[]
  begun: boolean
  recordVersion: number
}

interface ModelNode {
  readonly name: string
  readonly member: Member
  log: Entry[]
  committed: number
  promised: Epoch
  record: ShardRecord
  lead: InSyncState | undefined
  session: Session | undefined
  pending: Extract<PromotionDecision, { type: 'promote' }> | undefined
}

class Model {
  readonly nodes: ModelNode[]
  /** What was ever committed, by sequence. */
  readonly history: string[] = []
  promotions = 0
  private writes = 0

  constructor(count: number, inSyncMin: number) {
    const names = ['a', 'b', 'c', 'd', 'e'].slice(0, count)
    const first = record(['a'], {
      voters: names,
      settings: { durability: 'standby', inSyncMin, failoverMs: 1000, inSyncTimeoutMs: 1000 },
    })
    this.nodes = names.map((name) => ({
      name,
      member: member(name),
      log: [],
      committed: 0,
      promised: first.epoch,
      record: first,
      lead: undefined,
      session: undefined,
      pending: undefined,
    }))
    this.begin(this.nodes[0]!, first)
  }

  // What may happen

  write(node: ModelNode): void {
    if (node.lead === undefined) return
    this.writes += 1
    this.append(node, { epoch: node.lead.epoch, id: `${formatEpoch(node.lead.epoch)} w${this.writes}` })
  }

  connect(node: ModelNode, primary: ModelNode): void {
    const { lead } = primary
    if (lead === undefined || node === primary || compareEpochs(lead.epoch, node.promised) < 0) return
    this.disconnect(node)
    this.promise(node, lead.epoch)
    const subscriber = { position: positionAt(node.log, node.log.length)!, epochs: epochsOf(node.log) }
    const view = {
      base: positionAt([], 0)!,
      end: positionAt(primary.log, primary.log.length)!,
      epochs: epochsOf(primary.log),
    }
    const answer = answerSubscription(view, subscriber, positionAt(primary.log, node.log.length))
    assert.notEqual(answer.type, 'too-old')
    if (answer.type === 'diverged') {
      const decision = decideRejoin({
        common: positionAt(primary.log, answer.commonSequence)!,
        base: positionAt([], 0)!,
        end: subscriber.position,
        here: positionAt(node.log, answer.commonSequence),
        committed: node.committed,
        applied: node.committed,
        mayUndo: false,
        lossySince: epochZero,
      })
      assert.equal(decision.type, 'truncate', `${node.name} has committed what ${primary.name} does not have`)
      if (decision.type !== 'truncate') return
      node.log = node.log.slice(0, decision.to.sequence)
    }
    const held = lead.record
    if (compareRecords(held, node.record) > 0) node.record = held
    node.session = { primary, epoch: lead.epoch, acks: [], begun: false, recordVersion: held.version }
    this.acknowledge(node)
  }

  receive(node: ModelNode, count: number): void {
    const { session } = node
    if (!this.isLive(node) || session === undefined) return
    const { log } = session.primary
    node.log.push(...log.slice(node.log.length, node.log.length + count))
    node.committed = Math.max(node.committed, Math.min(session.primary.committed, node.log.length))
    this.acknowledge(node)
  }

  storeRecord(node: ModelNode): void {
    const { session } = node
    if (!this.isLive(node) || session === undefined) return
    const told = session.primary.record
    if (!sameEpoch(told.epoch, session.epoch) || told.version <= session.recordVersion) return
    node.record = told
    session.recordVersion = told.version
    this.acknowledge(node)
  }

  deliver(node: ModelNode): void {
    const { session } = node
    const lead = session?.primary.lead
    if (session === undefined || lead === undefined || !sameEpoch(lead.epoch, session.epoch)) return
    const ack = session.acks.shift()
    if (ack === undefined) return
    if (session.begun) lead.onAck(node.member, session.epoch, ack)
    else lead.onSession(node.member, ack)
    session.begun = true
    this.progress(session.primary)
  }

  disconnect(node: ModelNode): void {
    const { session } = node
    node.session = undefined
    const lead = session?.primary.lead
    if (session === undefined || lead === undefined || !sameEpoch(lead.epoch, session.epoch)) return
    lead.onSessionEnd(node.member)
    const back = lead.takeBackOf()
    if (back !== undefined) lead.propose(back)
    this.progress(session.primary)
  }

  join(primary: ModelNode, node: ModelNode): void {
    const next = primary.lead?.joinOf(node.member)
    if (next !== undefined) primary.lead?.propose(next)
  }

  leave(primary: ModelNode, node: ModelNode): void {
    const { lead } = primary
    if (lead === undefined || lead.changing) return
    const next = lead.leaveOf(node.name)
    if (next !== undefined) lead.propose(next)
  }

  /** The primary stores its newest record; only then may others be told. */
  storeOwnRecord(primary: ModelNode): void {
    if (primary.lead === undefined) return
    primary.record = primary.lead.record
    primary.lead.onOwnRecordDurable(primary.record.version)
    this.progress(primary)
  }

  /** A process start: what was in memory only is gone. */
  restart(node: ModelNode): void {
    for (const other of this.nodes) if (other.session?.primary === node) other.session = undefined
    this.disconnect(node)
    node.lead = undefined
    node.pending = undefined
  }

  /** First half of a promotion: ask, decide, promise the own epoch. */
  ask(node: ModelNode, reachable: readonly ModelNode[]): void {
    if (node.lead !== undefined) return
    this.disconnect(node)
    const decision = decidePromotion({
      self: node.member,
      record: node.record,
      promised: node.promised,
      durable: positionAt(node.log, node.log.length)!,
      committed: node.committed,
      committedEnd: positionAt(node.log, node.committed)!,
      holdsFloor: true,
      nonce: 'f'.repeat(32),
      answers: reachable.filter((other) => other !== node).map(stateOf),
      force: false,
    })
    if (decision.type === 'refuse') return
    this.promise(node, decision.epoch)
    node.pending = decision
  }

  /** Second half: have it promised by others, then lead. */
  fence(node: ModelNode, reachable: readonly ModelNode[]): void {
    const decision = node.pending
    node.pending = undefined
    if (decision === undefined || !sameEpoch(node.promised, decision.epoch)) return
    const promises = reachable.filter((other) => other !== node)
    for (const other of promises) this.promise(other, decision.epoch)
    if (confirmPromotion(decision, promises.map(stateOf)) !== undefined) return
    this.promotions += 1
    for (const [index, id] of this.history.entries()) {
      assert.equal(node.log[index]?.id, id, `${node.name} is promoted without committed sequence ${index + 1}`)
    }
    node.record = decision.record
    this.begin(node, decision.record)
  }

  // What follows from it

  private begin(node: ModelNode, held: ShardRecord): void {
    node.lead = new InSyncState({
      record: held,
      recordHeldBy: 'members',
      self: node.member,
      epochStart: node.log.length + 1,
      durable: node.log.length,
      applied: node.committed,
      committed: node.committed,
    })
    node.lead.onOwnRecordDurable(held.version)
    this.append(node, { epoch: held.epoch, id: `${formatEpoch(held.epoch)} start` })
  }

  private append(node: ModelNode, entry: Entry): void {
    node.log.push(entry)
    node.lead?.onOwnProgress(node.log.length, node.committed)
    this.progress(node)
  }

  private acknowledge(node: ModelNode): void {
    node.session?.acks.push({
      durable: node.log.length,
      applied: node.committed,
      recordVersion: node.session.recordVersion,
    })
  }

  /** A session in which the standby still speaks: it promised nothing higher since. */
  private isLive(node: ModelNode): boolean {
    const { session } = node
    if (session === undefined || compareEpochs(node.promised, session.epoch) > 0) return false
    return session.primary.lead !== undefined && sameEpoch(session.primary.lead.epoch, session.epoch)
  }

  private promise(node: ModelNode, epoch: Epoch): void {
    node.promised = higherEpoch(node.promised, epoch)
    if (node.lead !== undefined && compareEpochs(node.lead.epoch, node.promised) < 0) node.lead = undefined
  }

  private progress(node: ModelNode): void {
    const { lead } = node
    if (lead === undefined) return
    node.committed = Math.max(node.committed, lead.committed)
    for (let index = 0; index < node.committed; index++) {
      const id = node.log[index]?.id
      assert.ok(id !== undefined, 'only what is here is committed')
      this.history[index] ??= id
      assert.equal(this.history[index], id, `two histories have committed sequence ${index + 1}`)
    }
  }
}

function stateOf(node: ModelNode): PeerState {
  return {
    member: node.member,
    state: 'streaming',
    promised: node.promised,
    historyId: node.record.historyId,
    record: node.record,
    durable: positionAt(node.log, node.log.length),
    committed: node.committed,
    votes: true,
  }
}

const step = fc.record({ dice: fc.nat(99), a: fc.nat(4), b: fc.nat(4), mask: fc.nat(31) })

function play(model: Model, { dice, a, b, mask }: { dice: number; a: number; b: number; mask: number }): void {
  const { nodes } = model
  const one = nodes[a % nodes.length]!
  const other = nodes[b % nodes.length]!
  const leader = nodes.filter((node) => node.lead !== undefined)[b % 3] ?? other
  const reachable = nodes.filter((_, index) => (mask & (1 << index)) !== 0 || (dice + index) % 3 === 0)
  if (dice < 10) model.write(leader)
  else if (dice < 20) model.connect(one, leader)
  else if (dice < 30) model.receive(one, 1 + (mask % 4))
  else if (dice < 38) model.storeRecord(one)
  else if (dice < 50) model.deliver(one)
  else if (dice < 54) model.disconnect(one)
  else if (dice < 62) model.join(leader, one)
  else if (dice < 65) model.leave(leader, one)
  else if (dice < 72) model.storeOwnRecord(leader)
  else if (dice < 73) model.restart(one)
  else if (dice < 76) model.ask(one, reachable)
  else if (dice < 79) model.fence(nodes.find((node) => node.pending !== undefined) ?? one, reachable)
  else {
    // Everything on its way arrives.
    model.storeOwnRecord(leader)
    model.receive(one, 100)
    model.storeRecord(one)
    for (let left = one.session?.acks.length ?? 0; left > 0; left--) model.deliver(one)
  }
}

for (const [count, inSyncMin] of [
  [3, 2],
  [2, 2],
  [5, 2],
  [5, 3],
  [3, 1],
] as const) {
  test(`I1, I2: ${count} nodes, inSyncMin ${inSyncMin}: nothing committed is lost or forked, whatever happens in which order`, () => {
    let committed = 0
    let promotions = 0
    fc.assert(
      fc.property(fc.array(fc.noBias(step), { minLength: 200, maxLength: 500, size: 'max' }), (steps) => {
        const model = new Model(count, inSyncMin)
        for (const one of steps) play(model, one)
        committed += model.history.length
        promotions += model.promotions
      }),
      { numRuns: propertyRuns(800) },
    )
    assert.ok(
      committed > propertyRuns(50) && promotions > propertyRuns(30),
      `too little happened: ${committed} committed, ${promotions} promotions`,
    )
  })
}

test('the model is not blind: a promotion that asks nobody loses what was committed', () => {
  const model = new Model(3, 2)
  const [a, b, c] = model.nodes as [ModelNode, ModelNode, ModelNode]
  const settle = () => {
    for (const node of [b, c]) {
      model.receive(node, 10)
      model.storeRecord(node)
      while (node.session?.acks.length) model.deliver(node)
    }
  }
  for (const node of [b, c]) model.connect(node, a)
  settle()
  for (const node of [b, c]) {
    model.join(a, node)
    model.storeOwnRecord(a)
    settle()
  }
  assert.deepEqual(
    a.lead?.members.map((one) => one.node),
    ['a', 'b', 'c'],
  )
  model.leave(a, c)
  model.storeOwnRecord(a)
  c.session = undefined
  settle()
  model.write(a)
  settle()
  assert.ok(a.committed > c.log.length, 'committed without c, which still believes to be a member')
  model.ask(c, [])
  assert.equal(c.pending, undefined, 'c alone is refused')
  model.ask(c, [b])
  assert.equal(c.pending, undefined, 'c learns from b that it is no member')
  assert.ok(sameMember(b.record.primary, a.member))
})
