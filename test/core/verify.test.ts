import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { limits } from '#src/core/limits.js'
import { compareBytes } from '#src/core/rewind.js'
import {
  compareFamilies,
  compareListings,
  divideRange,
  nextStep,
  RangePlanner,
  sameRange,
  verdictOf,
} from '#src/core/verify.js'

const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'))
const text = (key: Uint8Array | undefined) => Buffer.from(key ?? []).toString('latin1')

describe('comparing nodes', () => {
  test('F46: only nodes that were all compared to the end are equal', () => {
    assert.equal(verdictOf([]), 'incomplete')
    assert.equal(verdictOf(['equal', 'equal']), 'equal')
    assert.equal(verdictOf(['equal', 'not-compared']), 'incomplete')
    assert.equal(verdictOf(['not-compared', 'different']), 'different')
  })

  test('a range that was not read to its end equals nothing, itself included', () => {
    const whole = { count: 1, digest: 'a', isWhole: true }
    assert.equal(sameRange(whole, { ...whole }), true)
    assert.equal(sameRange(whole, { ...whole, isWhole: false }), false)
    assert.equal(sameRange({ ...whole, isWhole: false }, { ...whole, isWhole: false }), false)
    assert.equal(sameRange(whole, { ...whole, count: 2 }), false)
    assert.equal(sameRange(whole, { ...whole, digest: 'b' }), false)
  })

  test('ranges end at their bound of entries or of bytes', () => {
    const planner = new RangePlanner()
    const cuts: number[] = []
    for (let entry = 0; entry < 2_500; entry++) if (planner.endsBefore(10)) cuts.push(entry)
    assert.deepEqual(cuts, [1000, 2000])
    const large = new RangePlanner()
    const half = limits.verifyRangeBytes / 2
    assert.deepEqual(
      [half, half, half, 2 * half, half].map((size) => large.endsBefore(size)),
      [false, false, true, false, true],
    )
  })

  test('parts of a divided range cover it without a gap and get smaller, whatever the keys are', () => {
    const keys = fc.uniqueArray(fc.uint8Array({ maxLength: 4 }), {
      minLength: limits.verifyListEntries + 1,
      maxLength: 200,
      selector: (key) => text(key),
    })
    fc.assert(
      fc.property(keys, (unsorted) => {
        const sorted = [...unsorted].sort(compareBytes)
        const parts = divideRange({ start: new Uint8Array(0), end: undefined }, sorted)
        assert.ok(parts.length > 1 && parts.length <= limits.verifyFanOut)
        assert.equal(parts[0]!.start.length, 0)
        assert.equal(parts.at(-1)!.end, undefined)
        for (const [index, part] of parts.entries()) {
          if (index > 0) assert.deepEqual(parts[index - 1]!.end, part.start)
          const inside = sorted.filter(
            (key) => compareBytes(key, part.start) >= 0 && (part.end === undefined || compareBytes(key, part.end) < 0),
          )
          assert.ok(inside.length < sorted.length, 'it ends')
        }
      }),
    )
    assert.equal(nextStep(limits.verifyListEntries), 'list')
    assert.equal(nextStep(limits.verifyListEntries + 1), 'divide')
  })

  test('two lists: exactly the keys that differ, whichever way', () => {
    const content = fc.dictionary(fc.string({ maxLength: 2 }), fc.constantFrom('1', '2'), { maxKeys: 30 })
    const listed = (entries: Record<string, string>) =>
      Object.entries(entries)
        .map(([key, digest]) => ({ key: new Uint8Array(Buffer.from(key)), digest }))
        .sort((a, b) => compareBytes(a.key, b.key))
    fc.assert(
      fc.property(content, content, (here, there) => {
        const found = compareListings('f', listed(here), listed(there))
        const expected = new Map<string, string>()
        for (const key of new Set([...Object.keys(here), ...Object.keys(there)])) {
          if (!(key in there)) expected.set(key, 'missing-there')
          else if (!(key in here)) expected.set(key, 'missing-here')
          else if (here[key] !== there[key]) expected.set(key, 'value')
        }
        assert.deepEqual(
          new Map(found.map(({ key, kind }) => [Buffer.from(key!).toString(), kind])),
          new Map([...expected].map(([key, kind]) => [Buffer.from(key).toString(), kind])),
        )
      }),
    )
  })

  test('F7: families are matched by name; one under another id is a difference', () => {
    const here = [
      { id: 0, name: 'default' },
      { id: 1, name: 'orders' },
      { id: 2, name: 'users' },
    ]
    const there = [
      { id: 0, name: 'default' },
      { id: 3, name: 'orders' },
      { id: 1, name: 'carts' },
    ]
    const { differences, shared } = compareFamilies(here, there)
    assert.deepEqual(
      shared.map(({ name }) => name),
      ['default'],
    )
    assert.deepEqual(
      differences.map(({ family, kind }) => `${family} ${kind}`),
      ['orders family-id', 'users family-missing-there', 'carts family-missing-here'],
    )
  })

  test('keys are compared as bytes', () => {
    const [difference] = compareListings('f', [{ key: bytes('\xff'), digest: 'a' }], [])
    assert.equal(text(difference?.key), '\xff')
  })
})
