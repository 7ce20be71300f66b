/** Single conditions of the in-sync set that no other test would miss: mutation testing found them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { InSyncState } from '#src/core/in-sync.js'
import type { ShardRecord } from '#src/core/record.js'
import { member, position, record, standbyOfTwo } from './support.js'

type Held = ConstructorParameters<typeof InSyncState>[0]['recordHeldBy']

function stateOf(set: ShardRecord, recordHeldBy: Held = 'members'): InSyncState {
  const state = new InSyncState({
    record: set,
    recordHeldBy,
    self: member('a'),
    epochStart: 1,
    durable: 0,
    applied: 0,
    committed: 0,
  })
  state.onOwnRecordDurable(set.version)
  return state
}

function acked(durable: number, recordVersion = 1, applied = 0) {
  return { durable, applied, recordVersion }
}

const namesOf = (found: ShardRecord | undefined) => found?.inSync.map((one) => one.node)
const four = ['a', 'b', 'c', 'd']
const ofThree = { settings: { ...standbyOfTwo, inSyncMin: 3 } }

describe('joining', () => {
  test('C2: who is a member already does not join', () => {
    const state = stateOf(record(['a', 'b']))
    state.onSession(member('b'), acked(1))
    assert.equal(state.joinOf(member('b')), undefined)
  })

  test('C3: with the static coordinator too, one change at a time while its members are there', () => {
    const state = stateOf(record(['a', 'b'], { voters: four }))
    for (const name of ['b', 'c', 'd']) state.onSession(member(name), acked(1))
    state.propose(state.joinOf(member('c'))!)
    assert.equal(state.joinOf(member('d')), undefined)
    state.onSessionEnd(member('c'))
    assert.deepEqual(namesOf(state.joinOf(member('d'))), ['a', 'b', 'c', 'd'], 'not for one that is gone')
  })

  test('S2, C6: a member built anew takes its own place: never is one node in the set twice', () => {
    const state = stateOf(record(['a', 'b']))
    state.onSession(member('b', '2'), acked(1))
    const joined = state.joinOf(member('b', '2'))
    assert.deepEqual(joined?.inSync, [member('a'), member('b', '2')])
    const seen = stateOf(record(['a', 'b']))
    seen.onSession(member('b'), acked(1))
    seen.onSessionEnd(member('b'))
    seen.onSession(member('b', '2'), acked(1))
    assert.deepEqual(seen.joinOf(member('b', '2'))?.inSync, [member('a'), member('b', '2')], 'also if it was seen')
  })

  test('C6: who was kept only for the size of the set leaves in the same step, and no more than fit', () => {
    const state = stateOf(record(['a', 'b', 'c'], { ...ofThree, voters: four }))
    state.onSession(member('d'), acked(1))
    assert.deepEqual(namesOf(state.joinOf(member('d'))), ['a', 'c', 'd'])
    state.onSession(member('b'), acked(1))
    assert.deepEqual(namesOf(state.joinOf(member('d'))), ['a', 'b', 'd'], 'one that was seen in this epoch stays')
  })
})

describe('changes under way', () => {
  test('C3: with a coordinator a set that everybody holds is in force only when the swap is known', () => {
    const state = stateOf(record(['a', 'b']), 'coordinator')
    for (const name of ['b', 'c']) state.onSession(member(name), acked(5))
    const next = state.joinOf(member('c'))!
    state.propose(next)
    state.onOwnRecordDurable(next.version)
    for (const name of ['b', 'c']) state.onSession(member(name), acked(5, next.version))
    assert.ok(state.changing, 'before the answer')
    assert.deepEqual(
      state.members.map((one) => one.node),
      ['a', 'b'],
    )
    state.onSwapped(next)
    assert.equal(state.changing, false)
  })

  test('C3: what was sent to a coordinator is never taken back, and without one no swap is believed', () => {
    const swapped = stateOf(record(['a', 'b']), 'coordinator')
    for (const name of ['b', 'c']) swapped.onSession(member(name), acked(1))
    swapped.propose(swapped.joinOf(member('c'))!)
    swapped.onSessionEnd(member('c'))
    assert.equal(swapped.takeBackOf(), undefined)
    const held = stateOf(record(['a', 'b']))
    assert.throws(() => held.onSwapped(record(['a', 'b'])), /needs a coordinator/)
  })

  test('C3: a join is taken back when the one that joins is gone, not while it is there', () => {
    const state = stateOf(record(['a', 'b']))
    for (const name of ['b', 'c']) state.onSession(member(name), acked(1))
    state.propose(state.joinOf(member('c'))!)
    assert.equal(state.takeBackOf(), undefined, 'all are there')
    state.onSessionEnd(member('b'))
    assert.equal(state.takeBackOf(), undefined, 'a member of the old set is away: no reason')
    state.onSessionEnd(member('c'))
    assert.deepEqual(namesOf(state.takeBackOf()), ['a', 'b'])
  })

  test('L1: a record that is renewed has the same set and the next version; none beside a change', () => {
    const state = stateOf(record(['a', 'b']), 'coordinator')
    const renewed = state.renewalOf()
    assert.deepEqual([namesOf(renewed), renewed?.version], [['a', 'b'], 2])
    state.propose(renewed!)
    assert.equal(state.renewalOf(), undefined)
  })
})

describe('what writers rest on', () => {
  test('F41: a second node is asked for: the own disk alone never does, whatever the minimum is', () => {
    const alone = stateOf(record(['a'], { settings: { ...standbyOfTwo, durability: 'local', inSyncMin: 1 } }))
    alone.onOwnProgress(10, 10)
    assert.equal(alone.durableEverywhere, 10)
    assert.equal(alone.durableOnStandby, 0)
    const two = stateOf(record(['a', 'b'], { settings: { ...standbyOfTwo, inSyncMin: 1 } }))
    two.onOwnProgress(10, 10)
    two.onSession(member('b'), acked(7))
    assert.equal(two.durableOnStandby, 7)
  })

  test('C9: at local a set of any size is large enough, at standby only one of inSyncMin', () => {
    const settings = { ...standbyOfTwo, inSyncMin: 2 }
    assert.equal(stateOf(record(['a'], { settings: { ...settings, durability: 'local' } })).largeEnough, true)
    assert.equal(stateOf(record(['a'], { settings })).largeEnough, false)
  })

  test('C7: nothing is applied on all while a member has no session; members with one are not missing', () => {
    const state = stateOf(record(['a', 'b', 'c']))
    state.onOwnProgress(10, 10)
    state.onSession(member('b'), acked(10, 1, 9))
    assert.equal(state.appliedEverywhere, 0)
    assert.deepEqual(state.missing, [member('c')])
    state.onSession(member('c'), acked(10, 1, 8))
    assert.equal(state.appliedEverywhere, 8)
    assert.deepEqual(state.missing, [])
  })

  test('C5: the floor at local: with members everything committed, with a coordinator what all members hold', () => {
    const settings = { ...standbyOfTwo, durability: 'local', inSyncMin: 1 } as const
    for (const [held, floor] of [
      ['members', 5],
      ['coordinator', 3],
    ] as const) {
      const state = stateOf(record(['a', 'b'], { settings }), held)
      state.onBlock(position(3))
      state.onBlock(position(5))
      state.onSession(member('b'), acked(3))
      state.onOwnProgress(5, 5)
      assert.equal(state.committed, 5)
      assert.equal(state.floorNow.sequence, floor, held)
    }
  })
})
