import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { blockHeaderBytes, decodeEntries } from '#src/codec/block.js'
import { decodeChunk, encodeChunk } from '#src/codec/chunk.js'
import type { Block } from '#src/core/entry.js'
import { InvariantViolation } from '#src/core/invariant.js'
import { limits } from '#src/core/limits.js'
import {
  bytesOf,
  create,
  del,
  delRange,
  generator,
  Journal,
  put,
  readAll,
  rejectsWith,
  scanned,
} from '#src/engine/conformance/kit.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import { createDatabase } from '#src/engine/rocksdb-addon.js'
import { isFailure } from '#src/errors.js'
import type { Engine } from '#src/ports/engine.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { needsRocksdb } from '../support/rocksdb.js'

async function openEngine(context: TestContext): Promise<{ engine: Engine; journal: Journal; directory: string }> {
  const directory = await makeDirectory()
  const journal = new Journal()
  const engine = await rocksdbEngine.open(directory, journal.empty)
  context.after(async () => {
    await engine.close()
    await removeDirectory(directory)
  })
  return { engine, journal, directory }
}

/** Does the decoder in JavaScript take it? */
function isTaken(block: Block): boolean {
  try {
    return decodeEntries(block).every(({ operations }) =>
      operations.every((one) => one.type !== 'dropFamily' || one.family !== 0),
    )
  } catch (error) {
    assert.ok(isFailure(error, 'CORRUPTION'), String(error))
    return false
  }
}

function isChunk(bytes: Uint8Array): boolean {
  try {
    return [...decodeChunk(bytes)].length >= 0
  } catch (error) {
    assert.ok(isFailure(error, 'PROTOCOL'), String(error))
    return false
  }
}

describe('engine rocksdb, the addon', needsRocksdb, () => {
  test('a block is taken or refused as the decoder in JavaScript does it, whatever its bytes are', async (context) => {
    const { engine, journal } = await openEngine(context)
    const seed = Number(process.env.UNDERSTUDY_FUZZ_SEED ?? Math.floor(Math.random() * 1e9))
    const rounds = Number(process.env.UNDERSTUDY_FUZZ_ROUNDS ?? 3000)
    context.diagnostic(`UNDERSTUDY_FUZZ_SEED=${seed}`)
    const random = generator(seed)
    const whole = new Journal().append(
      [put('key', 'value'), del('key'), create(1, 'ünï')],
      [delRange('a', 'z'), put('k', 'v'.repeat(40), 1), { type: 'dropFamily', family: 1 }],
      [],
    )
    let refused = 0
    for (let round = 0; round < rounds; round++) {
      const cut = random() % 4 === 0 ? random() % (whole.bytes.length - blockHeaderBytes) : 0
      const bytes = Buffer.from(whole.bytes.subarray(0, whole.bytes.length - cut))
      for (let count = 1 + (random() % 3); count > 0; count--) {
        const at = blockHeaderBytes + (random() % (bytes.length - blockHeaderBytes || 1))
        const kind = random() % 3
        if (kind === 0 && at < bytes.length) bytes[at] = random() % 256
        else if (kind === 1 && at < bytes.length) bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random() % 5]!
        else if (at + 4 <= bytes.length) bytes.writeUInt32LE([0, 0xffff_ffff, bytes.length, 13][random() % 4]!, at)
      }
      // The header says what is there: that it does was checked before.
      bytes.writeUInt32LE(bytes.length - blockHeaderBytes, 36)
      const payloadBytes = bytes.length - blockHeaderBytes
      const block: Block = { header: { ...whole.header, payloadBytes }, bytes, end: whole.end }
      const before = engine.families.length
      let taken = true
      try {
        await engine.apply([block])
      } catch (error) {
        taken = false
        refused += 1
        assert.ok(isFailure(error, 'CORRUPTION') || error instanceof InvariantViolation, String(error))
        assert.equal(engine.families.length, before, 'refused whole')
      }
      assert.equal(taken, isTaken(block), `round ${round}: ${bytes.toString('hex', blockHeaderBytes)}`)
    }
    assert.ok(refused > rounds / 10, `${refused} of ${rounds} were refused`)
    assert.ok((await engine.get(0, bytesOf('absent'))) === undefined)
    assert.ok(journal.blocks.length === 0)
  })

  test('a chunk is taken or refused as the decoder in JavaScript does it, whatever its bytes are', async (context) => {
    const { engine } = await openEngine(context)
    const seed = Number(process.env.UNDERSTUDY_FUZZ_SEED ?? Math.floor(Math.random() * 1e9))
    const rounds = Number(process.env.UNDERSTUDY_FUZZ_ROUNDS ?? 3000)
    context.diagnostic(`UNDERSTUDY_FUZZ_SEED=${seed}`)
    const random = generator(seed)
    const whole = encodeChunk(
      ['', 'a', 'key', 'längerer Schlüssel'].map((key) => [bytesOf(key), bytesOf('v'.repeat(random() % 50))] as const),
    )
    let refused = 0
    for (let round = 0; round < rounds; round++) {
      const bytes = Buffer.from(whole.subarray(0, whole.length - (random() % 4 === 0 ? random() % whole.length : 0)))
      for (let count = random() % 3; count > 0 && bytes.length >= 4; count--) {
        const at = random() % (bytes.length - 3)
        if (random() % 2 === 0) bytes[at] = random() % 256
        else bytes.writeUInt32LE([0, 1, bytes.length, 0x7fff_ffff, 0xffff_ffff][random() % 5]!, at)
      }
      let taken = true
      try {
        await engine.ingest({ id: 0, name: 'default' }, bytes, bytesOf(String(round)))
      } catch (error) {
        taken = false
        refused += 1
        assert.ok(isFailure(error, 'PROTOCOL'), String(error))
      }
      assert.equal(taken, isChunk(bytes), `round ${round}: ${bytes.toString('hex')}`)
    }
    assert.ok(refused > rounds / 10, `${refused} of ${rounds} were refused`)
  })

  test('every call of the addon refuses what it was not made for, and none ends the process', async (context) => {
    const directory = await makeDirectory()
    const database = createDatabase({
      cacheBytes: 1 << 20,
      writeBufferBytes: 1 << 20,
      compression: undefined,
      bloomBitsPerKey: 10,
    })
    context.after(async () => {
      await database.close()
      await removeDirectory(directory)
    })
    const random = generator(4711)
    const odd = [undefined, null, -1, 1.5, 2 ** 60, Number.NaN, 'text', {}, [], [undefined], [[]], Buffer.from('b')]
    const odder = [new Float64Array(3), new Uint8Array(0), new DataView(new ArrayBuffer(4)), Symbol('s'), () => 1, 7n]
    const values: readonly unknown[] = [...odd, ...odder, true, [0, 'x', 1], [Buffer.from('k'), Buffer.from('v')]]
    const calls = database as unknown as Record<string, (...values: unknown[]) => unknown>
    // Not those that take a place on the disk: any text is one.
    const left = ['constructor', 'open', 'close', 'checkpoint']
    const names = Object.getOwnPropertyNames(Object.getPrototypeOf(database)).filter((name) => !left.includes(name))
    assert.ok(names.length > 10)
    let refused = 0
    for (const isOpen of [false, true]) {
      if (isOpen) {
        await database.open(directory)
        await database.finishIngest([0, 'default'], 1, [])
      }
      for (let round = 0; round < 4000; round++) {
        const name = names[random() % names.length]!
        const given = Array.from({ length: random() % 8 }, () => values[random() % values.length])
        try {
          await calls[name]!(...given)
        } catch (error) {
          refused += 1
          assert.ok(error instanceof Error, `${name}: ${String(error)}`)
        }
      }
    }
    assert.ok(refused > 4000, `${refused}`)
    for (const value of values.filter((one) => typeof one !== 'string')) {
      for (const name of ['open', 'checkpoint']) assert.throws(() => calls[name]!(value), /text is expected/)
    }
    for (const name of names) assert.throws(() => calls[name]!.call({}), name)
    const Class = database.constructor as new (...values: unknown[]) => unknown
    for (const value of values) assert.throws(() => new Class(value))
  })

  test('a block shorter than its header, or of another length than it says, is refused', async (context) => {
    const { engine, journal } = await openEngine(context)
    const block = journal.append([put('a', '1')])
    for (const length of [0, 1, blockHeaderBytes - 1, blockHeaderBytes, block.bytes.length - 1]) {
      await rejectsWith('CORRUPTION', () => engine.apply([{ ...block, bytes: block.bytes.subarray(0, length) }]))
    }
    await rejectsWith('CORRUPTION', () =>
      engine.apply([{ ...block, bytes: Buffer.concat([block.bytes, Buffer.from([0])]) }]),
    )
    await engine.apply([block])
    assert.equal(await scanned(engine), 'a=1')
  })

  test('chunks of any size and order are ingested, as table files and as batches', async (context) => {
    const { engine, journal } = await openEngine(context)
    const family = { id: 0, name: 'default' }
    const value = Buffer.alloc(2000, 7)
    const keys = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, at) => [bytesOf(String(from + at).padStart(8, '0')), value] as const)
    await engine.ingest(family, encodeChunk(keys(0, 1000)), bytesOf('1'))
    await engine.ingest(family, encodeChunk(keys(1000, 1010)), bytesOf('2'))
    // Again, and over what is there: of two that say something of a key the later one counts.
    const other = keys(500, 1500).map(([key]) => [key, bytesOf('other'.repeat(100))] as const)
    await engine.ingest(family, encodeChunk(other), bytesOf('3'))
    await engine.ingest(family, encodeChunk([...keys(2000, 2200)].reverse()), bytesOf('4'))
    await engine.finishIngest(journal.append([]).end, [family], 1)
    const found = await readAll(engine.scan(0, {}))
    assert.equal(found.length, 1700)
    assert.equal(found[499]?.[1].length, 2000)
    assert.equal(found[500]?.[1].length, 500)
    assert.equal(found.at(-1)?.[0], '00002199')
  })

  test('bytes that are overwritten, or transferred to another thread, during a write are what they were', async (context) => {
    const { engine, journal } = await openEngine(context)
    const list = (mark: string) => Array.from({ length: 2000 }, (_, at) => put(`${mark}${at}`, 'v'.repeat(200)))
    const [overwritten, transferred] = [journal.append(list('a')), journal.append(list('b'))]
    // Memory of its own: what lies in Node.js's pool cannot be transferred.
    const own = Uint8Array.from(transferred.bytes)
    const applying = engine.apply([overwritten, { ...transferred, bytes: own }])
    overwritten.bytes.fill(0xff)
    structuredClone(own, { transfer: [own.buffer] }).fill(0xff)
    assert.equal(own.length, 0)
    await applying
    assert.equal((await readAll(engine.scan(0, {}))).length, 4000)
    const value = Buffer.alloc(500, 7)
    const chunk = Uint8Array.from(
      encodeChunk(Array.from({ length: 1000 }, (_, at) => [bytesOf(String(at).padStart(8, '0')), value] as const)),
    )
    const ingesting = engine.ingest({ id: 0, name: 'default' }, chunk, bytesOf('1'))
    structuredClone(chunk, { transfer: [chunk.buffer] }).fill(0xff)
    await ingesting
    await engine.finishIngest(journal.end, [{ id: 0, name: 'default' }], 1)
    assert.deepEqual(await engine.get(0, bytesOf('00000999')), value)
  })

  test('everything is under way when the engine closes: all of it is answered or rejects with CLOSED', async (context) => {
    for (let round = 0; round < 10; round++) {
      const { engine, journal } = await openEngine(context)
      await engine.apply([journal.append(Array.from({ length: 3000 }, (_, at) => put(`k${at}`, 'v'.repeat(200))))])
      const snapshots = Array.from({ length: 5 }, () => engine.snapshot())
      const iterators = snapshots.map((snapshot) => engine.scan(0, { snapshot, reverse: round % 2 === 0 }))
      const pending: Array<Promise<unknown>> = [engine.apply([journal.append([put('last', String(round))])])]
      for (const [at, iterator] of iterators.entries()) {
        pending.push(iterator.next(1000), engine.readChunk(snapshots[at]!, 0, bytesOf(''), limits.chunkBytes))
        pending.push(
          engine.getMany(
            0,
            Array.from({ length: 100 }, (_, key) => bytesOf(`k${key}`)),
          ),
        )
        if (at % 2 === 0) pending.push(iterator.close(), snapshots[at]!.close())
      }
      pending.push(engine.checkpoint(), engine.sizeEstimateBytes(), engine.close())
      for (const settled of await Promise.allSettled(pending)) {
        if (settled.status === 'rejected') await rejectsWith('CLOSED', () => Promise.reject(settled.reason))
      }
      await Promise.all([...iterators, ...snapshots].map((one) => one.close()))
    }
  })

  test('a snapshot reads families that were dropped, after their files went', async (context) => {
    const { engine, journal } = await openEngine(context)
    await engine.apply([journal.append([create(1, 'x'), put('k', 'v', 1)])])
    await engine.checkpoint()
    const snapshot = engine.snapshot()
    const iterator = engine.scan(1, {})
    await engine.apply([journal.append([{ type: 'dropFamily', family: 1 }])])
    await engine.checkpoint()
    assert.equal(await scanned(engine, 1, { snapshot }), 'k=v')
    assert.deepEqual(await readAll(iterator), [['k', 'v']])
    await snapshot.close()
  })
})
