import { type Epoch, epochZero, type Position } from '#src/core/position.js'
import type { PeerState, PromotionQuestion } from '#src/core/promotion.js'
import type { Member, ShardRecord, ShardSettings } from '#src/core/record.js'
import type { MemberState, TakeoverQuestion } from '#src/core/takeover.js'
import { timingsOf } from '#src/core/timings.js'

export function member(node: string, incarnation = '1'): Member {
  return { node, incarnation: incarnation.padStart(32, '0') }
}

export function epoch(number: number, node: string): Epoch {
  return { number, node }
}

export const standbyOfTwo: ShardSettings = {
  durability: 'standby',
  inSyncMin: 2,
  failoverMs: 1000,
  inSyncTimeoutMs: 1000,
}

/** A record of epoch 1@a with the named members in the set; the primary is the epoch's node. */
export function record(inSync: readonly string[], changes: Partial<ShardRecord> = {}): ShardRecord {
  const of = changes.epoch ?? epoch(1, 'a')
  return {
    historyId: 'h'.repeat(32),
    coordinatorId: 'c'.repeat(32),
    epoch: of,
    primary: member(of.node),
    inSync: inSync.map((node) => member(node)),
    version: 1,
    settings: standbyOfTwo,
    nonce: 'n'.repeat(32),
    floor: position(0, epoch(0, '')),
    lossySince: epochZero,
    handedOver: false,
    voters: ['a', 'b', 'c'],
    ...changes,
  }
}

export function position(sequence: number, of: Epoch = epoch(1, 'a'), chain = `chain ${sequence}`): Position {
  return { epoch: of, sequence, chain }
}

export function peer(node: string, changes: Partial<PeerState> = {}): PeerState {
  const held = changes.record
  return {
    member: member(node),
    state: 'streaming',
    promised: held?.epoch ?? epoch(1, 'a'),
    historyId: 'h'.repeat(32),
    record: held,
    durable: position(0),
    committed: 0,
    votes: true,
    ...changes,
  }
}

export const timings = timingsOf({ failoverMs: 1000, inSyncTimeoutMs: 1000 })

/** What a member says when it is asked before a takeover. */
export function answer(node: string, changes: Partial<MemberState> = {}): MemberState {
  return { ...peer(node), durable: position(10), hearsPrimary: false, ...changes }
}

/** Node b, whose primary a is gone; c answers and is in the set too. */
export function takeoverQuestion(changes: Partial<TakeoverQuestion> = {}): TakeoverQuestion {
  return {
    nowMs: 10_000,
    self: member('b'),
    record: record(['a', 'b', 'c']),
    promised: epoch(1, 'a'),
    led: epoch(0, ''),
    durable: position(10),
    committedEnd: position(8),
    holdsFloor: true,
    unfit: undefined,
    promiseUntilMs: 9_900,
    hearsPrimary: false,
    heardAtMs: 9_500,
    coolUntilMs: 0,
    answers: [answer('c')],
    jitter: 0,
    nonce: 'f'.repeat(32),
    timings,
    ...changes,
  }
}

/** Node b is promoted by hand; c answers. */
export function promotionQuestion(changes: Partial<PromotionQuestion> = {}): PromotionQuestion {
  return {
    self: member('b'),
    record: record(['a', 'b', 'c']),
    promised: epoch(1, 'a'),
    durable: position(10),
    committed: 8,
    committedEnd: position(8),
    holdsFloor: true,
    nonce: 'f'.repeat(32),
    answers: [peer('c', { record: record(['a', 'b', 'c']), durable: position(10), committed: 8 })],
    force: false,
    ...changes,
  }
}
