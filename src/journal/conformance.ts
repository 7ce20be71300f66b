/** What every implementation of the journal's port must do. Run it with your own test of the same name. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Block } from '../core/entry.js'
import type { Journal, JournalFactory } from '../ports/journal.js'
import {
  everything,
  JournalWatch,
  readAll,
  rejectsWith,
  SampleBlocks,
  sampleBase,
  sampleIdentity,
} from './sample-blocks.js'

function assertSameBytes(found: readonly Block[], expected: readonly Block[]): void {
  assert.deepEqual(
    found.map((block) => block.end),
    expected.map((block) => block.end),
  )
  for (const [index, block] of found.entries())
    assert.ok(Buffer.from(block.bytes).equals(expected[index]?.bytes ?? block.bytes.subarray(1)))
}

export interface JournalFixture {
  readonly factory: JournalFactory
  /** Does not exist; its parent does. */
  readonly directory: string
  cleanup(): Promise<void>
}

export function runJournalConformance(name: string, makeFixture: () => Promise<JournalFixture>): void {
  const check = (
    title: string,
    body: (fixture: JournalFixture, journal: Journal, watch: JournalWatch, blocks: SampleBlocks) => Promise<void>,
  ): void => {
    test(title, async () => {
      const fixture = await makeFixture()
      const watch = new JournalWatch()
      try {
        const start = { base: sampleBase, epochs: [] }
        const journal = await fixture.factory.create(fixture.directory, sampleIdentity, start, watch)
        try {
          await body(fixture, journal, watch, new SampleBlocks())
        } finally {
          await journal.close()
        }
        assert.deepEqual(watch.failures, [])
      } finally {
        await fixture.cleanup()
      }
    })
  }

  async function reopen(fixture: JournalFixture, journal: Journal): Promise<Journal> {
    await journal.close()
    const opened = await fixture.factory.open(fixture.directory, sampleIdentity, new JournalWatch())
    assert.equal(opened.cutBytes, 0)
    return opened.journal
  }

  describe(`journal: ${name}`, () => {
    check('a new journal is empty and begins at its base', async (_, journal) => {
      assert.deepEqual(journal.base, sampleBase)
      assert.deepEqual(journal.appended, sampleBase)
      assert.deepEqual(journal.durable, sampleBase)
      assert.equal(journal.committedMark, 0)
      assert.deepEqual(await journal.read(sampleBase, everything), [])
      assert.deepEqual(await journal.positionAt(0), sampleBase)
      assert.equal(await journal.positionAt(1), undefined)
    })

    check(
      'I5: blocks become durable in order and only after append, and are read back byte by byte',
      async (_, journal, watch, blocks) => {
        const made = blocks.many(20, { entryCount: 3 })
        for (const block of made) journal.append([block])
        assert.deepEqual(journal.appended, blocks.end)
        assert.deepEqual(journal.durable, sampleBase)
        assert.ok(journal.pendingBytes > 0)
        await journal.mark()
        assert.deepEqual(journal.durable, blocks.end)
        assert.deepEqual(watch.positions.at(-1), blocks.end)
        const sequences = watch.positions.map((position) => position.sequence)
        assert.deepEqual(
          sequences,
          sequences.toSorted((a, b) => a - b),
        )
        assert.equal(journal.pendingBytes, 0)
        assertSameBytes(await readAll(journal), made)
      },
    )

    check('everything is there after closing and opening again, twice', async (fixture, journal, _, blocks) => {
      const made = blocks.many(30, { valueBytes: 3000 })
      journal.append(made)
      journal.noteCommitted(25)
      const epochs = [...journal.epochs]
      for (let round = 0; round < 2; round++) {
        const again = await reopen(fixture, round === 0 ? journal : journal)
        try {
          assert.deepEqual(again.durable, blocks.end)
          assert.deepEqual(again.appended, blocks.end)
          assert.equal(again.committedMark, 25)
          assert.deepEqual(again.epochs, epochs)
          assertSameBytes(await readAll(again), made)
        } finally {
          await again.close()
        }
      }
    })

    check('a block larger than a segment has one of its own', async (fixture, journal, _, blocks) => {
      const made = [blocks.next(), blocks.next({ valueBytes: 3_000_000 }), blocks.next()]
      for (const block of made) journal.append([block])
      await journal.mark()
      assertSameBytes(await readAll(journal), made)
      const again = await reopen(fixture, journal)
      assertSameBytes(await readAll(again), made)
      await again.close()
    })

    check(
      'reading honours bytesMax and limitSequence, and gives at least one block',
      async (fixture, journal, _, blocks) => {
        const made = blocks.many(10, { entryCount: 2, valueBytes: 500 })
        journal.append(made)
        const again = await reopen(fixture, journal)
        const size = made[1]?.bytes.length ?? 0
        assert.equal((await again.read(sampleBase, { bytesMax: 1, limitSequence: 20 })).length, 1)
        assert.equal((await again.read(sampleBase, { bytesMax: size * 3, limitSequence: 20 })).length, 3)
        assert.equal((await again.read(sampleBase, { bytesMax: 1e9, limitSequence: 9 })).length, 4)
        assert.equal((await again.read(sampleBase, { bytesMax: 1e9, limitSequence: 1 })).length, 0)
        await again.close()
      },
    )

    check('what memory answers is what the disk answers', async (fixture, journal, _, blocks) => {
      journal.append(blocks.many(12, { entryCount: 2 }))
      const cached = journal.readCached(sampleBase, everything)
      assert.equal(cached?.length, 12)
      assert.equal(journal.readCached({ ...sampleBase, chain: 'f'.repeat(32) }, everything), undefined)
      const again = await reopen(fixture, journal)
      assert.equal(again.readCached(sampleBase, everything), undefined)
      assert.deepEqual(again.readCached(blocks.end, everything), [])
      assertSameBytes(await readAll(again), cached ?? [])
      await again.close()
    })

    check('positionAt knows block ends and nothing else', async (fixture, journal, _, blocks) => {
      const made = blocks.many(50, { entryCount: 3, valueBytes: 2000 })
      journal.append(made)
      const again = await reopen(fixture, journal)
      for (const one of [again]) {
        for (const block of made) {
          assert.deepEqual(await one.positionAt(block.end.sequence), block.end)
          assert.equal(await one.positionAt(block.end.sequence - 1), undefined)
        }
        assert.equal(await one.positionAt(blocks.end.sequence + 1), undefined)
      }
      await again.close()
    })

    check(
      'F38: a position of another history is DIVERGED, whatever its sequence',
      async (fixture, journal, _, blocks) => {
        const made = blocks.many(5, { entryCount: 2 })
        journal.append(made)
        await journal.mark()
        const again = await reopen(fixture, journal)
        for (const sequence of [0, 2, 3, 4, 10, 11, 99]) {
          const foreign = { ...blocks.end, sequence, chain: 'e'.repeat(32) }
          await rejectsWith(again.read(foreign, everything), 'UNDERSTUDY_DIVERGED')
          await rejectsWith(again.read(foreign, { ...everything, limitSequence: sequence }), 'UNDERSTUDY_DIVERGED')
        }
        await again.close()
      },
    )

    check('I6: what was trimmed is TOO_OLD, what was kept is served', async (fixture, journal, _, blocks) => {
      const made = blocks.many(60, { valueBytes: 30_000 })
      for (const block of made) journal.append([block])
      await journal.mark()
      const [first, second] = journal.segments
      assert.ok(first !== undefined && second !== undefined, 'there are several segments')
      const { bytes } = journal
      await journal.trim(first.lastSequence - 1)
      assert.deepEqual(journal.base, sampleBase)
      await journal.trim(first.lastSequence)
      assert.equal(journal.base.sequence, first.lastSequence)
      assert.ok(journal.bytes < bytes)
      await rejectsWith(journal.read(sampleBase, everything), 'UNDERSTUDY_TOO_OLD')
      assertSameBytes(await readAll(journal), made.slice(first.lastSequence))
      await journal.trim(Number.MAX_SAFE_INTEGER)
      assert.equal(journal.segments.length, 1)
      assert.deepEqual(journal.epochs, [{ epoch: { number: 1, node: 'a' }, firstSequence: 1 }])
      const again = await reopen(fixture, journal)
      assert.deepEqual(again.base, journal.base)
      assert.deepEqual(again.durable, blocks.end)
      assert.deepEqual(again.epochs, journal.epochs)
      await again.close()
    })

    check('F23: after a cut other blocks follow, and cut ones never come back', async (fixture, journal, _, blocks) => {
      const made = blocks.many(60, { valueBytes: 30_000 })
      for (const block of made) journal.append([block])
      journal.noteCommitted(50)
      await journal.mark()
      const keep = made[29]
      assert.ok(keep !== undefined)
      await rejectsWith(journal.truncate({ ...keep.end, chain: 'd'.repeat(32) }), 'UNDERSTUDY_DIVERGED')
      await journal.truncate(keep.end)
      assert.deepEqual(journal.durable, keep.end)
      assert.deepEqual(journal.appended, keep.end)
      assert.equal(journal.committedMark, 30)
      assertSameBytes(await readAll(journal), made.slice(0, 30))
      await rejectsWith(journal.read(blocks.end, everything), 'UNDERSTUDY_DIVERGED')
      const others = blocks.fork(keep.end, { number: 2, node: 'b' })
      const added = others.many(10, { valueBytes: 20_000 })
      journal.append(added)
      await journal.mark()
      const again = await reopen(fixture, journal)
      assertSameBytes(await readAll(again), [...made.slice(0, 30), ...added])
      assert.deepEqual(again.epochs, [
        { epoch: { number: 1, node: 'a' }, firstSequence: 1 },
        { epoch: { number: 2, node: 'b' }, firstSequence: 31 },
      ])
      assert.equal(again.committedMark, 30)
      await again.truncate(sampleBase)
      assert.deepEqual(await readAll(again), [])
      assert.deepEqual(again.epochs, [])
      await again.close()
    })

    check('B3: a tail is saved before it is cut, once, and never over another', async (fixture, journal, _, blocks) => {
      const { directory, factory } = fixture
      const made = blocks.many(12, { entryCount: 2, valueBytes: 9000 })
      journal.append(made)
      const after = made[3]!.end
      const tail = { after, commonSequence: 8 }
      const saved = await journal.saveTail(tail, directory, 'cut.journal')
      assert.deepEqual(journal.durable, blocks.end, 'everything appended is durable and in the file')
      assert.deepEqual({ ...saved, bytes: 0 }, { commonSequence: 8, firstSequence: 9, lastSequence: 24, bytes: 0 })
      assert.deepEqual(await journal.saveTail(tail, directory, 'cut.journal'), saved)
      assert.deepEqual(await factory.describeTail(`${directory}/cut.journal`), saved)
      assertSameBytes(await readAll(journal), made)
      // Another end, another beginning, other entries missing before it: nothing is overwritten.
      assert.equal(await journal.saveTail({ ...tail, commonSequence: 7 }, directory, 'cut.journal'), undefined)
      assert.equal(
        await journal.saveTail({ after: made[4]!.end, commonSequence: 8 }, directory, 'cut.journal'),
        undefined,
      )
      await journal.truncate(after)
      const others = blocks.fork(after, { number: 2, node: 'b' })
      journal.append(others.many(8, { entryCount: 2 }))
      assert.equal(await journal.saveTail(tail, directory, 'cut.journal'), undefined)
      assert.deepEqual(await factory.describeTail(`${directory}/cut.journal`), saved)
      assert.equal((await journal.saveTail(tail, directory, 'other.journal'))?.lastSequence, 24)
      await rejectsWith(
        journal.saveTail({ after: made[6]!.end, commonSequence: 14 }, directory, 'third.journal'),
        'UNDERSTUDY_DIVERGED',
      )
      assert.equal(await factory.describeTail(`${directory}/${journal.segments[0]!.name}`), undefined)
      const again = await reopen(fixture, journal)
      assert.deepEqual(again.durable, others.end)
      await again.close()
    })

    check('J1: the committed sequence survives, at most up to what is durable', async (fixture, journal, _, blocks) => {
      journal.append(blocks.many(5))
      journal.noteCommitted(4)
      journal.noteCommitted(2)
      await journal.mark()
      assert.equal(journal.committedMark, 4)
      journal.noteCommitted(1000)
      await journal.mark()
      assert.equal(journal.committedMark, 5)
      const again = await reopen(fixture, journal)
      assert.equal(again.committedMark, 5)
      again.append([blocks.next({ committed: 5 }), blocks.next({ committed: 6 })])
      await again.mark()
      assert.equal(again.committedMark, 6)
      await again.close()
    })

    check(
      'F5: readers see every block once and in order while others append, trim and switch segments',
      async (_, journal, __, blocks) => {
        const made = blocks.many(200, { valueBytes: 9_000 })
        let appended = 0
        const read: Block[] = []
        let at = sampleBase
        const trims: Promise<void>[] = []
        while (read.length < made.length) {
          journal.append(made.slice(appended, appended + 5))
          appended += 5
          if (appended % 50 === 0) {
            await journal.mark()
            trims.push(journal.trim(at.sequence))
          }
          const more = await journal.read(at, { bytesMax: 40_000, limitSequence: Number.MAX_SAFE_INTEGER })
          read.push(...more)
          at = more.at(-1)?.end ?? at
        }
        await Promise.all(trims)
        assertSameBytes(read, made)
        assert.ok(journal.base.sequence > 0)
      },
    )

    check('a base in the middle of a history is kept', async (fixture) => {
      const blocks = new SampleBlocks()
      blocks.many(7)
      const base = blocks.end
      const epochs = [{ epoch: base.epoch, firstSequence: 1 }]
      const directory = `${fixture.directory}-middle`
      const journal = await fixture.factory.create(directory, sampleIdentity, { base, epochs }, new JournalWatch())
      assert.equal(journal.committedMark, 7)
      const made = blocks.many(3)
      journal.append(made)
      await journal.close()
      const { journal: again } = await fixture.factory.open(directory, sampleIdentity, new JournalWatch())
      assert.deepEqual(again.base, base)
      assert.deepEqual(again.epochs, epochs)
      assertSameBytes(await readAll(again), made)
      await rejectsWith(again.read(sampleBase, everything), 'UNDERSTUDY_TOO_OLD')
      await again.close()
    })

    check(
      'S1: a directory of another cluster, shard or history is refused and left alone',
      async (fixture, journal, _, blocks) => {
        journal.append(blocks.many(3))
        await journal.close()
        for (const other of [{ cluster: 'other' }, { shard: 'other' }, { historyId: 'f'.repeat(32) }]) {
          const identity = { ...sampleIdentity, ...other }
          const opening = fixture.factory.open(fixture.directory, identity, new JournalWatch())
          await rejectsWith(opening, 'UNDERSTUDY_FOREIGN_DIRECTORY')
        }
        const again = await reopen(fixture, journal)
        assert.deepEqual(again.durable, blocks.end)
        await again.close()
        const creating = fixture.factory.create(
          fixture.directory,
          sampleIdentity,
          { base: sampleBase, epochs: [] },
          new JournalWatch(),
        )
        await rejectsWith(creating, 'UNDERSTUDY_FOREIGN_DIRECTORY')
      },
    )

    check('blocks that do not continue the journal are our own bug', async (_, journal, __, blocks) => {
      const [first, second, third] = blocks.many(3)
      assert.ok(first !== undefined && second !== undefined && third !== undefined)
      journal.append([first])
      assert.throws(() => journal.append([third]), /invariant violated/)
      assert.throws(() => journal.append([first]), /invariant violated/)
      const foreign = new SampleBlocks({ ...first.end, chain: 'c'.repeat(32) })
      assert.throws(() => journal.append([foreign.next()]), /invariant violated/)
      journal.append([second])
    })

    check('after close everything is refused with CLOSED', async (_, journal, __, blocks) => {
      const block = blocks.next()
      await journal.close()
      await journal.close()
      assert.throws(() => journal.append([block]), { code: 'UNDERSTUDY_CLOSED' })
      await rejectsWith(journal.read(sampleBase, everything), 'UNDERSTUDY_CLOSED')
      await rejectsWith(journal.mark(), 'UNDERSTUDY_CLOSED')
      await rejectsWith(journal.truncate(sampleBase), 'UNDERSTUDY_CLOSED')
      await rejectsWith(journal.trim(1), 'UNDERSTUDY_CLOSED')
    })
  })
}
