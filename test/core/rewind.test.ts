import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Operation } from '#src/core/entry.js'
import { limits } from '#src/core/limits.js'
import { compareBytes, nameOfKey, TouchedKeys } from '#src/core/rewind.js'

const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'))

function touched(...operations: readonly Operation[]): TouchedKeys {
  const keys = new TouchedKeys()
  for (const operation of operations) keys.add(operation)
  return keys
}

describe('keys that a tail touches', () => {
  test('B3: every put and del, once per key and family, and every range', () => {
    const found = touched(
      { type: 'put', family: 0, key: bytes('a'), value: bytes('1') },
      { type: 'del', family: 0, key: bytes('a') },
      { type: 'del', family: 0, key: bytes('') },
      { type: 'put', family: 3, key: bytes('a'), value: bytes('1') },
      { type: 'delRange', family: 3, start: bytes('b'), end: bytes('c') },
      { type: 'delRange', family: 4, start: bytes('c'), end: bytes('b') },
    )
    assert.equal(found.obstacle, undefined)
    assert.deepEqual(
      [...found.families].map(([family, { keys, ranges }]) => [family, keys.map(nameOfKey), ranges.length]),
      [
        [0, ['a', ''], 0],
        [3, ['a'], 1],
      ],
    )
  })

  test('B3: keys are compared by all their bytes', () => {
    const found = touched(
      { type: 'del', family: 0, key: Uint8Array.of(0xc3, 0xa9) },
      { type: 'del', family: 0, key: Uint8Array.of(0xe9) },
      { type: 'del', family: 0, key: Uint8Array.of(0xe9, 0) },
    )
    assert.equal(found.families.get(0)?.keys.length, 3)
    assert.ok(compareBytes(Uint8Array.of(0xe9), Uint8Array.of(0xe9, 0)) < 0)
    assert.ok(compareBytes(Uint8Array.of(0xe9), Uint8Array.of(0xc3, 0xa9)) > 0)
    assert.equal(compareBytes(bytes('same'), bytes('same')), 0)
  })

  test('a key that is kept does not keep the block that it came in', () => {
    const block = new Uint8Array(1000)
    const found = touched({ type: 'del', family: 0, key: block.subarray(10, 12) })
    assert.equal(found.families.get(0)?.keys[0]?.buffer.byteLength, 2)
  })

  test('S8: families that came or went are not undone key by key', () => {
    assert.match(touched({ type: 'createFamily', family: 1, name: 'x' }).obstacle ?? '', /created/)
    assert.match(touched({ type: 'dropFamily', family: 1 }).obstacle ?? '', /dropped/)
  })

  test('B3: what is undone is bounded', () => {
    const many = new TouchedKeys()
    for (let index = 0; index <= limits.rewindKeysMax; index++) {
      many.add({ type: 'del', family: 0, key: bytes(String(index)) })
    }
    assert.match(many.obstacle ?? '', /more than 262144 keys/)
    const ranges = new TouchedKeys()
    for (let index = 0; index <= limits.rewindRangesMax; index++) {
      ranges.add({ type: 'delRange', family: 0, start: bytes('a'), end: bytes('b') })
    }
    assert.match(ranges.obstacle ?? '', /ranges/)
    const large = new TouchedKeys()
    for (let index = 0; index <= limits.rewindBytesMax / limits.keyBytesMax; index++) {
      const key = new Uint8Array(limits.keyBytesMax)
      new DataView(key.buffer).setUint32(0, index)
      large.add({ type: 'del', family: 0, key })
    }
    assert.match(large.obstacle ?? '', /bytes/)
  })
})
