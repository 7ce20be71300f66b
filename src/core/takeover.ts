import type { Failure } from './failure.js'
import type { LifecycleState } from './lifecycle.js'
import { compareEpochs, type Epoch, formatEpoch, higherEpoch, nextEpoch, type Position } from './position.js'
import type { PeerState } from './promotion.js'
import { hasMember, type Member, type ShardRecord, sameMember } from './record.js'
import type { Timings } from './timings.js'

/** What a member says of the primary besides its own state. */
export interface MemberState extends PeerState {
  /** It hears the primary of the newest record that it knows, and is heard by it (L3). */
  readonly hearsPrimary: boolean
}

export interface TakeoverQuestion {
  readonly nowMs: number
  readonly self: Member
  /** The record as the coordinator has it. */
  readonly record: ShardRecord
  readonly promised: Epoch
  /** Highest epoch in which this directory was ever primary: it is never used again (S3). */
  readonly led: Epoch
  readonly durable: Position
  readonly committedEnd: Position
  /** The record's floor is in this journal, or older than all that it holds (C5). */
  readonly holdsFloor: boolean
  /** Why this node may not lead whatever the record says, for people: under repair, disk stalled. */
  readonly unfit: string | undefined
  /** Until when this node has promised not to take over, on its own clock (L1). */
  readonly promiseUntilMs: number
  readonly hearsPrimary: boolean
  /** When this node last heard the primary; its start if it never did. */
  readonly heardAtMs: number
  /** Before this a node waits: it gave up its role itself, or a new primary has had no time to be heard. */
  readonly coolUntilMs: number
  /** Other members that answered lately, of this history. */
  readonly answers: readonly MemberState[]
  /** From 0 to 1, the same for one attempt: keeps equal candidates apart. */
  readonly jitter: number
  readonly nonce: string
  readonly timings: Timings
}

export type TakeoverDecision =
  /** The primary is there: follow it. */
  | { readonly type: 'follow' }
  /** Nothing that time alone changes. */
  | { readonly type: 'ineligible'; readonly reason: string }
  | { readonly type: 'wait'; readonly untilMs: number; readonly reason: string }
  /** The record names this node in an epoch that it has not used: handed over, or its own swap before a crash. */
  | { readonly type: 'lead'; readonly record: ShardRecord }
  /** Swap the coordinator's record for this one, then lead. */
  | { readonly type: 'take'; readonly record: ShardRecord; readonly reason: string }

/** States in which a node keeps its promises but cannot follow before it was helped. */
const unfitStates: ReadonlySet<LifecycleState> = new Set<LifecycleState>(['failed', 'bootstrapping', 'stopped'])

/** May a node in this state take over by itself, now or when it misses the primary? */
export function mayLead(state: LifecycleState): boolean {
  return !unfitStates.has(state) && state !== 'fenced'
}

/** States in which a node speaks for an epoch. */
export const leadingStates: ReadonlySet<LifecycleState> = new Set<LifecycleState>(['primary', 'promoting'])

/**
 * May this node become primary by itself, and when? Only a member of the in-sync set may (C6), whose journal holds
 * the record's floor (C5); the one with the longest journal first, the others a step later each. It waits until what
 * it promised to the old primary is over (L1), and until no other member hears that primary. What makes it safe is
 * the compare-and-swap alone: the old primary needs this member for every commit.
 */
export function decideTakeover(question: TakeoverQuestion): TakeoverDecision {
  const { self, record, nowMs, timings, answers } = question
  if (!hasMember(record.inSync, self)) {
    const set = record.inSync.map((member) => member.node).join(', ')
    return { type: 'ineligible', reason: `${self.node} is not in the in-sync set (${set})` }
  }
  if (question.unfit !== undefined) return { type: 'ineligible', reason: question.unfit }
  if (question.durable.sequence < record.floor.sequence || !question.holdsFloor) {
    return {
      type: 'ineligible',
      reason: `${self.node} ends at ${question.durable.sequence} and lacks ${record.floor.sequence}, which is committed`,
    }
  }
  const named = sameMember(record.primary, self)
  if (named && compareEpochs(record.epoch, question.led) > 0 && compareEpochs(record.epoch, question.promised) >= 0) {
    // Its own swap, of which it learns late: meanwhile it may have promised something to the primary before (L1).
    if (!record.handedOver && nowMs < question.promiseUntilMs) {
      return {
        type: 'wait',
        untilMs: question.promiseUntilMs,
        reason: 'what was promised to the primary before is not over',
      }
    }
    return { type: 'lead', record }
  }
  if (!named && question.hearsPrimary) return { type: 'follow' }
  if (nowMs < question.coolUntilMs) {
    return { type: 'wait', untilMs: question.coolUntilMs, reason: 'others may go first' }
  }
  const hearing = answers.find((answer) => answer.hearsPrimary && !sameMember(answer.member, record.primary))
  if (!named && hearing !== undefined) {
    return {
      type: 'wait',
      untilMs: nowMs + timings.pollMs,
      reason: `${hearing.member.node} still hears ${record.primary.node}`,
    }
  }
  // A former primary held the lease itself: nobody else can have one in a later epoch that the record does not show.
  if (!named && nowMs < question.promiseUntilMs) {
    return { type: 'wait', untilMs: question.promiseUntilMs, reason: `${record.primary.node} may still hold its lease` }
  }
  const readyMs = named ? question.heardAtMs : Math.max(question.heardAtMs, question.promiseUntilMs)
  const turnMs = readyMs + (rankOf(question) + question.jitter / 2) * timings.rankStepMs
  if (rankOf(question) > 0 && nowMs < turnMs) {
    return { type: 'wait', untilMs: turnMs, reason: 'another member holds more and goes first' }
  }
  return {
    type: 'take',
    record: recordAfter(question),
    reason: named ? 'the record names this node' : `${record.primary.node} is gone`,
  }
}

/** How many members that answered and may take over go before this one. */
function rankOf(question: TakeoverQuestion): number {
  const { self, record, durable, answers } = question
  let rank = 0
  for (const { member, durable: other, state } of answers) {
    if (!hasMember(record.inSync, member) || other === undefined || !mayLead(state)) continue
    const order = compareEpochs(other.epoch, durable.epoch) || other.sequence - durable.sequence
    if (order > 0 || (order === 0 && member.node < self.node)) rank += 1
  }
  return rank
}

/**
 * Members that answered stay; the old primary and those that did not answer leave, but never below `inSyncMin` (C6):
 * then they stay in the set until a node that has caught up replaces them.
 */
function recordAfter(question: TakeoverQuestion): ShardRecord {
  const { self, record, answers, promised } = question
  let seen = higherEpoch(promised, record.epoch)
  for (const answer of answers) {
    seen = higherEpoch(seen, answer.promised)
    if (answer.record !== undefined) seen = higherEpoch(seen, answer.record.epoch)
  }
  const isPresent = (member: Member) =>
    !sameMember(member, record.primary) &&
    answers.some((answer) => sameMember(answer.member, member) && !unfitStates.has(answer.state))
  const others = record.inSync.filter((member) => !sameMember(member, self))
  const inSync = [self, ...others.filter(isPresent)]
  // The old primary is the last to be kept: its disk may be gone with it.
  const absent = others.filter((member) => !isPresent(member))
  absent.sort((a, b) => Number(sameMember(a, record.primary)) - Number(sameMember(b, record.primary)))
  while (inSync.length < record.settings.inSyncMin && absent.length > 0) inSync.push(absent.shift()!)
  const { committedEnd } = question
  return {
    ...record,
    epoch: nextEpoch(seen, self.node),
    primary: self,
    inSync,
    version: record.version + 1,
    nonce: question.nonce,
    // At `local` what is committed here may be nowhere else: who lacks it may lead all the same (C6).
    floor: record.settings.durability === 'local' ? record.floor : laterPosition(committedEnd, record.floor),
    handedOver: false,
  }
}

function laterPosition(a: Position, b: Position): Position {
  return a.sequence > b.sequence ? a : b
}

export type RecordVerdict =
  | { readonly type: 'current'; readonly record: ShardRecord }
  /** No history yet: nobody has written. */
  | { readonly type: 'absent' }
  | { readonly type: 'fence'; readonly reason: string; readonly hint: string }

/**
 * The coordinator's record against what this directory knows. A store that was wiped, restored from a backup or is
 * another one must not decide over data (S1, S3, S6): then the node stays fenced until an operator acts.
 */
export function judgeRecord(question: {
  readonly coordinatorId: string
  /** A fresh answer of the coordinator, never what was watched. */
  readonly found: ShardRecord | undefined
  /** The newest record that is stored here; undefined while the directory is empty. */
  readonly stored: ShardRecord | undefined
  readonly promised: Epoch
}): RecordVerdict {
  const { coordinatorId, found, stored, promised } = question
  const hint = 'look at the coordinator; `understudy promote --force` on the node that shall lead makes a new record'
  if (stored === undefined) return found === undefined ? { type: 'absent' } : { type: 'current', record: found }
  if (found === undefined) {
    return { type: 'fence', reason: 'there is data here, but the coordinator has no record of this shard', hint }
  }
  if (found.historyId !== stored.historyId) {
    return {
      type: 'fence',
      reason: `the coordinator's record is of history ${found.historyId}, the data here of ${stored.historyId}`,
      hint: 'one of them is not of this cluster; to give up the data here, rebuild it with `understudy bootstrap --replace`',
    }
  }
  if (found.coordinatorId !== coordinatorId) {
    const reason = `the record was written to coordinator ${found.coordinatorId}, this is ${coordinatorId}`
    return { type: 'fence', reason, hint }
  }
  const seen = higherEpoch(promised, stored.epoch)
  // Another coordinator is believed only with an epoch above everything seen here: a promotion by hand made it (S6).
  if (stored.coordinatorId !== coordinatorId && compareEpochs(found.epoch, seen) <= 0) {
    const reason = `this is coordinator ${coordinatorId}, the data here was led under ${stored.coordinatorId}`
    return { type: 'fence', reason, hint }
  }
  const order = compareEpochs(found.epoch, stored.epoch) || found.version - stored.version
  if (order < 0 || compareEpochs(found.epoch, promised) < 0) {
    return {
      type: 'fence',
      reason: `the coordinator went backwards: it has epoch ${formatEpoch(found.epoch)} version ${found.version}, here epoch ${formatEpoch(seen)} version ${stored.version} was seen`,
      hint,
    }
  }
  return { type: 'current', record: found }
}

export type ForcedDecision =
  | { readonly type: 'refuse'; readonly failure: Failure }
  | {
      readonly type: 'take'
      readonly record: ShardRecord
      /** Entries known to be committed elsewhere and absent here: only ever with force. */
      readonly missingEntries: number
    }

/**
 * Promotion by hand where the rules alone do not allow it: the coordinator lost its record or went backwards, or this
 * node is not in the in-sync set. Without force only if every member of the last known set answers and none of them
 * knows more; with force the epoch is marked lossy, so that the others give up what only they have (C5).
 */
export function decideForced(question: {
  readonly self: Member
  readonly coordinatorId: string
  /** The newest record known to the coordinator, to this directory and to all that answer. */
  readonly known: ShardRecord
  readonly promised: Epoch
  readonly durable: Position
  readonly committedEnd: Position
  readonly holdsFloor: boolean
  readonly answers: readonly PeerState[]
  readonly nonce: string
  readonly force: boolean
}): ForcedDecision {
  const { self, known, durable, answers, force } = question
  let seen = higherEpoch(question.promised, known.epoch)
  let committed = Math.max(known.floor.sequence, question.committedEnd.sequence)
  for (const answer of answers) {
    seen = higherEpoch(seen, answer.promised)
    if (answer.record !== undefined) seen = higherEpoch(seen, answer.record.epoch)
    committed = Math.max(committed, answer.committed)
  }
  const missingEntries = Math.max(0, committed - durable.sequence)
  const others = known.inSync.filter((member) => !sameMember(member, self))
  const silent = others.filter((member) => !answers.some((answer) => sameMember(answer.member, member)))
  const member = hasMember(known.inSync, self)
  const clean = member && silent.length === 0 && missingEntries === 0 && question.holdsFloor
  if (!clean && !force) {
    const why = !member
      ? `${self.node} is not in the in-sync set (${known.inSync.map((one) => one.node).join(', ')}): it may lack committed entries`
      : missingEntries > 0
        ? `${self.node} ends at ${durable.sequence}, but ${committed} is committed: ${missingEntries} entries would be lost`
        : !question.holdsFloor
          ? `${self.node} has another history at ${known.floor.sequence}, which is committed`
          : `${silent.map((one) => one.node).join(', ')} of the in-sync set does not answer and may know more`
    const hint = 'promote the member that holds everything, or repeat with force to give up what is missing'
    return { type: 'refuse', failure: { code: 'PROMOTION_REFUSED', message: why, hint } }
  }
  const present = answers
    .filter((answer) => hasMember(others, answer.member) && !unfitStates.has(answer.state))
    .map((answer) => answer.member)
  const inSync = [self, ...present]
  const absent = others.filter((one) => !hasMember(inSync, one))
  while (inSync.length < known.settings.inSyncMin && absent.length > 0) inSync.push(absent.shift()!)
  const epoch = nextEpoch(seen, self.node)
  return {
    type: 'take',
    missingEntries,
    record: {
      ...known,
      coordinatorId: question.coordinatorId,
      epoch,
      primary: self,
      inSync,
      version: known.version + 1,
      nonce: question.nonce,
      floor: clean ? laterPosition(question.committedEnd, known.floor) : question.committedEnd,
      lossySince: clean ? known.lossySince : epoch,
      handedOver: false,
    },
  }
}
