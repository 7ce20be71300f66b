import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { decodeChunk, encodeChunk, packedEntryBytes } from '#src/codec/chunk.js'
import { limits } from '#src/core/limits.js'
import { isFailure } from '#src/errors.js'
import { chunkSample } from './samples.js'

const bytes = fc.uint8Array({ maxLength: 80 }).map((one) => Buffer.from(one))

describe('chunks', () => {
  test('what is encoded is decoded again, and its size is known before', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(bytes, bytes), { maxLength: 30 }), (entries) => {
        const chunk = encodeChunk(entries)
        assert.deepEqual([...decodeChunk(chunk)], entries)
        assert.equal(
          chunk.length,
          entries.reduce((total, [key, value]) => total + packedEntryBytes(key, value), 0),
        )
      }),
      { numRuns: 200 },
    )
  })

  test('keys and values are views: decoding a chunk copies nothing', () => {
    const chunk = encodeChunk(chunkSample)
    for (const [key, value] of decodeChunk(chunk)) {
      assert.equal(key.buffer, chunk.buffer)
      assert.equal(value.buffer, chunk.buffer)
    }
  })

  test('truncated or damaged ones are PROTOCOL, or entries that encode to the same bytes', () => {
    const intact = Buffer.from(encodeChunk(chunkSample))
    const attempt = (chunk: Buffer) => {
      try {
        assert.deepEqual(Buffer.from(encodeChunk([...decodeChunk(chunk)])), chunk)
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error
        assert.ok(isFailure(error, 'PROTOCOL'), String(error))
      }
    }
    for (let at = 0; at < intact.length; at++) {
      attempt(intact.subarray(0, at))
      for (let bit = 0; bit < 8; bit++) {
        const damaged = Buffer.from(intact)
        damaged.writeUInt8(damaged.readUInt8(at) ^ (1 << bit), at)
        attempt(damaged)
      }
      const damaged = Buffer.from(intact)
      damaged.fill(0xff, at, Math.min(at + 4, intact.length))
      attempt(damaged)
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (noise) => attempt(Buffer.from(noise))),
      { numRuns: 300 },
    )
  })

  test('F29: lengths over the limits of keys and values are refused though the bytes are there', () => {
    for (const [keyBytes, valueBytes] of [
      [limits.keyBytesMax + 1, 0],
      [0, limits.valueBytesMax + 1],
    ] as const) {
      const chunk = Buffer.alloc(8 + keyBytes + valueBytes)
      chunk.writeUInt32LE(keyBytes, 0)
      chunk.writeUInt32LE(valueBytes, 4)
      assert.throws(
        () => [...decodeChunk(chunk)],
        (error) => isFailure(error, 'PROTOCOL'),
      )
    }
  })
})
