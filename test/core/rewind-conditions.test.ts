/** Single conditions of what a tail touches that no other test would miss: mutation testing found them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { limits } from '#src/core/limits.js'
import { nameOfKey, TouchedKeys } from '#src/core/rewind.js'

const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'))

/** `length` bytes, other ones for each index. */
function keyOf(index: number, length = 4): Uint8Array {
  const key = new Uint8Array(length)
  new DataView(key.buffer).setUint32(0, index)
  return key
}

describe('keys that a tail touches', () => {
  test('B3: a family in which nothing but ranges was deleted is touched in them, to the byte', () => {
    const found = new TouchedKeys()
    found.add({ type: 'delRange', family: 4, start: bytes('b'), end: bytes('bb') })
    found.add({ type: 'delRange', family: 4, start: bytes(''), end: Uint8Array.of(0xff) })
    assert.deepEqual(
      [...found.families],
      [
        [
          4,
          {
            keys: [],
            ranges: [
              { start: bytes('b'), end: bytes('bb') },
              { start: bytes(''), end: Uint8Array.of(0xff) },
            ],
          },
        ],
      ],
    )
  })

  test('a range without room for a key touches nothing', () => {
    const found = new TouchedKeys()
    found.add({ type: 'delRange', family: 4, start: bytes('b'), end: bytes('b') })
    assert.equal(found.families.size, 0)
  })

  test('B3: as much as is allowed is undone, one more is not, and it takes no memory', () => {
    const keys = new TouchedKeys()
    for (let index = 0; index < limits.rewindKeysMax; index++) {
      keys.add({ type: 'del', family: 0, key: keyOf(index) })
    }
    assert.equal(keys.obstacle, undefined)
    keys.add({ type: 'put', family: 0, key: keyOf(0), value: bytes('again') })
    assert.equal(keys.obstacle, undefined, 'a key that is touched twice counts once')
    for (let more = 0; more < 3; more++) keys.add({ type: 'del', family: 1, key: keyOf(more) })
    keys.add({ type: 'delRange', family: 2, start: bytes('a'), end: bytes('b') })
    assert.match(keys.obstacle ?? '', /keys/)
    assert.deepEqual([...keys.families.keys()], [0, 1])
    assert.deepEqual(keys.families.get(1)?.keys.map(nameOfKey), [nameOfKey(keyOf(0))])

    const ranges = new TouchedKeys()
    const addRange = (family: number) => ranges.add({ type: 'delRange', family, start: bytes('a'), end: bytes('b') })
    for (let index = 0; index < limits.rewindRangesMax; index++) addRange(0)
    assert.equal(ranges.obstacle, undefined)
    for (let more = 0; more < 3; more++) addRange(1)
    assert.match(ranges.obstacle ?? '', /ranges/)
    assert.equal(ranges.families.get(1)?.ranges.length, 1)

    const large = new TouchedKeys()
    const count = limits.rewindBytesMax / limits.keyBytesMax
    assert.ok(Number.isInteger(count))
    for (let index = 0; index < count; index++) {
      large.add({ type: 'del', family: 0, key: keyOf(index, limits.keyBytesMax) })
    }
    assert.equal(large.obstacle, undefined)
    large.add({ type: 'del', family: 1, key: bytes('') })
    assert.equal(large.obstacle, undefined, 'a key without bytes')
    large.add({ type: 'del', family: 1, key: bytes('x') })
    assert.match(large.obstacle ?? '', /bytes/)
  })
})
