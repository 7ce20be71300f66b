import assert from 'node:assert/strict'
import { test } from 'node:test'
import { failsWith, openLocal } from '../support/open-local.js'

test('families are databases of their own, with their encodings', async (context) => {
  const { db } = await openLocal(context)
  assert.deepEqual(await db.createFamily('users'), { id: 1, name: 'users' })
  const users = db.family<number, { name: string }>('users', { keyEncoding: 'json', valueEncoding: 'json' })
  await users.put(7, { name: 'Ada' })
  await db.put('7', 'default')
  assert.deepEqual(await users.get(7), { name: 'Ada' })
  assert.equal(await db.get('7'), 'default')
  assert.deepEqual(await users.iterator().all(), [[7, { name: 'Ada' }]])
  assert.deepEqual(await db.keys().all(), ['7'])
  assert.deepEqual(
    db.families().map(({ name }) => name),
    ['default', 'users'],
  )
  await users.clear()
  assert.equal(await users.has(7), false)
  assert.equal(await db.has('7'), true)
})

test('a batch spans families, and sublevels in them, in one entry', async (context) => {
  const { db } = await openLocal(context)
  await db.createFamily('users')
  await db.createFamily('orders')
  const users = db.family('users')
  const orders = db.family<string, number>('orders', { valueEncoding: 'json' })
  await Promise.all([users.open(), orders.open()])
  const open = orders.sublevel<string, number>('open', { valueEncoding: 'json' })
  await open.open()
  const before = db.position?.sequence ?? 0
  await db.batch([
    { type: 'put', key: 'a', value: 'root' },
    { type: 'put', sublevel: users, key: 'a', value: 'user' },
    { type: 'put', sublevel: orders, key: 'a', value: 1 } as never,
    { type: 'put', sublevel: open, key: 'a', value: 2 } as never,
    { type: 'put', sublevel: db.sublevel('sub'), key: 'a', value: 'sub' },
  ])
  assert.equal(db.position?.sequence, before + 1)
  assert.equal(await db.get('a'), 'root')
  assert.equal(await users.get('a'), 'user')
  assert.equal(await orders.get('a'), 1)
  assert.equal(await open.get('a'), 2)
  assert.equal(await db.get('!sub!a'), 'sub')
  // From a family into another, into the root, and into a sublevel of the root.
  await users.batch([
    { type: 'del', key: 'a' },
    { type: 'put', sublevel: db, key: 'b', value: 'from users' },
    { type: 'put', sublevel: db.sublevel('sub'), key: 'b', value: 'from users' },
    { type: 'del', sublevel: orders, key: 'a' },
  ])
  assert.equal(await users.get('a'), undefined)
  assert.equal(await orders.get('a'), undefined)
  assert.equal(await db.get('b'), 'from users')
  assert.equal(await db.get('!sub!b'), 'from users')
})

test('a chained batch spans families for put, and refuses what abstract-level would misplace', async (context) => {
  const { db } = await openLocal(context)
  await db.createFamily('users')
  const users = db.family('users')
  await users.open()
  await db.put('a', 'root')
  await users.put('a', 'user')
  const batch = db.batch()
  batch.put('b', 'user', { sublevel: users as never })
  batch.put('b', 'root')
  assert.throws(() => batch.del('a', { sublevel: users as never }), failsWith('BAD_REQUEST'))
  batch.del('a', { sublevel: db.sublevel('sub') as never })
  await batch.write()
  assert.equal(await users.get('b'), 'user')
  assert.equal(await db.get('b'), 'root')
  assert.equal(await db.get('a'), 'root')
  assert.equal(await users.get('a'), 'user')
})

test('a batch into another database is refused whole', async (context) => {
  const first = await openLocal(context)
  const second = await openLocal(context)
  const stranger = second.db.sublevel('x')
  await assert.rejects(
    first.db.batch([
      { type: 'put', key: 'a', value: '1' },
      { type: 'put', key: 'b', value: '1', sublevel: stranger },
    ]),
    failsWith('BAD_REQUEST', /several databases/),
  )
  assert.equal(await first.db.get('a'), undefined)
})

test('a family that does not exist does not open; a dropped one fails from then on', async (context) => {
  const { db } = await openLocal(context)
  await assert.rejects(db.family('nobody').open(), (error: Error) => failsWith('UNKNOWN_FAMILY')(error.cause))
  await db.createFamily('users')
  const users = db.family('users')
  await users.put('a', '1')
  await db.dropFamily('users')
  await assert.rejects(users.get('a'), failsWith('UNKNOWN_FAMILY'))
  await assert.rejects(users.put('a', '2'), failsWith('UNKNOWN_FAMILY'))
  await db.createFamily('users')
  assert.equal(await db.family('users').get('a'), undefined)
  await assert.rejects(db.dropFamily('default'), failsWith('BAD_REQUEST'))
  await assert.rejects(db.createFamily(''), failsWith('LIMIT_EXCEEDED'))
  await assert.rejects(db.createFamily('x'.repeat(256)), failsWith('LIMIT_EXCEEDED'))
})

test('families close with their database', async (context) => {
  const { db } = await openLocal(context)
  await db.createFamily('users')
  const users = db.family('users')
  await users.put('a', '1')
  const iterator = users.iterator()
  await db.close()
  assert.equal(users.status, 'closed')
  await assert.rejects(users.get('a'), { code: 'LEVEL_DATABASE_NOT_OPEN' })
  await assert.rejects(iterator.next(), { code: 'LEVEL_ITERATOR_NOT_OPEN' })
})
