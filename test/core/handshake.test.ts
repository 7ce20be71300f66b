import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { chooseProtocol, type Identity, refuseEpoch, refuseIdentity, refuseSettings } from '#src/core/handshake.js'
import { limits } from '#src/core/limits.js'
import { epoch, record, standbyOfTwo } from './support.js'

const own: Identity = {
  cluster: 'shop',
  node: 'a',
  shard: 'main',
  historyId: 'h1',
  coordinatorId: 'c1',
  settings: standbyOfTwo,
}

const peer = (changes: Partial<Identity> = {}): Identity => ({ ...own, node: 'b', ...changes })

describe('handshake', () => {
  test('two nodes of one cluster, shard, history, coordinator and settings belong together', () => {
    assert.equal(refuseIdentity(own, peer()), undefined)
  })

  test('an empty directory has no history and no coordinator yet', () => {
    assert.equal(refuseIdentity(own, peer({ historyId: undefined, coordinatorId: undefined })), undefined)
    assert.equal(refuseIdentity({ ...own, historyId: undefined, coordinatorId: undefined }, peer()), undefined)
  })

  for (const [rule, code, changes] of [
    ['another cluster', 'CLUSTER_MISMATCH', { cluster: 'other' }],
    ['F33: another shard', 'UNKNOWN_SHARD', { shard: 'second' }],
    ['the own name', 'CONFIG', { node: 'a' }],
    ['S1: another history', 'HISTORY_MISMATCH', { historyId: 'h2' }],
    ['S6: another coordinator', 'COORDINATOR_MISMATCH', { coordinatorId: 'c2' }],
    [
      'S7: another durability',
      'SETTINGS_MISMATCH',
      { settings: { durability: 'local', inSyncMin: 2, failoverMs: 1000, inSyncTimeoutMs: 1000 } },
    ],
    [
      'S7: another inSyncMin',
      'SETTINGS_MISMATCH',
      { settings: { durability: 'standby', inSyncMin: 1, failoverMs: 1000, inSyncTimeoutMs: 1000 } },
    ],
  ] as const) {
    test(`${rule} is refused with both sides in the message`, () => {
      const failure = refuseIdentity(own, peer(changes))
      assert.equal(failure?.code, code)
      const [key, value] = Object.entries(changes)[0]!
      if (typeof value === 'string') {
        assert.ok(failure?.message.includes(value))
        assert.ok(failure?.message.includes(String(own[key as keyof Identity])))
      }
    })
  }

  test('S7: a configuration other than the record is refused', () => {
    assert.equal(refuseSettings(record(['a']), standbyOfTwo), undefined)
    assert.equal(
      refuseSettings(record(['a']), { durability: 'local', inSyncMin: 2, failoverMs: 1000, inSyncTimeoutMs: 1000 })
        ?.code,
      'SETTINGS_MISMATCH',
    )
  })

  test('protocol versions must overlap', () => {
    const now = limits.protocolVersion
    assert.equal(chooseProtocol({ protocolMin: now, protocolMax: now + 3 }), now)
    assert.equal(
      (chooseProtocol({ protocolMin: now + 1, protocolMax: now + 3 }) as { code: string }).code,
      'PROTOCOL_VERSION',
    )
    assert.equal(chooseProtocol({ protocolMin: 0, protocolMax: now - 1 }), now - 1, 'the newest that both speak')
    assert.equal(
      (chooseProtocol({ protocolMin: 0, protocolMax: limits.protocolVersionMin - 1 }) as { code: string }).code,
      'PROTOCOL_VERSION',
    )
  })

  test('I2: an epoch below the promised one is over', () => {
    assert.equal(refuseEpoch(epoch(2, 'b'), epoch(2, 'b'), 'c'), undefined)
    assert.equal(
      refuseEpoch(epoch(2, 'a'), epoch(2, 'b'), 'c')?.code,
      'STALE_EPOCH',
      'the node decides between equal numbers',
    )
  })
})
