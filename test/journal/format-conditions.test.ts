/** Single conditions of segment files and their records that no other test would miss: mutation testing found them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { crc32 } from '#src/codec/digest.js'
import { limits } from '#src/core/limits.js'
import { isFailure } from '#src/errors.js'
import { isZero, lastNonZero, RecordReader, searchNotes } from '#src/journal/record-reader.js'
import { SampleBlocks, sampleBase, sampleIdentity } from '#src/journal/sample-blocks.js'
import {
  alignRecord,
  decodeNote,
  decodeSegmentHeader,
  encodeNote,
  encodeSegmentHeader,
  hasNoteMagic,
  noteBytes,
  parseSegmentName,
  segmentHeaderBytesMax,
  segmentName,
} from '#src/journal/segment-format.js'
import type { File } from '#src/ports/file-system.js'

const salt = '0123456789abcdef'
const otherSalt = '1123456789abcdef'
const far = 0x5_4321_0000
const chunk = limits.journalReadBytes

/** A file that is only read. */
function fileOf(content: Uint8Array): File & { reads: number } {
  const refused = () => Promise.reject(new Error('it is only read'))
  return {
    reads: 0,
    read(into, offset) {
      this.reads += 1
      const part = content.subarray(offset, offset + into.length)
      into.set(part)
      return Promise.resolve(part.length)
    },
    write: refused,
    datasync: refused,
    sync: refused,
    truncate: refused,
    size: () => Promise.resolve(content.length),
    close: () => Promise.resolve(),
  }
}

function header(changes: Partial<Parameters<typeof encodeSegmentHeader>[0]> = {}) {
  return { identity: sampleIdentity, base: sampleBase, committed: 0, epochs: [], salt, ...changes }
}

/** Of bytes that were changed on purpose: only the change itself is to be found. */
function sealed(bytes: Uint8Array, change: (view: Buffer) => void): Buffer {
  const view = Buffer.from(bytes)
  change(view)
  view.writeUInt32LE(crc32(view.subarray(8)), 4)
  return view
}

describe('header of a segment', () => {
  test('what is written is read, also beyond 32 bits', () => {
    const draft = header({ base: { ...sampleBase, sequence: far }, committed: far - 1 })
    const { bytes, header: written } = encodeSegmentHeader(draft, far, 0)
    assert.equal(written.fileBytes, far)
    assert.equal(written.headerBytes, bytes.length)
    assert.deepEqual(decodeSegmentHeader(bytes), {
      identity: sampleIdentity,
      base: draft.base,
      committed: far - 1,
      epochs: [],
      headerBytes: 4096,
      fileBytes: far,
      salt,
    })
  })

  test('it takes whole pages, and the file has room for the records', () => {
    const epochs = Array.from({ length: limits.epochHistoryMax }, (_, index) => ({
      epoch: { number: index + 1, node: 'n'.repeat(limits.nodeNameBytesMax) },
      firstSequence: index + 1,
    }))
    const { bytes, header: written } = encodeSegmentHeader(header({ epochs }), 65_536, 1000)
    assert.ok(bytes.length > 4096 && bytes.length % 4096 === 0 && bytes.length <= segmentHeaderBytesMax)
    assert.equal(written.fileBytes, Math.max(65_536, bytes.length + 1000))
    const found = decodeSegmentHeader(Buffer.concat([bytes, Buffer.alloc(1000, 1)]))
    assert.deepEqual('epochs' in found && found.epochs, epochs)
    assert.equal(encodeSegmentHeader(header(), 65_536, 65_536).header.fileBytes, 4096 + 65_536)
    assert.equal(encodeSegmentHeader(header(), 65_536, 61_440).header.fileBytes, 65_536)
  })

  test('F19: damage is told, and where it is', () => {
    const { bytes } = encodeSegmentHeader(header(), 65_536, 0)
    const expectedOf = (view: Uint8Array) => {
      const found = decodeSegmentHeader(view)
      assert.ok('expected' in found)
      return found.expected
    }
    assert.match(expectedOf(bytes.subarray(0, 4095)), /at least 4096 bytes/)
    assert.match(expectedOf(new Uint8Array(0)), /at least 4096 bytes/)
    assert.match(expectedOf(sealed(bytes, (view) => view.writeUInt32LE(1, 0))), /magic/)
    const padded = Buffer.concat([bytes, Buffer.alloc(2 * segmentHeaderBytesMax)])
    for (const length of [0, 4095, 4097, 6000, segmentHeaderBytesMax + 4096]) {
      const view = Buffer.from(padded)
      view.writeUInt32LE(length, 12)
      view.writeUInt32LE(crc32(view.subarray(8, length)), 4)
      assert.match(expectedOf(view), /whole pages/, `${length}`)
    }
    const beyond = Buffer.from(bytes)
    beyond.writeUInt32LE(8192, 12)
    assert.match(expectedOf(beyond), /whole pages/)
    for (const at of [4, 8, 20, 32, 100, 4095]) {
      const view = Buffer.from(bytes)
      view[at]! ^= 1
      assert.match(expectedOf(view), /checksum/, `byte ${at}`)
    }
    assert.throws(
      () => decodeSegmentHeader(sealed(bytes, (view) => view.writeUInt16LE(2, 8))),
      (error) => isFailure(error, 'FORMAT_VERSION'),
    )
  })

  test('the largest header is read', () => {
    const draft = header()
    const small = encodeSegmentHeader(draft, 65_536, 0).bytes
    const view = Buffer.alloc(segmentHeaderBytesMax)
    view.set(small)
    view.writeUInt32LE(segmentHeaderBytesMax, 12)
    view.writeUInt32LE(crc32(view.subarray(8)), 4)
    const found = decodeSegmentHeader(view)
    assert.ok('headerBytes' in found)
    assert.equal(found.headerBytes, segmentHeaderBytesMax)
  })
})

test('a name is 20 digits and the end of a segment file, and no more', () => {
  assert.equal(segmentName(17), '00000000000000000017.journal')
  assert.equal(parseSegmentName(segmentName(17)), 17)
  assert.equal(parseSegmentName(segmentName(Number.MAX_SAFE_INTEGER)), Number.MAX_SAFE_INTEGER)
  for (const name of [
    segmentName(0),
    '99999999999999999999.journal',
    `x${segmentName(1)}`,
    `${segmentName(1)}.tmp`,
    '0000000000000000001.journal',
    '000000000000000000011.journal',
    '0000000000000000000x.journal',
    '00000000000000000001xjournal',
    'truncation',
  ]) {
    assert.equal(parseSegmentName(name), undefined, name)
  }
  assert.deepEqual(
    [0, 1, 7, 8, 9].map((offset) => alignRecord(offset)),
    [0, 8, 8, 8, 16],
  )
})

describe('notes', () => {
  test('J1, J2: what is written is read, also beyond 32 bits', () => {
    for (const kind of ['mark', 'seal'] as const) {
      const note = { kind, flushedBefore: far + 3, committed: far + 1 }
      const bytes = Buffer.from(encodeNote(note, salt, far))
      assert.deepEqual(decodeNote(bytes, 0, salt, far), note)
    }
  })

  test('J2: a note of another file, another place or with any damage is none', () => {
    const note = { kind: 'mark' as const, flushedBefore: 3, committed: 1 }
    const bytes = Buffer.from(encodeNote(note, salt, 4096))
    assert.equal(decodeNote(bytes, 0, otherSalt, 4096), undefined)
    assert.equal(decodeNote(bytes, 0, salt, 4104), undefined)
    assert.equal(decodeNote(bytes, 0, salt, 4096 + 0x1_0000_0000), undefined)
    assert.equal(decodeNote(bytes.subarray(0, noteBytes - 1), 0, salt, 4096), undefined)
    assert.equal(hasNoteMagic(bytes.subarray(0, noteBytes - 1), 0), false)
    assert.equal(hasNoteMagic(bytes, 0), true)
    for (let at = 0; at < noteBytes; at++) {
      const view = Buffer.from(bytes)
      view[at]! ^= 0x10
      assert.equal(decodeNote(view, 0, salt, 4096), undefined, `byte ${at}`)
    }
    assert.throws(
      () =>
        decodeNote(
          sealed(bytes, (view) => view.writeUInt16LE(2, 8)),
          0,
          salt,
          4096,
        ),
      (error) => isFailure(error, 'FORMAT_VERSION'),
    )
  })

  test('J2: the highest of them is found wherever it stands, and none beyond the limit', async () => {
    const place = (at: number, flushedBefore: number, ofSalt = salt) => ({ at, flushedBefore, ofSalt })
    const search = async (
      bytes: number,
      notes: ReadonlyArray<ReturnType<typeof place>>,
      offset = 0,
      limit = bytes,
    ): Promise<number> => {
      const content = Buffer.alloc(bytes)
      for (const { at, flushedBefore, ofSalt } of notes) {
        content.set(encodeNote({ kind: 'mark', flushedBefore, committed: 0 }, ofSalt, at), at)
      }
      return await searchNotes({ file: fileOf(content), path: '', salt }, offset, limit)
    }
    assert.equal(await search(4096, []), -1)
    assert.equal(await search(4096, [place(0, 0)]), 0)
    assert.equal(await search(4096, [place(8, 5), place(800, 9), place(1600, 7)]), 9)
    assert.equal(await search(4096, [place(8, 5), place(800, 9, otherSalt)]), 5)
    assert.equal(await search(4096, [place(4096 - noteBytes, 5)]), 5, 'at the very end')
    assert.equal(await search(4096, [place(800, 5)], 793), 5, 'from the next place on where a record may begin')
    assert.equal(await search(4096, [place(800, 5)], 801), -1)
    assert.equal(await search(4096, [place(800, 5)], 0, 800 + noteBytes), 5)
    assert.equal(await search(4096, [place(800, 5)], 0, 800 + noteBytes - 8), -1)
    assert.equal(await search(40, []), -1, 'shorter than a note')
    assert.equal(await search(noteBytes, [place(0, 3)]), 3)
    // Where one read of the file ends and the next one begins.
    for (const at of [chunk - noteBytes, chunk - noteBytes + 8, chunk - 8]) {
      assert.equal(await search(chunk + 512, [place(8, 4), place(at, 5)], 8), 5, `at ${at}`)
    }
    assert.equal(await search(chunk + 512, [place(chunk, 5)]), 5)
    // The file ends before the limit.
    const cut = fileOf(Buffer.alloc(100))
    assert.equal(await searchNotes({ file: cut, path: '', salt }, 0, 4096), -1)
  })
})

describe('zeros', () => {
  test('the last byte that is none is found, up to the limit', async () => {
    const bytes = 2 * chunk + 100
    for (const [offset, limit, places, last] of [
      [0, bytes, [], undefined],
      [0, bytes, [0], 0],
      [0, bytes, [5, bytes - 1], bytes - 1],
      [0, bytes, [chunk - 1], chunk - 1],
      [0, bytes, [7, chunk], chunk],
      [0, bytes, [chunk + 3, chunk + 9], chunk + 9],
      [1, bytes, [0], undefined],
      [0, 50, [50], undefined],
      [0, 51, [50], 50],
      [0, bytes + 1000, [bytes - 1], bytes - 1],
      [60, 60, [60], undefined],
    ] as const) {
      const content = Buffer.alloc(bytes)
      for (const at of places) content[at] = 1
      assert.equal(await lastNonZero(fileOf(content), offset, limit), last, `${offset} ${limit} ${places.join()}`)
    }
  })

  test('any byte that is none is seen', () => {
    assert.equal(isZero(new Uint8Array(0)), true)
    assert.equal(isZero(new Uint8Array(10_000)), true)
    for (const at of [0, 1, 4095, 4096, 8191, 8192, 9999]) {
      const bytes = new Uint8Array(10_000)
      bytes[at] = 1
      assert.equal(isZero(bytes), false, `byte ${at}`)
    }
  })
})

describe('records', () => {
  const made = () => {
    const blocks = new SampleBlocks()
    blocks.next()
    return blocks.many(4, { valueBytes: 301 })
  }

  function contentOf(blocks: ReturnType<typeof made>, fill = 0): { content: Buffer; offsets: number[] } {
    const parts: Uint8Array[] = []
    const offsets: number[] = []
    let at = 0
    for (const { bytes } of blocks) {
      offsets.push(at)
      const next = alignRecord(at + bytes.length)
      parts.push(bytes, new Uint8Array(next - at - bytes.length).fill(fill))
      at = next
    }
    return { content: Buffer.concat(parts), offsets }
  }

  const reader = (content: Uint8Array, limit = content.length, chunkBytes = 1024, reuse = false) =>
    new RecordReader({ file: fileOf(content), path: 'segment', salt }, { offset: 0, limit, chunkBytes, reuse })

  test('blocks, headers and notes follow each other, however they are read', async () => {
    const blocks = made()
    const { content } = contentOf(blocks)
    const note = encodeNote({ kind: 'mark', flushedBefore: 3, committed: 2 }, salt, content.length)
    const file = Buffer.concat([content, note, Buffer.alloc(256)])
    for (const chunkBytes of [8, 64, 500, 1024, 1 << 20]) {
      for (const reuse of [false, true]) {
        const whole = reader(file, file.length, chunkBytes, reuse)
        for (const block of blocks) {
          const record = await whole.next()
          assert.ok(record.kind === 'block', `${chunkBytes} ${reuse} ${record.kind}`)
          assert.deepEqual(record.block.end, block.end)
          assert.ok(Buffer.from(record.block.bytes).equals(block.bytes))
          assert.equal(whole.offset, record.nextOffset)
        }
        assert.equal((await whole.next()).kind, 'note')
        assert.deepEqual(await whole.next(), { kind: 'end', offset: content.length + noteBytes })
        assert.deepEqual(await whole.next(), { kind: 'end', offset: content.length + noteBytes })
        const headers = reader(file, file.length, chunkBytes, reuse)
        for (const block of blocks) {
          const record = await headers.nextHeader()
          assert.ok(record.kind === 'header')
          assert.deepEqual(record.header, block.header)
        }
      }
    }
  })

  test('F19: a block that was given out stays as it is while others are read', async () => {
    const blocks = made()
    const { content } = contentOf(blocks)
    const source = { file: fileOf(content), path: 'segment', salt }
    for (const options of [{ reuse: false }, {}]) {
      const reading = new RecordReader(source, { offset: 0, limit: content.length, chunkBytes: 64, ...options })
      const found: Uint8Array[] = []
      for (let record = await reading.next(); record.kind === 'block'; record = await reading.next()) {
        found.push(record.block.bytes)
      }
      assert.equal(found.length, blocks.length)
      for (const [index, bytes] of found.entries()) assert.ok(Buffer.from(bytes).equals(blocks[index]!.bytes))
    }
  })

  test('J2: a damaged note is a bad record, and none of what it seems to say counts', async () => {
    const note = Buffer.from(encodeNote({ kind: 'mark', flushedBefore: 3, committed: 2 }, salt, 0))
    note[33]! ^= 1
    const reading = reader(Buffer.concat([note, Buffer.alloc(128)]))
    for (let round = 0; round < 2; round++) {
      const record = await reading.next()
      assert.ok(record.kind === 'bad' && record.nextOffset === undefined)
      assert.deepEqual([record.offset, reading.offset], [0, 0])
      assert.match(record.fault.expected, /flush mark/)
    }
  })

  test('F19: bytes in the padding behind a block are damage', async () => {
    const { content, offsets } = contentOf(made(), 1)
    assert.ok(offsets.length > 1)
    const record = await reader(content).next()
    assert.ok(record.kind === 'bad')
    assert.match(record.fault.expected, /zeros after the block/)
    assert.equal(record.offset, 0)
    assert.equal(record.nextOffset, offsets[1])
  })

  test('F19: a block that does not end in its segment is damage, one that ends with it is none', async () => {
    const { content, offsets } = contentOf(made())
    const first = offsets[1]!
    assert.equal((await reader(content, first).next()).kind, 'block')
    const beyond = await reader(content, first - 8).next()
    assert.ok(beyond.kind === 'bad' && beyond.nextOffset === undefined)
    assert.match(beyond.fault.found, /an end at/)
    // The file is shorter than it says itself.
    const cut = await reader(content.subarray(0, first - 16), first).next()
    assert.ok(cut.kind === 'bad' && cut.nextOffset === undefined)
    assert.match(cut.fault.expected, /bytes of a block/)
    assert.equal((await reader(content.subarray(0, 40), first).next()).kind, 'bad')
    assert.equal((await reader(content.subarray(0, 0), first).next()).kind, 'end')
  })

  test('F19: it does not move beyond a bad record', async () => {
    const { content, offsets } = contentOf(made())
    const damaged = Buffer.from(content)
    damaged[offsets[1]! + 200]! ^= 1
    const reading = reader(damaged)
    assert.equal((await reading.next()).kind, 'block')
    for (let round = 0; round < 2; round++) {
      const record = await reading.next()
      assert.ok(record.kind === 'bad')
      assert.deepEqual([record.offset, record.nextOffset], [offsets[1], offsets[2]])
      assert.equal(reading.offset, offsets[1])
    }
  })

  test('a version that is not known is no damage', async () => {
    const note = sealed(encodeNote({ kind: 'mark', flushedBefore: 3, committed: 2 }, salt, 0), (view) =>
      view.writeUInt16LE(9, 8),
    )
    await assert.rejects(reader(Buffer.concat([note, Buffer.alloc(128)])).next(), (error) => {
      assert.ok(isFailure(error, 'FORMAT_VERSION'))
      assert.match(error.message, /^segment at byte 0/)
      return true
    })
  })
})
