import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { epochOf, formatDivergentName, parseDivergentName } from '#src/core/divergent.js'
import { epochZero } from '#src/core/position.js'
import { epoch } from './support.js'

describe('names of side files', () => {
  test('F38: what a name says is read back as it was written', () => {
    for (const [name, text] of [
      [{ epoch: epoch(3, 'a'), sequence: 101, copy: 0 }, 'divergent-3@a-101.journal'],
      [{ epoch: epoch(3, 'a'), sequence: 101, copy: 2 }, 'divergent-3@a-101.2.journal'],
      [{ epoch: epoch(12, 'rack-2.b_1'), sequence: 7, copy: 0 }, 'divergent-12@rack-2.b_1-7.journal'],
      [{ epoch: epoch(0, ''), sequence: 1, copy: 9999 }, 'divergent-0-1.9999.journal'],
      [{ epoch: epoch(1, `A${'9'.repeat(31)}`), sequence: 10, copy: 0 }, `divergent-1@A${'9'.repeat(31)}-10.journal`],
    ] as const) {
      assert.equal(formatDivergentName(name), text)
      assert.deepEqual(parseDivergentName(text), name)
    }
  })

  test('other files have no such name', () => {
    for (const text of [
      'divergent-3@a-101',
      'divergent-3@a-101.journal.tmp',
      'a.divergent-3@a-101.journal',
      'divergent-@a-101.journal',
      'divergent-3@a-.journal',
      'divergent-3@-101.journal',
      'divergent-x@a-101.journal',
      'divergent-3@a-x.journal',
      'divergent-3@.a-101.journal',
      'divergent-3@a/b-101.journal',
      'divergent-3@a-101.x.journal',
      'divergent-3@a-101.12345.journal',
      'divergent-3@a-101xjournal',
      `divergent-3@${'a'.repeat(33)}-101.journal`,
      `divergent-${'9'.repeat(16)}@a-101.journal`,
      `divergent-3@a-${'9'.repeat(16)}.journal`,
      `divergent-${'0'.repeat(17)}@a-1.journal`,
      `divergent-1@a-${'0'.repeat(17)}.journal`,
      '00000000000000000001.journal',
    ]) {
      assert.equal(parseDivergentName(text), undefined, text)
    }
  })
})

test('an entry is of the newest epoch that begins at or before it', () => {
  const epochs = [
    { epoch: epoch(1, 'a'), firstSequence: 1 },
    { epoch: epoch(2, 'b'), firstSequence: 5 },
    { epoch: epoch(4, 'a'), firstSequence: 9 },
  ]
  assert.deepEqual(
    [1, 4, 5, 8, 9, 100].map((sequence) => epochOf(epochs, sequence).number),
    [1, 1, 2, 2, 4, 4],
  )
  assert.deepEqual(epochOf(epochs, 0), epochZero)
  assert.deepEqual(epochOf([], 1), epochZero)
})
