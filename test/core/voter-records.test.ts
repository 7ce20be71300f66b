import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { makeRecord } from '#src/coordinator/conformance-kit.js'
import { limits } from '#src/core/limits.js'
import { VoterRecords } from '#src/core/voter-records.js'

const record = makeRecord('c0'.repeat(16))

describe('records of a voter', () => {
  test('C3: a swap writes only over the revision that it expects; 0 is nothing', () => {
    const records = new VoterRecords()
    assert.deepEqual(records.decide('main', 0), { kind: 'write' })
    assert.deepEqual(records.decide('main', 1), { kind: 'held' })
    records.apply('main', { record, revision: 7 })
    assert.deepEqual(records.decide('main', 7), { kind: 'write' })
    for (const expected of [0, 6, 8]) assert.deepEqual(records.decide('main', expected), { kind: 'held' })
    assert.deepEqual(records.decide('other', 0), { kind: 'write' })
  })

  test('the keys of the voter itself are no shards', () => {
    const refused = new VoterRecords().decide('$voters', 0)
    assert.equal(refused.kind === 'refuse' && refused.failure.code, 'BAD_REQUEST')
  })

  test('I8: the number of records is bounded; those that are there can be changed', () => {
    const records = new VoterRecords()
    for (let index = 0; index < limits.voterRecordsMax; index++) {
      records.apply(`s${index}`, { record, revision: index + 1 })
    }
    const refused = records.decide('more', 0)
    assert.equal(refused.kind === 'refuse' && refused.failure.code, 'LIMIT_EXCEEDED')
    assert.deepEqual(records.decide('s0', 1), { kind: 'write' })
  })
})
