import assert from 'node:assert/strict'
import { decodeChunk } from '../../codec/chunk.js'
import { limits } from '../../core/limits.js'
import type { Engine, EngineSnapshot } from '../../ports/engine.js'
import { bytesOf, type CaseBody, create, del, drop, put, readAll, rejectsWith, scanned, text } from './kit.js'

export const snapshotCases: Readonly<Record<string, CaseBody>> = {
  'F6: a snapshot and its position are of one moment, whatever is applied meanwhile': async (fixture) => {
    const { engine, journal } = fixture
    const taken: Array<{ snapshot: EngineSnapshot; expected: number }> = []
    let applying = Promise.resolve()
    for (let round = 1; round <= 20; round++) {
      const block = journal.append([put('n', String(round))])
      applying = applying.then(() => engine.apply([block]))
      await (round % 3 === 0 ? applying : undefined)
      taken.push({ snapshot: engine.snapshot(), expected: round })
    }
    await applying
    for (const { snapshot } of taken) {
      const value = await engine.get(0, bytesOf('n'), snapshot)
      assert.equal(value === undefined ? 0 : Number(text(value)), snapshot.position.sequence)
      const end = snapshot.position.sequence === 0 ? journal.empty : journal.blocks[snapshot.position.sequence - 1]?.end
      assert.deepEqual(snapshot.position, end)
      await snapshot.close()
    }
  },

  'a snapshot keeps its content, families included': async (fixture) => {
    await fixture.apply([put('a', '1'), put('b', '1'), create(1, 'users'), put('k', 'v', 1)])
    const { engine } = fixture
    const snapshot = engine.snapshot()
    await fixture.apply([del('a'), put('b', '2'), put('c', '2'), drop(1), create(2, 'other')])
    assert.equal(await scanned(engine, 0, { snapshot }), 'a=1 b=1')
    assert.equal(await scanned(engine, 0, { snapshot, reverse: true, limit: 1 }), 'b=1')
    assert.equal(text(await engine.get(0, bytesOf('b'), snapshot)), '1')
    assert.deepEqual(
      (await engine.getMany(0, ['a', 'c'].map(bytesOf), snapshot)).map((value) => value?.length),
      [1, undefined],
    )
    assert.equal(await scanned(engine, 1, { snapshot }), 'k=v')
    await rejectsWith('UNKNOWN_FAMILY', () => engine.get(2, bytesOf('k'), snapshot))
    assert.deepEqual(
      snapshot.families.map(({ name }) => name),
      ['default', 'users'],
    )
    assert.equal(snapshot.familyIdNext, 2)
    await snapshot.close()
    assert.equal(await scanned(engine), 'b=2 c=2')
  },

  'an iterator sees the content of the moment when it was made': async (fixture) => {
    await fixture.apply([put('a', '1'), put('b', '1')])
    const iterator = fixture.engine.scan(0, {})
    await fixture.apply([del('a'), put('b', '2'), put('c', '2')])
    assert.deepEqual(await readAll(iterator, 1), [
      ['a', '1'],
      ['b', '1'],
    ])
  },

  'a closed snapshot is refused': async (fixture) => {
    await fixture.apply([put('a', '1')])
    const snapshot = fixture.engine.snapshot()
    await snapshot.close()
    await snapshot.close()
    await rejectsWith('CLOSED', () => fixture.engine.get(0, bytesOf('a'), snapshot))
    await rejectsWith('CLOSED', () => fixture.engine.getMany(0, [bytesOf('a')], snapshot))
    await rejectsWith('CLOSED', async () => fixture.engine.scan(0, { snapshot }))
    await rejectsWith('CLOSED', () => fixture.engine.readChunk(snapshot, 0, bytesOf(''), 1024))
  },

  'F4: chunks together are the whole family, whatever their size': async (fixture) => {
    const operations = Array.from({ length: 2500 }, (_, index) =>
      put(`k${String(index).padStart(5, '0')}`, 'v'.repeat(index % 50)),
    )
    await fixture.apply([...operations, create(1, 'next'), put('other', 'family', 1)])
    const { engine } = fixture
    const snapshot = engine.snapshot()
    const all = await scanned(engine)
    for (const bytesMax of [1, 100, 4096, limits.chunkBytesMax]) {
      assert.equal(await chunked(engine, snapshot, 0, bytesMax), all)
    }
    await snapshot.close()
  },

  'a chunk keeps to its size, and holds one entry at least': async (fixture) => {
    const { engine } = fixture
    const large = 'x'.repeat(5000)
    await fixture.apply([put('a', '1'), put('b', large), put('c', '3'), put('d', '4')])
    const snapshot = engine.snapshot()
    const first = await engine.readChunk(snapshot, 0, bytesOf(''), 100)
    assert.equal(first.entryCount, 1)
    assert.equal(text(first.nextKey), 'b')
    const second = await engine.readChunk(snapshot, 0, bytesOf('b'), 100)
    assert.equal(second.entryCount, 1)
    assert.ok(second.bytes.length > 5000)
    const third = await engine.readChunk(snapshot, 0, bytesOf('c'), 100)
    assert.equal(third.entryCount, 2)
    assert.equal(third.nextKey, undefined)
    await snapshot.close()
  },

  'chunks begin at any key, and an empty family is one empty chunk': async (fixture) => {
    const { engine } = fixture
    await fixture.apply([put('a', '1'), put('c', '3'), create(1, 'empty')])
    const snapshot = engine.snapshot()
    assert.equal(await chunked(engine, snapshot, 0, 1, 'b'), 'c=3')
    assert.equal(await chunked(engine, snapshot, 0, 1, 'z'), '')
    const chunk = await engine.readChunk(snapshot, 1, bytesOf(''), 1024)
    assert.deepEqual([chunk.bytes.length, chunk.entryCount, chunk.nextKey], [0, 0, undefined])
    await rejectsWith('LIMIT_EXCEEDED', () => engine.readChunk(snapshot, 0, bytesOf(''), limits.chunkBytesMax + 1))
    await rejectsWith('LIMIT_EXCEEDED', () => engine.readChunk(snapshot, 0, bytesOf(''), 0))
    await rejectsWith('UNKNOWN_FAMILY', () => engine.readChunk(snapshot, 9, bytesOf(''), 1024))
    await snapshot.close()
  },

  'closing the engine ends iterators, snapshots and reads with CLOSED': async (fixture) => {
    await fixture.apply(Array.from({ length: 2000 }, (_, index) => put(String(index), 'v'.repeat(100))))
    const { engine, journal } = fixture
    const iterator = engine.scan(0, {})
    await iterator.next(1)
    const unread = engine.scan(0, {})
    const snapshot = engine.snapshot()
    const pending = [
      iterator.next(1000),
      engine.get(0, bytesOf('1')),
      engine.getMany(0, [bytesOf('1')], snapshot),
      engine.readChunk(snapshot, 0, bytesOf(''), 1 << 20),
    ]
    const closing = engine.close()
    // What was under way may still be answered; it must end, and only so.
    for (const settled of await Promise.allSettled(pending)) {
      if (settled.status === 'rejected') await rejectsWith('CLOSED', () => Promise.reject(settled.reason))
    }
    await closing
    await engine.close()
    await rejectsWith('CLOSED', () => iterator.next(1))
    await rejectsWith('CLOSED', () => unread.next(1))
    await rejectsWith('CLOSED', () => engine.get(0, bytesOf('1')))
    await rejectsWith('CLOSED', () => engine.get(0, bytesOf('1'), snapshot))
    await rejectsWith('CLOSED', () => engine.getMany(0, [bytesOf('1')]))
    await rejectsWith('CLOSED', () => engine.readChunk(snapshot, 0, bytesOf(''), 1024))
    await rejectsWith('CLOSED', async () => engine.scan(0, {}))
    await rejectsWith('CLOSED', async () => engine.snapshot())
    await rejectsWith('CLOSED', () => engine.apply([journal.append([put('a', '1')])]))
    await rejectsWith('CLOSED', () => engine.checkpoint())
    await rejectsWith('CLOSED', () => engine.sizeEstimateBytes())
    unread.seek(bytesOf('1'))
    await iterator.close()
    await unread.close()
    await snapshot.close()
  },
}

async function chunked(
  engine: Engine,
  snapshot: EngineSnapshot,
  family: number,
  bytesMax: number,
  from = '',
): Promise<string> {
  const found: string[] = []
  let start: Uint8Array | undefined = bytesOf(from)
  while (start !== undefined) {
    const chunk = await engine.readChunk(snapshot, family, start, bytesMax)
    let count = 0
    for (const [key, value] of decodeChunk(chunk.bytes)) {
      found.push(`${text(key)}=${text(value)}`)
      count++
    }
    assert.equal(count, chunk.entryCount)
    assert.ok(count <= 1 || chunk.bytes.length <= bytesMax)
    start = chunk.nextKey
  }
  return found.join(' ')
}
