import assert from 'node:assert/strict'
import { defaultFamily } from '../../core/entry.js'
import { InvariantViolation } from '../../core/invariant.js'
import { bytesOf, type CaseBody, create, del, delRange, drop, Journal, put, rejectsWith, scanned } from './kit.js'

export const writeCases: Readonly<Record<string, CaseBody>> = {
  'I4: the operations of a block are folded in their order': async (fixture) => {
    await fixture.apply([put('a', '0'), put('b', '0'), put('d', '0')])
    await fixture.apply(
      [put('a', '1'), del('a'), put('c', '1')],
      [delRange('b', 'd'), put('b', '2')],
      [put('cc', '3'), put('d', '3')],
      [delRange('c', 'd')],
      [put('a', '4'), put('a', '5')],
    )
    assert.equal(await scanned(fixture.engine), 'a=5 b=2 d=3')
  },

  'I4: a range deletion sees what the blocks before it in the same call put': async (fixture) => {
    const { journal, engine } = fixture
    await engine.apply([
      journal.append([put('a', '1'), put('b', '1'), put('c', '1')]),
      journal.append([delRange('a', 'c')]),
      journal.append([put('b', '2')], [delRange('c', 'z'), put('d', '2')]),
    ])
    assert.equal(await scanned(engine), 'b=2 d=2')
    await engine.apply([journal.append([delRange('', 'c')]), journal.append([put('c', '3')])])
    assert.equal(await scanned(engine), 'c=3 d=2')
  },

  'B5: a range deletion of many keys is right at its edges': async (fixture) => {
    const keyOf = (index: number) => `k${String(index).padStart(5, '0')}`
    const many = Array.from({ length: 3000 }, (_, index) => put(keyOf(index), 'v'))
    await fixture.apply(many)
    await fixture.apply([delRange(keyOf(10), keyOf(2990)), delRange('z', 'a'), delRange('k', 'k')])
    const left = (await scanned(fixture.engine, 0, { values: false })).split(' ')
    assert.equal(left.length, 20)
    assert.equal(left[9], `${keyOf(9)}=`)
    assert.equal(left[10], `${keyOf(2990)}=`)
  },

  'S5: the applied position is that of the last block of the call': async (fixture) => {
    const { journal, engine } = fixture
    assert.deepEqual(engine.applied, journal.empty)
    await engine.apply([])
    assert.deepEqual(engine.applied, journal.empty)
    await engine.apply([journal.append([put('a', '1')]), journal.append([put('b', '1')], [del('a')])])
    assert.deepEqual(engine.applied, journal.end)
    assert.equal(engine.applied.sequence, 3)
  },

  'I4: an entry without operations moves the position alone': async (fixture) => {
    await fixture.apply([])
    assert.deepEqual(fixture.engine.applied, fixture.journal.end)
    assert.equal(await scanned(fixture.engine), '')
  },

  'I4: blocks are refused after a gap and from another history': async (fixture) => {
    await fixture.apply([put('a', '1')])
    const { journal, engine } = fixture
    journal.append([put('b', '1')])
    const ahead = journal.append([put('c', '1')])
    await assert.rejects(engine.apply([ahead]), InvariantViolation)
    const other = new Journal('ffffffffffffffffffffffffffffffff')
    other.append([put('x', '1')])
    await assert.rejects(engine.apply([other.append([put('y', '1')])]), InvariantViolation)
    assert.equal(await scanned(engine), 'a=1')
  },

  'S8: families are created and dropped by operations, and keep their keys apart': async (fixture) => {
    await fixture.apply([create(1, 'users'), create(2, 'orders'), put('k', 'user', 1), put('k', 'order', 2)])
    await fixture.apply([put('k', 'default'), put([255, 255], 'last', 1), put([], 'first', 2)])
    const { engine } = fixture
    assert.deepEqual(engine.families, [defaultFamily, { id: 1, name: 'users' }, { id: 2, name: 'orders' }])
    assert.equal(engine.familyIdNext, 3)
    assert.equal(await scanned(engine, 0), 'k=default')
    assert.equal((await scanned(engine, 1, { values: false })).split(' ').length, 2)
    assert.equal(await scanned(engine, 2), '=first k=order')
    await fixture.apply([delRange([], [255, 255, 255], 1)])
    assert.equal(await scanned(engine, 1), '')
    assert.equal(await scanned(engine, 2), '=first k=order')
  },

  'S8: a dropped family is gone at once, and its id is never used again': async (fixture) => {
    await fixture.apply([create(1, 'users'), put('k', 'v', 1)])
    await fixture.apply([drop(1), put('late', 'v', 1), create(2, 'users')])
    const { engine } = fixture
    await rejectsWith('UNKNOWN_FAMILY', () => engine.get(1, bytesOf('k')))
    assert.equal(await scanned(engine, 2), '')
    assert.deepEqual(engine.families, [defaultFamily, { id: 2, name: 'users' }])
    await fixture.apply([create(1, 'again'), put('k', 'v', 1), drop(1), drop(9)])
    assert.deepEqual(engine.families, [defaultFamily, { id: 2, name: 'users' }])
    assert.equal(engine.familyIdNext, 3)
  },

  'S8: a family created, filled and dropped in one block leaves nothing': async (fixture) => {
    await fixture.apply([create(1, 'a'), put('k', 'v', 1), delRange('a', 'z', 1), put('m', 'v', 1), drop(1)])
    assert.deepEqual(fixture.engine.families, [defaultFamily])
    assert.equal(fixture.engine.familyIdNext, 2)
  },

  'S8: the default family cannot be dropped': async (fixture) => {
    const block = fixture.journal.append([drop(0)])
    await assert.rejects(fixture.engine.apply([block]), InvariantViolation)
  },

  'I4: applying blocks again gives the same content': async (fixture) => {
    await fixture.apply([put('a', '1'), create(1, 'x'), put('k', 'v', 1)])
    await fixture.apply([delRange('a', 'b'), put('b', '2')], [drop(1), create(2, 'y'), put('k', 'w', 2)])
    await fixture.apply([put('a', '3'), del('b')])
    const { engine, journal } = fixture
    const before = await scanned(engine)
    await engine.apply(journal.blocks)
    assert.equal(await scanned(engine), before)
    assert.equal(await scanned(engine, 2), 'k=w')
    assert.equal(engine.families.length, 2)
    assert.deepEqual(engine.applied, journal.end)
  },
}
