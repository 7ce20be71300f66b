import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decideRetention } from '#src/core/retention.js'

/** Five segments of ten entries and 100 bytes each; the newest has room left. */
const segments = Array.from({ length: 5 }, (_, index) => ({
  firstSequence: index * 10 + 1,
  lastSequence: index === 4 ? 45 : index * 10 + 10,
  bytes: 100,
}))

function slot(name: string, sequence: number, retainBytesMax = 1000) {
  return { name, sequence, retainBytesMax }
}

test('without slots everything before the checkpoint may go', () => {
  const decision = decideRetention({ segments, checkpointSequence: 29, slots: [] })
  assert.equal(decision.trimSequence, 29)
  assert.equal(decision.trimBytes, 200)
})

test('the newest segment is never counted as going', () => {
  assert.equal(decideRetention({ segments, checkpointSequence: 45, slots: [] }).trimBytes, 400)
})

test('F2: a slot holds what it has not got, and the checkpoint what a restart needs', () => {
  const held = decideRetention({ segments, checkpointSequence: 40, slots: [slot('b', 15), slot('c', 35)] })
  assert.equal(held.trimSequence, 15)
  assert.deepEqual(held.lost, [])
  assert.deepEqual(
    held.slots.map((one) => [one.name, one.retainedBytes, one.heldBytes]),
    [
      ['b', 400, 300],
      ['c', 200, 100],
    ],
  )
  assert.equal(decideRetention({ segments, checkpointSequence: 5, slots: [slot('b', 45)] }).trimSequence, 5)
})

test('F42: a slot over its cap loses its claim and is named; the others keep theirs', () => {
  const decision = decideRetention({ segments, checkpointSequence: 40, slots: [slot('b', 3, 399), slot('c', 15, 300)] })
  assert.deepEqual(
    decision.lost.map((one) => one.name),
    ['b'],
  )
  assert.equal(decision.trimSequence, 15)
})

test('a slot is not blamed for what the checkpoint holds', () => {
  const decision = decideRetention({ segments, checkpointSequence: 5, slots: [slot('b', 0, 0)] })
  assert.deepEqual(decision.lost, [])
  assert.equal(decision.trimSequence, 0)
})
