import assert from 'node:assert/strict'
import { limits } from '../../core/limits.js'
import type { ScanOptions } from '../../ports/engine.js'
import { bytesOf, type CaseBody, create, put, readAll, rejectsWith, scanned, text } from './kit.js'

/** Bytes at the edges of every comparison, in their order. */
const edges = [[], [0], [0, 0], [0, 255], [1], [1, 0], [127], [128], [128, 0], [254, 255], [255], [255, 0], [255, 255]]

const letters = ['a', 'b', 'c', 'd', 'e']

const ranges: ReadonlyArray<readonly [options: ScanOptions, expected: string]> = [
  [{}, 'a b c d e'],
  [{ start: bytesOf('b') }, 'b c d e'],
  [{ start: bytesOf('b'), startOpen: true }, 'c d e'],
  [{ start: bytesOf('bb'), startOpen: true }, 'c d e'],
  [{ end: bytesOf('d') }, 'a b c'],
  [{ end: bytesOf('d'), endClosed: true }, 'a b c d'],
  [{ start: bytesOf('b'), end: bytesOf('d') }, 'b c'],
  [{ start: bytesOf('c'), end: bytesOf('c') }, ''],
  [{ start: bytesOf('c'), end: bytesOf('c'), endClosed: true }, 'c'],
  [{ start: bytesOf('c'), startOpen: true, end: bytesOf('c'), endClosed: true }, ''],
  [{ start: bytesOf('d'), end: bytesOf('b') }, ''],
  [{ start: bytesOf('f') }, ''],
  [{ end: bytesOf('') }, ''],
  [{ end: bytesOf('Z') }, ''],
]

export const readCases: Readonly<Record<string, CaseBody>> = {
  'keys are ordered by unsigned bytes, the empty key first': async (fixture) => {
    const shuffled = [...edges].sort((a, b) => String(b).localeCompare(String(a)))
    await fixture.apply(shuffled.map((key) => put(key, 'v')))
    const forward = await entriesOf(fixture.engine.scan(0, {}))
    assert.deepEqual(forward, edges)
    const backward = await entriesOf(fixture.engine.scan(0, { reverse: true }))
    assert.deepEqual(backward, [...edges].reverse())
  },

  'ranges have open and closed ends, in both directions, with every limit': async (fixture) => {
    await fixture.apply(letters.map((key) => put(key, key)))
    for (const [options, expected] of ranges) {
      for (const reverse of [false, true]) {
        const all = expected === '' ? [] : expected.split(' ')
        if (reverse) all.reverse()
        for (const limit of [-1, 0, 1, 2, 100]) {
          const found = await readAll(fixture.engine.scan(0, { ...options, reverse, limit }))
          assert.deepEqual(
            found.map(([key]) => key),
            limit < 0 ? all : all.slice(0, limit),
            `${JSON.stringify({ ...options, reverse, limit })}`,
          )
        }
      }
    }
  },

  'an iterator hands over steps of any size': async (fixture) => {
    await fixture.apply(letters.map((key) => put(key, key)))
    for (const size of [1, 2, 3, 5, 6]) {
      const found = await readAll(fixture.engine.scan(0, {}), size)
      assert.deepEqual(
        found.map(([key]) => key),
        letters,
      )
    }
  },

  'a step stays near its bytes even if the values are large': async (fixture) => {
    const value = Buffer.alloc(limits.scanBytes / 2, 7)
    for (let index = 0; index < 8; index++) {
      await fixture.apply([{ type: 'put', family: 0, key: bytesOf([index]), value }])
    }
    const iterator = fixture.engine.scan(0, {})
    let count = 0
    for (;;) {
      const entries = await iterator.next(1000)
      if (entries.length === 0) break
      assert.ok(entries.length <= 4, `${entries.length} large values in one step`)
      count += entries.length
    }
    await iterator.close()
    assert.equal(count, 8)
  },

  'seek goes to the next key in the direction, and ends outside of the range': async (fixture) => {
    await fixture.apply(['a', 'c', 'e', 'g'].map((key) => put(key, key)))
    const cases: ReadonlyArray<readonly [options: ScanOptions, target: string, expected: string]> = [
      [{}, 'c', 'c e g'],
      [{}, 'd', 'e g'],
      [{}, 'x', ''],
      [{}, '', 'a c e g'],
      [{ reverse: true }, 'c', 'c a'],
      [{ reverse: true }, 'd', 'c a'],
      [{ reverse: true }, 'x', 'g e c a'],
      [{ reverse: true }, 'A', ''],
      [{ start: bytesOf('c'), end: bytesOf('g') }, 'e', 'e'],
      [{ start: bytesOf('c'), end: bytesOf('g') }, 'g', ''],
      [{ start: bytesOf('c'), end: bytesOf('g') }, 'a', ''],
      [{ start: bytesOf('c'), end: bytesOf('g'), reverse: true }, 'f', 'e c'],
    ]
    for (const [options, target, expected] of cases) {
      const iterator = fixture.engine.scan(0, options)
      iterator.seek(bytesOf(target))
      const found = await readAll(iterator)
      assert.equal(found.map(([key]) => key).join(' '), expected, `${JSON.stringify(options)} to ${target}`)
    }
    const iterator = fixture.engine.scan(0, {})
    assert.equal(text((await iterator.next(1))[0]?.[0]), 'a')
    iterator.seek(bytesOf('g'))
    assert.equal(text((await iterator.next(1))[0]?.[0]), 'g')
    iterator.seek(bytesOf('b'))
    assert.equal(text((await iterator.next(1))[0]?.[0]), 'c')
    await iterator.close()
  },

  'keys or values can be left out': async (fixture) => {
    await fixture.apply([put('a', '1'), put('b', '2')])
    assert.equal(await scanned(fixture.engine, 0, { values: false }), 'a= b=')
    assert.equal(await scanned(fixture.engine, 0, { keys: false }), '=1 =2')
    assert.equal(await scanned(fixture.engine, 0, { keys: false, values: false }), '= =')
  },

  'empty values and binary bytes come back as they were': async (fixture) => {
    const all = Uint8Array.from({ length: 256 }, (_, index) => index)
    await fixture.apply([put('empty', ''), put([0, 255, 0], [...all]), put([], [0])])
    assert.equal((await fixture.engine.get(0, bytesOf('empty')))?.length, 0)
    assert.deepEqual([...((await fixture.engine.get(0, bytesOf([0, 255, 0]))) ?? [])], [...all])
    assert.deepEqual([...((await fixture.engine.get(0, bytesOf([]))) ?? [])], [0])
    assert.equal(await fixture.engine.get(0, bytesOf('absent')), undefined)
  },

  'getMany answers in the order of the keys, undefined for what is missing': async (fixture) => {
    await fixture.apply([put('a', '1'), put('c', '3'), put('e', '')])
    const values = await fixture.engine.getMany(0, ['c', 'b', 'a', 'c', 'e'].map(bytesOf))
    assert.deepEqual(
      values.map((value) => (value === undefined ? undefined : text(value))),
      ['3', undefined, '1', '3', ''],
    )
    assert.deepEqual(await fixture.engine.getMany(0, []), [])
  },

  'values of the largest size are kept whole': async (fixture) => {
    const value = Buffer.alloc(limits.valueBytesMax, 1)
    value.writeUInt32LE(0xfeedbeef, value.length - 4)
    const key = Buffer.alloc(limits.keyBytesMax, 2)
    await fixture.apply([{ type: 'put', family: 0, key, value }])
    const found = await fixture.engine.get(0, key)
    assert.ok(found !== undefined && Buffer.compare(found, value) === 0)
  },

  'what was read belongs to the reader': async (fixture) => {
    await fixture.apply([put('k', 'value')])
    const value = await fixture.engine.get(0, bytesOf('k'))
    value?.fill(0)
    const iterator = fixture.engine.scan(0, {})
    for (const [key, found] of await iterator.next(10)) {
      key.fill(0)
      found.fill(0)
    }
    await iterator.close()
    assert.equal(await scanned(fixture.engine), 'k=value')
  },

  'a family that never existed is not an empty one': async (fixture) => {
    await rejectsWith('UNKNOWN_FAMILY', () => fixture.engine.get(7, bytesOf('k')))
    await rejectsWith('UNKNOWN_FAMILY', () => fixture.engine.getMany(7, [bytesOf('k')]))
    await rejectsWith('UNKNOWN_FAMILY', async () => fixture.engine.scan(7, {}))
    await fixture.apply([create(7, 'seven')])
    assert.equal(await fixture.engine.get(7, bytesOf('k')), undefined)
  },
}

async function entriesOf(iterator: {
  next(size: number): Promise<Array<[Uint8Array, Uint8Array]>>
  close(): Promise<void>
}) {
  const keys: number[][] = []
  for (;;) {
    const entries = await iterator.next(4)
    if (entries.length === 0) break
    for (const [key] of entries) keys.push([...key])
  }
  await iterator.close()
  return keys
}
