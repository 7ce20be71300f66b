import assert from 'node:assert/strict'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { Journal, put, readAll, rejectsWith } from '#src/engine/conformance/kit.js'
import { createRocksdbEngine, type RocksdbSettings } from '#src/engine/rocksdb.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { needsRocksdb } from '../support/rocksdb.js'

const entries = 2000

async function tableBytes(directory: string): Promise<number> {
  let total = 0
  for (const name of await readdir(directory)) {
    if (name.endsWith('.sst')) total += (await stat(join(directory, name))).size
  }
  return total
}

/** Size of the table files of 2 MB that compress well, which are read back with the settings of all others. */
async function storedBytes(settings: Partial<RocksdbSettings>): Promise<number> {
  const directory = await makeDirectory()
  try {
    const journal = new Journal()
    const engine = await createRocksdbEngine(settings).open(directory, journal.empty)
    const puts = Array.from({ length: entries }, (_, at) => put(`key ${at}`, `${at} ${'value '.repeat(160)}`))
    await engine.apply([journal.append(puts)])
    await engine.close()
    const bytes = await tableBytes(directory)
    const other = await createRocksdbEngine({ compression: 'none', cacheBytes: 8 << 20 }).open(directory, journal.empty)
    assert.equal((await readAll(other.scan(0, {}))).length, entries)
    await other.close()
    return bytes
  } finally {
    await removeDirectory(directory)
  }
}

describe('engine rocksdb, settings', needsRocksdb, () => {
  test('compression is what was asked for, and what was written with another one stays readable', async () => {
    const [usual, lz4, zstd, none] = await Promise.all([
      storedBytes({}),
      storedBytes({ compression: 'lz4' }),
      storedBytes({ compression: 'zstd' }),
      storedBytes({ compression: 'none' }),
    ])
    assert.ok(none > entries * 900, `${none}`)
    assert.ok(usual < none / 4, `${usual} of ${none}`)
    assert.ok(lz4 < none / 4, `${lz4} of ${none}`)
    assert.ok(zstd < none / 4 && zstd !== lz4, `${zstd} of ${none}`)
  })

  test('filters take the place that was given to them', async () => {
    const random = { compression: 'none' } as const
    const [with20, without] = await Promise.all([
      storedBytes({ ...random, bloomBitsPerKey: 20 }),
      storedBytes({ ...random, bloomBitsPerKey: 0 }),
    ])
    const bits = ((with20 - without) * 8) / entries
    assert.ok(bits > 18 && bits < 26, `${bits} bits of each key`)
  })

  test('a compression that RocksDB does not have is refused, and what it has is named', async () => {
    const directory = await makeDirectory()
    const engine = createRocksdbEngine({ compression: 'gzip' as 'lz4' })
    await rejectsWith('CONFIG', () => engine.open(directory, new Journal().empty))
    await assert.rejects(engine.open(directory, new Journal().empty), /gzip.*lz4/)
    assert.deepEqual(await readdir(directory), [], 'nothing was created')
    await removeDirectory(directory)
  })
})
