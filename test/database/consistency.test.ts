import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UnderstudyError } from '#src/errors.js'
import type { Consistency, ReadTicket, WaitOptions } from '#src/runtime/handle.js'
import { failsWith, openLocal } from '../support/open-local.js'

/** A primary whose lease comes and goes. */
class Lease implements ReadTicket {
  isGranted = false
  comes = false
  readonly waits: Array<WaitOptions | undefined> = []

  async granted(options?: WaitOptions): Promise<void> {
    this.waits.push(options)
    if (!this.comes) throw new UnderstudyError('FENCED', 'no lease')
  }
}

const fenced = failsWith('FENCED', /no lease/)

test('L1, L2: whatever is read on a primary is handed out only under its lease', async (context) => {
  const { db, node } = await openLocal(context)
  const shard = node.shard()
  await db.put('k', 'v')
  await db.createFamily('users')
  const users = db.family('users')
  await users.put('u', '1')
  const below = db.sublevel('below')
  await below.put('s', '2')
  const lease = new Lease()
  shard.ticket = lease
  type Options = { readonly consistency?: Consistency; readonly timeoutMs?: number }
  const reads: ReadonlyArray<readonly [string, (options: Options) => Promise<unknown>]> = [
    ['get', (options) => db.get('k', options)],
    ['getMany', (options) => db.getMany(['k', 'x'], options)],
    ['has', (options) => db.has('k', options)],
    ['hasMany', (options) => db.hasMany(['k'], options)],
    ['iterator', (options) => db.iterator(options).all()],
    ['iterator.next', (options) => db.iterator(options).next()],
    ['iterator.nextv', (options) => db.iterator(options).nextv(2)],
    ['keys', (options) => db.keys(options).next()],
    ['values', (options) => db.values(options).all()],
    ['family', (options) => users.get('u', options)],
    ['family iterator', (options) => users.iterator(options).all()],
    ['sublevel', (options) => below.get('s', options as object)],
    ['sublevel iterator', (options) => below.iterator(options as object).all()],
    ['late iterator', (options) => db.iterator({ ...options, minPosition: db.position }).all()],
  ]
  for (const [name, read] of reads) {
    lease.isGranted = false
    lease.comes = false
    shard.consistencies.length = 0
    await assert.rejects(read({}), fenced, name)
    assert.deepEqual(shard.consistencies, [undefined], name)
    await assert.doesNotReject(read({ consistency: 'local' }), name)
    assert.deepEqual(shard.consistencies, [undefined, 'local'], name)
    await assert.rejects(read({ consistency: 'confirmed', timeoutMs: 7 }), fenced, name)
    assert.equal(shard.consistencies.at(-1), 'confirmed', name)
    assert.equal(lease.waits.at(-1)?.timeoutMs, 7, name)
    lease.comes = true
    await assert.doesNotReject(read({}), name)
    lease.isGranted = true
    const waits = lease.waits.length
    await assert.doesNotReject(read({}), name)
    assert.equal(lease.waits.length, waits, `${name}: nothing is waited for under a lease`)
  }
})

test('L1: the lease is looked at after the value was read, and a ticket is taken before', async (context) => {
  const { db, node } = await openLocal(context)
  await db.put('k', 'v')
  const order: string[] = []
  const shard = node.shard()
  const engine = shard.reader()
  shard.reader = () => ({
    ...engine,
    get: async (...parameters) => {
      const value = await engine.get(...parameters)
      order.push('read')
      return value
    },
  })
  shard.beginRead = () => {
    order.push('begun')
    return {
      get isGranted() {
        order.push('looked')
        return true
      },
      granted: () => Promise.resolve(),
    }
  }
  assert.equal(await db.get('k'), 'v')
  assert.deepEqual(order, ['begun', 'read', 'looked'])
})

test('an iterator and a snapshot are of one moment: the lease is looked at once', async (context) => {
  const { db, node } = await openLocal(context)
  for (let index = 0; index < 50; index++) await db.put(`k${index}`, 'v')
  const shard = node.shard()
  const lease = new Lease()
  lease.isGranted = true
  shard.ticket = lease
  const iterator = db.iterator()
  assert.ok(await iterator.next())
  const snapshot = db.snapshot()
  assert.equal(await db.get('k1', { snapshot }), 'v')
  const unseen = db.snapshot()
  lease.isGranted = false
  assert.equal((await iterator.all()).length, 49)
  assert.equal(await db.get('k2', { snapshot }), 'v')
  assert.equal((await db.iterator({ snapshot }).all()).length, 50)
  await assert.rejects(db.get('k2', { snapshot: unseen }), fenced)
  await assert.rejects(db.iterator({ snapshot: unseen }).all(), fenced)
  assert.equal(await db.get('k2', { snapshot: unseen, consistency: 'local' }), 'v')
  await assert.rejects(
    db.get('k2', { snapshot, consistency: 'linearizable' }),
    failsWith('BAD_REQUEST', /a read from a snapshot cannot be made linearizable/),
  )
  const local = db.snapshot({ consistency: 'local' })
  assert.equal(await db.get('k3', { snapshot: local }), 'v')
  for (const one of [snapshot, unseen, local]) await one.close()
})

test('another word for consistency is refused', async (context) => {
  const { db } = await openLocal(context)
  const options = { consistency: 'strong' as Consistency }
  await assert.rejects(db.get('k', options), failsWith('BAD_REQUEST', /not "strong"/))
})
