/** Single conditions of takeover and promotion that no other test would miss: mutation testing found them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { confirmPromotion, decidePromotion, type PromotionQuestion } from '#src/core/promotion.js'
import type { ShardRecord } from '#src/core/record.js'
import { decideForced, decideTakeover, leadingStates, type TakeoverQuestion } from '#src/core/takeover.js'
import {
  answer,
  epoch,
  member,
  peer,
  position,
  promotionQuestion,
  record,
  standbyOfTwo,
  takeoverQuestion,
  timings,
} from './support.js'

const names = (found: ShardRecord) => found.inSync.map((one) => one.node)
const settingsOf = (inSyncMin: number) => ({ settings: { ...standbyOfTwo, inSyncMin } })
/** A record that tells of an epoch which its owner has not promised: it read it a moment ago. */
const ahead = { promised: epoch(1, 'a'), record: record(['a', 'b', 'c'], { epoch: epoch(6, 'z') }) }

describe('takeover', () => {
  function decide(changes: Partial<TakeoverQuestion> = {}) {
    return decideTakeover(takeoverQuestion(changes))
  }
  function taken(changes: Partial<TakeoverQuestion> = {}): ShardRecord {
    const decision = decide(changes)
    assert.ok(decision.type === 'take', JSON.stringify(decision))
    return decision.record
  }
  function waits(changes: Partial<TakeoverQuestion>): number {
    const decision = decide(changes)
    assert.ok(decision.type === 'wait', JSON.stringify(decision))
    return decision.untilMs
  }

  test('S3: the epoch is above every record that anybody who answers holds', () => {
    assert.deepEqual(taken({ answers: [answer('c', ahead)] }).epoch, epoch(7, 'b'))
  })

  test('C6: who answers stays, also where a smaller set would do', () => {
    assert.deepEqual(names(taken({ record: record(['a', 'b', 'c'], settingsOf(1)) })), ['b', 'c'])
    const failed = answer('c', { state: 'failed' })
    assert.deepEqual(names(taken({ record: record(['a', 'b', 'c'], settingsOf(1)), answers: [failed] })), ['b'])
  })

  test('C6: the set is filled up with who is absent, and nobody is in it twice', () => {
    assert.deepEqual(names(taken({ record: record(['a', 'b', 'c'], settingsOf(3)) })), ['b', 'c', 'a'])
  })

  test('L1: until the promise is over, and no longer', () => {
    assert.equal(waits({ promiseUntilMs: 10_001 }), 10_001)
    taken({ promiseUntilMs: 10_000 })
    const named = { record: record(['a', 'b', 'c'], { epoch: epoch(2, 'b') }), promised: epoch(2, 'b') }
    assert.equal(waits({ ...named, promiseUntilMs: 10_001 }), 10_001)
    assert.equal(decide({ ...named, promiseUntilMs: 10_000 }).type, 'lead')
  })

  test('L3: as long as another hears the primary it is asked again and again; after giving up others go first', () => {
    assert.equal(waits({ answers: [answer('c', { hearsPrimary: true })] }), 10_000 + timings.pollMs)
    assert.equal(waits({ coolUntilMs: 10_001 }), 10_001)
    taken({ coolUntilMs: 10_000 })
  })

  test('C6: the longest journal goes first and at once, each other one a step later', () => {
    taken({ jitter: 1, promiseUntilMs: 10_000 })
    const longer = answer('c', { durable: position(11) })
    const wait = { answers: [longer], jitter: 1, promiseUntilMs: 10_000 }
    assert.equal(waits(wait), 10_000 + 1.5 * timings.rankStepMs)
    const both = [answer('a', { durable: position(12) }), longer]
    assert.equal(waits({ ...wait, answers: both, jitter: 0 }), 10_000 + 2 * timings.rankStepMs)
    const ready = { promiseUntilMs: 10_000 }
    taken({ ...ready, answers: [answer('d', { durable: position(11) })] })
    taken({ ...ready, answers: [answer('c', { durable: undefined })] })
    taken({ ...ready, answers: [answer('c', { durable: position(11), state: 'fenced' })] })
  })

  test('C6: of equal ones the first by name goes first', () => {
    waits({ answers: [answer('a')], promiseUntilMs: 10_000 })
    taken({ answers: [answer('c')], promiseUntilMs: 10_000 })
    const shorter = answer('a', { durable: position(9) })
    taken({ answers: [shorter], promiseUntilMs: 10_000 })
  })

  test('I2: a node speaks for an epoch as primary and while it becomes primary', () => {
    assert.deepEqual([...leadingStates], ['primary', 'promoting'])
  })
})

describe('promotion by hand under a coordinator', () => {
  function forced(changes: Partial<Parameters<typeof decideForced>[0]> = {}) {
    return decideForced({
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
  }
  function taken(changes: Parameters<typeof forced>[0] = {}) {
    const decision = forced({ force: true, ...changes })
    assert.ok(decision.type === 'take')
    return decision
  }

  test('C5: what the record says is committed counts, and so does what is known here', () => {
    assert.equal(forced({ known: record(['a', 'b', 'c'], { floor: position(12) }) }).type, 'refuse')
    assert.equal(taken({ known: record(['a', 'b', 'c'], { floor: position(12) }) }).missingEntries, 2)
    assert.equal(forced({ durable: position(7) }).type, 'refuse')
    assert.equal(taken({ durable: position(7) }).missingEntries, 1)
  })

  test('S3: the epoch is above every record that anybody who answers holds', () => {
    assert.deepEqual(taken({ answers: [answer('a'), answer('c', ahead)] }).record.epoch, epoch(7, 'b'))
  })

  test('C6: only members that can follow stay, filled up to inSyncMin, nobody twice', () => {
    assert.deepEqual(names(taken({ answers: [answer('c'), answer('d')] }).record), ['b', 'c'], 'd is no member')
    const failed = answer('c', { state: 'failed' })
    assert.deepEqual(names(taken({ answers: [failed, answer('a')] }).record), ['b', 'a'])
    assert.deepEqual(names(taken({ answers: [failed] }).record), ['b', 'a'], 'filled up')
    const known = record(['a', 'b', 'c'], settingsOf(3))
    assert.deepEqual(names(taken({ known, answers: [answer('c')] }).record), ['b', 'c', 'a'])
    const other = record(['c', 'a', 'b'], settingsOf(3))
    assert.deepEqual(names(taken({ known: other, answers: [answer('c')] }).record), ['b', 'c', 'a'])
    assert.deepEqual(names(taken({ known: record(['a', 'b'], settingsOf(3)), answers: [] }).record), ['b', 'a'])
    assert.deepEqual(names(taken({ known: record(['a', 'b', 'c'], settingsOf(1)), answers: [] }).record), ['b'])
  })

  test('C3, L5: the record is the next version, and nobody handed anything over', () => {
    const { record: next } = taken({ known: record(['a', 'b', 'c'], { version: 7, handedOver: true }) })
    assert.equal(next.version, 8)
    assert.equal(next.handedOver, false)
  })

  test('what stands in the way is named', () => {
    const why = (changes: Parameters<typeof forced>[0]) => {
      const decision = forced(changes)
      assert.ok(decision.type === 'refuse')
      return decision.failure.message
    }
    assert.match(why({ known: record(['a', 'c']) }), /b is not in the in-sync set \(a, c\)/)
    assert.match(why({ durable: position(7) }), /b ends at 7, but 8 is committed: 1 entries/)
    assert.match(why({ holdsFloor: false }), /another history/)
    assert.match(why({ answers: [answer('c')] }), /^a of the in-sync set does not answer/)
  })
})

describe('promotion by hand, static coordinator', () => {
  function promoted(changes: Partial<PromotionQuestion> = {}) {
    const decision = decidePromotion(promotionQuestion(changes))
    assert.ok(decision.type === 'promote', JSON.stringify(decision))
    return decision
  }

  test('S3: the epoch is above every record that anybody who answers holds', () => {
    const read = { ...ahead, record: record(['a', 'b', 'c'], { epoch: epoch(6, 'z') }) }
    assert.deepEqual(promoted({ answers: [peer('c', read)] }).epoch, epoch(7, 'b'))
  })

  test('C6: who answers stays, also where a smaller set would do; the old primary is the last to be kept', () => {
    const small = record(['a', 'b', 'c'], settingsOf(1))
    const answers = [peer('c', { record: small }), peer('a', { record: small, state: 'failed' })]
    assert.deepEqual(names(promoted({ record: small, answers }).record), ['b', 'c'])
    assert.deepEqual(names(promoted({ answers: [], force: true }).record), ['b', 'c'])
    const other = record(['c', 'a', 'b'])
    assert.deepEqual(names(promoted({ record: other, answers: [], force: true }).record), ['b', 'c'])
  })

  test('L5: nobody handed anything over', () => {
    assert.equal(promoted({ record: record(['a', 'b', 'c'], { handedOver: true }) }).record.handedOver, false)
  })

  test('C5: a refusal says how much is missing, if anything is known to be', () => {
    const refused = (changes: Partial<PromotionQuestion>) => {
      const decision = decidePromotion(promotionQuestion(changes))
      assert.ok(decision.type === 'refuse')
      return decision.missingEntries
    }
    assert.equal(refused({ committed: 13 }), 3)
    assert.equal(refused({ answers: [] }), undefined)
  })

  test('C5: what comes back with the promises refuses only what lacks something', () => {
    const decision = promoted()
    const promise = peer('c', { promised: decision.epoch, record: undefined, committed: 10 })
    assert.equal(confirmPromotion(decision, [promise]), undefined, 'it ends where everything committed ends')
    const more = confirmPromotion(decision, [{ ...promise, committed: 12 }])
    assert.match(more?.message ?? '', /committed up to 12 meanwhile, this node ends at 10: 2 entries/)
  })
})
