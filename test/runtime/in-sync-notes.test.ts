import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limits } from '#src/core/limits.js'
import { InSyncNotes } from '#src/runtime/in-sync-notes.js'

const change = (changes: { readonly added?: string[]; readonly removed?: string[]; readonly reason?: string }) => ({
  type: 'in-sync' as const,
  added: [],
  removed: [],
  inSync: ['a'],
  reason: 'silent for 1000 ms',
  ...changes,
})

test('why a node left the in-sync set is known until it is back', () => {
  const notes = new InSyncNotes()
  assert.equal(notes.of('c'), undefined)
  notes.note(change({ removed: ['c'] }), 0)
  notes.note(change({ removed: ['b'], reason: 'stopped' }), 1000)
  assert.deepEqual(notes.of('c'), { at: '1970-01-01T00:00:00.000Z', reason: 'silent for 1000 ms' })
  assert.deepEqual(notes.of('b'), { at: '1970-01-01T00:00:01.000Z', reason: 'stopped' })
  notes.note(change({ added: ['c'] }), 2000)
  assert.equal(notes.of('c'), undefined)
  assert.notEqual(notes.of('b'), undefined)
})

test('I8: names that come and go do not pile up; the newest stay', () => {
  const notes = new InSyncNotes()
  for (let index = 0; index <= limits.membersMax; index++) notes.note(change({ removed: [`n${index}`] }), index)
  assert.equal(notes.of('n0'), undefined)
  assert.notEqual(notes.of('n1'), undefined)
  assert.notEqual(notes.of(`n${limits.membersMax}`), undefined)
})
