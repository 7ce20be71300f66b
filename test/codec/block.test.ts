import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  blockHeaderBytes,
  decodeBlock,
  decodeBlockHeader,
  decodeEntries,
  encodeBlock,
  entryBytes,
  hasBlockHeader,
  requestsOf,
} from '#src/codec/block.js'
import { chainHash, crc32 } from '#src/codec/digest.js'
import { decodeOperations, encodeOperations } from '#src/codec/operations.js'
import type { Block, Entry, Operation } from '#src/core/entry.js'
import { limits } from '#src/core/limits.js'
import { isFailure } from '#src/errors.js'
import { draftSamples, operationSamples } from './samples.js'

const bytes = fc.uint8Array({ maxLength: 60 }).map((one) => Buffer.from(one))
const family = fc.nat({ max: 0xffffffff })
const plain = { noNullPrototype: true } as const
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ type: fc.constant('put' as const), family, key: bytes, value: bytes }, plain),
  fc.record({ type: fc.constant('del' as const), family, key: bytes }, plain),
  fc.record({ type: fc.constant('delRange' as const), family, start: bytes, end: bytes }, plain),
  fc.record(
    { type: fc.constant('createFamily' as const), family, name: fc.string({ unit: 'grapheme', maxLength: 20 }) },
    plain,
  ),
  fc.record({ type: fc.constant('dropFamily' as const), family }, plain),
)
const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/)
const boot = fc.stringMatching(/^[0-9a-f]{16}$/)
const origin = fc.record({ node: name, boot }, plain)
const safe = fc.maxSafeNat()
const entry: fc.Arbitrary<Entry> = fc.record(
  {
    origin,
    request: safe,
    operations: fc.array(operation, { maxLength: 8 }),
  },
  plain,
)

const draft = fc
  .record({
    epoch: fc.record({ number: safe, node: name }, plain),
    firstSequence: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER - 100 }),
    timestampMs: safe,
    committed: fc.nat(),
    flushedBefore: fc.nat(),
    chainBefore: fc.stringMatching(/^[0-9a-f]{32}$/),
    epochStart: fc.boolean(),
    entries: fc.array(entry, { minLength: 1, maxLength: 12 }),
  })
  .map((one) => ({
    ...one,
    committed: Math.min(one.committed, one.firstSequence - 1),
    flushedBefore: Math.min(one.flushedBefore, one.firstSequence - 1),
  }))

/** Checksums as they must be, over content as it is: what only a bug, or malice, can produce. */
function reseal(block: Buffer): Buffer {
  block.writeUInt32LE(crc32(block.subarray(blockHeaderBytes)), 8)
  block.writeUInt32LE(crc32(block.subarray(8, blockHeaderBytes)), 4)
  return block
}

const coded = (error: unknown) => isFailure(error, 'CORRUPTION', 'FORMAT_VERSION')

function sampleBlock(): Buffer {
  return Buffer.from(encodeBlock(draftSamples.entries).bytes)
}

describe('blocks', () => {
  test('what is encoded is decoded again, byte for byte and value for value', () => {
    fc.assert(
      fc.property(draft, (one) => {
        const block = encodeBlock(one)
        const again = decodeBlock(block.bytes)
        assert.deepEqual(again.header, block.header)
        assert.deepEqual(again.end, block.end)
        assert.equal(again.end.sequence, one.firstSequence + one.entries.length - 1)
        assert.deepEqual(decodeEntries(again), one.entries)
        assert.deepEqual(encodeBlock({ ...one, entries: decodeEntries(again) }).bytes, block.bytes)
        assert.ok(hasBlockHeader(block.bytes))
      }),
      { numRuns: 200 },
    )
  })

  test('the requests of one origin are found without decoding operations', () => {
    fc.assert(
      fc.property(draft, origin, (one, other) => {
        const block = encodeBlock(one)
        for (const { node, boot } of [other, ...one.entries.map((each) => each.origin)]) {
          const wanted = one.entries
            .filter((each) => each.origin.node === node && each.origin.boot === boot)
            .map((each) => each.request)
          assert.deepEqual(requestsOf(block, { node, boot }), wanted)
        }
      }),
      { numRuns: 100 },
    )
  })

  test('the size of an entry is known before it is encoded', () => {
    fc.assert(
      fc.property(draft, (one) => {
        const single = { ...one, entries: one.entries.slice(0, 1) }
        const first = single.entries[0]
        assert.ok(first)
        const framing = 2 + 9 + Buffer.byteLength(first.origin.node)
        assert.equal(encodeBlock(single).header.payloadBytes, framing + entryBytes(first.operations))
      }),
      { numRuns: 50 },
    )
  })

  test('a block decodes wherever it lies in a larger buffer', () => {
    const block = sampleBlock()
    const within = Buffer.concat([Buffer.alloc(13, 1), block, Buffer.alloc(7, 2)])
    const view = new Uint8Array(within.buffer, within.byteOffset + 13, block.length)
    assert.deepEqual(decodeEntries(decodeBlock(view)), decodeEntries(decodeBlock(block)))
  })

  test('S4: the chain depends on every byte but the checksums, and on the chain before', () => {
    const { chain } = encodeBlock(draftSamples.entries).end
    assert.equal(chain, chainHash(sampleBlock().subarray(16)))
    assert.notEqual(encodeBlock({ ...draftSamples.entries, chainBefore: '0'.repeat(32) }).end.chain, chain)
    assert.notEqual(encodeBlock({ ...draftSamples.entries, timestampMs: 1 }).end.chain, chain)
  })

  test('F23: every single flipped bit is found', () => {
    const intact = sampleBlock()
    for (let at = 0; at < intact.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const damaged = Buffer.from(intact)
        damaged.writeUInt8(damaged.readUInt8(at) ^ (1 << bit), at)
        assert.throws(() => decodeBlock(damaged), coded, `byte ${at} bit ${bit}`)
        if (at < blockHeaderBytes && (at < 8 || at > 11)) {
          assert.ok(!hasBlockHeader(damaged) || at < 4, `header byte ${at} bit ${bit}`)
        }
      }
    }
  })

  test('every truncation, and bytes too many, are found', () => {
    const intact = sampleBlock()
    for (let length = 0; length < intact.length; length++) {
      assert.throws(() => decodeBlock(intact.subarray(0, length)), coded, `${length} bytes`)
    }
    assert.throws(() => decodeBlock(Buffer.concat([intact, Buffer.alloc(1)])), coded)
  })

  test('a later format version is FORMAT_VERSION, and so are flags of a later release', () => {
    for (const at of [32, 35]) {
      const block = sampleBlock()
      block.writeUInt8(2, at)
      assert.throws(
        () => decodeBlockHeader(reseal(block)),
        (error) => isFailure(error, 'FORMAT_VERSION'),
      )
    }
  })

  test('F29: lengths and counts that a header may not have are refused with right checksums too', () => {
    const cases: ReadonlyArray<readonly [string, (block: Buffer) => void]> = [
      ['payload bytes', (block) => block.writeUInt32LE(limits.blockPayloadBytesMax + 1, 36)],
      ['payload bytes', (block) => block.writeUInt32LE(0xffffffff, 36)],
      ['no entries', (block) => block.writeUInt32LE(0, 56)],
      ['entries', (block) => block.writeUInt32LE(limits.blockEntriesMax + 1, 56)],
      ['first sequence', (block) => block.fill(0, 48, 56)],
      ['first sequence', (block) => block.fill(0xff, 48, 56)],
      ['last sequence', (block) => block.writeBigUInt64LE(BigInt(Number.MAX_SAFE_INTEGER), 48)],
      ['epoch', (block) => block.fill(0xff, 40, 48)],
      ['committed', (block) => block.writeBigUInt64LE(1042n, 72)],
      ['flushed before', (block) => block.writeBigUInt64LE(1042n, 80)],
      ['epoch node', (block) => block.writeUInt8(0xff, 96)],
    ]
    for (const [title, change] of cases) {
      const block = sampleBlock()
      change(block)
      assert.throws(() => decodeBlock(reseal(block)), coded, title)
    }
  })

  test('a payload that contradicts itself under right checksums gives CORRUPTION or entries, and ends', () => {
    const intact = sampleBlock()
    const attempts = (block: Buffer) => {
      let decoded: Block
      try {
        decoded = decodeBlock(reseal(block))
      } catch (error) {
        assert.ok(coded(error), String(error))
        return
      }
      try {
        decodeEntries(decoded)
      } catch (error) {
        assert.ok(isFailure(error, 'CORRUPTION'), String(error))
      }
    }
    for (let at = blockHeaderBytes; at < intact.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const block = Buffer.from(intact)
        block.writeUInt8(block.readUInt8(at) ^ (1 << bit), at)
        attempts(block)
      }
      const block = Buffer.from(intact)
      block.fill(0xff, at, Math.min(at + 4, intact.length))
      attempts(block)
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 65_536 }), (payload, entryCount) => {
        const block = Buffer.concat([intact.subarray(0, blockHeaderBytes), payload])
        block.writeUInt32LE(payload.length, 36)
        block.writeUInt32LE(entryCount, 56)
        attempts(block)
      }),
      { numRuns: 500 },
    )
  })

  test('what may not be encoded is a bug of ours: no entries, too many, names and numbers out of bounds', () => {
    const { entries } = draftSamples
    const one = entries.entries[0]
    assert.ok(one)
    const tooLarge = Buffer.alloc(limits.keyBytesMax + 1)
    for (const [title, wrong] of Object.entries({
      'no entries': { ...entries, entries: [] },
      'too many entries': { ...entries, entries: Array.from({ length: limits.blockEntriesMax + 1 }, () => one) },
      'a long node name': { ...entries, epoch: { number: 1, node: 'n'.repeat(33) } },
      'a short chain': { ...entries, chainBefore: '00' },
      'a short boot': { ...entries, entries: [{ ...one, origin: { node: 'a', boot: '00' } }] },
      'a broken request number': { ...entries, entries: [{ ...one, request: 0.5 }] },
      'a negative sequence': { ...entries, firstSequence: -1 },
      'a large key': {
        ...entries,
        entries: [{ ...one, operations: [{ type: 'del' as const, family: 0, key: tooLarge }] }],
      },
    })) {
      assert.throws(() => encodeBlock(wrong), /invariant violated/, title)
    }
  })
})

describe('operations of a forwarded write', () => {
  test('what is encoded is decoded again', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 20 }), (operations) => {
        assert.deepEqual(decodeOperations(encodeOperations(operations)), operations)
      }),
      { numRuns: 100 },
    )
  })

  test('truncated or damaged ones are PROTOCOL, or operations that encode to the same bytes', () => {
    const intact = Buffer.from(encodeOperations(operationSamples))
    const attempt = (bytes: Buffer) => {
      try {
        assert.deepEqual(Buffer.from(encodeOperations(decodeOperations(bytes))), bytes)
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
  })

  test('keys, values and counts over their limits are PROTOCOL', () => {
    const header = (kind: number, keyBytes: number, valueBytes: number) => {
      const one = Buffer.alloc(13 + keyBytes + valueBytes)
      one.writeUInt8(kind, 0)
      one.writeUInt32LE(keyBytes, 5)
      one.writeUInt32LE(valueBytes, 9)
      return one
    }
    for (const one of [
      header(1, limits.keyBytesMax + 1, 0),
      header(1, 1, limits.valueBytesMax + 1),
      header(2, 1, 1),
      header(5, 0, 1),
      header(0, 0, 0),
      header(6, 0, 0),
      Buffer.concat(Array.from({ length: limits.batchOperationsMax + 1 }, () => header(5, 0, 0))),
    ]) {
      assert.throws(
        () => decodeOperations(one),
        (error) => isFailure(error, 'PROTOCOL'),
      )
    }
  })
})
