import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type ReplicationPicture, replicationHealth } from '#src/core/replication-health.js'

const primary: ReplicationPicture = {
  role: 'primary',
  state: 'primary',
  reason: 'promoted',
  node: 'a',
  inSyncMin: 2,
  inSync: ['a', 'b', 'c'],
  connected: ['b', 'c'],
  appended: 10,
  committed: 10,
  lagMs: 0,
}
const standby: ReplicationPicture = { ...primary, role: 'standby', state: 'streaming', node: 'b', connected: [] }

function reasonOf(picture: ReplicationPicture, before?: { readonly appended: number }): string {
  const health = replicationHealth(picture, before, 1_000)
  return health.healthy ? 'healthy' : health.reason
}

describe('health of replication', () => {
  test('F43: a primary is healthy while enough members are connected and what was appended gets committed', () => {
    assert.equal(reasonOf(primary), 'healthy')
    assert.equal(reasonOf({ ...primary, connected: ['b'] }), 'healthy')
    assert.match(reasonOf({ ...primary, connected: [] }), /^1 of at least 2 nodes/)
    // A standby that is connected and not in the set keeps nothing.
    assert.match(reasonOf({ ...primary, inSync: ['a', 'b'], connected: ['c'] }), /^1 of at least 2/)
    assert.match(reasonOf({ ...primary, inSyncMin: 3, connected: ['b'] }), /^2 of at least 3/)
    // Connected, and nothing gets through: a standby whose disk hangs.
    assert.equal(reasonOf({ ...primary, appended: 20 }, { appended: 10 }), 'healthy')
    assert.match(reasonOf({ ...primary, appended: 20 }, { appended: 11 }), /^entry 11 is not committed/)
  })

  test('a primary whose writes rest on it alone is not healthy, whatever inSyncMin allows', () => {
    assert.match(reasonOf({ ...primary, inSyncMin: 1, inSync: ['a'], connected: [] }), /^1 of at least 2/)
  })

  test('a standby is healthy while it streams and knows that it is fresh', () => {
    assert.equal(reasonOf(standby), 'healthy')
    assert.match(reasonOf({ ...standby, lagMs: 1_001 }), /1001 ms old/)
    assert.match(reasonOf({ ...standby, lagMs: undefined }), /not known/)
    for (const state of ['connecting', 'catching-up', 'reconnecting', 'promoting', 'demoting'] as const) {
      assert.match(reasonOf({ ...standby, state }), new RegExp(`^${state}: `))
    }
  })

  test('nobody else is', () => {
    for (const [role, state] of [
      ['joining', 'bootstrapping'],
      ['fenced', 'fenced'],
      ['failed', 'failed'],
    ] as const) {
      assert.match(reasonOf({ ...primary, role, state }), new RegExp(`^${state}: `))
    }
  })
})
