/** Single conditions of the files of a journal, made, saved and described, that no other test would miss. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Block } from '#src/core/entry.js'
import { limits } from '#src/core/limits.js'
import { isFailure } from '#src/errors.js'
import { createJournalFactory } from '#src/journal/journal-factory.js'
import {
  JournalWatch,
  readAll,
  rejectsWith,
  SampleBlocks,
  sampleBase,
  sampleIdentity,
} from '#src/journal/sample-blocks.js'
import type { FileSystem } from '#src/ports/file-system.js'
import type { Journal } from '#src/ports/journal.js'
import { type DiskOperation, diskError, SimulatedDisk } from '#src/sim/disk.js'
import { ManualClock, SeededRandom, settle, simulatedFactory } from './support.js'

const start = { base: sampleBase, epochs: [] }

async function create(disk: SimulatedDisk, segmentBytes = 64 * 1024): Promise<Journal> {
  const factory = simulatedFactory(disk.process(), { segmentBytes })
  return await factory.create('/journal', sampleIdentity, start, new JournalWatch())
}

async function open(disk: SimulatedDisk, segmentBytes = 64 * 1024): Promise<Journal> {
  const factory = simulatedFactory(disk.process(), { segmentBytes })
  return (await factory.open('/journal', sampleIdentity, new JournalWatch())).journal
}

describe('a new journal', () => {
  test('J3: is there after a loss of power, its directory too', async () => {
    const disk = new SimulatedDisk()
    await create(disk)
    disk.crash({ keep: 'none' })
    const journal = await open(disk)
    assert.deepEqual(journal.durable, sampleBase)
    await journal.close()
  })

  test('S1: is made in an empty directory only; what an interrupted creation left goes', async () => {
    const disk = new SimulatedDisk()
    const files = disk.process()
    await files.makeDirectory('/journal')
    for (const name of ['spare.tmp', 'large.tmp']) await (await files.open(`/journal/${name}`, 'create')).truncate(100)
    await (await files.open('/journal/other', 'create')).truncate(100)
    await assert.rejects(create(disk), (error) => {
      assert.ok(isFailure(error, 'FOREIGN_DIRECTORY'))
      assert.match(error.message, /found other/)
      return true
    })
    assert.deepEqual(disk.list('/journal'), ['large.tmp', 'other', 'spare.tmp'], 'nothing is changed')
    await files.remove('/journal/other')
    const journal = await create(disk)
    await settle()
    await journal.close()
    assert.deepEqual(disk.list('/journal'), ['00000000000000000001.journal'])
  })

  test('the smallest segment is allowed, a smaller one is our own bug', () => {
    const make = (segmentBytes: number) =>
      createJournalFactory(new SimulatedDisk().process(), {
        clock: new ManualClock(),
        random: new SeededRandom(1),
        segmentBytes,
      })
    make(limits.segmentBytesMin)
    assert.throws(() => make(limits.segmentBytesMin - 1), /invariant violated/)
  })

  test('keeps as much in memory, and is idle for as long, as it was told', async () => {
    const journalOf = async (options: { tailCacheBytes?: number; idleMarkMs?: number }) => {
      const clock = new ManualClock()
      const delays: number[] = []
      clock.setTimer = (delayMs) => {
        delays.push(delayMs)
        return { cancel: () => {} }
      }
      const factory = simulatedFactory(new SimulatedDisk().process(), { clock, ...options })
      const journal = await factory.create('/journal', sampleIdentity, start, new JournalWatch())
      journal.append(new SampleBlocks().many(10, { valueBytes: 500 }))
      while (journal.durable.sequence < 10) await settle(1)
      await settle()
      return { cached: journal.readCached(sampleBase, { bytesMax: 1e9, limitSequence: 1e9 })?.length, delays }
    }
    assert.deepEqual(await journalOf({}), { cached: 10, delays: [limits.idleMarkMs] })
    assert.deepEqual(await journalOf({ tailCacheBytes: 2000, idleMarkMs: 777 }), { cached: undefined, delays: [777] })
  })

  test('F18: an error of the disk is coded, whatever was to be done', async () => {
    const failing = (operation: DiskOperation) => {
      const disk = new SimulatedDisk()
      disk.fault = (asked) => (asked === operation ? diskError('EIO', operation) : undefined)
      return disk
    }
    await rejectsWith(create(failing('makeDirectory')), 'UNDERSTUDY_IO')
    await rejectsWith(create(failing('write')), 'UNDERSTUDY_IO')
    await rejectsWith(create(failing('rename')), 'UNDERSTUDY_IO')
    await rejectsWith(open(failing('list')), 'UNDERSTUDY_IO')
    await rejectsWith(simulatedFactory(failing('open').process()).describeTail('/a.journal'), 'UNDERSTUDY_IO')
  })
})

describe('segments', () => {
  test('a file has its whole size from the beginning, the spare one too', async () => {
    const segmentBytes = 2 * limits.segmentFillBytes + 12_345 * 8
    const disk = new SimulatedDisk()
    const journal = await create(disk, segmentBytes)
    await settle()
    const sizes = () => disk.list('/journal').map((name) => disk.content(`/journal/${name}`).length)
    assert.deepEqual(disk.list('/journal'), ['00000000000000000001.journal', 'spare.tmp'])
    assert.deepEqual(sizes(), [segmentBytes, segmentBytes])
    const blocks = new SampleBlocks()
    const made = [blocks.next(), ...blocks.many(3, { valueBytes: 1_200_000 })]
    for (const block of made) {
      journal.append([block])
      await journal.mark()
    }
    await settle()
    assert.equal(journal.segments.length, 3)
    assert.deepEqual(sizes(), [segmentBytes, segmentBytes, segmentBytes, segmentBytes])
    await journal.close()
    assert.ok(!disk.list('/journal').includes('spare.tmp'))
    const again = await open(disk, segmentBytes)
    assert.equal((await readAll(again)).length, 4)
    await again.close()
  })

  test('F17: a file whose zeros may not be on the disk becomes no segment, and makes room for another one', async () => {
    for (const [operation, alsoRemove] of [
      ['write', false],
      ['datasync', false],
      ['sync', false],
      ['datasync', true],
    ] as const) {
      const disk = new SimulatedDisk()
      const watch = new JournalWatch()
      let created = 0
      let failing = true
      let removing = alsoRemove
      disk.fault = (asked, path) => {
        if (!path.endsWith('spare.tmp')) return undefined
        if (asked === 'create') created += 1
        // The first one becomes the first segment.
        if (created < 2) return undefined
        if (asked === 'remove' && removing) {
          removing = false
          return diskError('EIO', asked)
        }
        if (asked !== operation || !failing) return undefined
        failing = false
        return diskError('EIO', asked)
      }
      const factory = simulatedFactory(disk.process())
      const journal = await factory.create('/journal', sampleIdentity, start, watch)
      await settle()
      assert.equal(failing, false)
      assert.equal(disk.list('/journal').includes('spare.tmp'), alsoRemove, operation)
      const made = new SampleBlocks().many(16, { valueBytes: 7000 })
      for (const block of made) {
        journal.append([block])
        await journal.mark()
      }
      await settle()
      assert.equal(journal.segments.length, 2)
      assert.equal(created, 4, 'another one for the second segment, and the spare one behind it')
      assert.deepEqual(watch.failures, [])
      await journal.close()
      assert.equal((await readAll(await open(disk))).length, made.length)
    }
  })

  test('J3: closing while the next file is being made leaves nothing of it', async () => {
    for (let delay = 0; delay < 60; delay += 5) {
      const disk = new SimulatedDisk()
      const journal = await create(disk, 4 * limits.segmentFillBytes)
      disk.latency = () => settle(3)
      await settle(delay)
      await journal.close()
      assert.deepEqual(disk.list('/journal'), ['00000000000000000001.journal'])
    }
  })

  test('a block that is too large for the spare file leaves it for the next one', async () => {
    const disk = new SimulatedDisk()
    const journal = await create(disk)
    const blocks = new SampleBlocks()
    const made = [
      blocks.next(),
      blocks.next({ valueBytes: 200_000 }),
      blocks.next(),
      blocks.next({ valueBytes: 30_000 }),
    ]
    await settle()
    for (const block of made) {
      journal.append([block])
      await journal.mark()
      await settle()
      assert.equal(disk.content('/journal/spare.tmp').length, 64 * 1024)
      assert.ok(!disk.list('/journal').includes('large.tmp'))
    }
    await journal.close()
    assert.equal((await readAll(await open(disk))).length, 4)
  })
})

describe('files that are open', () => {
  /** A file system that knows which files are open. */
  function counted(disk: SimulatedDisk): { readonly fs: FileSystem; readonly open: string[] } {
    const process = disk.process()
    const open: string[] = []
    const fs: FileSystem = Object.create(process)
    fs.open = async (path, mode) => {
      const file = await process.open(path, mode)
      open.push(path)
      const close = file.close.bind(file)
      let closed = false
      file.close = async () => {
        if (!closed) open.splice(open.indexOf(path), 1)
        closed = true
        await close()
      }
      return file
    }
    return { fs, open }
  }

  async function fourSegments(): Promise<{ disk: SimulatedDisk; made: Block[] }> {
    const disk = new SimulatedDisk()
    const journal = await create(disk)
    const made = new SampleBlocks().many(30, { valueBytes: 7000 })
    for (const block of made) {
      journal.append([block])
      await journal.mark()
    }
    assert.equal(journal.segments.length, 4)
    await journal.close()
    return { disk, made }
  }

  test('a segment that is trimmed is closed as soon as nobody reads it, and all of them at the end', async () => {
    const { disk, made } = await fourSegments()
    const { fs, open: opened } = counted(disk)
    const factory = simulatedFactory(fs, { tailCacheBytes: 0 })
    const { journal } = await factory.open('/journal', sampleIdentity, new JournalWatch())
    await settle()
    assert.equal(opened.length, 5, 'four segments and the spare file')
    let read = (): void => {}
    const mayRead = new Promise<void>((resolve) => {
      read = resolve
    })
    disk.latency = (operation) => (operation === 'read' ? mayRead : undefined)
    const reading = journal.read(sampleBase, { bytesMax: 1, limitSequence: 1e9 })
    await settle()
    await journal.trim(1e9)
    assert.equal(opened.length, 3, 'the first one is read')
    read()
    assert.deepEqual((await reading).at(0)?.end, made[0]!.end)
    assert.equal(opened.length, 2)
    await journal.close()
    assert.deepEqual(opened, [])
  })

  test('of several readers of a segment that is trimmed the last one closes it', async () => {
    const { disk, made } = await fourSegments()
    const { fs, open: opened } = counted(disk)
    const factory = simulatedFactory(fs, { tailCacheBytes: 0 })
    const { journal } = await factory.open('/journal', sampleIdentity, new JournalWatch())
    await settle()
    const waiting: Array<() => void> = []
    disk.latency = (operation) =>
      operation === 'read' ? new Promise<void>((resolve) => waiting.push(resolve)) : undefined
    const options = { bytesMax: 1, limitSequence: 1e9 }
    const reads = [journal.read(sampleBase, options), journal.read(sampleBase, options)]
    await settle()
    await journal.trim(1e9)
    assert.equal(waiting.length, 2)
    assert.equal(opened.length, 3)
    for (const [index, read] of reads.entries()) {
      waiting[index]!()
      assert.deepEqual((await read).at(0)?.end, made[0]!.end)
      assert.equal(opened.length, 3 - index)
    }
    await journal.close()
    assert.deepEqual(opened, [])
  })

  test('a cut, a tail that is saved and a file that is replaced leave none open', async () => {
    const { disk, made } = await fourSegments()
    await (await disk.process().open('/journal/damaged', 'create')).sync()
    const { fs, open: opened } = counted(disk)
    const factory = simulatedFactory(fs)
    const { journal } = await factory.open('/journal', sampleIdentity, new JournalWatch())
    await settle()
    assert.equal(opened.length, 5)
    const tail = { after: made[20]!.end, commonSequence: 21 }
    for (let round = 0; round < 2; round++) await journal.saveTail(tail, '/', 'divergent-1@a-22.journal')
    assert.ok((await factory.describeTail('/divergent-1@a-22.journal')) !== undefined)
    assert.equal(opened.length, 5)
    await journal.truncate(made[1]!.end)
    assert.equal(opened.length, 2)
    await journal.close()
    assert.deepEqual(opened, [])
  })

  test('where opening is refused none is left open', async () => {
    const { disk } = await fourSegments()
    disk.corrupt('/journal/00000000000000000001.journal', (content) =>
      content.map((byte, at) => (at === 5000 ? byte ^ 1 : byte)),
    )
    const { fs, open: opened } = counted(disk)
    const opening = simulatedFactory(fs).open('/journal', sampleIdentity, new JournalWatch())
    await rejectsWith(opening, 'UNDERSTUDY_CORRUPTION')
    assert.deepEqual(opened, [])
  })
})

describe('a side file', () => {
  const name = 'divergent-1@a-4.journal'

  async function saved() {
    const disk = new SimulatedDisk()
    const journal = await create(disk)
    const made = new SampleBlocks().many(9, { valueBytes: 100 })
    journal.append(made)
    await journal.mark()
    const tail = { after: made[2]!.end, commonSequence: 3 }
    const described = await journal.saveTail(tail, '/', name)
    assert.equal(described?.lastSequence, 9)
    return { disk, journal, made, tail, described }
  }

  test('B3: is taken for saved only where every block of it follows the one before', async () => {
    const { disk, journal, made, tail, described } = await saved()
    assert.deepEqual(await journal.saveTail(tail, '/', name), described)
    // Whole blocks, the last one included, and yet not what is cut.
    const other = new SampleBlocks(made[4]!.end, { number: 1, node: 'a' }).next({ value: Buffer.alloc(100, 'other') })
    const sameSize = made[5]!.bytes.length - other.bytes.length
    const fitting = new SampleBlocks(made[4]!.end, { number: 1, node: 'a' }).next({
      value: Buffer.alloc(100 + sameSize, 'other'),
    })
    assert.equal(fitting.bytes.length, made[5]!.bytes.length)
    disk.corrupt(`/${name}`, (content) => {
      const changed = Buffer.from(content)
      changed.set(fitting.bytes, changed.indexOf(made[5]!.bytes))
      return changed
    })
    assert.equal(await journal.saveTail(tail, '/', name), undefined)
    await journal.close()
  })

  test('B3: a file that is cut short, longer, or whose header is damaged is none', async () => {
    const { disk, journal, tail } = await saved()
    const factory = simulatedFactory(disk.process())
    const whole = disk.content(`/${name}`)
    for (const change of [
      (content: Uint8Array) => content.slice(0, content.length - 64),
      (content: Uint8Array) => content.slice(0, 4096),
      (content: Uint8Array) => content.slice(0, 100),
      (content: Uint8Array) => Buffer.concat([content, new Uint8Array(64)]),
      (content: Uint8Array) => content.map((byte, at) => (at === 40 ? byte ^ 1 : byte)),
      (content: Uint8Array) => content.map((byte, at) => (at === content.length - 1 ? byte ^ 1 : byte)),
      () => new Uint8Array(0),
    ]) {
      disk.corrupt(`/${name}`, () => change(whole))
      assert.equal(await factory.describeTail(`/${name}`), undefined)
      assert.equal(await journal.saveTail(tail, '/', name), undefined, 'it is not written over either')
    }
    disk.corrupt(`/${name}`, () => whole)
    assert.equal((await factory.describeTail(`/${name}`))?.lastSequence, 9)
    await journal.close()
  })
})
