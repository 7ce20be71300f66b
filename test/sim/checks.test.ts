import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type BlockPrint, compareContents, compareJournals, EpochWatch, type JournalPrint } from '#src/sim/checks.js'

const a1 = { number: 1, node: 'a' }
const b2 = { number: 2, node: 'b' }

describe('I2: one primary per epoch', () => {
  const found = (feed: (watch: EpochWatch) => void): readonly string[] => {
    const watch = new EpochWatch()
    feed(watch)
    assert.equal(watch.problems.count, watch.problems.texts.length)
    return watch.problems.texts
  }

  test('nothing is found where epochs change hands', () => {
    const problems = found((watch) => {
      watch.status('a', { role: 'primary', epoch: a1, promised: a1 })
      watch.status('b', { role: 'standby', epoch: a1, promised: a1 })
      watch.acknowledged(a1)
      watch.status('b', { role: 'primary', epoch: b2, promised: b2 })
      watch.acknowledged(b2)
      // The old one does not know yet.
      watch.status('a', { role: 'primary', epoch: a1, promised: a1 })
      watch.journal('a', [
        { epoch: a1, firstSequence: 1 },
        { epoch: a1, firstSequence: 5 },
        { epoch: b2, firstSequence: 9 },
      ])
      assert.equal(watch.epochs, 2)
    })
    assert.deepEqual(problems, [])
  })

  test('two primaries of one number, where numbers may meet: only those two', () => {
    const b1 = { number: 1, node: 'b' }
    const c1 = { number: 1, node: 'c' }
    const watch = new EpochWatch((x, y) => [x, y].every(({ node }) => node !== 'c'))
    watch.acknowledged(a1)
    watch.acknowledged(b1)
    assert.deepEqual(watch.problems.texts, [])
    watch.acknowledged(c1)
    assert.equal(watch.problems.count, 2)
  })

  test('two primaries of one number, by what they say and by their acknowledgements', () => {
    const b1 = { number: 1, node: 'b' }
    for (const feed of [
      (watch: EpochWatch) => {
        watch.status('a', { role: 'primary', epoch: a1, promised: a1 })
        watch.status('b', { role: 'primary', epoch: b1, promised: b1 })
      },
      (watch: EpochWatch) => {
        watch.acknowledged(a1)
        watch.acknowledged(b1)
      },
      (watch: EpochWatch) => {
        watch.journal('a', [{ epoch: a1, firstSequence: 1 }])
        watch.journal('b', [{ epoch: b1, firstSequence: 1 }])
      },
    ]) {
      assert.match(found(feed).join(), /epoch 1 has two primaries, a and b/)
    }
  })

  test('a primary in the epoch of somebody else', () => {
    assert.match(
      found((watch) => watch.status('b', { role: 'primary', epoch: a1, promised: a1 })).join(),
      /b is primary in epoch 1@a, which belongs to a/,
    )
  })

  test('S3: a node that forgets an epoch that it had seen', () => {
    const problems = found((watch) => {
      watch.status('a', { role: 'standby', epoch: b2, promised: b2 })
      watch.status('a', { role: 'standby', epoch: a1, promised: a1 })
    })
    assert.match(problems.join(), /a had seen epoch 2@b and now says 1@a/)
  })

  test('S1: a history that is given up for another one takes its epochs with it', () => {
    const seen = { role: 'standby', epoch: undefined }
    const problems = found((watch) => {
      watch.status('b', { ...seen, promised: { number: 1, node: 'b' }, historyId: 'own' })
      watch.status('b', { ...seen, promised: a1, historyId: 'shared' })
    })
    assert.deepEqual(problems, [])
  })

  test('a journal whose epochs go back', () => {
    const problems = found((watch) =>
      watch.journal('a', [
        { epoch: b2, firstSequence: 1 },
        { epoch: a1, firstSequence: 4 },
      ]),
    )
    assert.match(problems.join(), /epoch 1@a at 4 after 2@b/)
  })
})

describe('I3: journals of all nodes', () => {
  const block = (firstSequence: number, lastSequence: number, digest = `d${firstSequence}`): BlockPrint => ({
    firstSequence,
    lastSequence,
    epoch: a1,
    digest,
  })
  const journal = (node: string, blocks: readonly BlockPrint[], more: Partial<JournalPrint> = {}): JournalPrint => ({
    node,
    baseSequence: 0,
    committed: blocks.at(-1)?.lastSequence ?? 0,
    blocks,
    ...more,
  })
  const four = [block(1, 3), block(4, 4), block(5, 9), block(10, 12)]

  test('equal over the range that all of them hold and have committed', () => {
    const result = compareJournals([
      journal('a', four),
      journal('b', four.slice(1), { baseSequence: 3 }),
      journal('c', [...four.slice(0, 3), block(10, 12, 'not committed')], { committed: 9 }),
    ])
    assert.deepEqual(result.problems.texts, [])
    assert.deepEqual([result.from, result.to, result.blocks], [4, 9, 2])
  })

  for (const [name, blocks] of [
    ['other bytes', [block(1, 3), block(4, 4, 'x'), ...four.slice(2)]],
    ['other bounds of blocks', [block(1, 4), ...four.slice(2)]],
    ['another epoch', [{ ...four[0]!, epoch: b2 }, ...four.slice(1)]],
    ['a block that is missing', four.filter((_, index) => index !== 1)],
    ['fewer blocks', four.slice(0, 3)],
  ] as const) {
    test(`${name} are found`, () => {
      for (const pair of [
        [journal('a', four), journal('b', blocks, { committed: 12 })],
        [journal('b', blocks, { committed: 12 }), journal('a', four)],
      ]) {
        assert.match(compareJournals(pair).problems.texts.join(), /journals differ/)
      }
    })
  }

  test('F46: nothing compared is a problem, and so is a gap that all of them have', () => {
    assert.match(
      compareJournals([journal('a', [], { committed: 5 }), journal('b', [], { committed: 5 })]).problems.texts.join(),
      /no whole block/,
    )
    const gap = [four[0]!, four[2]!]
    assert.match(compareJournals([journal('a', gap), journal('b', gap)]).problems.texts.join(), /block 5 follows 3/)
  })
})

test('contents that differ are found, and who has which', () => {
  assert.equal(
    compareContents(
      new Map([
        ['a', 'x'],
        ['b', 'x'],
      ]),
    ).count,
    0,
  )
  assert.match(
    compareContents(
      new Map([
        ['a', 'x'],
        ['b', 'y'],
        ['c', 'x'],
      ]),
    ).texts.join(),
    /a, c: x; b: y/,
  )
})
