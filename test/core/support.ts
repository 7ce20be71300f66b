import { type Epoch, epochZero, type Position } from '#src/core/position.js'
import type { PeerState } from '#src/core/promotion.js'
import type { Member, ShardRecord, ShardSettings } from '#src/core/record.js'

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
