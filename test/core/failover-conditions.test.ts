/** Single conditions of what is said about a failover that no other test would miss: mutation testing found them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type FailoverCandidate,
  type FailoverQuestion,
  judgeFailover,
  type Outsider,
  warnOfInSyncSet,
} from '#src/core/failover-status.js'
import type { LifecycleState } from '#src/core/lifecycle.js'
import type { ShardRecord } from '#src/core/record.js'
import { replicationHealth } from '#src/core/replication-health.js'
import { mergeFailoverAnswers, type ToldFailover } from '#src/core/told-failover.js'
import { epoch, member, position, record, standbyOfTwo } from './support.js'

const standby = (node: string, changes: Partial<FailoverCandidate> = {}): FailoverCandidate => ({
  member: member(node),
  reachable: true,
  state: 'streaming',
  durable: position(10),
  ...changes,
})

function ask(asked: ShardRecord, others: readonly FailoverCandidate[], changes: Partial<FailoverQuestion> = {}) {
  return judgeFailover({
    self: 'a',
    coordinator: { kind: 'connected' },
    record: asked,
    inSync: asked.inSync,
    primaryAnswers: true,
    others,
    committed: 10,
    voters: [],
    ...changes,
  })
}

const local = (names: readonly string[]) =>
  record(names, { settings: { ...standbyOfTwo, durability: 'local', inSyncMin: 2 } })

describe('can we fail over now?', () => {
  test('C6: a member without whole data, or that somebody must look at first, takes over nothing', () => {
    for (const state of ['bootstrapping', 'fenced', 'failed', 'stopped'] as const satisfies LifecycleState[]) {
      const { possible, reason } = ask(record(['a', 'b']), [standby('b', { state })])
      assert.deepEqual([possible, reason], [false, `b is ${state}`])
    }
    for (const state of ['connecting', 'catching-up', 'reconnecting', undefined] as const) {
      assert.equal(ask(record(['a', 'b']), [standby('b', { state })]).possible, true)
    }
  })

  test('where nothing is known of a journal, it is not below anything, and the last in turn', () => {
    const asked = record(['a', 'b', 'c'], { floor: position(9) })
    assert.equal(ask(asked, [standby('b', { durable: undefined }), standby('c')]).to, 'c')
    assert.equal(ask(asked, [standby('c', { durable: undefined }), standby('b', { durable: undefined })]).to, 'b')
    const unknown = ask(local(['a', 'b']), [standby('b', { durable: undefined })])
    assert.equal(unknown.reason, 'b can take over, without what it has not received (durability local)')
  })

  test('of two that are equal the first by name goes, in whatever order they are listed', () => {
    for (const names of [
      ['b', 'c'],
      ['c', 'b'],
    ]) {
      const asked = record(['a', ...names])
      const others = names.map((node) => standby(node))
      assert.equal(ask(asked, others).to, 'b')
    }
  })

  test('at durability local writes never wait, and the count has its word', () => {
    const behind = (sequence: number) => ask(local(['a', 'b']), [standby('b', { durable: position(sequence) })]).reason
    assert.match(behind(9), /without 1 entry that/)
    assert.match(behind(8), /without 2 entries that/)
    assert.doesNotMatch(behind(10), /writes would/)
    assert.match(behind(11), /everything of this moment/)
  })

  test('who could join the set afterwards is named, and nobody else', () => {
    const others = [
      standby('b'),
      standby('c', { state: undefined }),
      standby('d', { state: 'fenced' }),
      standby('e', { reachable: false }),
      standby('f', { state: 'catching-up' }),
    ]
    assert.match(ask(record(['a', 'b']), others).reason, /until c or f has joined the set/)
    const three = record(['a', 'b', 'g'], { settings: { ...standbyOfTwo, inSyncMin: 3 } })
    assert.match(ask(three, [standby('b'), standby('g'), standby('f')]).reason, /until f has joined the set \(2 of/)
  })

  test('a coordinator that is away without a reason is said to be away', () => {
    const { reason } = ask(record(['a', 'b']), [standby('b')], {
      coordinator: { kind: 'disconnected', error: undefined },
    })
    assert.equal(reason, 'the coordinator cannot be reached from a, and nobody takes over without it')
  })
})

test('warnings of the in-sync set say what is the matter', () => {
  const outsider = (changes: Partial<Outsider>): string => {
    const given = { node: 'c', reachable: true, follows: true, state: undefined, lagEntries: 0, left: undefined }
    const asked = record(['a', 'b', 'd'])
    return warnOfInSyncSet(asked, asked.inSync, [{ ...given, ...changes }]).join()
  }
  assert.match(outsider({}), /it follows and joins when it has caught up$/)
  assert.match(outsider({ lagEntries: undefined }), /it follows and joins when it has caught up$/)
  assert.match(outsider({ lagEntries: 1 }), /it is 1 entry behind$/)
  assert.match(outsider({ follows: false }), /it does not follow$/)
  for (const settings of [
    { ...standbyOfTwo, inSyncMin: 1 },
    { ...standbyOfTwo, durability: 'local' as const },
  ]) {
    const names = settings.inSyncMin === 1 ? ['a'] : ['a', 'b']
    const asked = record(names, { settings })
    assert.deepEqual(warnOfInSyncSet(asked, asked.inSync, []), [])
  }
})

describe('the answers of several nodes', () => {
  const told = (node: string, changes: Partial<ToldFailover['shard']> = {}): ToldFailover => ({
    node,
    shard: {
      role: 'standby',
      state: 'streaming',
      epoch: epoch(1, 'a'),
      coordinator: { connected: true },
      failover: { possible: true, reason: 'b can take over', to: 'b' },
      ...changes,
    },
  })
  const set = ['a', 'b', 'c']

  test('the primary is believed, also where a standby of a higher epoch says otherwise', () => {
    const standbys = [told('b', { epoch: epoch(2, 'b') }), told('c', { epoch: undefined })]
    const primary = told('a', { role: 'primary', state: 'primary' })
    assert.equal(mergeFailoverAnswers([...standbys, primary], set)?.saidBy, 'a')
    assert.equal(mergeFailoverAnswers(standbys.toReversed(), set)?.saidBy, 'b')
    assert.equal(mergeFailoverAnswers([told('x', { epoch: undefined }), told('y')], set)?.saidBy, 'y')
  })

  test('a no stays a no, and who was not asked is not doubted', () => {
    const no = { possible: false, reason: 'b is fenced', to: undefined }
    const primary = told('a', { role: 'primary', failover: no })
    const away = told('b', { coordinator: { connected: false } })
    assert.deepEqual(mergeFailoverAnswers([primary, away, told('c')], set), { ...no, saidBy: 'a' })
    const named = { possible: false, reason: 'b is fenced', to: 'b' }
    const naming = told('a', { role: 'primary', failover: named })
    assert.deepEqual(mergeFailoverAnswers([naming, away, told('c')], set), { ...named, saidBy: 'a' })
    const yes = told('a', { role: 'primary' })
    assert.deepEqual(mergeFailoverAnswers([yes, told('c')], set), { ...yes.shard.failover, saidBy: 'a' })
  })
})

test('F43: a standby that is as old as is allowed is healthy, and a role that is none is not', () => {
  const picture = {
    role: 'standby',
    state: 'streaming',
    reason: 'r',
    node: 'b',
    inSyncMin: 2,
    inSync: ['a', 'b'],
    connected: [],
    appended: 1,
    committed: 1,
    lagMs: 1000,
  } as const
  assert.equal(replicationHealth(picture, undefined, 1000).healthy, true)
  assert.equal(replicationHealth({ ...picture, role: 'joining' }, undefined, 1000).healthy, false)
})
