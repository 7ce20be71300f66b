import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { EpochStart } from '#src/core/entry.js'
import { answerSubscription, commonEnd, decideRejoin } from '#src/core/history.js'
import { epochZero, type Position } from '#src/core/position.js'
import { epoch, position } from './support.js'

/** An abstract journal: one block per entry; its chain is the list of all entries before. */
class Log {
  readonly entries: Array<{ readonly epoch: number; readonly node: string; readonly id: string }>
  readonly base: number

  constructor(entries: Log['entries'] = [], base = 0) {
    this.entries = entries
    this.base = base
  }

  write(number: number, node: string, count: number): this {
    for (let index = 0; index < count; index++) {
      this.entries.push({ epoch: number, node, id: `${number}${node}${this.entries.length}` })
    }
    return this
  }

  copy(length = this.entries.length): Log {
    return new Log(this.entries.slice(0, length), this.base)
  }

  at(sequence: number): Position | undefined {
    if (sequence < this.base || sequence > this.entries.length) return undefined
    const last = this.entries[sequence - 1]
    const chain = this.entries
      .slice(0, sequence)
      .map((one) => one.id)
      .join(' ')
    return { epoch: last === undefined ? epoch(0, '') : epoch(last.epoch, last.node), sequence, chain }
  }

  get end(): Position {
    return this.at(this.entries.length)!
  }

  get epochs(): EpochStart[] {
    const starts: EpochStart[] = []
    for (const [index, one] of this.entries.entries()) {
      const before = starts.at(-1)?.epoch
      if (before?.number !== one.epoch || before.node !== one.node) {
        starts.push({ epoch: epoch(one.epoch, one.node), firstSequence: index + 1 })
      }
    }
    return starts
  }

  answer(subscriber: Log) {
    const from = subscriber.end
    return answerSubscription(
      { base: this.at(this.base)!, end: this.end, epochs: this.epochs },
      { position: from, epochs: subscriber.epochs },
      this.at(from.sequence),
    )
  }
}

function commonPrefix(a: Log, b: Log): number {
  let length = 0
  while (a.entries[length] !== undefined && a.entries[length]?.id === b.entries[length]?.id) length += 1
  return length
}

describe('where two histories part', () => {
  test('a subscriber whose end is in the history is streamed to from there', () => {
    const primary = new Log().write(1, 'a', 10)
    assert.deepEqual(primary.answer(primary.copy(7)), { type: 'stream' })
    assert.deepEqual(primary.answer(new Log()), { type: 'stream' })
  })

  test('I6: a subscriber below the base is too old, never moved forward', () => {
    const primary = new Log(new Log().write(1, 'a', 10).entries, 5)
    assert.deepEqual(primary.answer(new Log(primary.entries.slice(0, 4))), { type: 'too-old' })
  })

  test('F38: the same end of another epoch is another history', () => {
    const before = new Log().write(1, 'a', 5)
    const a = before.copy().write(2, 'a', 3)
    const b = before.copy().write(2, 'b', 3)
    assert.deepEqual(a.answer(b), { type: 'diverged', commonSequence: 5 })
  })

  test('F38 (KIP-101): the end of the epoch decides, not what either side believes to be committed', () => {
    // b had one entry of epoch 1 that a never got; a led in epoch 2; b comes back with as many entries.
    const b = new Log().write(1, 'b', 2)
    const a = b.copy(1).write(2, 'a', 1)
    assert.deepEqual(a.answer(b), { type: 'diverged', commonSequence: 1 })
  })

  test('F38 (KIP-279): after two failovers in a row the newest epoch that both know decides', () => {
    const old = new Log().write(1, 'a', 10)
    const first = old.copy(8).write(2, 'b', 4)
    const second = first.copy(10).write(3, 'c', 5)
    assert.deepEqual(second.answer(old), { type: 'diverged', commonSequence: 8 })
    assert.deepEqual(second.answer(first), { type: 'diverged', commonSequence: 10 })
    const unrelated = old.copy(9).write(4, 'a', 3)
    assert.deepEqual(second.answer(unrelated), { type: 'diverged', commonSequence: 8 })
  })

  test('the same epoch number of two nodes is not the same epoch', () => {
    const before = new Log().write(1, 'a', 4)
    assert.deepEqual(
      before
        .copy()
        .write(2, 'b', 2)
        .answer(before.copy().write(2, 'c', 2)),
      {
        type: 'diverged',
        commonSequence: 4,
      },
    )
  })

  test('S5: histories that part before the base are not cut to the base', () => {
    const a = new Log().write(1, 'a', 3).write(2, 'a', 10)
    const b = new Log().write(1, 'a', 3).write(2, 'b', 12)
    assert.deepEqual(new Log(a.entries, 5).answer(b), { type: 'too-old' })
  })

  test('histories without a common epoch share the empty beginning, or nothing', () => {
    assert.equal(
      commonEnd(
        { epochs: [{ epoch: epoch(1, 'a'), firstSequence: 1 }], end: 5 },
        { epochs: [{ epoch: epoch(1, 'b'), firstSequence: 1 }], end: 5 },
      ),
      0,
    )
    assert.equal(
      commonEnd(
        { epochs: [{ epoch: epoch(7, 'a'), firstSequence: 50 }], end: 60 },
        { epochs: [{ epoch: epoch(1, 'b'), firstSequence: 1 }], end: 5 },
      ),
      undefined,
    )
  })

  test('F38: over any chain of takeovers the answer is the longest common prefix', () => {
    // Each step: one of three nodes continues from its own log, cut at some point, in a new epoch; or copies another.
    const steps = fc.array(
      fc.record({ node: fc.nat(2), from: fc.nat(2), keep: fc.nat(12), write: fc.integer({ min: 1, max: 4 }) }),
      { minLength: 1, maxLength: 12 },
    )
    fc.assert(
      fc.property(steps, (takeovers) => {
        const logs = [new Log(), new Log(), new Log()]
        let number = 0
        for (const { node, from, keep, write } of takeovers) {
          const source = logs[from]!
          number += 1
          logs[node] = source.copy(Math.min(source.entries.length, keep)).write(number, 'abc'[node]!, write)
        }
        for (const a of logs) {
          for (const b of logs) {
            const answer = a.answer(b)
            const common = commonPrefix(a, b)
            if (common === b.entries.length) assert.equal(answer.type, 'stream')
            else assert.deepEqual(answer, { type: 'diverged', commonSequence: common })
          }
        }
      }),
    )
  })
})

describe('rejoining with a tail', () => {
  const facts = {
    common: position(10),
    base: position(0),
    end: position(15),
    here: position(10),
    committed: 10,
    applied: 9,
    mayUndo: false,
    lossySince: epochZero,
  }

  test('C5: a tail that was never committed is cut at the common position', () => {
    assert.deepEqual(decideRejoin(facts), { type: 'truncate', to: position(10), cutEntries: 5 })
  })

  test('C5: what is committed here is never cut: the node is fenced', () => {
    const decision = decideRejoin({ ...facts, committed: 11 })
    assert.ok(decision.type === 'fence' && decision.failure.code === 'DIVERGED')
  })

  test('C5: what is applied here is never cut: the node is fenced', () => {
    assert.equal(decideRejoin({ ...facts, applied: 11 }).type, 'fence')
  })

  test('S5: histories that part below the base mean bootstrap, never a cut to the base', () => {
    assert.equal(decideRejoin({ ...facts, base: position(12), committed: 0, applied: 0 }).type, 'bootstrap')
  })

  test('F38: another content at the common position is cut nowhere', () => {
    assert.equal(decideRejoin({ ...facts, here: position(10, epoch(1, 'a'), 'other') }).type, 'fence')
    for (const mayUndo of [false, true]) {
      assert.equal(decideRejoin({ ...facts, mayUndo, here: position(10, epoch(1, 'a'), 'other') }).type, 'fence')
      assert.equal(decideRejoin({ ...facts, mayUndo, here: undefined }).type, 'bootstrap', 'no block ends there')
    }
  })

  test('B3, C5: what is committed or applied here is undone only where that was agreed to', () => {
    const undone = { type: 'rewind', to: position(10), cutEntries: 5 }
    assert.deepEqual(decideRejoin({ ...facts, mayUndo: true, committed: 11 }), undone)
    assert.deepEqual(decideRejoin({ ...facts, mayUndo: true, applied: 11 }), undone)
    assert.equal(decideRejoin({ ...facts, mayUndo: true }).type, 'truncate', 'nothing to undo')
    const old = { ...facts, base: position(12), committed: 14, applied: 14 }
    assert.equal(decideRejoin({ ...old, mayUndo: true }).type, 'bootstrap')
    assert.equal(decideRejoin(old).type, 'fence')
  })

  test('C5: a forced promotion excuses what was committed in the epochs before it, and nothing later', () => {
    const undone = { type: 'rewind', to: position(10), cutEntries: 5 }
    const { number, node } = facts.end.epoch
    const after = (sinceNumber: number) =>
      decideRejoin({ ...facts, committed: 11, lossySince: epoch(sinceNumber, node) })
    assert.deepEqual(after(number + 1), undone)
    assert.deepEqual(after(number + 7), undone, 'epochs have passed since')
    assert.equal(after(number).type, 'fence', 'it has followed that epoch')
    assert.equal(after(number - 1).type, 'fence')
  })
})
