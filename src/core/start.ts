import { invariant } from './invariant.js'
import { compareEpochs, formatEpoch } from './position.js'
import type { PeerState } from './promotion.js'
import { type Member, newerRecord, type ShardRecord, sameMember } from './record.js'

export type StartDecision =
  /** A new history: every node that may hold data has said that it holds none. */
  | { readonly type: 'create' }
  | { readonly type: 'bootstrap'; readonly historyId: string }
  | { readonly type: 'follow' }
  /** A former primary that everybody confirmed; it still takes a new epoch. */
  | { readonly type: 'promote' }
  | { readonly type: 'wait'; readonly fenced: boolean; readonly reason: string }

export interface StartQuestion {
  readonly node: string
  /** What the own directory holds; undefined if it is empty. */
  readonly own: { readonly member: Member; readonly record: ShardRecord } | undefined
  /** Names of all configured nodes, own included. */
  readonly configured: readonly string[]
  /** Who creates the history of an empty cluster; undefined: nobody before a promotion by hand. */
  readonly initialPrimary: string | undefined
  /** Other nodes that answered, with what they said. */
  readonly answers: readonly PeerState[]
  /** An operator asked for it. */
  readonly byHand: boolean
}

/**
 * What a node may do when it has started. A history is created only when all nodes are known to be empty, never
 * beside data (S1, V2); a former primary stays fenced until every other node has said that there is no higher
 * epoch (C8).
 */
export function decideStart(question: StartQuestion): StartDecision {
  const { node, own, configured, answers } = question
  const others = configured.filter((name) => name !== node)
  const silent = others.filter((name) => !answers.some((answer) => answer.member.node === name))
  const names = silent.join(', ')
  if (own === undefined) {
    const holder = answers.find((answer) => answer.historyId !== undefined)
    if (holder?.historyId !== undefined) return { type: 'bootstrap', historyId: holder.historyId }
    if (silent.length > 0) {
      return {
        type: 'wait',
        fenced: false,
        reason: `this directory is empty; waiting for ${names} to say whether there is data`,
      }
    }
    const who = question.initialPrimary
    // Where one node is configured to begin, no other does: two histories could never be joined again.
    if (others.length === 0 || who === node || (who === undefined && question.byHand)) return { type: 'create' }
    return {
      type: 'wait',
      fenced: false,
      reason:
        who === undefined
          ? 'all nodes are empty; promote one of them'
          : `all nodes are empty; waiting for ${who} to begin`,
    }
  }
  let newest: ShardRecord | undefined = own.record
  let highest = own.record.epoch
  for (const answer of answers) {
    newest = newerRecord(newest, answer.record)
    if (compareEpochs(answer.promised, highest) > 0) highest = answer.promised
  }
  invariant(newest !== undefined, 'a directory with data has a record')
  if (!sameMember(newest.primary, own.member)) return { type: 'follow' }
  if (silent.length > 0) {
    return {
      type: 'wait',
      fenced: true,
      reason: `this node was the primary; waiting for ${names} to confirm that there is no epoch above ${formatEpoch(highest)}, or for a promotion by hand`,
    }
  }
  if (answers.some((answer) => answer.state === 'promoting' || answer.state === 'primary')) return { type: 'follow' }
  return { type: 'promote' }
}

/**
 * An empty node, a coordinator without a record: may this node create the history? Only if every registered member
 * says that it is empty too, and enough are there to hold a write; the first by name does it (S1).
 */
export function decideCreate(question: {
  readonly node: string
  readonly inSyncMin: number
  /** Names of all members that are registered, this one included. */
  readonly registered: readonly string[]
  readonly answers: readonly PeerState[]
  /** An operator asked for it: the number of nodes does not matter then. */
  readonly byHand: boolean
}): StartDecision {
  const { node, registered, answers, byHand } = question
  const holder = answers.find((answer) => answer.historyId !== undefined)
  if (holder !== undefined) {
    return {
      type: 'wait',
      fenced: false,
      reason: `${holder.member.node} has data, but the coordinator has no record: an operator must promote it`,
    }
  }
  const others = registered.filter((name) => name !== node)
  const silent = others.filter((name) => !answers.some((answer) => answer.member.node === name))
  if (silent.length > 0) {
    return {
      type: 'wait',
      fenced: false,
      reason: `this directory is empty; waiting for ${silent.join(', ')} to say whether there is data`,
    }
  }
  if (byHand) return { type: 'create' }
  if (others.length + 1 < question.inSyncMin) {
    return {
      type: 'wait',
      fenced: false,
      reason: `${others.length + 1} of at least ${question.inSyncMin} nodes are there: a history begins when all are empty and enough`,
    }
  }
  const first = [node, ...others].sort()[0]!
  return first === node
    ? { type: 'create' }
    : { type: 'wait', fenced: false, reason: `all nodes are empty; ${first} begins` }
}
