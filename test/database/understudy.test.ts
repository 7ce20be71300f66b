import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { FailureCode } from '#src/core/failure.js'
import { limits } from '#src/core/limits.js'
import { UnderstudyLevel } from '#src/database/understudy-level.js'
import { memoryEngine } from '#src/engine/memory.js'
import { isFailure, UnderstudyError } from '#src/errors.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { localStarter } from '../support/local-node.js'
import { failsWith, openLocal } from '../support/open-local.js'

test('sizes beyond the limits are refused before anything is written', async (context) => {
  const { db } = await openLocal<Buffer, Buffer>(context, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
  const key = Buffer.from('k')
  const long = Buffer.alloc(limits.keyBytesMax + 1)
  const large = Buffer.alloc(limits.valueBytesMax + 1)
  const most = Buffer.alloc(limits.valueBytesMax)
  const tooLarge = failsWith('LIMIT_EXCEEDED', /\d+ bytes; at most \d+/)
  await assert.rejects(db.put(long, key), tooLarge)
  await assert.rejects(db.del(long), tooLarge)
  await assert.rejects(db.put(key, large), tooLarge)
  await assert.rejects(
    db.batch([
      { type: 'put', key, value: key },
      { type: 'put', key, value: large },
    ]),
    tooLarge,
  )
  const five = [0, 1, 2, 3, 4].map((index) => ({ type: 'put' as const, key: Buffer.from([index]), value: most }))
  await assert.rejects(db.batch(five), failsWith('LIMIT_EXCEEDED', /a batch of 83886085 bytes; at most 67108864/))
  assert.equal(db.position?.sequence, 0)
  await db.put(Buffer.alloc(limits.keyBytesMax), most)
  assert.equal((await db.get(Buffer.alloc(limits.keyBytesMax)))?.length, limits.valueBytesMax)
})

test('bytes may be used again as soon as a write was called', async (context) => {
  const { db } = await openLocal<Buffer, Buffer>(context, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
  const scratch = Buffer.alloc(1)
  const writes: Array<Promise<void>> = []
  for (let index = 0; index < 5; index++) {
    scratch[0] = index
    writes.push(db.put(scratch, scratch))
    scratch[0] = index + 10
    writes.push(db.batch([{ type: 'put', key: scratch, value: scratch }]))
  }
  scratch[0] = 99
  await Promise.all(writes)
  const found = await db.iterator().all()
  assert.deepEqual(
    found.map(([key, value]) => [key[0], value[0]]),
    [0, 1, 2, 3, 4, 10, 11, 12, 13, 14].map((index) => [index, index]),
  )
})

test('options of writes reach the shard, and nothing is passed where nothing was asked for', async (context) => {
  const { db, node } = await openLocal(context)
  const { signal } = new AbortController()
  await db.put('a', '1')
  await db.del('a')
  assert.deepEqual(node.main.writeOptions, [])
  await db.put('a', '1', { timeoutMs: 5, waitFor: 'applied', signal })
  await db.del('a', { forward: false })
  await db.batch([{ type: 'put', key: 'b', value: '1' }], { waitFor: 'standby' })
  await db.clear({ timeoutMs: 7 })
  await db.batch().put('c', '1').write({ timeoutMs: 9 })
  assert.deepEqual(node.main.writeOptions, [
    { timeoutMs: 5, waitFor: 'applied', signal, forward: true },
    { forward: false },
    { waitFor: 'standby', forward: true },
    { timeoutMs: 7, forward: true },
    { timeoutMs: 9, forward: true },
  ])
})

test('forwardWrites: false holds for all writes, of families too', async (context) => {
  const { db, node } = await openLocal(context, { forwardWrites: false })
  await db.createFamily('users')
  const { writeOptions } = node.main
  await db.put('a', '1')
  await db.family('users').put('a', '1')
  await db.put('a', '1', { forward: true })
  assert.deepEqual(writeOptions, [{ forward: false }, { forward: false }, { forward: true }])
})

test('a read waits for minPosition, as text or object', async (context) => {
  const { db } = await openLocal(context)
  await db.put('a', '1')
  const first = db.position
  assert.ok(first !== undefined)
  const next = { epoch: first.epoch, sequence: first.sequence + 1 }
  const read = db.get('a', { minPosition: next })
  const readMany = db.getMany(['a'], { minPosition: `1@local.${next.sequence}` })
  const iterator = db.keys({ minPosition: next })
  iterator.seek('b')
  const listed = iterator.all()
  await setImmediate()
  await db.batch([
    { type: 'put', key: 'a', value: '2' },
    { type: 'put', key: 'b', value: '2' },
  ])
  assert.equal(await read, '2')
  assert.deepEqual(await readMany, ['2'])
  assert.deepEqual(await listed, ['b'])
  await db.waitFor(next)
  const far = { epoch: first.epoch, sequence: 999 }
  await assert.rejects(db.get('a', { minPosition: far, timeoutMs: 5 }), failsWith('TIMEOUT'))
  await assert.rejects(db.waitFor(far, { timeoutMs: 5 }), failsWith('TIMEOUT'))
  await assert.rejects(db.waitFor('nonsense'), failsWith('BAD_REQUEST'))
  const abort = new AbortController()
  const waiting = db.waitFor(far, { signal: abort.signal })
  abort.abort()
  await assert.rejects(waiting, failsWith('ABORTED'))
  const stopped = db.iterator({ minPosition: far, signal: abort.signal })
  await assert.rejects(stopped.next(), { code: 'LEVEL_ABORTED', name: 'AbortError' })
})

test('maxLagMs refuses old data', async (context) => {
  const { db, node } = await openLocal(context)
  await db.put('a', '1')
  node.main.lagMs = 100
  assert.equal(await db.get('a', { maxLagMs: 100 }), '1')
  await assert.rejects(db.get('a', { maxLagMs: 99 }), failsWith('LAG_EXCEEDED'))
  await assert.rejects(db.has('a', { maxLagMs: 99 }), failsWith('LAG_EXCEEDED'))
  await assert.rejects(db.values({ maxLagMs: 99 }).all(), failsWith('LAG_EXCEEDED'))
})

test('F6: a snapshot knows its position and spans the families', async (context) => {
  const { db } = await openLocal(context)
  await db.createFamily('users')
  const users = db.family('users')
  await users.put('a', '1')
  await db.put('a', '1')
  const snapshot = db.snapshot()
  await users.put('a', '2')
  await db.put('a', '2')
  assert.equal(snapshot.position.sequence, 3)
  assert.equal(await db.get('a', { snapshot }), '1')
  assert.equal(await users.get('a', { snapshot }), '1')
  await assert.rejects(db.get('a', { snapshot, maxLagMs: 5 }), failsWith('BAD_REQUEST'))
  const other = await openLocal(context)
  await assert.rejects(other.db.get('a', { snapshot }), failsWith('BAD_REQUEST', /another database/))
  await snapshot.close()
})

test('clear with a snapshot deletes what the snapshot saw, within its limit', async (context) => {
  const { db } = await openLocal(context)
  await db.batch(['a', 'b', 'c'].map((key) => ({ type: 'put' as const, key, value: '1' })))
  await using snapshot = db.snapshot()
  await db.put('d', '2')
  await db.clear({ snapshot, reverse: true, limit: 2 })
  assert.deepEqual(await db.keys().all(), ['a', 'd'])
})

test('an iterator reads ahead in growing steps and misses nothing', async (context) => {
  const { db } = await openLocal(context)
  const keys = Array.from({ length: 5000 }, (_, index) => String(index).padStart(5, '0'))
  await db.batch(keys.map((key) => ({ type: 'put' as const, key, value: key })))
  const found: string[] = []
  for await (const [key] of db.iterator()) found.push(key)
  assert.deepEqual(found, keys)
  const iterator = db.iterator({ limit: 20 })
  const mixed = [(await iterator.next())?.[0], ...(await iterator.nextv(3)).map(([key]) => key)]
  iterator.seek('04000')
  mixed.push((await iterator.next())?.[0])
  mixed.push(...(await iterator.all()).map(([key]) => key))
  assert.equal(mixed.length, 20)
  assert.deepEqual(mixed.slice(0, 6), ['00000', '00001', '00002', '00003', '04000', '04001'])
})

test('events of the shard reach listeners; a failure without a listener ends nothing', async (context) => {
  const { db, node } = await openLocal(context)
  const seen: unknown[] = []
  for (const name of ['role', 'bootstrap', 'lag', 'diverged', 'failover', 'in-sync'])
    db.on(name, (event) => seen.push([name, event]))
  node.main.tell({ type: 'failure', error: new UnderstudyError('DISK_FULL', 'no space') })
  node.main.tell({ type: 'transition', from: 'streaming', to: 'promoting', reason: 'asked' })
  node.main.tell({ type: 'transition', from: 'promoting', to: 'primary', reason: 'promoted' })
  node.main.tell({ type: 'lag', lag: { entries: 3, lagMs: 12 } })
  const failover = {
    at: '2026-01-01T00:00:00.000Z',
    epoch: { number: 2, node: 'b' },
    primary: 'b',
    kind: 'failover',
    tookMs: 870,
    mayLose: undefined,
  } as const
  node.main.tell({ type: 'failover', failover })
  const change = { added: [], removed: ['c'], inSync: ['a', 'b'], reason: 'c was silent for 1000 ms' }
  node.main.tell({ type: 'in-sync', ...change })
  await setImmediate()
  assert.deepEqual(seen, [
    ['role', { role: 'primary', from: 'standby', reason: 'promoted' }],
    ['lag', { entries: 3, lagMs: 12 }],
    ['failover', failover],
    ['in-sync', change],
  ])
  const failed = new Promise((resolve) => db.once('error', resolve))
  node.main.tell({ type: 'failure', error: new UnderstudyError('DISK_FULL', 'no space') })
  assert.equal(isFailure(await failed, 'DISK_FULL'), true)
})

test('switchover names the next primary, or leaves the choice to the node', async (context) => {
  const { db, node } = await openLocal(context)
  assert.deepEqual(await db.switchover('b'), { epoch: { number: 2, node: 'b' }, primary: 'b', pauseMs: 12 })
  const signal = new AbortController().signal
  assert.equal((await db.switchover(undefined, { timeoutMs: 500, signal })).primary, 'c')
  assert.deepEqual(node.main.switchovers, [{ to: 'b' }, { timeoutMs: 500, signal }])
  node.main.switchoverFailure = new UnderstudyError('SWITCHOVER_REFUSED', 'b has not caught up')
  await assert.rejects(db.switchover('b'), failsWith('SWITCHOVER_REFUSED'))
  await db.close()
  await assert.rejects(db.switchover('b'), failsWith('CLOSED'))
  await assert.rejects(db.promote(), failsWith('CLOSED'))
})

test('what a database is and where it stands can be asked while it is open', async (context) => {
  const { db } = await openLocal(context)
  assert.equal(db.role, 'primary')
  await db.put('a', '1')
  assert.equal(db.position?.sequence, 1)
  assert.equal(db.nodeStatus().shards[0]?.sequence.applied, 1)
  assert.equal((await db.promote()).position.sequence, 1)
  assert.equal(db.nodeStatus().shards[0]?.failover.possible, false)
  assert.equal(db.nodeStatus().shards[0]?.coordinator.kind, 'static')
  await db.close()
  assert.equal(db.role, undefined)
  assert.equal(db.position, undefined)
  assert.throws(() => db.nodeStatus(), failsWith('CLOSED'))
  assert.throws(() => db.families(), failsWith('CLOSED'))
  await assert.rejects(db.createFamily('x'), failsWith('CLOSED'))
})

test('calls before the database is open wait for it', async (context) => {
  const directory = await makeDirectory()
  const db = new UnderstudyLevel(directory, {}, localStarter(memoryEngine))
  context.after(async () => {
    await db.close()
    await removeDirectory(directory)
  })
  const created = db.createFamily('users')
  const written = db.put('a', '1')
  assert.equal((await created).name, 'users')
  await written
  assert.equal(await db.get('a'), '1')
})

test('I8: opening ends by close, by a signal and by its time-out', async () => {
  const hang = (_location: string, _options: object, signal: AbortSignal) =>
    new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
  const causeOf = (pattern: RegExp, code?: FailureCode) => (error: Error) => {
    assert.equal((error as { code?: string }).code, 'LEVEL_DATABASE_NOT_OPEN')
    assert.match(String(error.cause), pattern)
    return code === undefined || failsWith(code)(error.cause)
  }
  const late = new UnderstudyLevel('x', { openTimeoutMs: 5 }, hang)
  await assert.rejects(late.open(), causeOf(/within 5 ms/, 'TIMEOUT'))
  const closed = new UnderstudyLevel('x', {}, hang)
  const opening = closed.open()
  const refused = assert.rejects(opening, causeOf(/closed while/, 'CLOSED'))
  await setImmediate()
  await closed.close()
  await refused
  const abort = new AbortController()
  const aborted = new UnderstudyLevel('x', { signal: abort.signal }, hang)
  const pending = assert.rejects(aborted.open(), causeOf(/AbortError/))
  await setImmediate()
  abort.abort()
  await pending
  assert.throws(() => new UnderstudyLevel('', {}, hang), failsWith('CONFIG'))
})

test('a node whose shard does not become ready is closed again', async () => {
  const directory = await makeDirectory()
  let closed = 0
  const start = localStarter(memoryEngine, (node) => {
    node.main.ready = async () => {
      throw new UnderstudyError('NOT_READY', 'no')
    }
    const { close } = node
    node.close = async () => {
      closed++
      await close.call(node)
    }
  })
  const db = new UnderstudyLevel(directory, {}, start)
  await assert.rejects(db.open(), (error: Error) => failsWith('NOT_READY')(error.cause))
  assert.equal(closed, 1)
  await assert.rejects(new UnderstudyLevel(directory, { shard: 'nope' }, start).open(), (error: Error) =>
    failsWith('UNKNOWN_SHARD')(error.cause),
  )
  assert.equal(closed, 2)
  await removeDirectory(directory)
})
