/** Single conditions of writing a journal that no other test would miss: mutation testing found them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Block } from '#src/core/entry.js'
import { limits } from '#src/core/limits.js'
import type { Position } from '#src/core/position.js'
import type { JournalOptions } from '#src/journal/journal-factory.js'
import { JournalWatch, readAll, SampleBlocks, sampleBase, sampleIdentity } from '#src/journal/sample-blocks.js'
import { noteBytes } from '#src/journal/segment-format.js'
import type { Journal } from '#src/ports/journal.js'
import { SimulatedDisk } from '#src/sim/disk.js'
import { ManualClock, settle, simulatedFactory } from './support.js'

const segmentBytes = 64 * 1024
const headerBytes = 4096

async function create(disk: SimulatedDisk, options: Partial<JournalOptions> = {}): Promise<Journal> {
  const start = { base: sampleBase, epochs: [] }
  const factory = simulatedFactory(disk.process(), { segmentBytes, ...options })
  return await factory.create('/journal', sampleIdentity, start, new JournalWatch())
}

async function open(disk: SimulatedDisk): Promise<Journal> {
  const factory = simulatedFactory(disk.process(), { segmentBytes })
  return (await factory.open('/journal', sampleIdentity, new JournalWatch())).journal
}

function chains(blocks: readonly Block[]): string[] {
  return blocks.map((block) => block.end.chain)
}

/** A block of exactly `bytes`. */
function ofBytes(blocks: SampleBlocks, bytes: number): Block {
  const { end } = blocks
  const { length } = new SampleBlocks(end, end.epoch).next({ valueBytes: 10_000 }).bytes
  const block = blocks.next({ valueBytes: 10_000 + bytes - length })
  assert.equal(block.bytes.length, bytes)
  return block
}

describe('writing', () => {
  /** Of every note in a segment, in order. */
  function kindsOf(disk: SimulatedDisk, name: string): number[] {
    const content = Buffer.from(disk.content(`/journal/${name}`))
    const kinds: number[] = []
    for (let at = content.indexOf('USJM'); at >= 0; at = content.indexOf('USJM', at + 1)) {
      kinds.push(content.readUInt16LE(at + 10))
    }
    return kinds
  }

  test('J1: what was cut was never committed, also when other entries have its sequences', async () => {
    const disk = new SimulatedDisk()
    const journal = await create(disk)
    const blocks = new SampleBlocks()
    const made = blocks.many(6)
    journal.append(made)
    journal.noteCommitted(6)
    await journal.mark()
    await journal.truncate(made[2]!.end)
    assert.equal(journal.committedMark, 3)
    assert.deepEqual(kindsOf(disk, journal.segments[0]!.name), [1, 1])
    journal.append(blocks.fork(made[2]!.end, { number: 2, node: 'b' }).many(5))
    await journal.mark()
    assert.equal(journal.durable.sequence, 8)
    assert.equal(journal.committedMark, 3)
    journal.noteCommitted(5)
    await journal.mark()
    assert.equal(journal.committedMark, 5)
    await journal.close()
    assert.equal((await open(disk)).committedMark, 5)
  })

  test('J2: where no room is left for a flush mark, the header of a new segment says the same', async () => {
    for (const left of [noteBytes, noteBytes - 8, 8, 0]) {
      const disk = new SimulatedDisk()
      const journal = await create(disk)
      const blocks = new SampleBlocks()
      const made = [blocks.next()]
      journal.append(made)
      await journal.mark()
      // The header; in front of each group a flush mark; the one that was asked for; the place of the seal.
      const used = headerBytes + noteBytes + Math.ceil(made[0]!.bytes.length / 8) * 8 + 3 * noteBytes
      const last = ofBytes(blocks, segmentBytes - used - left)
      journal.append([last])
      await journal.mark()
      assert.equal(journal.segments.length, left >= noteBytes ? 1 : 2, `${left} bytes are left`)
      const { bytes } = journal.segments[0]!
      assert.equal(disk.content(`/journal/${journal.segments[0]!.name}`).length, bytes, 'no file grows')
      disk.crash({ keep: 'none' })
      const again = await open(disk)
      assert.deepEqual(again.durable, last.end)
      await again.truncate(last.end)
      assert.deepEqual(again.durable, last.end)
      const next = blocks.next()
      again.append([next])
      await again.close()
      assert.deepEqual(chains(await readAll(await open(disk))), chains([...made, last, next]))
    }
  })

  test('a segment without blocks gives way to one that is large enough', async () => {
    const disk = new SimulatedDisk()
    const blocks = new SampleBlocks()
    blocks.next()
    const base = blocks.end
    const factory = simulatedFactory(disk.process(), { segmentBytes })
    const start = { base, epochs: [{ epoch: base.epoch, firstSequence: 1 }] }
    const journal = await factory.create('/journal', sampleIdentity, start, new JournalWatch())
    const large = blocks.next({ valueBytes: 2 * segmentBytes })
    journal.append([large])
    while (journal.durable.sequence < 2) await settle(1)
    assert.equal(journal.segments.length, 1)
    assert.deepEqual(await journal.positionAt(1), base)
    const small = blocks.next()
    journal.append([small])
    await journal.mark()
    assert.deepEqual(
      journal.segments.map(({ firstSequence, lastSequence }) => [firstSequence, lastSequence]),
      [
        [2, 2],
        [3, 3],
      ],
    )
    await journal.close()
    assert.deepEqual(chains(await readAll(await open(disk))), chains([large, small]))
  })

  test('J1, J2: a mark that is asked for while another one is written says what was known when it was asked for', async () => {
    const disk = new SimulatedDisk()
    const journal = await create(disk)
    journal.append(new SampleBlocks().many(6))
    journal.noteCommitted(2)
    await journal.mark()
    journal.noteCommitted(4)
    const first = journal.mark()
    disk.latency = () => settle(20)
    await settle(10)
    journal.noteCommitted(6)
    const second = journal.mark()
    await first
    await second
    disk.crash({ keep: 'none' })
    disk.latency = undefined
    assert.equal((await open(disk)).committedMark, 6)
  })

  test('F25: a group keeps to the room of its segment and to its number of blocks', async () => {
    for (const over of [8, noteBytes, 2 * noteBytes]) {
      const disk = new SimulatedDisk()
      const journal = await create(disk)
      const blocks = new SampleBlocks()
      const start = blocks.next()
      journal.append([start])
      await journal.mark()
      const first = ofBytes(blocks, 20_000)
      const used = headerBytes + noteBytes + Math.ceil(start.bytes.length / 8) * 8 + noteBytes
      // With its flush mark and the place of the seal, both would need so many bytes more than are there.
      const second = ofBytes(blocks, segmentBytes - used - 2 * noteBytes - 20_000 + over)
      journal.append([first, second])
      await journal.mark()
      assert.deepEqual(
        journal.segments.map(({ lastSequence }) => lastSequence),
        [2, 3],
      )
      for (const { name, bytes } of journal.segments) assert.equal(disk.content(`/journal/${name}`).length, bytes)
      disk.crash({ keep: 'none' })
      assert.deepEqual(chains(await readAll(await open(disk))), chains([start, first, second]))
    }
    const disk = new SimulatedDisk()
    const journal = await create(disk)
    let writes = 0
    disk.fault = (operation, path) => {
      if (operation === 'write' && path.endsWith('0001.journal')) writes += 1
      return undefined
    }
    const made = new SampleBlocks().many(limits.flushBlocksMax + 1, { valueBytes: 1 })
    journal.append(made)
    while (journal.durable.sequence < made.length) await settle(1)
    assert.equal(writes, 2)
    await journal.close()
  })

  test('what is told of a group is its end and how long it took', async () => {
    const told: Array<[number, number]> = []
    const disk = new SimulatedDisk()
    const clock = new ManualClock()
    const factory = simulatedFactory(disk.process(), { clock })
    const start = { base: sampleBase, epochs: [] }
    const watch = new JournalWatch()
    watch.onDurable = (position: Position, tookMs = -1) => {
      told.push([position.sequence, tookMs])
    }
    const journal = await factory.create('/journal', sampleIdentity, start, watch)
    disk.fault = (operation, path) => {
      if (operation === 'datasync' && path.endsWith('0001.journal')) clock.advance(7)
      return undefined
    }
    journal.append(new SampleBlocks().many(3))
    assert.ok(journal.pendingBytes > 0)
    while (journal.durable.sequence < 3) await settle(1)
    assert.equal(journal.pendingBytes, 0)
    assert.deepEqual(told, [[3, 7]])
    await journal.close()
  })

  test('J2: at close a flush mark covers the last block, and the kinds of notes are those of the format', async () => {
    const disk = new SimulatedDisk()
    const journal = await create(disk)
    const blocks = new SampleBlocks()
    journal.append([blocks.next(), ...blocks.many(9, { valueBytes: 9000 })])
    await journal.close()
    const names = disk.list('/journal')
    assert.deepEqual(
      names.map((name) => kindsOf(disk, name)),
      [
        [1, 2],
        [1, 1],
      ],
    )
    const newest = Buffer.from(disk.content(`/journal/${names[1]}`))
    assert.equal(newest.readUInt32LE(newest.lastIndexOf('USJM') + 32), 10)
  })

  test('J1: the committed sequence of the last block of a group counts', async () => {
    for (const count of [1, 2, 3, 5]) {
      const disk = new SimulatedDisk()
      const journal = await create(disk)
      const blocks = new SampleBlocks()
      journal.append(blocks.many(9))
      await journal.mark()
      journal.append(Array.from({ length: count }, (_, index) => blocks.next({ committed: 4 + index })))
      while (journal.durable.sequence < 9 + count) await settle(1)
      assert.equal(journal.committedMark, 3 + count)
      disk.crash({ keep: 'none' })
      assert.equal((await open(disk)).committedMark, 3 + count)
    }
  })

  test('F23: what is asked for while the journal is cut is written when that is done, whenever it comes', async () => {
    for (const [delay, committed] of Array.from(
      { length: 60 },
      (_, index) => [3 * (index >> 1), 2 + 4 * (index % 2)] as const,
    )) {
      const disk = new SimulatedDisk()
      const journal = await create(disk)
      const blocks = new SampleBlocks()
      const made = blocks.many(6, { valueBytes: 200 })
      journal.append(made)
      await journal.mark()
      disk.latency = () => settle(3)
      const to = made[3]!.end
      let cut = false
      const cutting = journal.truncate(to).then(() => {
        cut = true
      })
      await settle(delay)
      journal.noteCommitted(committed)
      const marking = journal.mark()
      await Promise.all([cutting, marking])
      assert.ok(cut)
      disk.latency = undefined
      assert.equal(journal.committedMark, Math.min(committed, 4))
      const others = blocks.fork(to, { number: 2, node: 'b' }).many(2)
      journal.append(others)
      for (let turn = 0; turn < 1000 && journal.durable.sequence < 6; turn++) await settle(1)
      assert.equal(journal.durable.sequence, 6, `after ${delay} turns`)
      disk.crash({ keep: 'none' })
      const again = await open(disk)
      assert.deepEqual(chains(await readAll(again)), chains([...made.slice(0, 4), ...others]), `after ${delay} turns`)
      if (committed === 2) assert.equal(again.committedMark, 2)
      await again.close()
    }
  })

  test('J2: an idle mark comes when the journal has been idle for so long, and none after it was closed', async () => {
    const disk = new SimulatedDisk()
    const clock = new ManualClock()
    let timers = 0
    const setTimer = clock.setTimer.bind(clock)
    clock.setTimer = (delayMs, fn) => {
      timers += 1
      return setTimer(delayMs, fn)
    }
    const journal = await create(disk, { clock, idleMarkMs: 20 })
    const blocks = new SampleBlocks()
    let writes = 0
    disk.fault = (operation, path) => {
      if (operation === 'write' && path.endsWith('0001.journal')) writes += 1
      return undefined
    }
    const group = async () => {
      journal.append(blocks.many(2))
      while (journal.durable.sequence < blocks.end.sequence) await settle(1)
      await settle(20)
    }
    await group()
    assert.deepEqual([writes, timers], [1, 1])
    clock.advance(10)
    await group()
    assert.deepEqual([writes, timers], [2, 1], 'one timer at most')
    clock.advance(10)
    await settle()
    assert.deepEqual([writes, timers], [2, 2], 'something was written meanwhile')
    clock.advance(9)
    await settle()
    assert.equal(writes, 2)
    clock.advance(1)
    await settle()
    assert.deepEqual([writes, timers], [3, 2])
    await journal.close()
    const { length } = disk.list('/journal')
    const before = [writes, timers]
    journal.noteCommitted(3)
    clock.advance(1000)
    await settle()
    assert.deepEqual([writes, timers], before)
    assert.equal(disk.list('/journal').length, length)
  })
})
