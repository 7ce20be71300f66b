/** Single conditions of registrations and retention that no other test would miss: mutation testing found them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { limits } from '#src/core/limits.js'
import { Registrations } from '#src/core/registrations.js'
import { decideRetention } from '#src/core/retention.js'

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
