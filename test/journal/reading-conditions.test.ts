/** Single conditions of reading a journal and of cutting it that no other test would miss: mutation testing found them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Block } from '#src/core/entry.js'
import type { Position } from '#src/core/position.js'
import { isFailure } from '#src/errors.js'
import {
  everything,
  JournalWatch,
  readAll,
  rejectsWith,
  SampleBlocks,
  sampleBase,
  sampleIdentity,
} from '#src/journal/sample-blocks.js'
import type { Journal } from '#src/ports/journal.js'
import { diskError, SimulatedDisk } from '#src/sim/disk.js'
import { simulatedFactory } from './support.js'

const path = '/journal/00000000000000000001.journal'

/** Of one large segment, and without blocks in memory: everything is read from the disk. */
async function create(disk: SimulatedDisk, segmentBytes = 2 * 1024 * 1024): Promise<Journal> {
  const factory = simulatedFactory(disk.process(), { segmentBytes, tailCacheBytes: 0 })
  return await factory.create('/journal', sampleIdentity, { base: sampleBase, epochs: [] }, new JournalWatch())
}

function chains(blocks: readonly Block[]): string[] {
  return blocks.map((block) => block.end.chain)
}

/** Each block is found at its place, and reading may begin anywhere. */
async function isThere(journal: Journal, blocks: readonly Block[]): Promise<void> {
  let from: Position = sampleBase
  for (const [index, { end }] of blocks.entries()) {
    assert.deepEqual(await journal.positionAt(end.sequence), end)
    const [next] = await journal.read(from, { bytesMax: 1, limitSequence: 1e9 })
    assert.deepEqual(next?.end, end, `block ${index}`)
    from = end
  }
  assert.deepEqual(chains(await readAll(journal)), chains(blocks))
}

describe('reading', () => {
  test('F23: places of blocks that were cut are forgotten, also within a segment', async () => {
    for (const [kept, valueBytes] of [
      [3, 31_000],
      [3, 7_001],
      [10, 40_003],
      [17, 100_000],
    ] as const) {
      const disk = new SimulatedDisk()
      const journal = await create(disk)
      const blocks = new SampleBlocks()
      const made = blocks.many(24, { valueBytes: 30_000 })
      for (const block of made) {
        journal.append([block])
        await journal.mark()
      }
      await isThere(journal, made)
      await journal.truncate(made[kept]!.end)
      const others = blocks.fork(made[kept]!.end, { number: 2, node: 'b' }).many(12, { valueBytes })
      for (const block of others) {
        journal.append([block])
        await journal.mark()
      }
      await isThere(journal, [...made.slice(0, kept + 1), ...others])
      await journal.close()
    }
  })

  test('F23: the place behind a cut is forgotten too: flush marks may have stood there', async () => {
    const disk = new SimulatedDisk()
    const journal = await create(disk)
    const blocks = new SampleBlocks()
    const made: Block[] = [blocks.next()]
    journal.append(made)
    for (let index = 0; index < 6; index++) {
      const block = blocks.next({ valueBytes: 70_000 })
      journal.append([block])
      made.push(block)
      await journal.mark()
      for (let marks = 1; marks < 4; marks++) {
        journal.noteCommitted(2 + index * 4 + marks - 4)
        await journal.mark()
      }
      journal.noteCommitted(block.end.sequence)
      await journal.mark()
    }
    await isThere(journal, made)
    for (let kept = made.length - 2; kept > 0; kept--) {
      await journal.truncate(made[kept]!.end)
      const other = blocks.fork(made[kept]!.end, { number: 10 - kept, node: 'b' })
      const others = [other.next(), ...other.many(2, { valueBytes: 90_000 })]
      journal.append(others)
      await journal.mark()
      await isThere(journal, [...made.slice(0, kept + 1), ...others])
    }
    await journal.close()
  })

  test('F19: a block of another history among those that are read is damage', async () => {
    const disk = new SimulatedDisk()
    const journal = await create(disk)
    const made = new SampleBlocks().many(9, { valueBytes: 500 })
    journal.append(made)
    await journal.mark()
    const other = new SampleBlocks(made[4]!.end, { number: 1, node: 'a' })
    const size = other.fork(made[4]!.end, { number: 1, node: 'a' }).next({ valueBytes: 500 }).bytes.length
    const block = other.next({ value: Buffer.alloc(500 + made[5]!.bytes.length - size, 'x') })
    assert.equal(block.bytes.length, made[5]!.bytes.length)
    disk.corrupt(path, (content) => {
      const changed = Buffer.from(content)
      changed.set(block.bytes, changed.indexOf(made[5]!.bytes))
      return changed
    })
    await rejectsWith(journal.read(made[2]!.end, everything), 'UNDERSTUDY_CORRUPTION')
    await journal.close()
  })

  test('F19: a block in the place of another one is damage, also where only its header is read', async () => {
    const disk = new SimulatedDisk()
    const journal = await create(disk)
    const made = new SampleBlocks().many(9, { valueBytes: 500 })
    journal.append(made)
    await journal.mark()
    disk.corrupt(path, (content) => {
      const changed = Buffer.from(content)
      changed.set(made[7]!.bytes, changed.indexOf(made[4]!.bytes))
      return changed
    })
    const damage = (error: unknown): true => {
      assert.ok(isFailure(error, 'CORRUPTION'), String(error))
      assert.match(error.message, /sequence/)
      return true
    }
    await assert.rejects(journal.positionAt(6), damage)
    await assert.rejects(journal.read(made[5]!.end, everything), damage)
    await assert.rejects(journal.read(made[3]!.end, everything), damage)
    assert.deepEqual(await journal.positionAt(3), made[2]!.end)
    assert.deepEqual(
      chains(await journal.read(sampleBase, { bytesMax: 1e9, limitSequence: 4 })),
      chains(made.slice(0, 4)),
    )
    await journal.close()
  })

  test('F19: zeros in the place of a block are damage, and never the end of the journal', async () => {
    const disk = new SimulatedDisk()
    const journal = await create(disk)
    const made = new SampleBlocks().many(9, { valueBytes: 500 })
    journal.append(made)
    await journal.mark()
    disk.corrupt(path, (content) => {
      const changed = Buffer.from(content)
      return changed.fill(0, changed.indexOf(made[4]!.bytes))
    })
    for (const reading of [
      journal.positionAt(6),
      journal.positionAt(5),
      journal.read(made[5]!.end, everything),
      journal.read(made[3]!.end, everything),
    ]) {
      await rejectsWith(reading, 'UNDERSTUDY_CORRUPTION')
    }
    await journal.close()
  })

  test('F19: what one read gives out stays as it was, however much it reads', async () => {
    const journal = await create(new SimulatedDisk(), 5 * 1024 * 1024)
    const made = new SampleBlocks().many(9, { valueBytes: 500_000 })
    for (const block of made) {
      journal.append([block])
      await journal.mark()
    }
    const found = await journal.read(sampleBase, everything)
    assert.equal(found.length, made.length)
    for (const [index, block] of found.entries()) assert.ok(Buffer.from(block.bytes).equals(made[index]!.bytes))
    await journal.close()
  })

  test('a limit inside of a block gives the blocks before it', async () => {
    const journal = await create(new SimulatedDisk())
    const made = new SampleBlocks().many(5, { entryCount: 3 })
    journal.append(made)
    await journal.mark()
    for (const [limitSequence, count] of [
      [2, 0],
      [3, 1],
      [5, 1],
      [6, 2],
      [15, 5],
      [99, 5],
    ] as const) {
      const found = await journal.read(sampleBase, { bytesMax: 1e9, limitSequence })
      assert.equal(found.length, count, `up to ${limitSequence}`)
    }
    const [, { bytes: second }, { bytes: third }] = made as [Block, Block, Block]
    for (const [bytesMax, count] of [
      [0, 1],
      [second.length, 1],
      [second.length + third.length - 1, 1],
      [second.length + third.length, 2],
    ] as const) {
      const found = await journal.read(made[0]!.end, { bytesMax, limitSequence: 1e9 })
      assert.equal(found.length, count, `${bytesMax} bytes`)
    }
    assert.deepEqual(await journal.read(made[2]!.end, { bytesMax: 1e9, limitSequence: 9 }), [])
    assert.deepEqual(await journal.read(made[2]!.end, { bytesMax: 1e9, limitSequence: 4 }), [])
    const inside = { ...made[2]!.end, sequence: 8 }
    await rejectsWith(journal.read(inside, everything), 'UNDERSTUDY_DIVERGED')
    await rejectsWith(journal.read(inside, { bytesMax: 1, limitSequence: 8 }), 'UNDERSTUDY_DIVERGED')
    await rejectsWith(journal.read(inside, { bytesMax: 1, limitSequence: 1 }), 'UNDERSTUDY_DIVERGED')
    await journal.close()
  })

  test('I5: the end of what is durable is found while more is on its way', async () => {
    const journal = await create(new SimulatedDisk())
    const blocks = new SampleBlocks()
    journal.append(blocks.many(3))
    await journal.mark()
    const { durable } = journal
    const [next] = blocks.many(1)
    journal.append([next!])
    assert.deepEqual(await journal.positionAt(3), durable)
    assert.deepEqual(await journal.positionAt(4), next!.end)
    assert.deepEqual(await journal.positionAt(0), sampleBase)
    await journal.close()
  })

  test('F23: every segment is found from every sequence', async () => {
    const journal = await create(new SimulatedDisk(), 64 * 1024)
    const made = new SampleBlocks().many(40, { entryCount: 2, valueBytes: 5000 })
    for (const block of made) {
      journal.append([block])
      await journal.mark()
    }
    const { segments } = journal
    assert.ok(segments.length > 5)
    await isThere(journal, made)
    for (const [index, { firstSequence, lastSequence }] of segments.entries()) {
      assert.equal(firstSequence, (segments[index - 1]?.lastSequence ?? 0) + 1)
      assert.equal((await journal.positionAt(lastSequence))?.sequence, lastSequence)
      assert.equal(await journal.positionAt(firstSequence), undefined, 'blocks have two entries')
    }
    await journal.close()
  })
})

describe('cutting', () => {
  async function twoSegments(): Promise<{ disk: SimulatedDisk; journal: Journal; made: Block[] }> {
    const disk = new SimulatedDisk()
    const journal = await create(disk, 64 * 1024)
    const made = new SampleBlocks().many(12, { entryCount: 2, valueBytes: 5000 })
    for (const block of made) {
      journal.append([block])
      await journal.mark()
    }
    assert.ok(journal.segments.length >= 2)
    return { disk, journal, made }
  }

  test('F38: nothing is cut at a place that the journal does not hold, and it goes on', async () => {
    const { journal, made } = await twoSegments()
    await journal.trim(journal.segments[0]!.lastSequence)
    const base = journal.base
    const { end } = made.at(-1)!
    assert.ok(base.sequence > 0)
    for (const to of [
      { ...made[0]!.end },
      { ...base, chain: 'e'.repeat(32) },
      { ...end, sequence: end.sequence - 1 },
      { ...end, chain: 'e'.repeat(32) },
      { ...end, sequence: end.sequence + 1 },
    ]) {
      await rejectsWith(journal.truncate(to), 'UNDERSTUDY_DIVERGED')
    }
    assert.deepEqual(journal.durable, end)
    await journal.truncate(end)
    assert.deepEqual(journal.durable, end)
    await journal.truncate(base)
    assert.deepEqual(journal.durable, base)
    assert.deepEqual(await readAll(journal), [])
    await journal.close()
  })

  test('F23: a cut at the very end of a segment takes nothing of it', async () => {
    const { disk, journal, made } = await twoSegments()
    const { lastSequence } = journal.segments[0]!
    const kept = made.filter(({ end }) => end.sequence <= lastSequence)
    assert.ok(kept.length > 3)
    await journal.truncate(kept.at(-1)!.end)
    await isThere(journal, kept)
    const others = new SampleBlocks(kept.at(-1)!.end, { number: 2, node: 'b' }).many(5, { valueBytes: 9000 })
    for (const block of others) {
      journal.append([block])
      await journal.mark()
    }
    await isThere(journal, [...kept, ...others])
    disk.crash({ keep: 'none' })
    const { journal: again } = await simulatedFactory(disk.process()).open(
      '/journal',
      sampleIdentity,
      new JournalWatch(),
    )
    assert.deepEqual(chains(await readAll(again)), chains([...kept, ...others]))
    await again.close()
  })

  test('I6: what was trimmed is not there any more, the place before what is left is', async () => {
    const { journal, made } = await twoSegments()
    const { lastSequence } = journal.segments[0]!
    const total = journal.bytes
    await journal.trim(lastSequence - 1)
    assert.equal(journal.bytes, total)
    await journal.trim(lastSequence)
    assert.equal(journal.bytes, total - 64 * 1024)
    const { base } = journal
    assert.equal(base.sequence, lastSequence)
    assert.equal(await journal.positionAt(lastSequence - 2), undefined)
    assert.equal(await journal.positionAt(0), undefined)
    assert.deepEqual(await journal.positionAt(lastSequence), base)
    assert.equal(await journal.positionAt(made.at(-1)!.end.sequence + 1), undefined)
    await rejectsWith(journal.read(made[0]!.end, everything), 'UNDERSTUDY_TOO_OLD')
    const found = await readAll(journal)
    assert.deepEqual(found.at(-1)?.end, made.at(-1)!.end)
    await rejectsWith(journal.read({ ...base, chain: 'e'.repeat(32) }, everything), 'UNDERSTUDY_DIVERGED')
    await journal.close()
  })

  test('F17: an error while segments are removed ends the journal, and a restart goes on', async () => {
    for (const operation of ['remove', 'syncDirectory'] as const) {
      const { disk, journal, made } = await twoSegments()
      const durable = journal.durable
      disk.fault = (asked) => (asked === operation ? diskError('EIO', operation) : undefined)
      await rejectsWith(journal.trim(1e9), 'UNDERSTUDY_IO')
      assert.throws(() => journal.append([]), { code: 'UNDERSTUDY_IO' })
      await rejectsWith(journal.trim(1e9), 'UNDERSTUDY_IO')
      await journal.close()
      disk.fault = undefined
      disk.crash({ keep: 'none' })
      const { journal: again } = await simulatedFactory(disk.process()).open(
        '/journal',
        sampleIdentity,
        new JournalWatch(),
      )
      assert.deepEqual(again.durable, durable)
      assert.deepEqual(chains(await readAll(again)), chains(made))
      await again.close()
    }
  })

  test('F23: nothing is appended while it is cut: that is our own bug', async () => {
    const { disk, journal, made } = await twoSegments()
    const cutting = journal.truncate(made[1]!.end)
    await undefined
    await undefined
    assert.throws(() => journal.append([]), /nothing is appended while the journal is cut/)
    await cutting
    const other = new SampleBlocks(made[1]!.end, { number: 2, node: 'b' }).next()
    journal.append([other])
    await journal.close()
    const factory = simulatedFactory(disk.process())
    const { journal: again } = await factory.open('/journal', sampleIdentity, new JournalWatch())
    assert.deepEqual(chains(await readAll(again)), chains([...made.slice(0, 2), other]))
    await again.close()
  })

  test('J1: what a cut that a crash interrupts knew to be committed is no more than what it left', async () => {
    const { disk, journal, made } = await twoSegments()
    const { end } = made.at(-1)!
    journal.noteCommitted(end.sequence)
    await journal.mark()
    assert.equal(journal.committedMark, end.sequence)
    const to = made[2]!.end
    const crash = new Promise<void>((resolve) => {
      disk.fault = (operation, name) => {
        if (operation !== 'write' || name !== path) return undefined
        disk.crash({ keep: 'all' })
        resolve()
        return undefined
      }
    })
    void journal.truncate(to)
    await crash
    disk.fault = undefined
    assert.ok(disk.list('/journal').includes('truncation'))
    for (let round = 0; round < 2; round++) {
      const factory = simulatedFactory(disk.process())
      const { journal: again } = await factory.open('/journal', sampleIdentity, new JournalWatch())
      assert.deepEqual(again.durable, to)
      assert.equal(again.committedMark, to.sequence)
      disk.crash({ keep: 'all' })
    }
  })
})
