import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { decodeFailure, encodeFailure } from '#src/codec/failure.js'
import {
  decodeMessage,
  decodeMessageAndRest,
  encodeMessage,
  failureTextBytesMax,
  frameName,
  framePayloadBytesMax,
  frameTypes,
  type MessageName,
} from '#src/codec/messages.js'
import { limits } from '#src/core/limits.js'
import { isFailure, UnderstudyError } from '#src/errors.js'
import { messageSamples } from './samples.js'

const names = Object.keys(messageSamples) as MessageName[]

function encodings(name: MessageName): Buffer[] {
  return messageSamples[name].map((message) => Buffer.from(encodeMessage(name, message)))
}

/**
 * A coded error, or a message that has exactly these bytes. Every value has one encoding: what decodes to a value was
 * encoded from it.
 */
function attempt(name: MessageName, bytes: Buffer): 'message' | 'refused' {
  try {
    const message = decodeMessage(name, bytes)
    assert.deepEqual(Buffer.from(encodeMessage(name, message)), bytes)
    return 'message'
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error
    assert.ok(isFailure(error, 'PROTOCOL'), `${name}: ${String(error)}`)
    return 'refused'
  }
}

describe('messages', () => {
  test('a record that is read again is known by all of its bytes, and written as it was', () => {
    const sample = messageSamples.record[0]!
    const bytes = Buffer.from(encodeMessage('record', sample))
    const first = decodeMessage('record', bytes)
    assert.deepEqual(first, sample)
    // Others in between push it out, and change nothing but that.
    for (let version = 100; version < 120; version++) {
      const other = { record: { ...sample.record, version, voters: [`n${version}`] } }
      const encoded = Buffer.from(encodeMessage('record', other))
      assert.deepEqual(decodeMessage('record', encoded), other)
      assert.deepEqual(decodeMessage('record', encoded), other)
      assert.deepEqual(Buffer.from(encodeMessage('record', other)), encoded)
      assert.notDeepEqual(encoded, bytes)
      assert.throws(() => decodeMessage('record', encoded.subarray(0, -1)))
    }
    const again = decodeMessage('record', Buffer.from(bytes))
    assert.deepEqual(again, sample)
    assert.equal(decodeMessage('record', Buffer.from(bytes)).record, again.record)
    assert.deepEqual(Buffer.from(encodeMessage('record', again)), bytes)
  })

  for (const name of names) {
    test(`${name}: truncations, flipped bits, huge lengths and noise are refused or are another message`, () => {
      for (const intact of encodings(name)) {
        assert.equal(attempt(name, intact), 'message')
        assert.equal(attempt(name, Buffer.concat([intact, Buffer.alloc(1)])), 'refused')
        for (let at = 0; at < intact.length; at++) {
          assert.equal(attempt(name, intact.subarray(0, at)), 'refused')
          for (let bit = 0; bit < 8; bit++) {
            const damaged = Buffer.from(intact)
            damaged.writeUInt8(damaged.readUInt8(at) ^ (1 << bit), at)
            attempt(name, damaged)
          }
          // Every length and count of the message is among these once.
          const huge = Buffer.from(intact)
          huge.fill(0xff, at, Math.min(at + 4, intact.length))
          attempt(name, huge)
        }
      }
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 120 }), (noise) => void attempt(name, Buffer.from(noise))),
        { numRuns: 100 },
      )
    })
  }

  test('F29: lengths and counts from the wire take no memory beyond their bounds', () => {
    const before = process.memoryUsage()
    for (let round = 0; round < 20; round++) {
      for (const name of names) {
        for (const intact of encodings(name)) {
          for (let at = 0; at + 4 <= intact.length; at++) {
            const huge = Buffer.from(intact)
            huge.writeUInt32LE(0xffffffff, at)
            attempt(name, huge)
          }
        }
      }
    }
    const after = process.memoryUsage()
    const grown = after.arrayBuffers - before.arrayBuffers + (after.heapUsed - before.heapUsed)
    assert.ok(grown < 256 * 1024 * 1024, `${grown} bytes`)
  })

  test('a list cannot announce more items than bytes that follow', () => {
    const [subscribe] = encodings('subscribe')
    assert.ok(subscribe)
    const announced = Buffer.from(subscribe)
    // Behind position (epoch 8 + 4 + 1, sequence 8, chain 16) stands the count of the list.
    announced.writeUInt32LE(limits.epochHistoryMax, 37)
    assert.equal(attempt('subscribe', announced), 'refused')
  })

  test('text that is not UTF-8 is refused, not repaired into another name', () => {
    const [failure] = encodings('failure')
    assert.ok(failure)
    failure.writeUInt8(0xff, 6)
    assert.equal(attempt('failure', failure), 'refused')
  })

  test('what follows a message in its frame is handed over untouched', () => {
    const [forward] = messageSamples.forward
    assert.ok(forward)
    const bytes = Buffer.concat([encodeMessage('forward', forward), Buffer.from('rest')])
    const [message, rest] = decodeMessageAndRest('forward', bytes)
    assert.deepEqual(message, forward)
    assert.equal(Buffer.from(rest).toString(), 'rest')
    assert.throws(
      () => decodeMessage('forward', bytes),
      (error) => isFailure(error, 'PROTOCOL'),
    )
  })

  test('what passes its bound is refused when it is written', () => {
    const [hello] = messageSamples.hello
    const [subscribe] = messageSamples.subscribe
    assert.ok(hello && subscribe)
    const epochs = Array.from({ length: limits.epochHistoryMax + 1 }, () => ({
      epoch: { number: 1, node: 'a' },
      firstSequence: 1,
    }))
    for (const encode of [
      () => encodeMessage('hello', { ...hello, node: 'n'.repeat(limits.nodeNameBytesMax + 1) }),
      () => encodeMessage('subscribe', { ...subscribe, epochs }),
    ]) {
      assert.throws(encode, (error) => isFailure(error, 'LIMIT_EXCEEDED'))
    }
  })

  test('numbers that 64 bits cannot carry exactly are a bug of ours', () => {
    for (const bytes of [-1, 0.5, Number.NaN, 2 ** 53]) {
      assert.throws(() => encodeMessage('heartbeat', { stamp: bytes, echo: 0 }), /invariant violated/)
    }
  })

  test('a failure of any length crosses the wire, cut to its bound on a whole character', () => {
    for (const text of ['short', 'x'.repeat(10_000), 'ü'.repeat(5_000), '💾'.repeat(3_000), '']) {
      const error = new UnderstudyError('DIVERGED', text, { hint: text })
      const found = decodeFailure(encodeFailure(error))
      assert.equal(found.code, 'DIVERGED')
      assert.ok(Buffer.byteLength(found.message) <= failureTextBytesMax)
      assert.ok(text.startsWith(found.message.replace(/\ufffd$/, '')))
      assert.equal(found.hint, found.message)
      assert.ok(encodeFailure(error).length <= limits.failureFrameBytesMax)
    }
    assert.deepEqual(decodeFailure(encodeFailure(new UnderstudyError('IO', 'no hint'))), {
      code: 'IO',
      message: 'no hint',
    })
  })

  test('frame types are one number each, named, and bounded', () => {
    const types = Object.values(frameTypes)
    assert.equal(new Set(types).size, types.length)
    for (const [name, type] of Object.entries(frameTypes)) {
      assert.equal(frameName(type), name)
      assert.ok((framePayloadBytesMax(type) ?? 0) > 0)
    }
    assert.equal(frameName(0), undefined)
    assert.equal(framePayloadBytesMax(255), undefined)
  })

  test('the largest message of each kind fits into its frame', () => {
    const long = (bytesMax: number) => 'n'.repeat(bytesMax)
    const node = long(limits.nodeNameBytesMax)
    const epoch = { number: 1, node }
    const [snapshot] = messageSamples.snapshot
    assert.ok(snapshot)
    const bytes = encodeMessage('snapshot', {
      ...snapshot,
      families: Array.from({ length: limits.familiesMax }, (_, id) => ({ id, name: long(limits.familyNameBytesMax) })),
      epochs: Array.from({ length: limits.epochHistoryMax }, (_, index) => ({ epoch, firstSequence: index })),
    })
    assert.ok(bytes.length <= (framePayloadBytesMax(frameTypes.snapshot) ?? 0), `${bytes.length}`)
  })
})
