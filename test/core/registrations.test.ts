import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { limits } from '#src/core/limits.js'
import { Registrations } from '#src/core/registrations.js'

const member = (node: string, boot = 1) => ({ node, address: `${node}:1`, boot: String(boot).padStart(16, '0') })
const claim = { ttlMs: 100, takesOver: true }
const renew = { ttlMs: 100, takesOver: false }

describe('registrations', () => {
  test('live for their time, from the last renewal on', () => {
    const table = new Registrations()
    assert.deepEqual(table.register(member('a'), claim, 0), { changed: true })
    assert.deepEqual(table.register(member('b'), claim, 50), { changed: true })
    assert.equal(table.nextExpiryMs, 100)
    assert.deepEqual(table.register(member('a'), renew, 80), { changed: false })
    assert.equal(table.nextExpiryMs, 150)
    assert.equal(table.expire(149), false)
    assert.equal(table.expire(150), true)
    assert.deepEqual(table.members, [member('a')])
    assert.equal(table.expire(180), true)
    assert.equal(table.nextExpiryMs, undefined)
  })

  test('a new address is a change', () => {
    const table = new Registrations()
    table.register(member('a'), claim, 0)
    assert.equal(table.register({ ...member('a'), address: 'a:2' }, renew, 1).changed, true)
  })

  test('S2: a new process takes its name over once; the older one neither renews nor gives back', () => {
    const table = new Registrations()
    table.register(member('a', 1), claim, 0)
    assert.equal(table.register(member('a', 2), claim, 10).changed, true)
    assert.equal(table.register(member('a', 1), renew, 20).failure?.code, 'STALE_INCARNATION')
    assert.equal(table.unregister('a', member('a', 1).boot), false)
    assert.deepEqual(table.members, [member('a', 2)])
    assert.equal(table.unregister('a', member('a', 2).boot), true)
    assert.deepEqual(table.members, [])
    // The newer one is gone: then the older one may be seen again.
    assert.equal(table.register(member('a', 1), renew, 30).changed, true)
  })

  test('I8: members and times to live are bounded', () => {
    const table = new Registrations()
    for (let index = 0; index < limits.membersMax; index++) table.register(member(`n${index}`), claim, 0)
    assert.equal(table.register(member('more'), claim, 0).failure?.code, 'LIMIT_EXCEEDED')
    assert.equal(table.register(member('n0'), renew, 0).failure, undefined)
    for (const ttlMs of [0, limits.registrationMsMax + 1]) {
      assert.equal(table.register(member('n0'), { ...renew, ttlMs }, 0).failure?.code, 'BAD_REQUEST')
    }
    assert.equal(table.expire(1000), true)
    assert.equal(table.members.length, 0)
  })
})
