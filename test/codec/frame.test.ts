import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { authenticationBytesMax, authenticationTypes } from '#src/codec/authentication.js'
import { encodeFrameHeader, FrameDecoder, frameHeaderBytes } from '#src/codec/frame.js'
import { encodeMessage, frameTypes } from '#src/codec/messages.js'
import { limits } from '#src/core/limits.js'
import { isFailure } from '#src/errors.js'

interface Seen {
  readonly type: number
  readonly payload: Uint8Array
}

function frame(type: number, payload: Uint8Array): Buffer {
  return Buffer.concat([encodeFrameHeader(type, payload.length), payload])
}

function decodeIn(pieces: readonly Uint8Array[], decoder = new FrameDecoder()): Seen[] {
  const seen: Seen[] = []
  for (const piece of pieces) decoder.push(piece, (type, payload) => seen.push({ type, payload: Buffer.from(payload) }))
  return seen
}

/** Cuts bytes at the given places, in whatever order they are named. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const sorted = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b)
  const pieces: Uint8Array[] = []
  let from = 0
  for (const to of [...sorted, bytes.length]) {
    pieces.push(bytes.subarray(from, to))
    from = to
  }
  return pieces
}

const types = Object.values(frameTypes)
const frames = fc.array(fc.record({ type: fc.constantFrom(...types), payload: fc.uint8Array({ maxLength: 300 }) }), {
  minLength: 1,
  maxLength: 20,
})

describe('frames', () => {
  test('F30: whatever way the bytes are cut, the same frames come out', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.nat(), { maxLength: 40 }), (sent, places) => {
        const bytes = Buffer.concat(sent.map((one) => frame(one.type, one.payload)))
        const seen = decodeIn(cut(bytes, places))
        assert.deepEqual(
          seen.map((one) => [one.type, Buffer.from(one.payload).toString('hex')]),
          sent.map((one) => [one.type, Buffer.from(one.payload).toString('hex')]),
        )
      }),
      { numRuns: 300 },
    )
  })

  test('damaged bytes give frames or PROTOCOL, never anything else, and nothing after the error', () => {
    fc.assert(
      fc.property(
        frames,
        fc.nat(),
        fc.nat({ max: 7 }),
        fc.array(fc.nat(), { maxLength: 5 }),
        (sent, at, bit, places) => {
          const bytes = Buffer.concat(sent.map((one) => frame(one.type, one.payload)))
          const place = at % bytes.length
          bytes.writeUInt8(bytes.readUInt8(place) ^ (1 << bit), place)
          const decoder = new FrameDecoder()
          let failed = false
          for (const piece of cut(bytes, places)) {
            try {
              decoder.push(piece, () => assert.ok(!failed, 'no frame after an error'))
            } catch (error) {
              assert.ok(isFailure(error, 'PROTOCOL'), String(error))
              failed = true
            }
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  test('frames before a bad one are handed over', () => {
    const decoder = new FrameDecoder()
    const seen: number[] = []
    const bytes = Buffer.concat([frame(frameTypes.query, new Uint8Array(0)), Buffer.from([0, 0, 0, 0])])
    assert.throws(
      () => decoder.push(bytes, (type) => seen.push(type)),
      (error) => isFailure(error, 'PROTOCOL'),
    )
    assert.deepEqual(seen, [frameTypes.query])
    assert.throws(
      () => decoder.push(frame(frameTypes.query, new Uint8Array(0)), () => assert.fail()),
      (error) => isFailure(error, 'PROTOCOL'),
    )
  })

  test('a length that can never be right is refused before the type is there', () => {
    for (const length of [0, limits.frameBytesMax + 2, 0x7fffffff, 0x80000000, 0xffffffff]) {
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32LE(length)
      assert.throws(
        () => decodeIn([bytes.subarray(0, 2), bytes.subarray(2)]),
        (error) => isFailure(error, 'PROTOCOL'),
        String(length),
      )
    }
  })

  test('the bound of each type holds at its header: one more byte is refused, the bound itself is not', () => {
    for (const [name, type] of Object.entries(frameTypes)) {
      const raw = ['block', 'chunk', 'fetchedKeys', 'forward'].includes(name)
      const controlBytesMax = name === 'filePiece' ? 12 + limits.fileRangeBytesMax : limits.controlFrameBytesMax
      const bytesMax = raw ? limits.frameBytesMax : controlBytesMax
      assert.deepEqual(decodeIn([encodeFrameHeader(type, bytesMax)]), [], name)
      assert.throws(
        () => decodeIn([encodeFrameHeader(type, bytesMax + 1)]),
        (error) => isFailure(error, 'PROTOCOL'),
        name,
      )
    }
  })

  test('parts of files are not joined: however they are cut, head and bytes arrive whole and in order', () => {
    const sizes = [0, 1, 5, 100, 3000]
    const bodies = sizes.map((size, index) =>
      Buffer.from(Array.from({ length: size }, (_, at) => (at * 7 + index) & 0xff)),
    )
    const heads = sizes.map((size, index) => encodeMessage('filePiece', { file: index, offset: size * 10 }))
    const stream = Buffer.concat([
      ...bodies.flatMap((body, index) => [frame(frameTypes.filePiece, Buffer.concat([heads[index]!, body]))]),
      frame(frameTypes.leave, Buffer.alloc(0)),
    ])
    for (const segmentBytes of [1, 2, 3, 5, 11, 12, 13, 17, 64, 1000, stream.length]) {
      const found: Array<[number, string, string]> = []
      const decoder = new FrameDecoder()
      for (let at = 0; at < stream.length; at += segmentBytes) {
        decoder.push(stream.subarray(at, at + segmentBytes), (type, payload, tail = []) => {
          const all = Buffer.concat([payload, ...tail]).toString('hex')
          found.push([type, all.slice(0, 24), all.slice(24)])
        })
      }
      assert.deepEqual(
        found,
        [
          ...bodies.map((body, index) => [
            frameTypes.filePiece,
            Buffer.from(heads[index]!).toString('hex'),
            body.toString('hex'),
          ]),
          [frameTypes.leave, '', ''],
        ],
        `cut every ${segmentBytes} bytes`,
      )
      assert.equal(decoder.partial, false)
    }
  })

  test('before authentication only its own small frames pass, and their types are nobody else’s', () => {
    const known: readonly number[] = types
    for (const type of Object.values(authenticationTypes)) assert.ok(!known.includes(type))
    for (let type = 0; type < 256; type++) {
      const allowed = authenticationBytesMax(type)
      const decoder = new FrameDecoder(authenticationBytesMax)
      if (allowed === undefined) {
        assert.throws(
          () => decodeIn([encodeFrameHeader(type, 1)], decoder),
          (error) => isFailure(error, 'PROTOCOL'),
        )
      } else assert.ok(allowed <= limits.failureFrameBytesMax)
    }
  })

  test('F29: an announced length takes no memory before its bytes have come', () => {
    const before = process.memoryUsage().arrayBuffers
    const decoders = Array.from({ length: 64 }, () => new FrameDecoder())
    for (const decoder of decoders) {
      decodeIn([encodeFrameHeader(frameTypes.block, limits.frameBytesMax), new Uint8Array(100)], decoder)
    }
    const taken = process.memoryUsage().arrayBuffers - before
    assert.ok(taken < 64 * 256 * 1024, `${taken} bytes for 64 frames of which 100 bytes have come`)
  })

  test('a large frame in many segments takes linear work', () => {
    const payload = Buffer.alloc(32 * 1024 * 1024, 5)
    const bytes = frame(frameTypes.block, payload)
    const segmentBytes = 1448
    const started = performance.now()
    const decoder = new FrameDecoder()
    let found: Uint8Array | undefined
    for (let at = 0; at < bytes.length; at += segmentBytes) {
      decoder.push(bytes.subarray(at, at + segmentBytes), (_type, one) => {
        found = one
      })
    }
    assert.ok(found !== undefined && payload.equals(found))
    // Concatenating 23,000 segments one after another would copy 370 GB.
    const elapsedMs = performance.now() - started
    assert.ok(elapsedMs < 5_000, `${elapsedMs} ms`)
  })

  test('a small payload does not keep the read alive that it came in', () => {
    const read = Buffer.concat([frame(frameTypes.ack, Buffer.alloc(50)), frame(frameTypes.block, Buffer.alloc(60_000))])
    const payloads: Uint8Array[] = []
    new FrameDecoder().push(read, (_type, payload) => payloads.push(payload))
    assert.notEqual(payloads[0]?.buffer, read.buffer)
    assert.equal(payloads[1]?.buffer, read.buffer)
  })

  test('it is known whether the bytes end within a frame', () => {
    const decoder = new FrameDecoder()
    const bytes = frame(frameTypes.ack, Buffer.alloc(10))
    assert.equal(decoder.partial, false)
    for (let at = 0; at < bytes.length; at++) {
      decoder.push(bytes.subarray(at, at + 1), () => {})
      assert.equal(decoder.partial, at < bytes.length - 1)
    }
    assert.equal(bytes.length, frameHeaderBytes + 10)
  })
})
