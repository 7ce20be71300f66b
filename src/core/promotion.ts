import type { Failure } from './failure.js'
import type { LifecycleState } from './lifecycle.js'
import {
  type Epoch,
  formatEpoch,
  formatPosition,
  higherEpoch,
  nextEpoch,
  type Position,
  sameEpoch,
} from './position.js'
import { compareRecords, hasMember, isLossy, type Member, newerRecord, type ShardRecord, sameMember } from './record.js'

/** What a node says of itself when it is asked. */
export interface PeerState {
  readonly member: Member
  readonly state: LifecycleState
  readonly promised: Epoch
  readonly historyId: string | undefined
  readonly record: ShardRecord | undefined
  readonly durable: Position | undefined
  readonly committed: number
  /** False if its directory may have forgotten a record: it counts for no promotion. */
  readonly votes: boolean
}

export interface PromotionQuestion {
  readonly self: Member
  readonly record: ShardRecord
  readonly promised: Epoch
  readonly durable: Position
  readonly committed: number
  /** End of the last block here that is known to be committed. */
  readonly committedEnd: Position
  /** The record's floor is in this journal, or older than all that it holds (C5). */
  readonly holdsFloor: boolean
  /** For the new record. */
  readonly nonce: string
  /** Nodes that answered, self left out, each of this history. */
  readonly answers: readonly PeerState[]
  readonly force: boolean
}

export type PromotionDecision =
  | { readonly type: 'refuse'; readonly failure: Failure; readonly missingEntries: number | undefined }
  | {
      readonly type: 'promote'
      readonly epoch: Epoch
      readonly record: ShardRecord
      /** The newest record that the decision rests on. */
      readonly basis: ShardRecord
      /** How many nodes besides this one must promise the epoch before it may be used. */
      readonly promisesNeeded: number
      /** How far this node's journal reaches. */
      readonly durable: number
      /** Entries known to be committed elsewhere and absent here: only ever with force. */
      readonly missingEntries: number
    }

/**
 * Promotion by hand with the static coordinator. Every set that may have committed something has at least
 * `inSyncMin` members that all hold its record; a promotion asks at least `voters - inSyncMin + 1` nodes (itself
 * counted), so it meets at least one of them and learns of that record. Without so many answers only `force` helps.
 */
export function decidePromotion(question: PromotionQuestion): PromotionDecision {
  const { self, answers, force, durable } = question
  let newest = question.record
  let seen = higherEpoch(question.promised, question.record.epoch)
  let committed = question.committed
  for (const answer of answers) {
    newest = newerRecord(newest, answer.record) ?? newest
    seen = higherEpoch(seen, answer.promised)
    if (answer.record !== undefined) seen = higherEpoch(seen, answer.record.epoch)
    committed = Math.max(committed, answer.committed)
  }
  committed = Math.max(committed, newest.floor.sequence)
  const missingEntries = Math.max(0, committed - durable.sequence)
  const { inSyncMin } = newest.settings
  const answered = answers.filter((answer) => newest.voters.includes(answer.member.node))
  const needed = Math.max(1, newest.voters.length - inSyncMin + 1)

  const refuse = (message: string, hint: string): PromotionDecision => ({
    type: 'refuse',
    failure: { code: 'PROMOTION_REFUSED', message, hint },
    missingEntries: missingEntries > 0 ? missingEntries : undefined,
  })
  const member = hasMember(newest.inSync, self)
  const clean = member && missingEntries === 0 && question.holdsFloor && answered.length + 1 >= needed
  if (!force) {
    if (!member) {
      const set = newest.inSync.map((one) => one.node).join(', ')
      return refuse(
        `${self.node} is not in the in-sync set of epoch ${formatEpoch(newest.epoch)} (${set}): it may lack committed entries`,
        `promote one of ${set}, or repeat with force if they are lost for good`,
      )
    }
    if (missingEntries > 0) {
      return refuse(
        `${self.node} ends at ${durable.sequence}, but ${committed} is committed: ${missingEntries} entries would be lost`,
        'promote the node that has them, or repeat with force to give them up',
      )
    }
    if (!question.holdsFloor) {
      return refuse(
        `${self.node} has another history at ${formatPosition(newest.floor)}, which is committed`,
        'promote another member of the in-sync set, or repeat with force to give up what it has committed',
      )
    }
    if (answered.length + 1 < needed) {
      return refuse(
        `${answered.length + 1} of ${newest.voters.length} nodes answer; ${needed} are needed to be sure that nothing was committed without ${self.node}`,
        'start another node, or repeat with force if you know that the missing ones hold nothing newer',
      )
    }
  }
  const epoch = nextEpoch(seen, self.node)
  return {
    type: 'promote',
    epoch,
    record: {
      ...newest,
      epoch,
      primary: self,
      inSync: setAfter(newest, self, answered),
      version: newest.version + 1,
      nonce: question.nonce,
      floor: clean && newest.floor.sequence > question.committedEnd.sequence ? newest.floor : question.committedEnd,
      lossySince: clean ? newest.lossySince : epoch,
      handedOver: false,
    },
    basis: newest,
    promisesNeeded: force ? 0 : needed - 1,
    durable: durable.sequence,
    missingEntries,
  }
}

/** States in which a node keeps its promises but acknowledges nothing before an operator or a bootstrap has helped. */
const unfitStates: ReadonlySet<LifecycleState> = new Set<LifecycleState>(['failed', 'bootstrapping', 'stopped'])

/**
 * Members that answered and can follow stay; those that did not leave, but never below `inSyncMin` (C6). The former
 * primary is the first to go: its disk may be gone with it.
 */
function setAfter(newest: ShardRecord, self: Member, answered: readonly PeerState[]): readonly Member[] {
  const present = newest.inSync.filter(
    (member) =>
      member.node !== self.node &&
      answered.some((answer) => sameMember(answer.member, member) && !unfitStates.has(answer.state)),
  )
  const absent = newest.inSync.filter((member) => member.node !== self.node && !hasMember(present, member))
  absent.sort((a, b) => Number(a.node === newest.primary.node) - Number(b.node === newest.primary.node))
  const set = [self, ...present]
  while (set.length < newest.settings.inSyncMin && absent.length > 0) set.push(absent.shift()!)
  return set
}

/** After the promises: does what came back with them still support the decision? */
export function confirmPromotion(
  decision: Extract<PromotionDecision, { type: 'promote' }>,
  promises: readonly PeerState[],
): Failure | undefined {
  let granted = 0
  for (const peer of promises) {
    if (decision.record.voters.includes(peer.member.node) && sameEpoch(peer.promised, decision.epoch)) granted += 1
    if (peer.record !== undefined && compareRecords(peer.record, decision.basis) > 0) {
      return {
        code: 'PROMOTION_REFUSED',
        message: `${peer.member.node} holds a newer record (epoch ${formatEpoch(peer.record.epoch)}, version ${peer.record.version})`,
        hint: 'look at the status and repeat',
      }
    }
    // At durability local the old primary went on alone until it heard of this epoch.
    if (!isLossy(decision.record) && peer.committed > decision.durable) {
      return {
        code: 'PROMOTION_REFUSED',
        message: `${peer.member.node} has committed up to ${peer.committed} meanwhile, this node ends at ${decision.durable}: ${peer.committed - decision.durable} entries would be lost`,
        hint: `promote ${peer.member.node}, or repeat with force to give them up`,
      }
    }
  }
  if (granted < decision.promisesNeeded) {
    return {
      code: 'PROMOTION_REFUSED',
      message: `${granted} nodes promised epoch ${formatEpoch(decision.epoch)}; ${decision.promisesNeeded} are needed`,
      hint: 'another promotion may be under way: look at the status and repeat',
    }
  }
  return undefined
}
