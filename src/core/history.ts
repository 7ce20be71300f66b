import type { EpochStart } from './entry.js'
import type { Failure } from './failure.js'
import { compareEpochs, type Epoch, formatEpoch, formatPosition, type Position, sameEpoch } from './position.js'

/** How a journal answers a subscriber. `common` names a sequence; its chain must still be compared (KIP-101, KIP-279). */
export type SubscriptionAnswer =
  | { readonly type: 'stream' }
  | { readonly type: 'too-old' }
  | { readonly type: 'diverged'; readonly commonSequence: number }

export interface HistoryView {
  readonly base: Position
  readonly end: Position
  readonly epochs: readonly EpochStart[]
}

/**
 * Can the journal be continued from the subscriber's position? `here` is this journal's own position at the
 * subscriber's sequence, undefined if no block ends there.
 */
export function answerSubscription(
  journal: HistoryView,
  subscriber: { readonly position: Position; readonly epochs: readonly EpochStart[] },
  here: Position | undefined,
): SubscriptionAnswer {
  if (subscriber.position.sequence < journal.base.sequence) return { type: 'too-old' }
  if (here !== undefined && here.chain === subscriber.position.chain) return { type: 'stream' }
  const commonSequence = commonEnd(
    { epochs: journal.epochs, end: journal.end.sequence },
    { epochs: subscriber.epochs, end: subscriber.position.sequence },
  )
  if (commonSequence === undefined || commonSequence < journal.base.sequence) return { type: 'too-old' }
  return { type: 'diverged', commonSequence }
}

interface EpochHistory {
  readonly epochs: readonly EpochStart[]
  readonly end: number
}

/**
 * Where two histories part: within an epoch there is one writer, which never writes a sequence twice, so both hold
 * the same blocks up to the shorter end of the newest epoch that they share. Undefined if they share none.
 */
export function commonEnd(a: EpochHistory, b: EpochHistory): number | undefined {
  let common: number | undefined
  for (const start of a.epochs) {
    const other = b.epochs.find((one) => sameEpoch(one.epoch, start.epoch))
    if (other === undefined || other.firstSequence !== start.firstSequence) continue
    const end = Math.min(lastOf(a, start.epoch), lastOf(b, start.epoch))
    if (common === undefined || end > common) common = end
  }
  if (common !== undefined) return common
  // Both begin at nothing: the empty history is common to all journals of one historyId that still hold it.
  const firstA = a.epochs[0]?.firstSequence ?? a.end + 1
  const firstB = b.epochs[0]?.firstSequence ?? b.end + 1
  return firstA === 1 && firstB === 1 ? 0 : undefined
}

/** Last sequence of an epoch in a history. */
function lastOf(history: EpochHistory, epoch: Epoch): number {
  const index = history.epochs.findIndex((one) => sameEpoch(one.epoch, epoch))
  const next = history.epochs[index + 1]
  return next === undefined ? history.end : next.firstSequence - 1
}

export type RejoinDecision =
  /** Nothing beyond the common position is committed or applied here: the journal's tail is cut, and that is all. */
  | { readonly type: 'truncate'; readonly to: Position; readonly cutEntries: number }
  /** Entries beyond it are committed or applied here, and may be undone: key by key (B3). */
  | { readonly type: 'rewind'; readonly to: Position; readonly cutEntries: number }
  | { readonly type: 'bootstrap'; readonly reason: string }
  | { readonly type: 'fence'; readonly failure: Failure }

/**
 * A standby whose journal holds a tail that the primary's history does not. The end of the common epochs decides,
 * never the committed position alone (F38). What was committed here is undone only where that was agreed to: at
 * durability `local`, or after a forced promotion (C5).
 */
export function decideRejoin(question: {
  readonly common: Position
  readonly base: Position
  readonly end: Position
  /** The common position as this journal has it; undefined if no block ends there. */
  readonly here: Position | undefined
  readonly committed: number
  readonly applied: number
  /** Durability `local`: what was committed here may have been nowhere else. */
  readonly mayUndo: boolean
  /** Of the primary's record: what was committed in an epoch before a forced promotion may be undone. */
  readonly lossySince: Epoch
}): RejoinDecision {
  const { common, base, end, here, committed, applied } = question
  // A journal that ends in that epoch or in a later one has followed it: nothing in it is excused by the force.
  const mayUndo = question.mayUndo || compareEpochs(end.epoch, question.lossySince) < 0
  const kept = Math.max(committed, applied)
  if (common.sequence < kept && !mayUndo) {
    return {
      type: 'fence',
      failure: {
        code: 'DIVERGED',
        message: `the primary's history ends its common part at ${formatPosition(common)}, but entries up to ${kept} are committed here`,
        hint: 'compare both nodes; to give up what only this one has, rebuild it with `understudy bootstrap --replace`',
      },
    }
  }
  if (common.sequence < base.sequence) {
    return {
      type: 'bootstrap',
      reason: `the histories part before ${base.sequence}, the oldest that this journal holds`,
    }
  }
  if (here === undefined) {
    return { type: 'bootstrap', reason: `no block of this journal ends at ${formatPosition(common)}, the common end` }
  }
  if (here.chain !== common.chain) {
    return {
      type: 'fence',
      failure: {
        code: 'DIVERGED',
        message: `no common position: ${formatPosition(common)} has another content here, in the same epoch ${formatEpoch(common.epoch)}`,
        hint: 'one of the two journals was changed outside of the protocol; keep both directories and compare them',
      },
    }
  }
  return {
    type: common.sequence < kept ? 'rewind' : 'truncate',
    to: here,
    cutEntries: end.sequence - common.sequence,
  }
}
