import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Laggards } from '#src/core/laggards.js'
import { isLossy } from '#src/core/record.js'
import {
  decideForced,
  decideTakeover,
  judgeRecord,
  mayLead,
  type TakeoverDecision,
  type TakeoverQuestion,
} from '#src/core/takeover.js'
import { checkTimings, clockRateMargin, timingsOf } from '#src/core/timings.js'
import { answer, epoch, member, position, record, takeoverQuestion, timings } from './support.js'

function decided<T extends TakeoverDecision['type']>(type: T, changes: Partial<TakeoverQuestion> = {}) {
  const decision = decideTakeover(takeoverQuestion(changes))
  assert.equal(decision.type, type, JSON.stringify(decision))
  return decision as Extract<TakeoverDecision, { type: T }>
}

const namesOf = (members: ReadonlyArray<{ readonly node: string }>) => members.map((one) => one.node)

describe('takeover', () => {
  test('a member of the set takes over when nobody hears the primary', () => {
    const { record: next } = decided('take')
    assert.deepEqual(next.epoch, epoch(2, 'b'))
    assert.deepEqual(next.primary, member('b'))
    assert.equal(next.version, 2)
    assert.equal(next.nonce, 'f'.repeat(32))
    assert.equal(isLossy(next), false)
    assert.equal(next.handedOver, false)
  })

  test('S3: the epoch is above everything seen here and by all who answer', () => {
    assert.deepEqual(decided('take', { promised: epoch(7, 'c') }).record.epoch, epoch(8, 'b'))
    assert.deepEqual(
      decided('take', { answers: [answer('c', { promised: epoch(9, 'z') })] }).record.epoch,
      epoch(10, 'b'),
    )
  })

  test('C6: only a member of the set, in this incarnation', () => {
    assert.match(decided('ineligible', { record: record(['a', 'c']) }).reason, /not in the in-sync set/)
    assert.match(decided('ineligible', { self: member('b', '2') }).reason, /not in the in-sync set/)
  })

  test('C6: the old primary and who does not answer leave, never below inSyncMin', () => {
    assert.deepEqual(namesOf(decided('take').record.inSync), ['b', 'c'])
    assert.deepEqual(namesOf(decided('take', { answers: [] }).record.inSync), ['b', 'c'], 'rather than the old primary')
    const two = record(['a', 'b'])
    assert.deepEqual(namesOf(decided('take', { record: two, answers: [] }).record.inSync), ['b', 'a'])
    const one = record(['a', 'b', 'c'], { settings: { ...two.settings, inSyncMin: 1 } })
    assert.deepEqual(namesOf(decided('take', { record: one, answers: [] }).record.inSync), ['b'])
    const failed = [answer('c', { state: 'failed' })]
    assert.deepEqual(namesOf(decided('take', { record: one, answers: failed }).record.inSync), ['b'])
  })

  test('C6: the old primary leaves also where it still answers: it may be the one that hangs', () => {
    const answers = [answer('a', { state: 'reconnecting' }), answer('c')]
    assert.deepEqual(namesOf(decided('take', { answers }).record.inSync), ['b', 'c'])
  })

  test('C6: the longest journal goes first, others a step later each; nobody is waited for', () => {
    const longer = answer('c', { durable: position(11) })
    const wait = decided('wait', { answers: [longer], nowMs: 9_950 })
    assert.equal(wait.untilMs, 9_900 + timings.rankStepMs)
    decided('take', { answers: [longer], nowMs: wait.untilMs })
    const laterEpoch = answer('c', { durable: position(5, epoch(2, 'c')) })
    decided('wait', { answers: [laterEpoch], nowMs: 9_950 })
    decided('take', { answers: [answer('c', { durable: position(9) })] })
    // Equals go by name; who cannot take over holds up nobody.
    decided('wait', { self: member('c'), answers: [answer('b')], nowMs: 9_950 })
    decided('take', { self: member('c'), answers: [answer('b', { state: 'failed' })] })
    decided('take', { answers: [answer('z', { durable: position(99) })] })
  })

  test('C5: a journal that ends below the floor, or has another chain there, never leads', () => {
    decided('ineligible', { record: record(['a', 'b', 'c'], { floor: position(11) }) })
    decided('ineligible', { holdsFloor: false })
    decided('ineligible', { record: record(['a', 'b', 'c'], { primary: member('b') }), holdsFloor: false })
  })

  test('C5: the floor is what is known to be committed, and never goes back', () => {
    assert.deepEqual(decided('take').record.floor, position(8))
    const floor = position(9)
    assert.deepEqual(decided('take', { record: record(['a', 'b', 'c'], { floor }) }).record.floor, floor)
  })

  test('C6: at durability local what only this node has is no floor for the other members', () => {
    const local = { ...record([]).settings, durability: 'local' } as const
    const floor = position(3)
    const { record: next } = decided('take', { record: record(['a', 'b', 'c'], { settings: local, floor }) })
    assert.deepEqual(next.floor, floor)
  })

  test('L3: nobody gives up for a member that could not lead', () => {
    for (const state of ['bootstrapping', 'failed', 'fenced', 'stopped'] as const) assert.equal(mayLead(state), false)
    for (const state of ['connecting', 'reconnecting', 'catching-up', 'streaming'] as const)
      assert.equal(mayLead(state), true)
  })

  test('C7: a node under repair is no candidate', () => {
    assert.equal(decided('ineligible', { unfit: 'it is being rebuilt' }).reason, 'it is being rebuilt')
  })

  test('L1: what was promised is waited out, on the own clock', () => {
    assert.equal(decided('wait', { promiseUntilMs: 10_001 }).untilMs, 10_001)
    decided('take', { promiseUntilMs: 10_000 })
  })

  test('L1: whoever hears the primary, or knows a member that does, deposes nobody', () => {
    decided('follow', { hearsPrimary: true })
    assert.match(decided('wait', { answers: [answer('c', { hearsPrimary: true })] }).reason, /c still hears a/)
  })

  test('who gave up its role lets others try first', () => {
    assert.equal(decided('wait', { coolUntilMs: 11_000 }).untilMs, 11_000)
  })

  test('S3: a former primary takes a new epoch, and waits for nobody', () => {
    const own = record(['b', 'a', 'c'], { epoch: epoch(3, 'b'), primary: member('b') })
    const changes = { record: own, promised: epoch(3, 'b'), led: epoch(3, 'b') }
    assert.deepEqual(decided('take', { ...changes, promiseUntilMs: 99_999 }).record.epoch, epoch(4, 'b'))
  })

  test('L5: a node that was handed an unused epoch leads in it at once', () => {
    const given = record(['a', 'b', 'c'], { epoch: epoch(2, 'b'), primary: member('b'), handedOver: true })
    assert.equal(decided('lead', { record: given, promiseUntilMs: 99_999 }).record, given)
    // Observed by others meanwhile: still unused here.
    decided('lead', { record: given, promised: epoch(2, 'b') })
    // A higher epoch was seen: it takes its own.
    assert.deepEqual(decided('take', { record: given, promised: epoch(5, 'c') }).record.epoch, epoch(6, 'b'))
  })

  test('L1: an own swap of which a node learns late waits out what was promised meanwhile', () => {
    const late = record(['b', 'c'], { epoch: epoch(2, 'b'), primary: member('b') })
    assert.equal(decided('wait', { record: late, promiseUntilMs: 10_200 }).untilMs, 10_200)
    decided('lead', { record: late })
  })
})

describe('promotion by hand under a coordinator', () => {
  const forced = (changes: Partial<Parameters<typeof decideForced>[0]> = {}) =>
    decideForced({
      self: member('b'),
      coordinatorId: 'd'.repeat(32),
      known: record(['a', 'b', 'c']),
      promised: epoch(1, 'a'),
      durable: position(10),
      committedEnd: position(8),
      holdsFloor: true,
      answers: [answer('a'), answer('c')],
      nonce: 'f'.repeat(32),
      force: false,
      ...changes,
    })

  test('without a record: every member of the known set must answer, and none may know more', () => {
    const decision = forced()
    assert.ok(decision.type === 'take')
    assert.equal(isLossy(decision.record), false)
    assert.equal(decision.record.coordinatorId, 'd'.repeat(32), 'the record belongs to the coordinator that is there')
    assert.deepEqual(namesOf(decision.record.inSync), ['b', 'a', 'c'])
    for (const changes of [
      { answers: [answer('c')] },
      { answers: [answer('a', { committed: 11 }), answer('c')] },
      { known: record(['a', 'c']) },
      { holdsFloor: false },
    ]) {
      const refused = forced(changes)
      assert.ok(refused.type === 'refuse', JSON.stringify(changes))
      assert.equal(refused.failure.code, 'PROMOTION_REFUSED')
    }
  })

  test('C5: where nothing is lost the floor stays', () => {
    const floor = position(9)
    const decision = forced({ known: record(['a', 'b', 'c'], { floor }) })
    assert.ok(decision.type === 'take')
    assert.deepEqual(decision.record.floor, floor)
  })

  test('C5: force marks the epoch lossy, says how much, and floors at what is here', () => {
    const decision = forced({ answers: [answer('a', { committed: 15 })], force: true })
    assert.ok(decision.type === 'take')
    assert.equal(isLossy(decision.record), true)
    assert.equal(decision.missingEntries, 5)
    assert.deepEqual(decision.record.floor, position(8))
  })
})

describe('judging the coordinator', () => {
  const id = 'c'.repeat(32)
  const stored = record(['a', 'b'], { epoch: epoch(3, 'a'), version: 5 })
  const judge = (changes: Partial<Parameters<typeof judgeRecord>[0]>) =>
    judgeRecord({ coordinatorId: id, found: stored, stored, promised: epoch(3, 'a'), ...changes })

  test('what is as new as the data, or newer, counts', () => {
    assert.equal(judge({}).type, 'current')
    assert.equal(judge({ found: { ...stored, version: 6 } }).type, 'current')
    assert.equal(judge({ stored: undefined }).type, 'current')
    assert.equal(judge({ stored: undefined, found: undefined }).type, 'absent')
  })

  test('S1: data without a record, or with one of another history, waits for an operator', () => {
    assert.equal(judge({ found: undefined }).type, 'fence')
    assert.equal(judge({ found: { ...stored, historyId: 'x' } }).type, 'fence')
  })

  test('S3: a coordinator that went backwards decides nothing', () => {
    for (const found of [
      { ...stored, version: 4 },
      { ...stored, epoch: epoch(2, 'b'), version: 99 },
    ]) {
      const verdict = judge({ found })
      assert.ok(verdict.type === 'fence')
      assert.match(verdict.reason, /went backwards/)
    }
    assert.equal(judge({ promised: epoch(4, 'b') }).type, 'fence')
  })

  test('S6: another coordinator is believed only with an epoch above everything seen here', () => {
    const other = 'd'.repeat(32)
    const found = { ...stored, coordinatorId: other }
    assert.equal(judge({ coordinatorId: other, found }).type, 'fence')
    assert.equal(judge({ coordinatorId: other, found: { ...found, epoch: epoch(4, 'b') } }).type, 'current')
    assert.equal(judge({ coordinatorId: other, found: { ...stored, epoch: epoch(4, 'b') } }).type, 'fence')
  })
})

describe('timings', () => {
  test('every failover time keeps the relations that the rules rest on', () => {
    for (let failoverMs = 200; failoverMs <= 60_000; failoverMs += 37) {
      const { leaseMs, promiseMs, silenceMs } = timingsOf({ failoverMs, inSyncTimeoutMs: failoverMs })
      assert.ok(promiseMs >= leaseMs * (1 + clockRateMargin))
      assert.ok(promiseMs < silenceMs)
    }
  })

  test('a broken relation is our own bug', () => {
    assert.throws(() => checkTimings({ ...timings, promiseMs: timings.leaseMs }), /a promise outlives its lease/)
    assert.throws(() => checkTimings({ ...timings, silenceMs: timings.promiseMs }), /silent/)
  })
})

describe('laggards', () => {
  const run = (steps: ReadonlyArray<readonly [ms: number, end: number, durable: number | undefined]>) => {
    const laggards = new Laggards({ timeoutMs: 1000, stallMs: 500 })
    return steps.map(([ms, end, durable]) => laggards.tick(ms, end, [{ node: 'b', durable }]))
  }
  const every = (fromMs: number, toMs: number, of: (ms: number) => readonly [number, number | undefined]) => {
    const steps: Array<readonly [number, number, number | undefined]> = []
    for (let ms = fromMs; ms <= toMs; ms += 50) steps.push([ms, ...of(ms)])
    return steps
  }

  test('a member that keeps up, a moment behind, stays', () => {
    assert.ok(run(every(0, 5000, (ms) => [ms, Math.max(0, ms - 300)])).every((late) => late.length === 0))
  })

  test('a member that falls back by more than the time-out leaves', () => {
    const late = run(every(0, 5000, (ms) => [ms, Math.floor(ms / 2)]))
    assert.deepEqual(late.at(-1), ['b'])
    assert.ok(late.findIndex((one) => one.length > 0) * 50 >= 1000)
  })

  test('a member that is away leaves, also while nothing is written', () => {
    const late = run(every(0, 2000, (ms) => [7, ms < 500 ? 7 : undefined]))
    const first = late.findIndex((one) => one.length > 0) * 50
    assert.ok(first > 1400 && first < 1700, `${first}`)
  })

  test('F40: a time in which this process stood still counts for nobody', () => {
    const late = run([
      ...every(0, 1000, () => [7, 7]),
      [9000, 7, undefined],
      ...every(9050, 9900, () => [7, undefined] as const),
    ])
    assert.ok(late.every((one) => one.length === 0))
  })
})
