import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { BlockHeader } from '#src/core/entry.js'
import { limits } from '#src/core/limits.js'
import { continuationFault, epochsAfter, epochsUpTo, judgeDamage, segmentFault } from '#src/core/recovery.js'

const position = { epoch: { number: 2, node: 'a' }, sequence: 10, chain: 'aa' }
const header: BlockHeader = {
  epoch: { number: 2, node: 'a' },
  firstSequence: 11,
  entryCount: 2,
  payloadBytes: 0,
  timestampMs: 0,
  committed: 0,
  flushedBefore: 0,
  chainBefore: 'aa',
  epochStart: false,
}

test('J2: what was fsynced before is corruption, what was not is tail', () => {
  assert.equal(judgeDamage({ firstBadSequence: 11, flushedBefore: -1 }), 'tail')
  assert.equal(judgeDamage({ firstBadSequence: 11, flushedBefore: 10 }), 'tail')
  assert.equal(judgeDamage({ firstBadSequence: 11, flushedBefore: 11 }), 'corruption')
})

test('F19: gaps, other chains and lower epochs do not continue a journal', () => {
  assert.equal(continuationFault(position, header), undefined)
  assert.equal(continuationFault(position, { ...header, epoch: { number: 3, node: 'a' } }), undefined)
  assert.match(continuationFault(position, { ...header, firstSequence: 12 })?.found ?? '', /12/)
  assert.match(continuationFault(position, { ...header, firstSequence: 10 })?.found ?? '', /10/)
  assert.match(continuationFault(position, { ...header, chainBefore: 'bb' })?.found ?? '', /bb/)
  assert.match(continuationFault(position, { ...header, epoch: { number: 1, node: 'z' } })?.found ?? '', /1@z/)
})

test('segments follow each other without a gap', () => {
  assert.equal(segmentFault(position, position), undefined)
  assert.match(segmentFault(position, { ...position, sequence: 12 })?.expected ?? '', /11/)
  assert.match(segmentFault(position, { ...position, chain: 'bb' })?.found ?? '', /bb/)
})

test('the epoch history grows with epochs, shrinks with cuts and is bounded', () => {
  assert.deepEqual(epochsAfter([], position, header), [])
  const next = { ...header, epoch: { number: 3, node: 'b' } }
  const epochs = epochsAfter([], position, next)
  assert.deepEqual(epochs, [{ epoch: next.epoch, firstSequence: 11 }])
  assert.deepEqual(epochsUpTo(epochs, 10), [])
  assert.deepEqual(epochsUpTo(epochs, 11), epochs)
  const full = Array.from({ length: limits.epochHistoryMax }, (_, number) => ({
    epoch: { number, node: 'a' },
    firstSequence: number + 1,
  }))
  const grown = epochsAfter(full, position, next)
  assert.equal(grown.length, limits.epochHistoryMax)
  assert.deepEqual(grown.at(-1), { epoch: next.epoch, firstSequence: 11 })
})
