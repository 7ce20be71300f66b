import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type FailoverAnswer,
  type FailoverCandidate,
  type FailoverQuestion,
  judgeFailover,
  type Outsider,
  warnOfInSyncSet,
} from '#src/core/failover-status.js'
import type { ShardRecord } from '#src/core/record.js'
import { epoch, member, position, record } from './support.js'

function standby(node: string, changes: Partial<FailoverCandidate> = {}): FailoverCandidate {
  return { member: member(node), reachable: true, state: 'streaming', durable: position(10), ...changes }
}

function withSettings(names: readonly string[], changes: Partial<ShardRecord['settings']>): ShardRecord {
  const base = record([...names])
  return { ...base, settings: { ...base.settings, ...changes } }
}

/** The primary is a; b and c follow it, all in the set. */
function ask(changes: Partial<FailoverQuestion> = {}): FailoverAnswer {
  const asked = changes.record ?? record(['a', 'b', 'c'])
  return judgeFailover({
    self: 'a',
    coordinator: { kind: 'connected' },
    record: asked,
    inSync: asked.inSync,
    primaryAnswers: true,
    others: [standby('b'), standby('c')],
    committed: 10,
    voters: [],
    ...changes,
  })
}

describe('can we fail over now?', () => {
  test('yes, to the member of the set with the longest journal', () => {
    assert.deepEqual(ask(), { possible: true, reason: 'b holds everything and can take over', to: 'b' })
    assert.equal(ask({ others: [standby('b'), standby('c', { durable: position(11) })] }).to, 'c')
    const older = standby('b', { durable: position(99, epoch(0, 'x')) })
    assert.equal(ask({ others: [older, standby('c')] }).to, 'c', 'a tail of an earlier epoch is not longer')
  })

  test('not without the coordinator, and not with one that decides nothing', () => {
    const away = ask({ coordinator: { kind: 'disconnected', error: 'connection refused' } })
    assert.equal(away.possible, false)
    assert.match(away.reason, /cannot be reached from a \(connection refused\)/)
    assert.match(ask({ coordinator: { kind: 'static' } }).reason, /a person promotes/)
    assert.match(judgeFailover({ ...question(), record: undefined }).reason, /not created/)
  })

  test('C6: only members of the set count, however far others are', () => {
    const alone = ask({ record: record(['a']) })
    assert.deepEqual([alone.possible, alone.to], [false, undefined])
    assert.match(alone.reason, /no other node than a is in the in-sync set/)
    assert.equal(
      ask({ record: record(['a', 'b']), others: [standby('b'), standby('c', { durable: position(99) })] }).to,
      'b',
    )
  })

  test('each member that cannot take over is named with what is in its way', () => {
    const { possible, reason } = ask({
      others: [standby('b', { reachable: false }), standby('c', { state: 'fenced' })],
    })
    assert.equal(possible, false)
    assert.equal(reason, 'b does not answer; c is fenced')
    assert.equal(ask({ others: [] }).reason, 'b does not answer; c does not answer')
  })

  test('S2: a member that was built anew is not the one in the set', () => {
    const rebuilt = standby('b', { member: { node: 'b', incarnation: 'f'.repeat(32) } })
    const { possible, reason } = ask({ record: record(['a', 'b']), others: [rebuilt] })
    assert.equal(possible, false)
    assert.match(reason, /b was built anew/)
  })

  test('C5: who ends below what the record says is committed cannot', () => {
    const asked = { ...record(['a', 'b']), floor: position(9) }
    assert.match(
      ask({ record: asked, others: [standby('b', { durable: position(8) })] }).reason,
      /b ends at 8, below 9/,
    )
    assert.equal(ask({ record: asked, others: [standby('b', { durable: position(9) })] }).possible, true)
  })

  test('C3: while a change of the set is under way only members that stay in it count', () => {
    const { to } = ask({ inSync: [member('a'), member('c')] })
    assert.equal(to, 'c')
  })

  test('a takeover after which writes would wait is possible and says so', () => {
    const two = ask({ record: record(['a', 'b']), others: [standby('b')] })
    assert.equal(two.possible, true)
    assert.match(two.reason, /writes would then wait until another node is back \(1 of at least 2 would be left\)/)
    const spare = ask({ record: record(['a', 'b']), others: [standby('b'), standby('c', { state: 'catching-up' })] })
    assert.match(spare.reason, /until c has joined the set/)
    const lost = ask({ others: [standby('b'), standby('c', { reachable: false })] })
    assert.match(lost.reason, /1 of at least 2/)
    assert.doesNotMatch(ask().reason, /writes would/)
    const one = withSettings(['a', 'b'], { inSyncMin: 1 })
    assert.doesNotMatch(ask({ record: one, others: [standby('b')] }).reason, /writes would/)
  })

  test('at durability local it says what would be lost, and writes never wait', () => {
    const local = withSettings(['a', 'b'], { durability: 'local', inSyncMin: 1 })
    const behind = ask({ record: local, others: [standby('b', { durable: position(7) })] })
    assert.match(behind.reason, /without 3 entries that it has not received/)
    assert.match(ask({ record: local, others: [standby('b')] }).reason, /everything of this moment/)
    assert.doesNotMatch(behind.reason, /writes would/)
  })

  test('a standby whose primary is gone answers from what it knows', () => {
    const answer = ask({ self: 'b', primaryAnswers: false })
    assert.equal(answer.to, 'b')
    assert.match(answer.reason, /^a does not answer, and b can take over$/)
  })

  test('a coordinator kept by nodes must have a majority without the primary', () => {
    const voter = (node: string, reachable = true) => ({ node, reachable })
    const pair = ask({ voters: [voter('a'), voter('b')] })
    assert.equal(pair.possible, false)
    assert.match(pair.reason, /without a the coordinator has 1 of at least 2 voters \(a, b\)/)
    assert.equal(ask({ voters: [voter('a'), voter('b'), voter('w')] }).possible, true)
    assert.equal(ask({ voters: [voter('a'), voter('b'), voter('w', false)] }).possible, false)
    assert.equal(ask({ voters: [voter('x'), voter('y', false)] }).possible, true, 'the primary is none of them')
    assert.match(ask({ voters: [voter('a')] }).reason, /0 of at least 1 voters \(a\)/)
  })
})

describe('warnings of the in-sync set', () => {
  const outsider = (changes: Partial<Outsider> = {}): Outsider => ({
    node: 'c',
    reachable: true,
    follows: true,
    state: 'catching-up',
    lagEntries: 3,
    left: undefined,
    ...changes,
  })
  const warn = (names: readonly string[], ...outsiders: Outsider[]): string => {
    const asked = record([...names])
    return warnOfInSyncSet(asked, asked.inSync, outsiders).join('\n')
  }

  test('a full set says nothing, one at its minimum says what is at stake', () => {
    assert.equal(warn(['a', 'b', 'c']), '')
    assert.match(warn(['a', 'b']), /at its minimum \(a, b\): if one of them is lost, writes wait/)
  })

  test('who is not in the set is named with the reason', () => {
    assert.match(warn(['a', 'b', 'd'], outsider()), /^c is not in the in-sync set: it is 3 entries behind$/)
    assert.match(warn(['a', 'b', 'd'], outsider({ follows: false, reachable: false })), /it does not answer$/)
    assert.match(warn(['a', 'b', 'd'], outsider({ follows: false, state: 'bootstrapping' })), /it is bootstrapping$/)
    const left = { at: '2026-01-01T00:00:00.000Z', reason: 'behind for 1000 ms' }
    assert.match(warn(['a', 'b', 'd'], outsider({ left })), /\(left at 2026-01-01T00:00:00.000Z: behind for 1000 ms\)$/)
  })
})

function question(): FailoverQuestion {
  return {
    self: 'a',
    coordinator: { kind: 'connected' },
    record: undefined,
    inSync: [],
    primaryAnswers: false,
    others: [],
    committed: 0,
    voters: [],
  }
}
