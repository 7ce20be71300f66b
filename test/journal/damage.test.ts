import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { crc32 } from '#src/codec/digest.js'
import type { Block } from '#src/core/entry.js'
import { isFailure } from '#src/errors.js'
import {
  JournalWatch,
  readAll,
  rejectsWith,
  SampleBlocks,
  sampleBase,
  sampleIdentity,
} from '#src/journal/sample-blocks.js'
import type { Journal } from '#src/ports/journal.js'
import { SimulatedDisk } from '#src/sim/disk.js'
import { placesStep } from '../support/property-runs.js'
import { settle, simulatedFactory } from './support.js'

const segment = '/journal/00000000000000000001.journal'
const start = { base: sampleBase, epochs: [] }

async function create(disk: SimulatedDisk): Promise<Journal> {
  const factory = simulatedFactory(disk.process(), { tailCacheBytes: 0 })
  return await factory.create('/journal', sampleIdentity, start, new JournalWatch())
}

async function open(disk: SimulatedDisk): Promise<{ journal: Journal; cutBytes: number }> {
  const factory = simulatedFactory(disk.process(), { tailCacheBytes: 0 })
  return await factory.open('/journal', sampleIdentity, new JournalWatch())
}

function ends(blocks: readonly Block[]): string[] {
  return blocks.map((block) => block.end.chain)
}

/** Three groups, each of several blocks; the ends of the groups in the file. */
async function smallSegment(close: boolean): Promise<{ disk: SimulatedDisk; groups: Block[][]; offsets: number[] }> {
  const disk = new SimulatedDisk()
  const journal = await create(disk)
  const blocks = new SampleBlocks()
  const groups: Block[][] = []
  const offsets: number[] = []
  for (let group = 0; group < 3; group++) {
    const made = [blocks.next({ valueBytes: 13 }), blocks.next({ valueBytes: 40 })]
    groups.push(made)
    journal.append(made)
    while (journal.durable.sequence < blocks.end.sequence) await settle(1)
    offsets.push(lastByte(disk.content(segment)) + 1)
  }
  if (close) await journal.close()
  return { disk, groups, offsets }
}

function lastByte(content: Uint8Array): number {
  let last = content.length - 1
  while (content[last] === 0) last--
  return last
}

function flip(at: number): (content: Uint8Array) => Uint8Array {
  return (content) => {
    const changed = Uint8Array.from(content)
    changed[at] = (changed[at] ?? 0) ^ 0x24
    return changed
  }
}

describe('damage in a segment', () => {
  test('J2: a flip of any byte is found: below the last flush mark it is corruption, above it is cut', async () => {
    const { disk, groups } = await smallSegment(true)
    const all = groups.flat()
    const used = lastByte(disk.content(segment)) + 1
    const lastMark = Math.ceil(used / 64) * 64 - 64
    const markAt = [lastMark - 8, lastMark, lastMark + 8].find((at) => disk.content(segment)[at] === 0x55) ?? 0
    assert.ok(markAt > 4096)
    // The header is one checksummed page, mostly zeros: some of those are enough.
    const places = Array.from({ length: used + 64 }, (_, at) => at).filter(
      (at) => at < 600 || at >= 4096 || at % 37 === 0,
    )
    for (const at of places.filter((_, index) => index % placesStep === 0)) {
      const copy = disk.clone()
      copy.corrupt(segment, flip(at))
      if (at < markAt) {
        await assert.rejects(open(copy), (error) => {
          assert.ok(isFailure(error, 'CORRUPTION'), `byte ${at}: ${error}`)
          assert.match(error.message, /0001\.journal is damaged at byte \d+: expected .*, found ./)
          return true
        })
        continue
      }
      const { journal, cutBytes } = await open(copy)
      assert.ok(cutBytes > 0, `byte ${at}`)
      assert.deepEqual(ends(await readAll(journal)), ends(all))
      await journal.close()
    }
  })

  test('F23: a flip under a running journal is never served', async () => {
    const { disk, groups, offsets } = await smallSegment(false)
    const all = groups.flat()
    // The mark in front of the first block is not read again: the index leads to the block.
    for (let at = 4096 + 64; at < (offsets.at(-1) ?? 0); at += 3 * placesStep) {
      const copy = disk.clone()
      const { journal } = await open(copy)
      copy.corrupt(segment, flip(at))
      const served: Block[] = []
      let from = sampleBase
      const reading = (async () => {
        while (from.sequence < journal.durable.sequence) {
          const more = await journal.read(from, { bytesMax: 1, limitSequence: 100 })
          served.push(...more)
          from = more.at(-1)?.end ?? from
        }
      })()
      await rejectsWith(reading, 'UNDERSTUDY_CORRUPTION')
      assert.deepEqual(ends(served), ends(all.slice(0, served.length)))
      await journal.close()
    }
  })

  test('J2: a group torn at any byte is cut, and every earlier group is there', async () => {
    const { disk, groups, offsets } = await smallSegment(false)
    const [, second = 0, third = 0] = offsets
    for (let length = second; length <= third; length += placesStep) {
      const copy = disk.clone()
      copy.corrupt(segment, (content) => Uint8Array.from(content).fill(0, length))
      const { journal, cutBytes } = await open(copy)
      const found = ends(await readAll(journal))
      assert.deepEqual(found, ends(groups.flat()).slice(0, found.length))
      assert.ok(found.length >= 4, `cut at ${length}`)
      assert.equal(found.length, length === third ? 6 : found.length)
      await journal.close()
      const again = await open(copy)
      assert.equal(again.cutBytes, 0, `after ${cutBytes} bytes were cut`)
      assert.deepEqual(ends(await readAll(again.journal)), found)
      await again.journal.close()
    }
  })

  test('a file that is shorter than its header says is never taken for a shorter journal', async () => {
    const { disk } = await smallSegment(true)
    const size = disk.content(segment).length
    for (const length of [1, 100, 4095, 4096, 4097, 4200, 5000, size - 1]) {
      const copy = disk.clone()
      copy.corrupt(segment, (content) => content.slice(0, length))
      await rejectsWith(open(copy), 'UNDERSTUDY_CORRUPTION')
    }
  })

  test('after a cut the rest is zeros, and what is appended is not mixed with what was cut', async () => {
    const { disk, groups, offsets } = await smallSegment(false)
    disk.corrupt(segment, flip((offsets[1] ?? 0) + 100))
    const { journal, cutBytes } = await open(disk)
    assert.ok(cutBytes > 100)
    assert.equal(lastByte(disk.content(segment)) < (offsets[1] ?? 0) + 64, true)
    const kept = await readAll(journal)
    const more = new SampleBlocks(journal.durable, { number: 2, node: 'b' }).many(3)
    journal.append(more)
    await journal.close()
    const again = await open(disk)
    assert.deepEqual(ends(await readAll(again.journal)), [...ends(groups.flat()).slice(0, kept.length), ...ends(more)])
    await again.journal.close()
  })

  test('J2: journal bytes inside a value are never taken for a flush mark', async () => {
    const { disk } = await smallSegment(true)
    const stolen = disk.content(segment).slice(4096, 6144)
    const { journal } = await open(disk)
    const blocks = new SampleBlocks(journal.durable)
    await journal.mark()
    const before = lastByte(disk.content(segment)) + 1
    journal.append([blocks.next({ value: stolen }), blocks.next({ value: stolen.slice(3) })])
    while (journal.durable.sequence < blocks.end.sequence) await settle(1)
    disk.crash({ keep: 'all' })
    // The first block of the group is torn; its value and the next block, full of marks, are intact.
    disk.corrupt(segment, flip(Math.ceil(before / 8) * 8 + 64 + 20))
    const again = await open(disk)
    assert.equal(again.journal.durable.sequence, 6)
    await again.journal.close()
  })
})

describe('a newer release', () => {
  /** Raises a version field and makes the checksum that covers it right again. */
  function raise(versionAt: number, checksumAt: number, from: number, to: number): (content: Uint8Array) => Uint8Array {
    return (content) => {
      const changed = Buffer.from(content)
      changed.writeUInt16LE(changed.readUInt16LE(versionAt) + 1, versionAt)
      changed.writeUInt32LE(crc32(changed.subarray(from, to)), checksumAt)
      return changed
    }
  }

  test('F47: what it wrote is refused as such: it is neither damage nor a tail, and nothing is cut', async () => {
    const { disk } = await smallSegment(true)
    const changes = [
      raise(8, 4, 8, 4096),
      raise(4096 + 8, 4096 + 4, 4096 + 8, 4160),
      raise(4160 + 32, 4164, 4168, 4288),
    ]
    for (const change of changes) {
      const copy = disk.clone()
      copy.corrupt(segment, change)
      const before = copy.content(segment)
      await assert.rejects(open(copy), (error) => {
        assert.ok(isFailure(error, 'FORMAT_VERSION'), String(error))
        assert.match(error.message, /0001\.journal.*version 2/)
        assert.match(error.hint ?? '', /newer/)
        return true
      })
      assert.ok(Buffer.from(copy.content(segment)).equals(before))
    }
  })
})

describe('damage between segments', () => {
  async function threeSegments(): Promise<{ disk: SimulatedDisk; blocks: Block[]; names: string[] }> {
    const disk = new SimulatedDisk()
    const journal = await create(disk)
    const made = new SampleBlocks().many(30, { valueBytes: 5000 })
    for (const block of made) {
      journal.append([block])
      await settle(5)
    }
    await journal.mark()
    const names = journal.segments.map((info) => `/journal/${info.name}`)
    assert.equal(names.length, 3)
    disk.crash({ keep: 'all' })
    return { disk, blocks: made, names }
  }

  test('F21: a missing segment, also the newest, is corruption and never an empty one', async () => {
    const { disk, names } = await threeSegments()
    for (const name of names.slice(1)) {
      const copy = disk.clone()
      await copy.process().remove(name)
      await assert.rejects(open(copy), (error) => {
        assert.ok(isFailure(error, 'CORRUPTION'))
        assert.ok(error.message.includes(name.slice(9)), error.message)
        return true
      })
    }
  })

  test('F21: a newest segment of zeros, or of nothing, is corruption once it was used', async () => {
    const { disk, names } = await threeSegments()
    for (const length of [0, 4096, 64 * 1024]) {
      const copy = disk.clone()
      copy.corrupt(names[2] ?? '', () => new Uint8Array(length))
      await rejectsWith(open(copy), 'UNDERSTUDY_CORRUPTION')
    }
  })

  test('an empty newest segment that was never used is removed', async () => {
    const { disk } = await smallSegment(true)
    for (const length of [0, 4096, 64 * 1024]) {
      const copy = disk.clone()
      const process = copy.process()
      const name = '/journal/00000000000000000007.journal'
      const file = await process.open(name, 'create')
      await file.truncate(length)
      const { journal } = await open(copy)
      assert.equal(journal.durable.sequence, 6)
      assert.equal(await process.stat(name), undefined)
      await journal.close()
    }
  })

  test('damage in the last block of an older segment is corruption: the next segment vouches for it', async () => {
    const { disk, names } = await threeSegments()
    const [first = ''] = names
    const copy = disk.clone()
    copy.corrupt(first, flip(lastByte(disk.content(first)) - 100))
    await rejectsWith(open(copy), 'UNDERSTUDY_CORRUPTION')
  })

  test('a torn seal is written again', async () => {
    const { disk, names, blocks } = await threeSegments()
    const [, second = ''] = names
    const seal = lastByte(disk.content(second))
    disk.corrupt(second, (content) => Uint8Array.from(content).fill(0, seal - 12))
    const { journal } = await open(disk)
    assert.deepEqual(ends(await readAll(journal)), ends(blocks))
    await journal.close()
    await disk.process().remove(names[2] ?? '')
    await rejectsWith(open(disk), 'UNDERSTUDY_CORRUPTION')
  })

  test('a segment of another file of the same journal is refused', async () => {
    const { disk, names } = await threeSegments()
    const [first = '', second = ''] = names
    disk.corrupt(second, () => disk.content(first))
    await rejectsWith(open(disk), 'UNDERSTUDY_CORRUPTION')
  })

  test('a directory without segments is refused, not begun anew', async () => {
    const disk = new SimulatedDisk()
    await disk.process().makeDirectory('/journal')
    await rejectsWith(open(disk), 'UNDERSTUDY_CORRUPTION')
  })
})
