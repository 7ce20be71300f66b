import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { InSyncState } from '#src/core/in-sync.js'
import { limits } from '#src/core/limits.js'
import type { Member, ShardRecord } from '#src/core/record.js'
import { epoch, member, position, record, standbyOfTwo } from './support.js'

const e1 = epoch(1, 'a')

/** A primary `a` whose own journal is durable up to `durable` and whose epoch began at `epochStart`. */
function stateOf(
  set: ShardRecord,
  facts: { epochStart?: number; durable?: number; committed?: number } = {},
): InSyncState {
  const state = new InSyncState({
    record: set,
    recordHeldBy: 'members',
    self: member('a'),
    epochStart: facts.epochStart ?? 1,
    durable: facts.durable ?? 0,
    applied: 0,
    committed: facts.committed ?? 0,
  })
  state.onOwnRecordDurable(set.version)
  return state
}

function acked(durable: number, recordVersion = 1, applied = 0) {
  return { durable, applied, recordVersion }
}

/** As the primary does it: the change counts from here on, then it is durable here. */
function propose(state: InSyncState, next: ShardRecord | undefined): ShardRecord {
  assert.ok(next !== undefined, 'a change was possible')
  state.propose(next)
  state.onOwnRecordDurable(next.version)
  return next
}

function namesOf(members: readonly Member[]): string[] {
  return members.map((one) => one.node).sort()
}

describe('commit rule of the in-sync set', () => {
  test('a sequence is committed when every member of the set holds it durably', () => {
    const state = stateOf(record(['a', 'b', 'c']))
    state.onSession(member('b'), acked(10))
    state.onSession(member('c'), acked(7))
    state.onOwnProgress(9, 0)
    assert.equal(state.committed, 7)
    state.onAck(member('c'), e1, acked(20))
    assert.equal(state.committed, 9, 'the primary itself counts with what is durable here')
  })

  test('C1: an acknowledgement counts only in a session, of this epoch, of this incarnation', () => {
    const state = stateOf(record(['a', 'b']))
    state.onOwnProgress(10, 0)
    assert.equal(state.onAck(member('b'), e1, acked(10)), 'stale', 'without a session')
    state.onSession(member('b'), acked(3))
    assert.equal(state.onAck(member('b', '2'), e1, acked(10)), 'stale', 'another incarnation')
    assert.equal(state.onAck(member('b'), epoch(1, 'b'), acked(10)), 'stale', 'the same number of another node')
    assert.equal(state.onAck(member('b'), epoch(2, 'a'), acked(10)), 'stale', 'another epoch')
    assert.equal(state.committed, 3)
    assert.equal(state.onAck(member('b'), e1, acked(10)), 'counted')
    assert.equal(state.committed, 10)
  })

  test('C1: what was acknowledged is forgotten with the session', () => {
    const state = stateOf(record(['a', 'b']))
    state.onSession(member('b'), acked(10))
    state.onOwnProgress(5, 0)
    assert.equal(state.committed, 5)
    state.onSessionEnd(member('b'))
    state.onOwnProgress(10, 0)
    assert.equal(state.committed, 5, 'nothing is committed without the member')
    assert.deepEqual(namesOf(state.missing), ['b'])
    state.onSession(member('b'), acked(8))
    assert.equal(state.committed, 8, 'only what the new session says counts')
  })

  test('S2: a session of another incarnation does not stand for the member of the set', () => {
    const state = stateOf(record(['a', 'b']))
    state.onSession(member('b', '2'), acked(10))
    state.onOwnProgress(10, 0)
    assert.equal(state.committed, 0)
    assert.deepEqual(namesOf(state.missing), ['b'])
  })

  test('S2: the end of an old connection does not forget the new one of another incarnation', () => {
    const state = stateOf(record(['a', 'b']))
    state.onSession(member('b'), acked(10))
    state.onSessionEnd(member('b', '2'))
    state.onOwnProgress(10, 0)
    assert.equal(state.committed, 10)
  })

  test('C4: nothing is committed before the first block of the epoch is, and all that precedes comes with it', () => {
    const state = stateOf(record(['a', 'b'], { epoch: e1 }), { epochStart: 11, durable: 10, committed: 4 })
    state.onSession(member('b'), acked(10))
    state.onOwnProgress(10, 0)
    assert.equal(state.committed, 4, 'entries of earlier epochs alone are not committed by counting')
    state.onOwnProgress(11, 0)
    assert.equal(state.committed, 4)
    state.onAck(member('b'), e1, acked(11))
    assert.equal(state.committed, 11)
  })

  test('C4: at durability local too the epoch begins with its first block', () => {
    const local = record(['a'], {
      settings: { durability: 'local', inSyncMin: 1, failoverMs: 1000, inSyncTimeoutMs: 1000 },
    })
    const state = stateOf(local, { epochStart: 11, durable: 10, committed: 4 })
    state.onOwnProgress(10, 0)
    assert.equal(state.committed, 4)
    state.onOwnProgress(11, 0)
    assert.equal(state.committed, 11)
  })

  test('durability local commits by the own disk alone, but tells what the set holds', () => {
    const state = stateOf(
      record(['a', 'b'], { settings: { durability: 'local', inSyncMin: 2, failoverMs: 1000, inSyncTimeoutMs: 1000 } }),
    )
    state.onOwnProgress(5, 5)
    assert.equal(state.committed, 5)
    assert.equal(state.durableEverywhere, 0)
    state.onSession(member('b'), acked(3, 1, 2))
    assert.equal(state.durableEverywhere, 3)
    assert.equal(state.appliedEverywhere, 2)
  })

  test('C3: a set below inSyncMin commits nothing', () => {
    const state = stateOf(record(['a']))
    state.onOwnProgress(10, 10)
    assert.equal(state.largeEnough, false)
    assert.equal(state.committed, 0)
    assert.equal(state.durableEverywhere, 0)
  })

  test('C3: while the set in force is too small nothing is committed, however many are waited for', () => {
    const state = stateOf(record(['a']))
    state.onOwnProgress(10, 0)
    state.onSession(member('b'), acked(10))
    propose(state, state.joinOf(member('b')))
    state.onAck(member('b'), e1, acked(10))
    assert.equal(state.committed, 0, 'b could not prove that it is a member')
    state.onAck(member('b'), e1, acked(10, 2))
    assert.equal(state.committed, 10)
  })

  test('committed never goes back when the set grows', () => {
    const state = stateOf(record(['a', 'b']))
    state.onSession(member('b'), acked(10))
    state.onOwnProgress(10, 0)
    state.onSession(member('c'), acked(10))
    propose(state, state.joinOf(member('c')))
    state.onSessionEnd(member('c'))
    state.onSession(member('c'), acked(2))
    assert.equal(state.committed, 10)
  })
})

describe('joining the in-sync set', () => {
  function withCandidate(durable: number, facts: { epochStart?: number } = {}): InSyncState {
    const state = stateOf(record(['a', 'b']), { durable: 10, ...facts })
    state.onSession(member('b'), acked(10))
    state.onOwnProgress(10, 0)
    state.onSession(member('c'), acked(durable))
    return state
  }

  test('C2: below what is committed a standby may not join', () => {
    assert.equal(withCandidate(9).joinOf(member('c')), undefined)
    assert.ok(withCandidate(10).joinOf(member('c')) !== undefined)
  })

  test('C2: below the first block of the epoch a standby may not join', () => {
    const state = stateOf(record(['a', 'b']), { epochStart: 11, durable: 11, committed: 0 })
    state.onSession(member('c'), acked(10))
    assert.equal(state.joinOf(member('c')), undefined)
    state.onAck(member('c'), e1, acked(11))
    assert.ok(state.joinOf(member('c')) !== undefined)
  })

  test('C2: without a session a standby may not join, whatever it said before', () => {
    const state = withCandidate(10)
    state.onSessionEnd(member('c'))
    assert.equal(state.joinOf(member('c')), undefined)
  })

  test('a node that is no voter never joins', () => {
    const state = withCandidate(10)
    state.onSession(member('z'), acked(10))
    assert.equal(state.joinOf(member('z')), undefined)
  })

  test('C3: from the proposal on commits wait for old and new members', () => {
    const state = withCandidate(10)
    propose(state, state.joinOf(member('c')))
    assert.deepEqual(namesOf(state.waitedFor), ['a', 'b', 'c'])
    state.onOwnProgress(12, 0)
    state.onAck(member('b'), e1, acked(12))
    assert.equal(state.committed, 10, 'the one who joins is waited for before its record is in force')
    state.onAck(member('c'), e1, acked(12))
    assert.equal(state.committed, 12)
    assert.equal(state.changing, true, 'c does not hold the record yet')
    state.onAck(member('c'), e1, acked(12, 2))
    assert.equal(state.changing, true, 'b does not hold the record yet')
    state.onAck(member('b'), e1, acked(12, 2))
    assert.equal(state.changing, false)
    assert.deepEqual(namesOf(state.members), ['a', 'b', 'c'])
  })

  test('C3: a record that is not durable on the primary itself never comes into force', () => {
    const state = withCandidate(10)
    const next = state.joinOf(member('c'))
    assert.ok(next !== undefined)
    state.propose(next)
    state.onAck(member('b'), e1, acked(10, 2))
    state.onAck(member('c'), e1, acked(10, 2))
    assert.equal(state.changing, true)
    state.onOwnRecordDurable(2)
    assert.equal(state.changing, false)
  })

  test('C3: who leaves is waited for until those who stay hold the record', () => {
    const state = stateOf(record(['a', 'b', 'c']))
    for (const name of ['b', 'c']) state.onSession(member(name), acked(10))
    state.onOwnProgress(10, 0)
    propose(state, state.leaveOf('c'))
    state.onSessionEnd(member('c'))
    state.onOwnProgress(12, 0)
    state.onAck(member('b'), e1, acked(12))
    assert.equal(state.committed, 10)
    state.onAck(member('b'), e1, acked(12, 2))
    assert.equal(state.committed, 12)
  })

  test('C3: a member that is gone before it had joined is taken back, and waited for until then', () => {
    const state = withCandidate(10)
    propose(state, state.joinOf(member('c')))
    state.onSessionEnd(member('c'))
    const back = state.takeBackOf()
    assert.ok(back !== undefined)
    assert.deepEqual(namesOf(back.inSync), ['a', 'b'])
    assert.equal(back.version, 3)
    propose(state, back)
    assert.equal(state.takeBackOf(), undefined, 'once is enough')
    state.onOwnProgress(12, 0)
    state.onAck(member('b'), e1, acked(12, 2))
    assert.equal(state.committed, 10, 'c may hold the record that names it: it is still waited for')
    state.onAck(member('b'), e1, acked(12, 3))
    assert.equal(state.committed, 12)
    assert.equal(state.changing, false)
  })

  test('C3, C6: when the taken-back set holds a member that is gone for good, the next join replaces it', () => {
    // After a takeover: c is in the set only for its size and never comes back.
    const state = stateOf(record(['a', 'c'], { epoch: e1 }), { durable: 1 })
    state.onOwnProgress(1, 0)
    state.onSession(member('b'), acked(1))
    propose(state, state.joinOf(member('b')))
    state.onSessionEnd(member('b'))
    propose(state, state.takeBackOf())
    state.onSession(member('b'), acked(1, 3))
    propose(state, state.joinOf(member('b')))
    state.onAck(member('b'), e1, acked(1, 4))
    assert.equal(state.changing, false, 'stuck: commits wait for a member that is gone for good')
    assert.deepEqual(namesOf(state.waitedFor), ['a', 'b'])
    assert.equal(state.committed, 1)
  })

  test('C6: a member that was kept for the size of the set leaves in the step in which another one joins', () => {
    const state = stateOf(record(['a', 'c']), { durable: 5 })
    state.onOwnProgress(5, 0)
    state.onSession(member('b'), acked(5))
    const next = state.joinOf(member('b'))
    assert.deepEqual(namesOf(next?.inSync ?? []), ['a', 'b'])
  })

  test('C6: a member that was seen in this epoch is not replaced', () => {
    const state = stateOf(record(['a', 'c']), { durable: 5 })
    state.onOwnProgress(5, 0)
    state.onSession(member('c'), acked(5))
    state.onSessionEnd(member('c'))
    state.onSession(member('b'), acked(5))
    const next = state.joinOf(member('b'))
    assert.deepEqual(namesOf(next?.inSync ?? []), ['a', 'b', 'c'])
  })

  test('S2: the same node with a new directory takes the place of the old incarnation', () => {
    const state = stateOf(record(['a', 'b']), { durable: 5 })
    state.onOwnProgress(5, 0)
    state.onSession(member('b', '2'), acked(5))
    const next = state.joinOf(member('b', '2'))
    assert.deepEqual(next?.inSync, [member('a'), member('b', '2')])
  })

  test('C8: leaving is refused below inSyncMin, for the primary and for strangers', () => {
    const state = stateOf(record(['a', 'b']))
    assert.equal(state.leaveOf('b'), undefined)
    assert.equal(state.leaveOf('z'), undefined)
    const three = stateOf(record(['a', 'b', 'c']))
    assert.equal(three.leaveOf('a'), undefined)
    assert.deepEqual(namesOf(three.leaveOf('c')?.inSync ?? []), ['a', 'b'])
  })

  test('C5: every change writes the committed sequence as floor', () => {
    const state = withCandidate(10)
    assert.equal(state.committed, 10)
    state.onBlock(position(12))
    state.onOwnProgress(12, 10)
    state.onAck(member('b'), e1, { durable: 12, applied: 10, recordVersion: 1 })
    state.onAck(member('c'), e1, { durable: 12, applied: 10, recordVersion: 1 })
    assert.equal(state.committed, 12)
    assert.deepEqual(state.joinOf(member('c'))?.floor, position(12))
  })

  test('C5, C6: at durability local the floor is what every member holds: what is here alone keeps nobody from leading', () => {
    const local = { ...standbyOfTwo, durability: 'local' } as const
    const state = new InSyncState({
      record: record(['a', 'b', 'c'], { settings: local }),
      recordHeldBy: 'coordinator',
      self: member('a'),
      epochStart: 1,
      durable: 0,
      applied: 0,
      committed: 0,
    })
    for (const end of [1, 5, 9]) state.onBlock(position(end))
    state.onOwnProgress(9, 0)
    assert.equal(state.committed, 9)
    assert.deepEqual(state.leaveOf('c')?.floor, position(0, epoch(0, '')))
    state.onSession(member('b'), acked(6))
    state.onSession(member('c'), acked(7))
    assert.deepEqual(state.leaveOf('c')?.floor, position(5))
    state.onAck(member('b'), e1, acked(9))
    state.onAck(member('c'), e1, acked(9))
    assert.deepEqual(state.floorNow, position(9))
  })

  test('C3: with a coordinator no second change is begun before the outcome of the first is known', () => {
    const state = new InSyncState({
      record: record(['a', 'b']),
      recordHeldBy: 'coordinator',
      self: member('a'),
      epochStart: 1,
      durable: 5,
      applied: 5,
      committed: 0,
    })
    for (const name of ['b', 'c', 'd']) state.onSession(member(name), acked(5))
    const next = state.joinOf(member('c'))!
    state.propose(next)
    assert.equal(state.joinOf(member('d')), undefined)
    assert.equal(state.renewalOf(), undefined)
    assert.equal(state.takeBackOf(), undefined, 'what was sent may have happened')
    state.onSwapped(next)
    assert.deepEqual(namesOf(state.joinOf(member('d'))!.inSync), ['a', 'b', 'c', 'd'])
  })

  test('I8: ends of blocks behind a member that is away are few, and still ends of blocks', () => {
    const local = { ...standbyOfTwo, durability: 'local' } as const
    const state = new InSyncState({
      record: record(['a', 'b', 'c'], { settings: local }),
      recordHeldBy: 'coordinator',
      self: member('a'),
      epochStart: 1,
      durable: 0,
      applied: 0,
      committed: 0,
    })
    for (let end = 1; end <= 10 * limits.blockEndsMax; end++) state.onBlock(position(2 * end))
    const held = (state as unknown as { readonly blockEnds: readonly unknown[] }).blockEnds
    assert.ok(held.length <= limits.blockEndsMax, `${held.length} are kept`)
    state.onOwnProgress(20 * limits.blockEndsMax, 0)
    for (const name of ['b', 'c']) state.onSession(member(name), acked(8 * limits.blockEndsMax))
    assert.deepEqual(state.floorNow, position(2 * (limits.blockEndsMax - 1)))
    for (const name of ['b', 'c']) state.onAck(member(name), e1, acked(20 * limits.blockEndsMax))
    assert.deepEqual(state.floorNow, position(20 * limits.blockEndsMax))
  })

  test('versions go up by one', () => {
    const state = stateOf(record(['a', 'b']))
    assert.throws(() => state.propose(record(['a', 'b'], { version: 3 })), /invariant/)
  })

  test('only the primary of the record decides', () => {
    const set = record(['a', 'b'], { primary: member('b'), settings: standbyOfTwo })
    assert.throws(
      () =>
        new InSyncState({
          record: set,
          recordHeldBy: 'members',
          self: member('a'),
          epochStart: 1,
          durable: 0,
          applied: 0,
          committed: 0,
        }),
      /invariant/,
    )
  })
})
