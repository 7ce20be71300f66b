/**
 * Abstract nodes around the real decisions under an automatic coordinator: its record changes by compare-and-swap alone,
 * which may take effect late, or whose reply is lost. Takeovers, switchovers and changes of the set overlap, sessions
 * break at any point, processes restart and forget. After every step: what was ever committed is in the journal of
 * whoever leads next (I1), no two histories commit one sequence (I2), and whoever holds a read lease has committed
 * everything that anybody has (I7).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { answerSubscription, decideRejoin } from '#src/core/history.js'
import { InSyncState, type MemberProgress } from '#src/core/in-sync.js'
import { LeasePromise, ReadLease } from '#src/core/lease.js'
import {
  compareEpochs,
  type Epoch,
  epochZero,
  formatEpoch,
  higherEpoch,
  nextEpoch,
  sameEpoch,
} from '#src/core/position.js'
import { compareRecords, type Member, type ShardRecord, sameMember } from '#src/core/record.js'
import { decideTakeover, type MemberState } from '#src/core/takeover.js'
import { timingsOf } from '#src/core/timings.js'
import { propertyRuns } from '../support/property-runs.js'
import { type Entry, epochsOf, positionAt } from './model-journal.js'
import { member, record } from './support.js'

const timings = timingsOf({ failoverMs: 1000, inSyncTimeoutMs: 1000 })

interface Session {
  readonly primary: ModelNode
  readonly epoch: Epoch
  readonly acks: MemberProgress[]
  /** Requests for a promise that have not arrived, and promises that have not come back. */
  readonly asked: number[]
  readonly promises: number[]
  begun: boolean
}

interface Swap {
  readonly owner: ModelNode
  /** Of the owner, when it was sent: another process does not hear the reply. */
  readonly boot: number
  readonly kind: 'change' | 'take' | 'hand-over' | 'own'
  readonly expected: number
  readonly next: ShardRecord
  /** What came of it, on its way back. */
  reply: { readonly found: ShardRecord; readonly revision: number } | undefined
}

interface Lead {
  readonly set: InSyncState
  readonly lease: ReadLease
  revision: number
  paused: boolean
}

interface ModelNode {
  readonly name: string
  readonly member: Member
  boot: number
  log: Entry[]
  committed: number
  promised: Epoch
  led: Epoch
  stored: ShardRecord
  /** The coordinator's, as this node last saw it. */
  seen: { readonly found: ShardRecord; readonly revision: number }
  lead: Lead | undefined
  session: Session | undefined
  promise: LeasePromise
  /** Revision at which its last takeover was sent, while that may still happen. */
  swapSentAt: number | undefined
}

class Model {
  readonly nodes: ModelNode[]
  readonly history: string[] = []
  /** The epoch whose primary committed each of them first. */
  private readonly committedIn: Epoch[] = []
  takeovers = 0
  handOvers = 0
  leasedReads = 0
  private held: { found: ShardRecord; revision: number }
  private swaps: Swap[] = []
  private nowMs = 10_000
  private writes = 0
  private nonces = 0

  constructor(count: number, inSyncMin: number) {
    const names = ['a', 'b', 'c', 'd', 'e'].slice(0, count)
    const settings = { durability: 'standby', inSyncMin, failoverMs: 1000, inSyncTimeoutMs: 1000 } as const
    const first = record(['a'], { voters: [], settings })
    this.held = { found: first, revision: 1 }
    this.nodes = names.map((name) => ({
      name,
      member: member(name),
      boot: 0,
      log: [],
      committed: 0,
      promised: epochZero,
      led: epochZero,
      stored: first,
      seen: this.held,
      lead: undefined,
      session: undefined,
      promise: new LeasePromise(0, timings.promiseMs),
      swapSentAt: undefined,
    }))
    this.begin(this.nodes[0]!, this.held)
  }

  // Time, and reads

  pass(ms: number): void {
    this.nowMs += ms
    for (const node of this.nodes) this.read(node)
  }

  /** A linearizable read must show everything that was ever committed. */
  private read(node: ModelNode): void {
    const { lead } = node
    if (lead === undefined || node.committed < lead.set.epochStart) return
    // Alone it would rest on its registration, which is no part of this model.
    if (lead.set.waitedFor.length === 1) return
    const untilMs = lead.lease.validUntilMs(lead.set.waitedFor, node.member)
    if (untilMs === undefined || this.nowMs >= untilMs) return
    this.leasedReads += 1
    assert.ok(
      node.committed >= this.history.length,
      `${node.name} reads ${node.committed} of ${this.history.length} committed, in epoch ${formatEpoch(lead.set.epoch)}`,
    )
  }

  // Journal and sessions

  write(node: ModelNode): void {
    const { lead } = node
    if (lead === undefined || lead.paused) return
    this.writes += 1
    this.append(node, { epoch: lead.set.epoch, id: `${formatEpoch(lead.set.epoch)} w${this.writes}` })
  }

  connect(node: ModelNode, primary: ModelNode): void {
    const { lead } = primary
    if (lead === undefined || node === primary || node.lead !== undefined) return
    if (compareEpochs(lead.set.epoch, node.promised) < 0) return
    this.disconnect(node)
    this.observe(node, lead.set.epoch)
    const empty = positionAt([], 0)!
    const subscriber = { position: positionAt(node.log, node.log.length)!, epochs: epochsOf(node.log) }
    const view = { base: empty, end: positionAt(primary.log, primary.log.length)!, epochs: epochsOf(primary.log) }
    const answer = answerSubscription(view, subscriber, positionAt(primary.log, node.log.length))
    assert.notEqual(answer.type, 'too-old')
    if (answer.type === 'diverged') {
      const decision = decideRejoin({
        common: positionAt(primary.log, answer.commonSequence)!,
        base: empty,
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
    node.session = { primary, epoch: lead.set.epoch, acks: [], asked: [], promises: [], begun: false }
    this.acknowledge(node)
  }

  receive(node: ModelNode, count: number): void {
    const { session } = node
    if (!this.isLive(node) || session === undefined) return
    node.log.push(...session.primary.log.slice(node.log.length, node.log.length + count))
    node.committed = Math.max(node.committed, Math.min(session.primary.committed, node.log.length))
    this.acknowledge(node)
  }

  deliver(node: ModelNode): void {
    const { session } = node
    const lead = this.leadOf(session)
    const ack = lead === undefined ? undefined : session!.acks.shift()
    if (lead === undefined || ack === undefined) return
    if (session!.begun) lead.set.onAck(node.member, session!.epoch, ack)
    else lead.set.onSession(node.member, ack)
    session!.begun = true
    this.progress(session!.primary)
  }

  disconnect(node: ModelNode): void {
    const { session } = node
    node.session = undefined
    this.leadOf(session)?.set.onSessionEnd(node.member)
  }

  // Leases

  ask(primary: ModelNode): void {
    const { lead } = primary
    if (lead === undefined || lead.paused) return
    const id = lead.lease.request(this.nowMs)
    for (const node of this.nodes) if (this.leadOf(node.session) === lead) node.session!.asked.push(id)
  }

  promiseTo(node: ModelNode): void {
    const id = this.isLive(node) ? node.session!.asked.shift() : undefined
    if (id === undefined) return
    const { session, seen } = node
    if (compareEpochs(seen.found.epoch, session!.epoch) > 0) return
    if (node.swapSentAt !== undefined && seen.revision <= node.swapSentAt) return
    node.promise.give(this.nowMs)
    session!.promises.push(id)
  }

  deliverPromise(node: ModelNode): void {
    const lead = this.leadOf(node.session)
    const id = lead === undefined ? undefined : node.session!.promises.shift()
    if (id === undefined) return
    lead?.lease.onPromise(node.member, id)
    this.read(node.session!.primary)
  }

  // Changes of the record

  join(primary: ModelNode, node: ModelNode): void {
    const { lead } = primary
    const next = lead?.set.joinOf(node.member)
    if (lead === undefined || next === undefined || lead.paused) return
    if (!lead.lease.hasPromise(node.member, this.nowMs)) return
    this.propose(primary, lead, next)
  }

  leave(primary: ModelNode, node: ModelNode): void {
    const { lead } = primary
    if (lead === undefined || lead.paused || lead.set.changing) return
    const next = lead.set.leaveOf(node.name)
    if (next !== undefined) this.propose(primary, lead, next)
  }

  renew(primary: ModelNode): void {
    const next = primary.lead?.set.renewalOf()
    if (primary.lead !== undefined && next !== undefined && !primary.lead.paused)
      this.propose(primary, primary.lead, next)
  }

  private propose(primary: ModelNode, lead: Lead, change: ShardRecord): void {
    const next = { ...change, nonce: this.nonce() }
    lead.set.propose(next)
    this.send(primary, 'change', lead.revision, next)
  }

  handOver(primary: ModelNode, target: ModelNode): void {
    const { lead } = primary
    if (lead === undefined || lead.paused || lead.set.changing || primary.committed < lead.set.epochStart) return
    const progress = lead.set.progressOf(target.member)
    const isMember = lead.set.members.some((one) => sameMember(one, target.member))
    if (!isMember || target === primary || progress === undefined) return
    if (progress.durable < primary.log.length || lead.set.committed < primary.log.length) return
    lead.paused = true
    lead.lease.revoke()
    const next: ShardRecord = {
      ...lead.set.record,
      epoch: nextEpoch(primary.promised, target.name),
      primary: target.member,
      version: lead.set.record.version + 1,
      nonce: this.nonce(),
      floor: lead.set.floorNow,
      handedOver: true,
    }
    this.send(primary, 'hand-over', lead.revision, next)
  }

  /** Nobody heard the primary: whoever may leads, by what the coordinator says now. */
  takeOver(node: ModelNode, reachable: readonly ModelNode[], force = false): void {
    if (node.lead !== undefined) return
    this.disconnect(node)
    this.see(node)
    const { found, revision } = this.held
    if (node.lead !== undefined) return
    const floorHere = positionAt(node.log, found.floor.sequence)
    const decision = decideTakeover({
      nowMs: this.nowMs,
      self: node.member,
      record: found,
      promised: node.promised,
      led: node.led,
      durable: positionAt(node.log, node.log.length)!,
      committedEnd: positionAt(node.log, node.committed)!,
      holdsFloor: floorHere?.chain === found.floor.chain || found.floor.sequence === 0,
      unfit: undefined,
      promiseUntilMs: force ? 0 : node.promise.untilMs,
      hearsPrimary: false,
      heardAtMs: 0,
      coolUntilMs: 0,
      answers: reachable.filter((other) => other !== node).map(stateOf),
      jitter: 0,
      nonce: this.nonce(),
      timings,
    })
    if (decision.type === 'take') {
      node.swapSentAt = revision
      this.send(node, 'take', revision, decision.record)
    } else if (decision.type === 'lead') this.begin(node, this.held)
  }

  private send(owner: ModelNode, kind: Swap['kind'], expected: number, next: ShardRecord): void {
    this.swaps.push({ owner, boot: owner.boot, kind, expected, next, reply: undefined })
    // What nobody waits for any more is lost sooner or later.
    if (this.swaps.length > 12) this.swaps.shift()
  }

  /** A swap arrives at the store. */
  apply(index: number): void {
    const swap = this.swaps[index % Math.max(1, this.swaps.length)]
    if (swap === undefined || swap.reply !== undefined) return
    if (swap.expected === this.held.revision) this.held = { found: swap.next, revision: this.held.revision + 1 }
    swap.reply = this.held
  }

  /** The reply is lost: the owner sends the very same swap again, or gives up. */
  lose(index: number, isGivenUp: boolean): void {
    const swap = this.swaps[index % Math.max(1, this.swaps.length)]
    if (swap === undefined || !this.isAwaited(swap)) return
    if (swap.reply !== undefined) this.remove(swap)
    if (swap.kind === 'take' && isGivenUp) {
      // It stays on its way.
      this.swaps = this.swaps.map((one) => (one === swap ? { ...swap, boot: -1 } : one))
      return
    }
    const { lead } = swap.owner
    if (swap.kind === 'hand-over' && isGivenUp && lead !== undefined) {
      this.swaps = this.swaps.map((one) => (one === swap ? { ...swap, boot: -1 } : one))
      const own = { ...lead.set.record, version: swap.next.version, nonce: this.nonce() }
      this.send(swap.owner, 'own', swap.expected, own)
      return
    }
    this.send(swap.owner, swap.kind, swap.expected, swap.next)
  }

  reply(index: number): void {
    const swap = this.swaps[index % Math.max(1, this.swaps.length)]
    if (swap?.reply === undefined) return
    this.remove(swap)
    if (!this.isAwaited(swap)) return
    const { owner, kind, next, reply } = swap
    const isMine = reply.found.nonce === next.nonce
    // Another copy of it decides nothing any more.
    for (const other of [...this.swaps]) if (other.next === next && other.reply !== undefined) this.remove(other)
    owner.seen = reply.revision > owner.seen.revision ? reply : owner.seen
    if (kind === 'take') {
      owner.swapSentAt = undefined
      if (isMine) this.begin(owner, reply)
      return
    }
    const lead = owner.lead!
    if (!isMine || kind === 'hand-over') {
      this.demote(owner)
      return
    }
    lead.revision = reply.revision
    if (kind === 'own') {
      lead.set.propose(next)
      lead.paused = false
    }
    lead.set.onSwapped(next)
    owner.stored = next
    this.progress(owner)
  }

  /** The watch tells. */
  see(node: ModelNode): void {
    node.seen = this.held
    const { found } = this.held
    if (compareRecords(found, node.stored) > 0) node.stored = found
    if (node.lead !== undefined && compareEpochs(found.epoch, node.lead.set.epoch) > 0) {
      this.demote(node)
      this.observe(node, found.epoch)
    }
  }

  restart(node: ModelNode): void {
    for (const other of this.nodes) if (other.session?.primary === node) other.session = undefined
    this.disconnect(node)
    node.boot += 1
    node.lead = undefined
    node.swapSentAt = undefined
    node.promise = new LeasePromise(this.nowMs, timings.promiseMs)
  }

  // What follows from it

  private begin(node: ModelNode, held: { readonly found: ShardRecord; readonly revision: number }): void {
    const { found, revision } = held
    node.promised = higherEpoch(node.promised, found.epoch)
    if (node.lead !== undefined || !sameEpoch(node.promised, found.epoch)) return
    this.disconnect(node)
    if (found.epoch.number > 1) {
      if (found.handedOver) this.handOvers += 1
      else this.takeovers += 1
    }
    for (const [index, id] of this.history.entries()) {
      // A reply that comes late makes a primary of a past epoch: it lacks what was committed since, and commits nothing.
      if (compareEpochs(this.committedIn[index]!, found.epoch) > 0) continue
      assert.equal(node.log[index]?.id, id, `${node.name} leads without committed sequence ${index + 1}`)
    }
    node.led = found.epoch
    node.stored = found
    const set = new InSyncState({
      record: found,
      recordHeldBy: 'coordinator',
      self: node.member,
      epochStart: node.log.length + 1,
      durable: node.log.length,
      applied: node.committed,
      committed: node.committed,
    })
    node.lead = { set, lease: new ReadLease(timings.leaseMs), revision, paused: false }
    this.append(node, { epoch: found.epoch, id: `${formatEpoch(found.epoch)} start` })
  }

  private demote(node: ModelNode): void {
    node.lead = undefined
  }

  private append(node: ModelNode, entry: Entry): void {
    const { set } = node.lead!
    node.log.push(entry)
    set.onBlock(positionAt(node.log, node.log.length)!)
    set.onOwnProgress(node.log.length, node.committed)
    this.progress(node)
  }

  private acknowledge(node: ModelNode): void {
    node.session?.acks.push({ durable: node.log.length, applied: node.committed, recordVersion: 0 })
  }

  private isLive(node: ModelNode): boolean {
    const { session } = node
    return (
      session !== undefined && compareEpochs(node.promised, session.epoch) <= 0 && this.leadOf(session) !== undefined
    )
  }

  private leadOf(session: Session | undefined): Lead | undefined {
    const lead = session?.primary.lead
    return lead !== undefined && sameEpoch(lead.set.epoch, session!.epoch) ? lead : undefined
  }

  private observe(node: ModelNode, epoch: Epoch): void {
    node.promised = higherEpoch(node.promised, epoch)
    if (node.lead !== undefined && compareEpochs(node.lead.set.epoch, node.promised) < 0) this.demote(node)
  }

  private isAwaited(swap: Swap): boolean {
    const { owner, boot, kind, next } = swap
    if (owner.boot !== boot) return false
    if (kind === 'take') return owner.lead === undefined && owner.swapSentAt === swap.expected
    const { lead } = owner
    if (lead === undefined || lead.revision !== swap.expected) return false
    if (kind === 'change') return sameEpoch(lead.set.epoch, next.epoch)
    return lead.paused
  }

  private remove(swap: Swap): void {
    this.swaps = this.swaps.filter((one) => one !== swap)
  }

  private nonce(): string {
    this.nonces += 1
    return `nonce ${this.nonces}`
  }

  private progress(node: ModelNode): void {
    const { lead } = node
    if (lead === undefined) return
    node.committed = Math.max(node.committed, lead.set.committed)
    for (let index = 0; index < node.committed; index++) {
      const id = node.log[index]?.id
      assert.ok(id !== undefined, 'only what is here is committed')
      if (this.history[index] === undefined) this.committedIn[index] = lead.set.epoch
      this.history[index] ??= id
      assert.equal(this.history[index], id, `two histories have committed sequence ${index + 1}`)
    }
    for (const one of this.nodes) this.read(one)
  }
}

function stateOf(node: ModelNode): MemberState {
  return {
    member: node.member,
    state: node.lead === undefined ? 'streaming' : 'primary',
    promised: node.promised,
    historyId: node.stored.historyId,
    record: node.stored,
    durable: positionAt(node.log, node.log.length),
    committed: node.committed,
    votes: true,
    hearsPrimary: false,
  }
}

const step = fc.record({ dice: fc.nat(119), a: fc.nat(4), b: fc.nat(4), mask: fc.nat(31) })

function play(model: Model, { dice, a, b, mask }: { dice: number; a: number; b: number; mask: number }): void {
  const { nodes } = model
  const one = nodes[a % nodes.length]!
  const leaders = nodes.filter((node) => node.lead !== undefined)
  const leader = leaders[b % Math.max(1, leaders.length)] ?? nodes[b % nodes.length]!
  const reachable = nodes.filter((_, index) => (mask & (1 << index)) !== 0 || (dice + index) % 3 === 0)
  if (dice < 8) model.write(leader)
  else if (dice < 16) model.connect(one, leader)
  else if (dice < 24) model.receive(one, 1 + (mask % 4))
  else if (dice < 32) model.deliver(one)
  else if (dice < 35) model.disconnect(one)
  else if (dice < 41) model.join(leader, one)
  else if (dice < 45) model.leave(leader, one)
  else if (dice < 46) model.renew(leader)
  else if (dice < 49) model.handOver(leader, one)
  else if (dice < 57) model.apply(mask)
  else if (dice < 60) model.lose(mask, b % 2 === 0)
  else if (dice < 68) model.reply(mask)
  else if (dice < 70) model.see(one)
  else if (dice < 71) model.restart(one)
  else if (dice < 76) model.takeOver(one, reachable)
  else if (dice < 80) model.pass(mask * 20)
  else if (dice < 84) model.ask(leader)
  else if (dice < 88) model.promiseTo(one)
  else if (dice < 92) model.deliverPromise(one)
  else if (dice < 97) {
    // The record is changed without delay.
    for (let index = 0; index < 12; index++) model.apply(index)
    for (let index = 12; index >= 0; index--) model.reply(index)
  } else {
    // Everything on its way arrives.
    model.connect(one, one.session === undefined ? leader : one)
    model.receive(one, 100)
    for (let left = one.session?.acks.length ?? 0; left > 0; left--) model.deliver(one)
    model.ask(leader)
    for (let left = one.session?.asked.length ?? 0; left > 0; left--) model.promiseTo(one)
    for (let left = one.session?.promises.length ?? 0; left > 0; left--) model.deliverPromise(one)
  }
}

for (const [count, inSyncMin] of [
  [3, 2],
  [2, 2],
  [5, 2],
  [5, 3],
  [3, 1],
] as const) {
  test(`I1, I2, I7, C3, L1, L5: ${count} nodes, inSyncMin ${inSyncMin}: nothing committed is lost, forked or missed by a leased read`, () => {
    const seen = { committed: 0, takeovers: 0, handOvers: 0, leasedReads: 0 }
    fc.assert(
      fc.property(fc.array(fc.noBias(step), { minLength: 200, maxLength: 500, size: 'max' }), (steps) => {
        const model = new Model(count, inSyncMin)
        for (const one of steps) play(model, one)
        seen.committed += model.history.length
        seen.takeovers += model.takeovers
        seen.handOvers += model.handOvers
        seen.leasedReads += model.leasedReads
      }),
      { numRuns: propertyRuns(800) },
    )
    assert.ok(
      seen.committed > propertyRuns(50) &&
        seen.takeovers > propertyRuns(30) &&
        seen.handOvers > propertyRuns(5) &&
        seen.leasedReads > propertyRuns(50),
      `too little happened: ${JSON.stringify(seen)}`,
    )
    if (process.env.TEST_LOG !== undefined) console.log(JSON.stringify(seen))
  })
}
