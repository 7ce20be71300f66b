import assert from 'node:assert/strict'
import { cp, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { encodeChunk } from '#src/codec/chunk.js'
import { bytesOf, Journal, readAll, rejectsWith } from '#src/engine/conformance/kit.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import type { Engine } from '#src/ports/engine.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { needsRocksdb } from '../support/rocksdb.js'

const main = { id: 0, name: 'default' }
const keysPerChunk = 4000
const value = Buffer.alloc(1000, 'v')

async function temporary(context: TestContext): Promise<string> {
  const directory = await makeDirectory()
  context.after(() => removeDirectory(directory))
  return directory
}

function keyOf(index: number): string {
  return String(index).padStart(10, '0')
}

/** About 4 MiB. */
function chunkAt(index: number): Uint8Array {
  const keys = Array.from({ length: keysPerChunk }, (_, at) => bytesOf(keyOf(index * keysPerChunk + at)))
  return encodeChunk(keys.map((key) => [key, value] as const))
}

async function tables(directory: string): Promise<number> {
  return (await readdir(directory)).filter((name) => name.endsWith('.sst')).length
}

async function progressOf(engine: Engine): Promise<number> {
  const bytes = await engine.ingestProgress()
  return bytes === undefined ? 0 : Number(Buffer.from(bytes).toString())
}

describe('engine rocksdb, chunks of a bootstrap', needsRocksdb, () => {
  test('B1: after a crash at any chunk all content up to the progress is there, and the store is not whole', async (context) => {
    const directory = await temporary(context)
    const journal = new Journal()
    const engine = await rocksdbEngine.open(join(directory, 'live'), journal.empty)
    const chunks = 36
    const found: number[] = []
    for (let index = 0; index < chunks; index++) {
      await engine.ingest(main, chunkAt(index), bytesOf(String(index + 1)))
      assert.equal(await progressOf(engine), index + 1)
      if (index % 5 !== 0) continue
      const copy = join(directory, 'copy')
      await cp(join(directory, 'live'), copy, { recursive: true })
      const crashed = await rocksdbEngine.open(copy, journal.empty)
      assert.deepEqual(crashed.opened, { checkpoint: undefined, applied: undefined })
      const progress = await progressOf(crashed)
      const content = (await readAll(crashed.scan(0, { values: false }))).map(([key]) => key)
      assert.ok(content.length >= progress * keysPerChunk, `progress ${progress}, ${content.length} keys`)
      assert.ok(progress === 0 || content[progress * keysPerChunk - 1] === keyOf(progress * keysPerChunk - 1))
      found.push(progress)
      await crashed.close()
      await rm(copy, { recursive: true })
    }
    assert.ok(
      found.some((progress) => progress > 0 && progress < chunks),
      found.join(' '),
    )
    await engine.finishIngest(journal.append([]).end, [main], 1)
    assert.equal((await readAll(engine.scan(0, { values: false }))).length, chunks * keysPerChunk)
    assert.ok((await tables(join(directory, 'live'))) <= 8, 'chunks gather in large table files')
    assert.deepEqual(await readdir(join(directory, 'live', 'ingest')), [])
    await engine.close()
  })

  test('B1: a clean stop in the middle keeps every chunk, in all families', async (context) => {
    const directory = await temporary(context)
    const journal = new Journal()
    const second = { id: 3, name: 'second' }
    const engine = await rocksdbEngine.open(directory, journal.empty)
    await engine.ingest(main, chunkAt(0), bytesOf('1'))
    await engine.ingest(main, chunkAt(1), bytesOf('2'))
    await engine.ingest(second, chunkAt(0), bytesOf('3'))
    await engine.close()
    const again = await rocksdbEngine.open(directory, journal.empty)
    assert.equal(await progressOf(again), 3)
    assert.deepEqual(
      again.families.map(({ id, name }) => `${id} ${name}`),
      ['0 default', '3 second'],
    )
    await again.finishIngest(journal.append([]).end, [main, second], 4)
    assert.equal((await readAll(again.scan(0, { values: false }))).length, 2 * keysPerChunk)
    assert.equal((await readAll(again.scan(3, { values: false }))).length, keysPerChunk)
    await again.close()
  })

  test('F17: after a chunk could not be stored none is taken any more, until the store is opened again', async (context) => {
    const directory = await temporary(context)
    const journal = new Journal()
    const engine = await rocksdbEngine.open(directory, journal.empty)
    await engine.ingest(main, chunkAt(0), bytesOf('1'))
    // The table file that is being written goes away beneath it: sealing it fails.
    await rm(join(directory, 'ingest'), { recursive: true })
    await rejectsWith('IO', () => engine.ingest({ id: 2, name: 'next' }, chunkAt(0), bytesOf('2')))
    await writeFile(join(directory, 'ingest'), 'no folder')
    await rejectsWith('IO', () => engine.ingest(main, chunkAt(1), bytesOf('3')))
    await rejectsWith('IO', () => engine.finishIngest(journal.append([]).end, [main], 1))
    await rejectsWith('IO', () => engine.close())
    const again = await rocksdbEngine.open(directory, journal.empty)
    assert.equal(await progressOf(again), 0)
    assert.deepEqual(again.opened, { checkpoint: undefined, applied: undefined })
    await again.close()
  })
})
