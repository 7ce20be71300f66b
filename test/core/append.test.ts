import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { refuseAppend } from '#src/core/append.js'
import type { BlockHeader } from '#src/core/entry.js'
import { epoch, position } from './support.js'

const e2 = epoch(2, 'a')

function header(changes: Partial<BlockHeader> = {}): BlockHeader {
  return {
    epoch: e2,
    firstSequence: 11,
    entryCount: 1,
    payloadBytes: 10,
    timestampMs: 0,
    committed: 10,
    flushedBefore: 10,
    chainBefore: 'chain 10',
    epochStart: false,
    ...changes,
  }
}

function code(changes: Partial<BlockHeader>, session = e2, promised = e2): string | undefined {
  return refuseAppend({ header: header(changes), end: position(10, e2), sessionEpoch: session, promised })?.code
}

describe('appending a block that was received', () => {
  test('the next block of the history is taken', () => {
    assert.equal(code({}), undefined)
  })

  test('I2: nothing is appended in an epoch below the promised one', () => {
    assert.equal(code({}, e2, epoch(3, 'b')), 'STALE_EPOCH')
    assert.equal(code({}, e2, epoch(2, 'b')), 'STALE_EPOCH')
  })

  test('I2: a block is of no epoch above the session and of none below the end', () => {
    assert.equal(code({ epoch: epoch(3, 'a'), epochStart: true }), 'STALE_EPOCH')
    assert.equal(code({ epoch: epoch(1, 'a') }), 'STALE_EPOCH')
  })

  test('F5, F19: no gap, no repeat', () => {
    assert.equal(code({ firstSequence: 12 }), 'PROTOCOL')
    assert.equal(code({ firstSequence: 10 }), 'PROTOCOL')
  })

  test('F38: the same sequence of another history is refused', () => {
    assert.equal(code({ chainBefore: 'other' }), 'DIVERGED')
  })

  test('C4: an epoch begins with its epoch-start block', () => {
    const e3 = epoch(3, 'b')
    assert.equal(code({ epoch: e3 }, e3, e3), 'PROTOCOL')
    assert.equal(code({ epoch: e3, epochStart: true }, e3, e3), undefined)
  })
})
