import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { confirmPromotion, decidePromotion, type PromotionQuestion } from '#src/core/promotion.js'
import { isLossy } from '#src/core/record.js'
import { epoch, member, peer, position, promotionQuestion, record } from './support.js'

function promoted(changes: Partial<PromotionQuestion> = {}) {
  const decision = decidePromotion(promotionQuestion(changes))
  assert.equal(decision.type, 'promote', decision.type === 'refuse' ? decision.failure.message : '')
  assert.ok(decision.type === 'promote')
  return decision
}

function refused(changes: Partial<PromotionQuestion> = {}): string {
  const decision = decidePromotion(promotionQuestion(changes))
  assert.ok(decision.type === 'refuse', 'the promotion is refused')
  assert.equal(decision.failure.code, 'PROMOTION_REFUSED')
  assert.ok((decision.failure.hint ?? '') !== '')
  return decision.failure.message
}

describe('promotion by hand', () => {
  test('S3: the new epoch is above everything seen here and by all who answer', () => {
    assert.deepEqual(promoted().epoch, epoch(2, 'b'))
    assert.deepEqual(promoted({ promised: epoch(7, 'c') }).epoch, epoch(8, 'b'))
    const high = peer('c', { record: record(['a', 'b', 'c']), promised: epoch(9, 'z') })
    assert.deepEqual(promoted({ answers: [high] }).epoch, epoch(10, 'b'))
  })

  test('C6: the old primary that does not answer leaves, who answers stays', () => {
    const { record: next } = promoted()
    assert.deepEqual(
      next.inSync.map((one) => one.node),
      ['b', 'c'],
    )
    assert.deepEqual(next.primary, member('b'))
    assert.equal(next.version, 2)
    assert.equal(isLossy(next), false)
  })

  test('C6: a node that has failed leaves although it answers', () => {
    const failed = peer('a', { state: 'failed', record: record(['a', 'b', 'c']), durable: position(10) })
    const { record: next } = promoted({ answers: [failed, peer('c', { record: record(['a', 'b', 'c']) })] })
    assert.deepEqual(
      next.inSync.map((one) => one.node),
      ['b', 'c'],
    )
  })

  test('C6: the set is never left below inSyncMin; the former primary is the last to be kept', () => {
    const set = record(['a', 'b', 'c'], {
      voters: ['a', 'b', 'c', 'd'],
      settings: { durability: 'standby', inSyncMin: 2, failoverMs: 1000, inSyncTimeoutMs: 1000 },
    })
    const answers = [peer('d', { record: record(['a'], { version: 1 }) }), peer('e')]
    const decision = promoted({ record: set, answers: [...answers, peer('d', { member: member('d') })] })
    assert.deepEqual(
      decision.record.inSync.map((one) => one.node),
      ['b', 'c'],
    )
    const two = promoted({ record: record(['a', 'b']), answers: [peer('c', { record: record(['a', 'b']) })] })
    assert.deepEqual(
      two.record.inSync.map((one) => one.node),
      ['b', 'a'],
    )
  })

  test('C6: a member whose disk has failed answers but does not stay: every write would wait for it', () => {
    for (const state of ['failed', 'bootstrapping'] as const) {
      const failed = peer('a', { record: record(['a', 'b', 'c']), state })
      const { record: next } = promoted({ answers: [failed, peer('c', { record: record(['a', 'b', 'c']) })] })
      assert.deepEqual(
        next.inSync.map((one) => one.node),
        ['b', 'c'],
      )
    }
  })

  test('S2: a member that answers with another directory does not stay as the old one', () => {
    const wiped = peer('c', { member: member('c', '2'), record: record(['a', 'b', 'c']) })
    const { record: next } = promoted({ answers: [wiped] })
    assert.ok(!next.inSync.some((one) => one.incarnation === member('c', '2').incarnation))
  })

  test('C5, C6: a node outside of the newest in-sync set is refused', () => {
    assert.match(refused({ record: record(['a', 'c']) }), /not in the in-sync set/)
    const newer = peer('c', { record: record(['a', 'c'], { version: 2 }) })
    assert.match(refused({ answers: [newer] }), /not in the in-sync set/, 'the newest record among all answers counts')
  })

  test('S2: another incarnation of a member is not in the set', () => {
    assert.match(refused({ self: member('b', '2') }), /not in the in-sync set/)
  })

  test('C8: voters - inSyncMin + 1 nodes must answer, the own one counted', () => {
    assert.match(refused({ answers: [] }), /1 of 3 nodes answer; 2 are needed/)
    const five = record(['a', 'b', 'c'], { voters: ['a', 'b', 'c', 'd', 'e'] })
    const held = (node: string) => peer(node, { record: five })
    assert.match(refused({ record: five, answers: [held('c'), held('d')] }), /3 of 5 nodes answer; 4 are needed/)
    promoted({ record: five, answers: [held('c'), held('d'), held('e')] })
    const one = record(['a', 'b'], {
      settings: { durability: 'standby', inSyncMin: 1, failoverMs: 1000, inSyncTimeoutMs: 1000 },
    })
    assert.match(refused({ record: one, answers: [peer('c', { record: one })] }), /2 of 3 nodes answer; 3 are needed/)
  })

  test('C8: answers of nodes that are no voters do not count', () => {
    assert.match(refused({ answers: [peer('z', { record: record(['a', 'b', 'c']) })] }), /1 of 3 nodes answer/)
  })

  test('C5: committed entries that are missing here refuse the promotion, wherever it is known from', () => {
    assert.match(refused({ committed: 11 }), /1 entries would be lost/)
    const knows = peer('c', { record: record(['a', 'b', 'c']), committed: 12 })
    assert.match(refused({ answers: [knows] }), /2 entries would be lost/)
    assert.match(refused({ record: record(['a', 'b', 'c'], { floor: position(13) }) }), /3 entries would be lost/)
  })

  test('C5: a floor that is not in this journal refuses the promotion', () => {
    assert.match(refused({ holdsFloor: false }), /another history/)
    assert.equal(isLossy(promoted({ holdsFloor: false, force: true }).record), true)
  })

  test('C5: the floor never goes back, unless the epoch is lossy', () => {
    const floor = position(9)
    assert.deepEqual(promoted({ record: record(['a', 'b', 'c'], { floor }) }).record.floor, floor)
    assert.deepEqual(promoted().record.floor, position(8))
  })

  test('C5: force marks the epoch lossy, says how much, and floors at what is here', () => {
    const decision = promoted({ committed: 15, force: true })
    assert.equal(isLossy(decision.record), true)
    assert.equal(decision.missingEntries, 5)
    assert.deepEqual(decision.record.floor, position(8))
    assert.equal(decision.promisesNeeded, 0)
    assert.equal(isLossy(promoted({ answers: [], force: true }).record), true, 'too few answers')
    assert.equal(isLossy(promoted({ record: record(['a', 'c']), force: true }).record), true, 'not in the set')
    assert.equal(isLossy(promoted({ force: true }).record), false, 'force that was not needed loses nothing')
  })

  test('C8: so many nodes as had to answer must promise the epoch', () => {
    const decision = promoted()
    const promise = peer('c', { promised: decision.epoch, record: record(['a', 'b', 'c']) })
    assert.equal(confirmPromotion(decision, [promise]), undefined)
    assert.equal(confirmPromotion(decision, [])?.code, 'PROMOTION_REFUSED')
    const other = peer('c', { promised: epoch(2, 'c'), record: record(['a', 'b', 'c']) })
    assert.equal(confirmPromotion(decision, [other])?.code, 'PROMOTION_REFUSED', 'the same number of another node')
  })

  test('C8: the promise of a node that is no voter does not count', () => {
    const decision = promoted()
    const stranger = peer('z', { promised: decision.epoch, record: record(['a', 'b', 'c']) })
    assert.equal(confirmPromotion(decision, [stranger])?.code, 'PROMOTION_REFUSED')
  })

  test('C8: a newer record that comes back with a promise refuses the promotion', () => {
    const decision = promoted()
    const newer = peer('c', { promised: decision.epoch, record: record(['a', 'c'], { version: 2 }) })
    assert.equal(confirmPromotion(decision, [newer])?.code, 'PROMOTION_REFUSED')
  })

  test('C5: what was committed between the question and the promise refuses the promotion, unless forced', () => {
    const local = {
      record: record(['a', 'b', 'c'], {
        settings: { durability: 'local', inSyncMin: 2, failoverMs: 1000, inSyncTimeoutMs: 1000 },
      }),
    }
    const decision = promoted({ ...local, answers: [peer('a', local)] })
    const late = peer('a', { ...local, promised: decision.epoch, committed: 11 })
    assert.match(confirmPromotion(decision, [late])?.message ?? '', /1 entries/)
    const forced = promoted({ ...local, answers: [], force: true })
    assert.equal(confirmPromotion(forced, [late]), undefined)
  })
})
