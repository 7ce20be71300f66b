import assert from 'node:assert/strict'
import { encodeChunk } from '../../codec/chunk.js'
import { samePosition } from '../../core/position.js'
import { bytesOf, type CaseBody, create, delRange, drop, Journal, put, rejectsWith, scanned, text } from './kit.js'

export const bootstrapCases: Readonly<Record<string, CaseBody>> = {
  'B1: an ingestion is complete only when it is finished': async (fixture) => {
    const { engine } = fixture
    assert.equal(await engine.ingestProgress(), undefined)
    await engine.ingest({ id: 0, name: 'default' }, chunkOf('a=1', 'b=2'), bytesOf('at b'))
    await engine.ingest({ id: 4, name: 'users' }, chunkOf('u=1'), bytesOf('at u'))
    assert.equal(text(await engine.ingestProgress()), 'at u')
    const source = new Journal()
    for (let count = 0; count < 7; count++) source.append([put('x', 'y')])
    await engine.finishIngest(
      source.end,
      [
        { id: 0, name: 'default' },
        { id: 4, name: 'users' },
        { id: 6, name: 'empty' },
      ],
      9,
    )
    assert.equal(await engine.ingestProgress(), undefined)
    assert.deepEqual(engine.applied, source.end)
    assert.equal(engine.familyIdNext, 9)
    assert.equal(await scanned(engine, 0), 'a=1 b=2')
    assert.equal(await scanned(engine, 4), 'u=1')
    assert.equal(await scanned(engine, 6), '')
    assert.equal(engine.snapshot().position.sequence, 7)
    await engine.apply([source.append([put('c', '3')], [create(9, 'more'), put('m', '1', 9)])])
    assert.equal(await scanned(engine, 0), 'a=1 b=2 c=3')
    assert.deepEqual(engine.applied, source.end)
  },

  'B1: families that the snapshot does not have are gone after an ingestion': async (fixture) => {
    const { engine, journal } = fixture
    await engine.ingest({ id: 3, name: 'old' }, chunkOf('a=1'), bytesOf('1'))
    await engine.finishIngest(journal.empty, [{ id: 0, name: 'default' }], 1)
    assert.equal(engine.families.length, 1)
    assert.equal(engine.familyIdNext, 4)
    await rejectsWith('UNKNOWN_FAMILY', () => engine.get(3, bytesOf('a')))
  },

  'a chunk that is cut off is refused whole': async (fixture) => {
    const { engine } = fixture
    const chunk = chunkOf('a=1', 'b=2')
    await rejectsWith('PROTOCOL', () =>
      engine.ingest({ id: 0, name: 'default' }, chunk.subarray(0, chunk.length - 1), bytesOf('1')),
    )
    assert.equal(await engine.ingestProgress(), undefined)
    assert.equal(await scanned(engine), '')
  },

  'the size is estimated': async (fixture) => {
    assert.ok((await fixture.engine.sizeEstimateBytes()) >= 0)
    await fixture.apply(Array.from({ length: 100 }, (_, index) => put(String(index), 'v'.repeat(1000))))
    assert.ok((await fixture.engine.sizeEstimateBytes()) >= 0)
  },
}

/** For engines that keep what they hold. */
export const durableCases: Readonly<Record<string, CaseBody>> = {
  'J4: the content, its position and the families outlive a clean end': async (fixture) => {
    await fixture.apply([put('a', '1'), create(1, 'x'), create(2, 'y'), put('k', 'v', 2), drop(1)])
    await fixture.reopen()
    const { engine, journal } = fixture
    assert.deepEqual(engine.opened, { checkpoint: journal.end, applied: journal.end })
    assert.deepEqual(engine.applied, journal.end)
    assert.equal(await scanned(engine), 'a=1')
    assert.equal(await scanned(engine, 2), 'k=v')
    assert.equal(engine.familyIdNext, 3)
    await fixture.apply([put('b', '2')])
    assert.equal(await scanned(engine), 'a=1 b=2')
  },

  'an engine without content has nothing to say about a position': async (fixture) => {
    assert.deepEqual(fixture.engine.opened, { checkpoint: undefined, applied: undefined })
    await fixture.reopen()
    assert.deepEqual(fixture.engine.opened, { checkpoint: undefined, applied: undefined })
    assert.deepEqual(fixture.engine.applied, fixture.journal.empty)
  },

  'J4: a checkpoint is the position that was applied, and is found again': async (fixture) => {
    const { engine, journal } = fixture
    assert.deepEqual(await engine.checkpoint(), journal.empty)
    await fixture.apply([put('a', '1')])
    const first = journal.end
    assert.deepEqual(await engine.checkpoint(), first)
    assert.deepEqual(await engine.checkpoint(), first)
    await fixture.apply([put('b', '2')])
    const both = await Promise.all([engine.checkpoint(), engine.checkpoint()])
    assert.ok(both.every((position) => samePosition(position, journal.end)))
  },

  'J4: checkpoints run beside writes': async (fixture) => {
    const { engine, journal } = fixture
    const checkpoints: Array<Promise<number>> = []
    for (let round = 0; round < 30; round++) {
      await fixture.apply([put(`k${round}`, 'v'.repeat(1000))])
      const atLeast = journal.end.sequence
      if (round % 7 === 0) {
        checkpoints.push(
          engine.checkpoint().then(({ sequence }) => {
            assert.ok(sequence >= atLeast)
            return sequence
          }),
        )
      }
    }
    await Promise.all(checkpoints)
    await fixture.reopen()
    assert.deepEqual(fixture.engine.opened.checkpoint, journal.end)
    assert.equal((await scanned(fixture.engine, 0, { values: false })).split(' ').length, 30)
  },

  'J4: before the replay nothing newer than the checkpoint is proven': async (fixture) => {
    await fixture.apply([put('a', '1')])
    await fixture.reopen()
    const checkpoint = fixture.engine.opened.checkpoint
    assert.deepEqual(await fixture.engine.checkpoint(), checkpoint)
    await fixture.replay()
    await fixture.apply([delRange('a', 'b')])
    assert.deepEqual(await fixture.engine.checkpoint(), fixture.journal.end)
  },

  'B1: an ingestion goes on after a restart, and is durable when finished': async (fixture) => {
    await fixture.engine.ingest({ id: 0, name: 'default' }, chunkOf('a=1', 'b=2'), bytesOf('at b'))
    await fixture.engine.ingest({ id: 2, name: 'users' }, chunkOf('u=1'), bytesOf('at u'))
    await fixture.reopen()
    assert.equal(text(await fixture.engine.ingestProgress()), 'at u')
    assert.equal(fixture.engine.opened.checkpoint, undefined)
    await fixture.engine.ingest({ id: 2, name: 'users' }, chunkOf('v=2'), bytesOf('at v'))
    const source = new Journal()
    source.append([put('x', 'y')])
    const families = [
      { id: 0, name: 'default' },
      { id: 2, name: 'users' },
    ]
    await fixture.engine.finishIngest(source.end, families, 5)
    await fixture.reopen()
    const { engine } = fixture
    assert.deepEqual(engine.opened, { checkpoint: source.end, applied: source.end })
    assert.deepEqual([engine.families, engine.familyIdNext], [families, 5])
    assert.equal(await scanned(engine, 0), 'a=1 b=2')
    assert.equal(await scanned(engine, 2), 'u=1 v=2')
  },

  'a directory is open once': async (fixture) => {
    await rejectsWith('LOCKED', () => fixture.factory.open(fixture.directory, fixture.journal.empty))
  },
}

/** For engines that lose everything with the process. */
export const volatileCases: Readonly<Record<string, CaseBody>> = {
  'J4: a volatile engine never lets go of the journal, and replays all of it': async (fixture) => {
    await fixture.apply([put('a', '1')])
    await fixture.apply([put('b', '2')])
    assert.deepEqual(await fixture.engine.checkpoint(), fixture.journal.empty)
    await fixture.reopen()
    assert.deepEqual(fixture.engine.opened, { checkpoint: undefined, applied: undefined })
    await fixture.replay()
    assert.equal(await scanned(fixture.engine), 'a=1 b=2')
  },
}

function chunkOf(...entries: readonly string[]): Uint8Array {
  return encodeChunk(
    entries.map((entry) => {
      const [key, value] = entry.split('=')
      return [bytesOf(key ?? ''), bytesOf(value ?? '')] as const
    }),
  )
}
