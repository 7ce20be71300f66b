/** Single conditions of registrations, records and retention that no other test would miss: mutation testing found them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Pacer, TransferPlan } from '#src/core/checkpoint-transfer.js'
import { limits } from '#src/core/limits.js'
import { Registrations } from '#src/core/registrations.js'
import { decideRetention } from '#src/core/retention.js'
import { VoterRecords } from '#src/core/voter-records.js'
import { record } from './support.js'

describe('registrations', () => {
  const member = { node: 'a', address: 'a:1', boot: '1'.padStart(16, '0') }

  test('the shortest and the longest time to live are allowed', () => {
    const table = new Registrations()
    for (const ttlMs of [1, limits.registrationMsMax]) {
      assert.equal(table.register(member, { ttlMs, takesOver: true }, 10).failure, undefined)
      assert.equal(table.expiresMs('a'), 10 + ttlMs)
    }
    assert.equal(table.expiresMs('b'), undefined)
  })

  test('what is refused changes nothing, and nobody is told', () => {
    const table = new Registrations()
    const claim = { ttlMs: 100, takesOver: true }
    assert.equal(table.register(member, { ttlMs: 0, takesOver: true }, 0).changed, false)
    assert.equal(table.unregister('a', member.boot), false, 'nobody is there')
    for (let index = 0; index < limits.membersMax; index++) table.register({ ...member, node: `n${index}` }, claim, 0)
    const before = table.members
    assert.equal(table.register(member, claim, 0).changed, false)
    const older = { ...member, node: 'n0', boot: '2'.padStart(16, '0') }
    assert.equal(table.register(older, { ttlMs: 100, takesOver: false }, 50).changed, false)
    assert.deepEqual(table.members, before)
    assert.equal(table.nextExpiryMs, 100)
  })
})

test('C3: a voter answers with the record that was applied last', () => {
  const records = new VoterRecords()
  assert.equal(records.get('main'), undefined)
  const held = { record: record(['a', 'b']), revision: 7 }
  records.apply('main', { ...held, revision: 3 })
  records.apply('main', held)
  assert.deepEqual(records.get('main'), held)
  assert.deepEqual([...records.all], [['main', held]])
})

describe('retention', () => {
  const segments = [
    { firstSequence: 1, lastSequence: 10, bytes: 100 },
    { firstSequence: 11, lastSequence: 20, bytes: 100 },
    { firstSequence: 21, lastSequence: 25, bytes: 100 },
  ]

  test('F42: a slot that has all of a segment holds nothing of it back, and does not lose its claim for it', () => {
    const decision = decideRetention({
      segments,
      checkpointSequence: 25,
      slots: [{ name: 'b', sequence: 10, retainBytesMax: 100 }],
    })
    assert.deepEqual(decision.lost, [])
    assert.deepEqual(decision.slots, [{ name: 'b', sequence: 10, retainedBytes: 200, heldBytes: 100 }])
    assert.equal(decision.trimSequence, 10)
    assert.equal(decision.trimBytes, 100)
  })

  test('F2: what the checkpoint still needs is held by it, to the entry', () => {
    for (const [checkpointSequence, trimBytes] of [
      [9, 0],
      [10, 100],
      [19, 100],
      [20, 200],
    ] as const) {
      const decision = decideRetention({ segments, checkpointSequence, slots: [] })
      assert.deepEqual([decision.trimSequence, decision.trimBytes], [checkpointSequence, trimBytes])
    }
  })
})

describe('the transfer of files', () => {
  test('B1: a part of one byte is not expected a second time either', () => {
    const bounds = { rangeBytes: 10, requestsMax: 4, filesMax: 2, attemptsMax: 3 }
    const plan = new TransferPlan([{ name: 'a', bytes: 1, checksum: 1 }], bounds)
    const range = plan.ask()!
    plan.received(range)
    assert.equal(plan.expects(range), false)
  })

  test('without a rate nothing waits, however often it asks', () => {
    const pacer = new Pacer(undefined)
    assert.deepEqual(
      [1, 1e9, 1].map((bytes) => pacer.take(5, bytes)),
      [0, 0, 0],
    )
  })
})
