/** Single conditions of the core that no other test would miss: mutation testing found them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { SourceChooser } from '#src/core/bootstrap.js'
import { answerSubscription, commonEnd, decideRejoin } from '#src/core/history.js'
import { Laggards } from '#src/core/laggards.js'
import { ReadLease } from '#src/core/lease.js'
import { epochZero, formatEpoch, parsePosition, samePosition } from '#src/core/position.js'
import { formatSettings, newerRecord, sameSettings } from '#src/core/record.js'
import { segmentFault } from '#src/core/recovery.js'
import { decideCreate, decideStart, type StartQuestion } from '#src/core/start.js'
import { epoch, member, peer, position, record, standbyOfTwo } from './support.js'

const empty = (node: string) => peer(node, { historyId: undefined, record: undefined, durable: undefined })

describe('starting', () => {
  const start = (changes: Partial<StartQuestion>) =>
    decideStart({
      node: 'a',
      own: undefined,
      configured: ['a', 'b', 'c'],
      initialPrimary: 'a',
      answers: [],
      byHand: false,
      ...changes,
    })

  test('S1: every configured node must have answered, and who has not is named', () => {
    assert.deepEqual(start({ configured: ['a', 'b'], answers: [empty('b')] }), { type: 'create' })
    const waits = start({ answers: [empty('b')] })
    assert.ok(waits.type === 'wait' && !waits.fenced)
    assert.match(waits.reason, /waiting for c to say/)
  })

  test('S1: one node with data is found among empty ones', () => {
    const bootstrap = { type: 'bootstrap', historyId: 'h'.repeat(32) }
    assert.deepEqual(start({ answers: [empty('b'), peer('c')] }), bootstrap)
    const create = (answers: Parameters<typeof decideCreate>[0]['answers']) =>
      decideCreate({ node: 'a', inSyncMin: 2, registered: ['a', 'b', 'c'], answers, byHand: true })
    const waits = create([empty('b'), peer('c')])
    assert.ok(waits.type === 'wait' && !waits.fenced)
    assert.match(waits.reason, /^c has data/)
    assert.deepEqual(create([empty('b'), empty('c')]), { type: 'create' })
  })

  test('an empty node that waits is not fenced, and says for what', () => {
    const answers = [empty('b'), empty('c')]
    const forB = start({ answers, initialPrimary: 'b' })
    assert.deepEqual(forB, { type: 'wait', fenced: false, reason: 'all nodes are empty; waiting for b to begin' })
    const forHand = start({ answers, initialPrimary: undefined })
    assert.deepEqual(forHand, { type: 'wait', fenced: false, reason: 'all nodes are empty; promote one of them' })
    const registered = (names: readonly string[], node = 'a') =>
      decideCreate({
        node,
        inSyncMin: 2,
        registered: names,
        answers: names.filter((name) => name !== 'c').map(empty),
        byHand: false,
      })
    for (const [decision, reason] of [
      [registered(['a', 'c']), /waiting for c/],
      [registered(['a']), /^1 of at least 2 nodes/],
      [registered(['a', 'b'], 'b'), /a begins/],
    ] as const) {
      assert.ok(decision.type === 'wait' && !decision.fenced)
      assert.match(decision.reason, reason)
    }
  })

  test('C8: a former primary that waits says which epoch it asks about', () => {
    const own = { member: member('a'), record: record(['a', 'b', 'c']) }
    const waits = start({ own, answers: [peer('b', { promised: epoch(4, 'z') })] })
    assert.ok(waits.type === 'wait' && waits.fenced)
    assert.match(waits.reason, /waiting for c to confirm that there is no epoch above 4@z/)
  })
})

describe('histories', () => {
  const starts = (...list: ReadonlyArray<readonly [number, number]>) =>
    list.map(([number, firstSequence]) => ({ epoch: epoch(number, 'a'), firstSequence }))

  test('F38: an epoch that begins elsewhere is not the same one, and nothing in common is no common end', () => {
    assert.equal(commonEnd({ epochs: starts([2, 5]), end: 9 }, { epochs: starts([2, 7]), end: 9 }), undefined)
    assert.equal(commonEnd({ epochs: starts([1, 1], [2, 5]), end: 9 }, { epochs: starts([1, 1], [2, 7]), end: 9 }), 4)
    const subscriber = { position: position(9, epoch(3, 'b')), epochs: starts([3, 6]) }
    const journal = { base: position(4), end: position(9), epochs: starts([2, 5]) }
    assert.deepEqual(answerSubscription(journal, subscriber, position(9, epoch(2, 'a'), 'other')), { type: 'too-old' })
  })

  test('two histories share the empty one only if both still reach back to it', () => {
    const full = { epochs: starts([1, 1]), end: 9 }
    assert.equal(commonEnd({ epochs: [], end: 0 }, full), 0)
    assert.equal(commonEnd(full, { epochs: [], end: 0 }), 0)
    assert.equal(commonEnd({ epochs: [], end: 0 }, { epochs: starts([2, 5]), end: 9 }), undefined)
    assert.equal(commonEnd({ epochs: starts([2, 5]), end: 9 }, { epochs: [], end: 0 }), undefined)
    assert.equal(commonEnd({ epochs: [], end: 0 }, { epochs: [], end: 3 }), undefined)
  })

  test('S5, C5: a tail is cut down to the base itself, and what is committed is refused with a code', () => {
    const rejoin = {
      common: position(4),
      base: position(4),
      end: position(9),
      here: position(4),
      committed: 4,
      applied: 4,
      mayUndo: false,
      lossySince: epochZero,
    }
    assert.deepEqual(decideRejoin(rejoin), { type: 'truncate', to: position(4), cutEntries: 5 })
    for (const changes of [{ committed: 5 }, { here: position(4, epoch(1, 'a'), 'other') }]) {
      const decision = decideRejoin({ ...rejoin, ...changes })
      assert.ok(decision.type === 'fence')
      assert.equal(decision.failure.code, 'DIVERGED')
    }
  })

  test('J4: a segment of another epoch does not follow, whatever its chain is', () => {
    const end = position(9)
    assert.equal(segmentFault(end, { ...end }), undefined)
    const fault = segmentFault(end, { ...end, epoch: epoch(2, 'b') })
    assert.match(`${fault?.expected} ${fault?.found}`, /1@a.*2@b/)
    assert.match(segmentFault(end, { ...end, sequence: 12 })?.found ?? '', /13/)
  })
})

describe('records and positions', () => {
  test('S7: settings are the same only if all of them are', () => {
    assert.ok(sameSettings(standbyOfTwo, { ...standbyOfTwo }))
    for (const changes of [
      { durability: 'local' },
      { inSyncMin: 3 },
      { failoverMs: 1001 },
      { inSyncTimeoutMs: 1001 },
    ] as const) {
      assert.equal(sameSettings(standbyOfTwo, { ...standbyOfTwo, ...changes }), false, JSON.stringify(changes))
    }
    assert.match(formatSettings(standbyOfTwo), /standby, inSyncMin 2, failoverMs 1000, inSyncTimeoutMs 1000/)
  })

  test('the newer of two records, if there are two', () => {
    const one = record(['a'])
    const two = record(['a'], { version: 2 })
    assert.equal(newerRecord(undefined, undefined), undefined)
    assert.equal(newerRecord(one, undefined), one)
    assert.equal(newerRecord(undefined, one), one)
    assert.equal(newerRecord(one, two), two)
    assert.equal(newerRecord(two, one), two)
  })

  test('S5: positions are the same only with sequence, chain and epoch', () => {
    assert.ok(samePosition(position(3), position(3)))
    assert.equal(samePosition(position(3), position(4, epoch(1, 'a'), 'chain 3')), false)
    assert.equal(samePosition(position(3), position(3, epoch(1, 'a'), 'other')), false)
    assert.equal(samePosition(position(3), position(3, epoch(2, 'a'), 'chain 3')), false)
  })

  test('positions in text, with and without a node', () => {
    assert.deepEqual(parsePosition('12@a.345'), { epoch: epoch(12, 'a'), sequence: 345 })
    assert.deepEqual(parsePosition('0.7'), { epoch: epochZero, sequence: 7 })
    assert.equal(formatEpoch(epochZero), '0')
    assert.equal(formatEpoch(epoch(12, 'a')), '12@a')
  })
})

describe('leases and laggards', () => {
  test('L1: an answer to an earlier question counts as long as its lease would have lasted', () => {
    const lease = new ReadLease(100)
    const first = lease.request(1000)
    const second = lease.request(1050)
    assert.equal(lease.newestRequest, second)
    assert.equal(lease.onPromise(member('b'), first), 'counted')
    assert.equal(lease.validUntilMs([member('a'), member('b')], member('a')), 1100)
    lease.request(1100)
    assert.equal(lease.onPromise(member('c'), first), 'stale', 'its lease is over')
    assert.equal(lease.onPromise(member('c'), second), 'counted')
  })

  test('C6: a member that comes back has the whole time, one that stays away has not', () => {
    const laggards = new Laggards({ timeoutMs: 100, stallMs: 1000 })
    const gone = [{ node: 'b', durable: undefined }]
    assert.deepEqual(laggards.tick(0, 10, gone), [])
    assert.deepEqual(laggards.tick(90, 10, gone), [])
    assert.deepEqual(laggards.tick(100, 10, gone), [], 'not before it is over')
    assert.deepEqual(laggards.tick(101, 10, gone), ['b'])
    assert.deepEqual(laggards.tick(102, 10, [{ node: 'c', durable: 10 }]), [])
    assert.deepEqual(laggards.tick(103, 10, gone), [], 'it left the set and is new in it')
  })
})

describe('sources of a bootstrap', () => {
  const source = (node: string, changes: { readonly primary?: boolean; readonly preferred?: boolean } = {}) => ({
    node,
    address: `${node}:1`,
    primary: false,
    durable: 1,
    ...changes,
  })

  test('the one that an operator named, then standbys, then the primary, by name', () => {
    const chooser = new SourceChooser()
    const all = [source('p', { primary: true }), source('c'), source('b'), source('z', { preferred: true })]
    const order: string[] = []
    for (let left = [...all]; left.length > 0; ) {
      const { node } = chooser.choose(left)!
      order.push(node)
      left = left.filter((one) => one.node !== node)
    }
    assert.deepEqual(order, ['z', 'b', 'c', 'p'])
    assert.deepEqual(chooser.choose([...all].reverse())?.node, 'z')
  })

  test('F12: who failed last is asked last, then who failed more often, until data arrives', () => {
    const chooser = new SourceChooser()
    const all = [source('b'), source('c')]
    chooser.onFailure('b', 0)
    assert.equal(chooser.choose(all)?.node, 'c')
    assert.equal(chooser.choose([...all].reverse())?.node, 'c')
    chooser.onFailure('b', 0)
    chooser.onFailure('c', 0)
    assert.equal(chooser.choose(all)?.node, 'b', 'it failed before the other one did')
    chooser.onProgress()
    assert.equal(chooser.choose(all)?.node, 'c', 'it failed once, the other one twice')
  })
})
